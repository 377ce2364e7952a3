static inline int32_t pj_product(const void *table, int32_t weight, uint8_t code) {
    (void)table;
    return weight * code;
}
