/* One input channel a group, weights WEIGHT_T [O][taps], products by PRODUCT_OF; `padding` is room for one code a channel. */
static void KERNEL(const pj_layer *l, const uint8_t *x, void *y, uint8_t *padding) {
    const pj_window *g = &l->window;
    const uint8_t *taps[PJ_MOST_TAPS];
    for (int32_t c = 0; c < g->channels; c++) {
        padding[c] = g->pad_code;
    }
    for (int32_t pixel = 0; pixel < g->out_height * g->out_width; pixel++) {
        int32_t top = pixel / g->out_width * g->stride_y - g->pad_top;
        int32_t left = pixel % g->out_width * g->stride_x - g->pad_left, count = 0;
        for (int32_t i = 0, row = top; i < g->kernel_height; i++, row += g->dilation_y) {
            for (int32_t j = 0, column = left; j < g->kernel_width; j++, column += g->dilation_x) {
                int32_t inside = row >= 0 && row < g->height && column >= 0 && column < g->width;
                taps[count++] = inside ? x + (row * g->width + column) * g->channels : padding;
            }
        }
        const WEIGHT_T *w = (const WEIGHT_T *)l->weights;
        for (int32_t o = 0; o < l->groups * l->group_outputs; o++) {
            int32_t channel = l->group_outputs == 1 ? o : o / l->group_outputs;
            int32_t sum = l->bias[o], codes = 0;
            if (l->weight_zero) {
                for (int32_t t = 0; t < count; t++) {
                    codes += taps[t][channel];
                }
                sum -= l->weight_zero[o] * codes;
            }
            for (int32_t t = 0; t < count; t++, w++) {
                sum += PRODUCT_OF(l->table, *w, taps[t][channel]);
            }
            pj_finish(l, o, sum, y, pixel);
        }
    }
}
