static void pj_clamp(const uint8_t *x, void *y, int32_t size, const pj_codes *codes) {
    for (int32_t i = 0; i < size; i++) {
        pj_store(y, i, x[i], codes);
    }
}
