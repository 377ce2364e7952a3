static void pj_max_pool(const uint8_t *x, uint8_t *y, const pj_window *g) {
    for (int32_t pixel = 0; pixel < g->out_height * g->out_width; pixel++) {
        int32_t top = pixel / g->out_width * g->stride_y - g->pad_top;
        int32_t left = pixel % g->out_width * g->stride_x - g->pad_left;
        for (int32_t c = 0; c < g->channels; c++) {
            y[pixel * g->channels + c] = 0;
        }
        for (int32_t row = top < 0 ? 0 : top; row < top + g->kernel_height && row < g->height; row++) {
            for (int32_t column = left < 0 ? 0 : left; column < left + g->kernel_width && column < g->width; column++) {
                const uint8_t *source = x + (row * g->width + column) * g->channels;
                uint8_t *best = y + pixel * g->channels;
                for (int32_t c = 0; c < g->channels; c++) {
                    best[c] = source[c] > best[c] ? source[c] : best[c];
                }
            }
        }
    }
}
