/* Runs the golden vectors and says which outputs differ. Exit status 0 if none does. */
#include <stdint.h>
#include <stdio.h>

#include "golden_vectors.h"
#include "net.h"

int main(void) {
    long mismatches = 0;
    for (long v = 0; v < GOLDEN_COUNT; v++) {
        int16_t output[PICOJOULE_OUTPUT_SIZE];
        const int16_t *expected = golden_outputs + v * PICOJOULE_OUTPUT_SIZE;
        picojoule_run(golden_inputs + v * PICOJOULE_INPUT_SIZE, output);
        for (long i = 0; i < PICOJOULE_OUTPUT_SIZE; i++) {
            if (output[i] != expected[i]) {
                if (mismatches++ < 20) {
                    printf("vector %ld output %ld: expected %d, got %d\n", v, i, expected[i], output[i]);
                }
            }
        }
    }
    printf("%ld mismatches in %ld vectors\n", mismatches, (long)GOLDEN_COUNT);
    return mismatches != 0;
}
