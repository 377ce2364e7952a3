static void pj_widen(const uint8_t *x, int16_t *y, int32_t size) {
    for (int32_t i = 0; i < size; i++) {
        y[i] = x[i];
    }
}
