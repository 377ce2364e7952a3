/* Weights ROW_NOTE. */
static inline uint32_t ROW_OF(WEIGHT_T weight) {
    return (uint32_t)(weight & ROW_MASK) << 8;
}

static inline int32_t SIGN_OF(WEIGHT_T weight) {
    return (weight & SIGN_MASK) ? -1 : 1;
}
