/* start + step * index along each axis; x is already moved to the first element taken. */
static void pj_slice(const uint8_t *x, uint8_t *y, int32_t height, int32_t width, int32_t channels, int32_t row_step,
                     int32_t column_step, int32_t channel_step) {
    for (int32_t row = 0; row < height; row++) {
        for (int32_t column = 0; column < width; column++) {
            const uint8_t *source = x + row * row_step + column * column_step;
            for (int32_t c = 0; c < channels; c++) {
                *y++ = source[c * channel_step];
            }
        }
    }
}
