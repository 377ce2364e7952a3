/* Exact products, 8-bit weights. Fields: two, one after the other, each padded to a multiple of four codes. */
#if defined(__ARM_FEATURE_DSP)
#include <arm_acle.h>

static inline uint32_t pj_load4(const void *address) {
    uint32_t word;
    __builtin_memcpy(&word, address, 4);
    return word;
}

/* Two fields of bytes -> per four codes: bytes 0, 2 and 1, 3 of each field as 16-bit pairs, in place behind them. */
PJ_LOOP void pj_unpack(const uint8_t *field, int32_t stride, uint32_t *pairs) {
    for (int32_t k = 0; k < stride; k += 4) {
        uint32_t a = pj_load4(field + k), b = pj_load4(field + stride + k);
        *pairs++ = __uxtb16(a);
        *pairs++ = __uxtb16(__ror(a, 8));
        *pairs++ = __uxtb16(b);
        *pairs++ = __uxtb16(__ror(b, 8));
    }
}

/* sums[channel][field] of two channels over two fields, two products an instruction. */
PJ_LOOP void pj_dot_2x2(const int8_t *w, const int8_t *v, const uint32_t *pairs, int32_t fan_in,
                              int32_t sums[2][2]) {
    int32_t wa = sums[0][0], wb = sums[0][1], va = sums[1][0], vb = sums[1][1];
#if defined(__clang__)
#pragma clang loop unroll(disable) /* unrolled, it needs more registers than there are */
#endif
    for (const int8_t *end = w + fan_in; w < end; w += 4, v += 4, pairs += 4) {
        uint32_t word = pj_load4(w);
        uint32_t even = __sxtb16(word), odd = __sxtb16(__ror(word, 8));
        wa = __smlad(odd, pairs[1], __smlad(even, pairs[0], wa));
        wb = __smlad(odd, pairs[3], __smlad(even, pairs[2], wb));
        word = pj_load4(v);
        even = __sxtb16(word), odd = __sxtb16(__ror(word, 8));
        va = __smlad(odd, pairs[1], __smlad(even, pairs[0], va));
        vb = __smlad(odd, pairs[3], __smlad(even, pairs[2], vb));
    }
    sums[0][0] = wa, sums[0][1] = wb, sums[1][0] = va, sums[1][1] = vb;
}
#endif

static void pj_exact_i8(const pj_layer *l, uint8_t *field, int32_t count, int32_t group, int32_t pixel, void *y) {
    int32_t n = l->fan_in, stride = (n + 3) & ~3, first = group * l->group_outputs;
    int32_t end = first + l->group_outputs;
    const int8_t *weights = (const int8_t *)l->weights;
    int32_t codes[2] = {0, 0};
    for (int32_t p = 0; p < 2; p++) {
        for (int32_t k = n; k < stride; k++) {
            field[p * stride + k] = 0;
        }
        if (l->weight_zero) {
            codes[p] = pj_field_sum(field + p * stride, 1, n);
        }
    }
#if defined(__ARM_FEATURE_DSP)
    uint32_t *pairs = (uint32_t *)(void *)(field + 2 * stride);
    pj_unpack(field, stride, pairs);
#endif
    for (int32_t o = first; o < end; o += 2) {
        int32_t both = o + 1 < end;
        const int8_t *w = weights + o * n, *v = w + (both ? n : 0);
        int32_t zeros[2] = {l->weight_zero ? l->weight_zero[o] : 0, l->weight_zero ? l->weight_zero[o + both] : 0};
        int32_t sums[2][2];
        for (int32_t p = 0; p < 2; p++) {
            sums[0][p] = l->bias[o] - zeros[0] * codes[p];
            sums[1][p] = l->bias[o + both] - zeros[1] * codes[p];
        }
#if defined(__ARM_FEATURE_DSP)
        pj_dot_2x2(w, v, pairs, n, sums);
#else
        for (int32_t p = 0; p < count; p++) {
            const uint8_t *codes_of = field + p * stride;
            int32_t a = 0, b = 0;
            for (int32_t k = 0; k < n; k++) {
                a += w[k] * codes_of[k];
                b += v[k] * codes_of[k];
            }
            sums[0][p] += a;
            sums[1][p] += b;
        }
#endif
        for (int32_t p = 0; p < count; p++) {
            pj_finish(l, o, sums[0][p], y, pixel + p);
            if (both) {
                pj_finish(l, o + 1, sums[1][p], y, pixel + p);
            }
        }
    }
}
