// How long a step of the detector takes, called from C: the least of several runs. See `examples/streams.rs`.
#define _POSIX_C_SOURCE 199309L
#include "models.h"

#include <stdio.h>
#include <time.h>

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

int main(void)
{
    enum { CALLS = 1000000, BLOCK = 100 };
    static float in[BLOCK * DETECTOR_INPUT_LEN], out[BLOCK * DETECTOR_OUTPUT_LEN];
    double step = 1e9, block = 1e9;
    detector d;
    if (detector_init(&d, sizeof d) != ELMAN_CODE_OK)
        return 1;
    for (int i = 0; i < BLOCK; i++) {
        in[3 * i] = 0.5f;
        in[3 * i + 1] = -0.25f;
        in[3 * i + 2] = 0.125f;
    }
    for (int run = 0; run < 20; run++) {
        double start = now();
        for (int i = 0; i < CALLS; i++)
            if (detector_step(&d, in, 3, out, 2) != ELMAN_CODE_OK)
                return 1;
        double nanoseconds = (now() - start) / CALLS;
        step = nanoseconds < step ? nanoseconds : step;
        start = now();
        for (int i = 0; i < CALLS; i += BLOCK)
            if (detector_process(&d, BLOCK, in, 3 * BLOCK, out, 2 * BLOCK) != ELMAN_CODE_OK)
                return 1;
        nanoseconds = (now() - start) / CALLS;
        block = nanoseconds < block ? nanoseconds : block;
    }
    printf("C     %6.2f ns a step, %6.2f in blocks of %d\n", step, block, BLOCK);
    return 0;
}
