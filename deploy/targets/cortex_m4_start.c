/* Start of a Cortex-M4 image: vector table, initial memory, then one run of the network from pj_input to pj_output. */
#include <stddef.h>
#include <stdint.h>

#include "net.h"

extern uint32_t pj_stack_top, pj_data_load, pj_data_start, pj_data_end, pj_bss_start, pj_bss_end;

uint8_t pj_input[PICOJOULE_INPUT_SIZE];
int16_t pj_output[PICOJOULE_OUTPUT_SIZE];

/* The compiler may call these; there is no C library. */
void *memcpy(void *target, const void *source, size_t size) {
    uint8_t *to = target;
    for (const uint8_t *from = source; size--; from++) {
        *to++ = *from;
        __asm__ volatile("");
    }
    return target;
}

void *memset(void *target, int value, size_t size) {
    for (uint8_t *to = target; size--; to++) {
        *to = (uint8_t)value;
        __asm__ volatile("");
    }
    return target;
}

void *memmove(void *target, const void *source, size_t size) {
    uint8_t *to = target;
    const uint8_t *from = source;
    if (to <= from) {
        return memcpy(target, source, size);
    }
    while (size--) {
        to[size] = from[size];
        __asm__ volatile("");
    }
    return target;
}

void __aeabi_memcpy(void *target, const void *source, size_t size) { memcpy(target, source, size); }
void __aeabi_memcpy4(void *target, const void *source, size_t size) { memcpy(target, source, size); }
void __aeabi_memcpy8(void *target, const void *source, size_t size) { memcpy(target, source, size); }
void __aeabi_memmove(void *target, const void *source, size_t size) { memmove(target, source, size); }
void __aeabi_memmove4(void *target, const void *source, size_t size) { memmove(target, source, size); }
void __aeabi_memset(void *target, size_t size, int value) { memset(target, value, size); }
void __aeabi_memset4(void *target, size_t size, int value) { memset(target, value, size); }
void __aeabi_memclr(void *target, size_t size) { memset(target, 0, size); }
void __aeabi_memclr4(void *target, size_t size) { memset(target, 0, size); }
void __aeabi_memclr8(void *target, size_t size) { memset(target, 0, size); }

/* Where the image rests after a run, and after a fault. */
__attribute__((noinline, used)) void pj_done(void) {
    for (;;) {
        __asm__ volatile("nop");
    }
}

__attribute__((noinline, used)) void pj_fault(void) {
    for (;;) {
        __asm__ volatile("nop");
    }
}

void pj_reset(void) {
    uint32_t *from = &pj_data_load;
    for (uint32_t *to = &pj_data_start; to < &pj_data_end; to++) {
        *to = *from++;
        __asm__ volatile("");
    }
    for (uint32_t *to = &pj_bss_start; to < &pj_bss_end; to++) {
        *to = 0;
        __asm__ volatile("");
    }
    picojoule_run(pj_input, pj_output);
    pj_done();
}

__attribute__((section(".vectors"), used)) static const void *const pj_vectors[16] = {
    &pj_stack_top,           (const void *)pj_reset, (const void *)pj_fault, (const void *)pj_fault,
    (const void *)pj_fault, (const void *)pj_fault, (const void *)pj_fault, 0,
    0,                       0,                       0,                       (const void *)pj_fault,
    (const void *)pj_fault, 0,                       (const void *)pj_fault, (const void *)pj_fault,
};
