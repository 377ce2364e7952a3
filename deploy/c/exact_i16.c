/* Exact products, 16-bit weights. Fields one after the other. */
static void pj_exact_i16(const pj_layer *l, uint8_t *field, int32_t count, int32_t group, int32_t pixel, void *y) {
    int32_t n = l->fan_in, first = group * l->group_outputs;
    for (int32_t p = 0; p < count; p++, field += n) {
        int32_t codes = l->weight_zero ? pj_field_sum(field, 1, n) : 0;
        for (int32_t o = first; o < first + l->group_outputs; o++) {
            const int16_t *w = (const int16_t *)l->weights + o * n;
            int32_t sum = l->bias[o] - (l->weight_zero ? l->weight_zero[o] * codes : 0);
            for (int32_t k = 0; k < n; k++) {
                sum += w[k] * field[k];
            }
            pj_finish(l, o, sum, y, pixel + p);
        }
    }
}
