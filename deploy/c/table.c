/* Products from rows of 256 TABLE_T, weights stored as WEIGHT_T (see ROW_OF).
   Four fields interleaved: code k of field p at field[4 * k + p]. */
PJ_LOOP void KERNEL_SUM4(const TABLE_T *table, const WEIGHT_T *w, const uint8_t *x, int32_t fan_in, int32_t *sums) {
    int32_t a = 0, b = 0, c = 0, d = 0;
    for (const WEIGHT_T *end = w + fan_in; w < end; w++, x += 4) {
        const TABLE_T *row = table + ROW_OF(*w);
        int32_t sign = SIGN_OF(*w);
        a += sign * row[x[0]];
        b += sign * row[x[1]];
        c += sign * row[x[2]];
        d += sign * row[x[3]];
    }
    sums[0] = a, sums[1] = b, sums[2] = c, sums[3] = d;
}

PJ_LOOP int32_t KERNEL_SUM1(const TABLE_T *table, const WEIGHT_T *w, const uint8_t *x, int32_t fan_in) {
    int32_t sum = 0;
    for (const WEIGHT_T *end = w + fan_in; w < end; w++, x += 4) {
        sum += SIGN_OF(*w) * table[ROW_OF(*w) + x[0]];
    }
    return sum;
}

static void KERNEL(const pj_layer *l, uint8_t *field, int32_t count, int32_t group, int32_t pixel, void *y) {
    int32_t n = l->fan_in, first = group * l->group_outputs;
    const TABLE_T *table = (const TABLE_T *)l->table;
    int32_t codes[4] = {0, 0, 0, 0};
    for (int32_t p = 0; l->weight_zero && p < count; p++) {
        codes[p] = pj_field_sum(field + p, 4, n);
    }
    for (int32_t o = first; o < first + l->group_outputs; o++) {
        const WEIGHT_T *w = (const WEIGHT_T *)l->weights + o * n;
        int32_t sums[4], zero = l->weight_zero ? l->weight_zero[o] : 0;
        if (count == 1) {
            sums[0] = KERNEL_SUM1(table, w, field, n);
        } else {
            KERNEL_SUM4(table, w, field, n, sums);
        }
        for (int32_t p = 0; p < count; p++) {
            pj_finish(l, o, l->bias[o] + sums[p] - zero * codes[p], y, pixel + p);
        }
    }
}
