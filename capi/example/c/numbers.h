// Inputs and weights, the same in C and in Rust: exact numbers of -1 to 1 out of a linear congruential generator.
#ifndef NUMBERS_H
#define NUMBERS_H

#include <stddef.h>
#include <stdint.h>

static void fill(uint32_t seed, float *numbers, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        seed = seed * 1664525u + 1013904223u;
        numbers[i] = (float)(seed >> 8) / 8388608.0f - 1.0f;
    }
}

#endif
