/* Computes output channels of one group at `count` pixels from their receptive fields. */
typedef void pj_dot(const pj_layer *l, uint8_t *field, int32_t count, int32_t group, int32_t pixel, void *y);

#if defined(__GNUC__)
#define PJ_COPY4(to, from) __builtin_memcpy(to, from, 4)
#else
#define PJ_COPY4(to, from) ((to)[0] = (from)[0], (to)[1] = (from)[1], (to)[2] = (from)[2], (to)[3] = (from)[3])
#endif

/* Copies the receptive field of one pixel, a code every `step` bytes; padding holds the zero-point code. */
static void pj_field(const pj_layer *l, const uint8_t *x, int32_t group, int32_t pixel, uint8_t *field,
                     int32_t step) {
    const pj_window *g = &l->window;
    int32_t n = l->group_inputs;
    int32_t top = pixel / g->out_width * g->stride_y - g->pad_top;
    int32_t left = pixel % g->out_width * g->stride_x - g->pad_left;
    for (int32_t i = 0, row = top; i < g->kernel_height; i++, row += g->dilation_y) {
        for (int32_t j = 0, column = left; j < g->kernel_width; j++, column += g->dilation_x) {
            if (row >= 0 && row < g->height && column >= 0 && column < g->width) {
                const uint8_t *source = x + (row * g->width + column) * g->channels + group * n;
                int32_t c = 0;
                for (; step == 1 && c + 4 <= n; c += 4, field += 4) {
                    PJ_COPY4(field, source + c);
                }
                for (; c < n; c++, field += step) {
                    *field = source[c];
                }
            } else {
                for (int32_t c = 0; c < n; c++, field += step) {
                    *field = g->pad_code;
                }
            }
        }
    }
}

/* Sum of the codes of one receptive field. */
static int32_t pj_field_sum(const uint8_t *field, int32_t step, int32_t fan_in) {
    int32_t sum = 0;
    for (int32_t k = 0; k < fan_in; k++) {
        sum += field[k * step];
    }
    return sum;
}

/* Walks the output in blocks of `block` pixels; their fields lie `spread` bytes apart, codes `step` bytes apart. */
static void pj_conv2d(const pj_layer *l, const uint8_t *x, void *y, uint8_t *field, pj_dot *dot, int32_t block,
                      int32_t spread, int32_t step) {
    int32_t pixels = l->window.out_height * l->window.out_width;
    for (int32_t pixel = 0; pixel < pixels; pixel += block) {
        int32_t count = pixels - pixel < block ? pixels - pixel : block;
        for (int32_t group = 0; group < l->groups; group++) {
            for (int32_t p = 0; p < count; p++) {
                pj_field(l, x, group, pixel + p, field + p * spread, step);
            }
            dot(l, field, count, group, pixel, y);
        }
    }
}
