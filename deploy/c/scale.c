/* value * multiplier / 2^shift rounded half up, saturated far outside the range of codes. */
static inline int32_t pj_scale(int32_t value, int32_t multiplier, uint32_t shift) {
    int64_t product = (int64_t)value * multiplier;
    if (shift > 32) { /* the low word cannot change the result */
        int32_t high = (int32_t)(product >> 32);
        return (high + ((int32_t)1 << (shift - 33))) >> (shift - 32);
    }
    product = (product + ((int64_t)1 << (shift - 1))) >> shift;
    return product < -(1 << 30) ? -(1 << 30) : product > (1 << 30) ? (1 << 30) : (int32_t)product;
}
