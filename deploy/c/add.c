static void pj_add(const uint8_t *a, const uint8_t *b, void *y, int32_t size, int32_t factor_a, int32_t zero_a,
                   int32_t factor_b, int32_t zero_b, int32_t shift, const pj_codes *codes) {
    int32_t constant = ((int32_t)1 << (shift - 1)) - factor_a * zero_a - factor_b * zero_b;
    for (int32_t i = 0; i < size; i++) {
        pj_store(y, i, (factor_a * a[i] + factor_b * b[i] + constant) >> shift, codes);
    }
}
