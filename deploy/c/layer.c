/* A convolution or linear layer: weights, and everything between accumulator and output code. */
typedef struct {
    pj_window window;
    int32_t groups, group_inputs, group_outputs, fan_in;
    const void *weights, *table;
    const int32_t *bias, *weight_zero, *multiplier; /* weight_zero is 0 where all are zero */
    const uint8_t *shift;
    pj_codes codes;
} pj_layer;

static inline void pj_finish(const pj_layer *l, int32_t channel, int32_t sum, void *y, int32_t pixel) {
    int32_t scaled = pj_scale(sum, l->multiplier[channel], l->shift[channel]);
    pj_store(y, pixel * l->groups * l->group_outputs + channel, scaled, &l->codes);
}
