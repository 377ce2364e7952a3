/* [height, width, channels] into the middle of [.., out_width, out_channels], all else already filled. */
static void pj_pad(const uint8_t *x, uint8_t *y, int32_t height, int32_t width, int32_t channels, int32_t top,
                   int32_t left, int32_t front, int32_t out_width, int32_t out_channels, int32_t out_size,
                   uint8_t code) {
    for (int32_t i = 0; i < out_size; i++) {
        y[i] = code;
    }
    for (int32_t row = 0; row < height; row++) {
        for (int32_t column = 0; column < width; column++) {
            uint8_t *target = y + ((row + top) * out_width + column + left) * out_channels + front;
            for (int32_t c = 0; c < channels; c++) {
                target[c] = *x++;
            }
        }
    }
}
