typedef char pj_needs_arithmetic_shift[((int64_t)-2 >> 1) == -1 ? 1 : -1];

/* Geometry of a sliding window over [height, width, channels]. */
typedef struct {
    int32_t height, width, channels;
    int32_t out_height, out_width;
    int32_t kernel_height, kernel_width;
    int32_t stride_y, stride_x, pad_top, pad_left, dilation_y, dilation_x;
    uint8_t pad_code;
} pj_window;

/* Bounds and zero point of the codes an operation writes; wide is 1 for int16, 0 for uint8. */
typedef struct {
    int32_t zero, low, high, wide;
} pj_codes;

/* Inner loops stay functions of their own: they then have all registers to themselves. */
#if defined(__GNUC__)
#define PJ_LOOP static __attribute__((noinline))
#else
#define PJ_LOOP static
#endif
