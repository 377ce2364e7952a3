static inline int32_t PRODUCT_OF(const void *table, WEIGHT_T weight, uint8_t code) {
    return SIGN_OF(weight) * ((const TABLE_T *)table)[ROW_OF(weight) + code];
}
