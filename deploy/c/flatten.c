/* [pixels, channels] -> [channels, pixels]. */
static void pj_flatten(const uint8_t *x, uint8_t *y, int32_t pixels, int32_t channels) {
    for (int32_t c = 0; c < channels; c++) {
        for (int32_t pixel = 0; pixel < pixels; pixel++) {
            *y++ = x[pixel * channels + c];
        }
    }
}
