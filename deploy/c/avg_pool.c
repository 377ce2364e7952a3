/* Padding counts as real zero: it adds nothing to sum(x - zero). pad_code is the zero point. */
static void pj_avg_pool(const uint8_t *x, void *y, const pj_window *g, int32_t multiplier, uint32_t shift,
                        const pj_codes *codes) {
    for (int32_t pixel = 0; pixel < g->out_height * g->out_width; pixel++) {
        int32_t top = pixel / g->out_width * g->stride_y - g->pad_top;
        int32_t left = pixel % g->out_width * g->stride_x - g->pad_left;
        for (int32_t c = 0; c < g->channels; c++) {
            int32_t sum = 0;
            for (int32_t row = top < 0 ? 0 : top; row < top + g->kernel_height && row < g->height; row++) {
                for (int32_t column = left < 0 ? 0 : left; column < left + g->kernel_width && column < g->width;
                     column++) {
                    sum += x[(row * g->width + column) * g->channels + c] - g->pad_code;
                }
            }
            pj_store(y, pixel * g->channels + c, pj_scale(sum, multiplier, shift), codes);
        }
    }
}
