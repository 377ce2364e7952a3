/* Writes value + zero point, clamped; |value| is at most 2^30. */
static inline void pj_store(void *y, int32_t index, int32_t value, const pj_codes *codes) {
    value += codes->zero;
    value = value < codes->low ? codes->low : value;
    value = value > codes->high ? codes->high : value;
    if (codes->wide) {
        ((int16_t *)y)[index] = (int16_t)value;
    } else {
        ((uint8_t *)y)[index] = (uint8_t)value;
    }
}
