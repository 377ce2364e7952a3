/* Rescales one input into its channels of the output; y is already moved to the first of them. */
static void pj_concat(const uint8_t *x, uint8_t *y, int32_t pixels, int32_t channels, int32_t out_channels,
                      int32_t zero, int32_t multiplier, uint32_t shift, const pj_codes *codes) {
    for (int32_t pixel = 0; pixel < pixels; pixel++) {
        for (int32_t c = 0; c < channels; c++) {
            pj_store(y, pixel * out_channels + c, pj_scale(*x++ - zero, multiplier, shift), codes);
        }
    }
}
