// The least program: for how much code the detector takes. No library of C behind it.
#include "models.h"

static detector d;
volatile float in[DETECTOR_INPUT_LEN];
volatile elman_code code;

void start(void);
void start(void)
{
    float x[DETECTOR_INPUT_LEN], y[DETECTOR_OUTPUT_LEN];
    code = detector_init(&d, sizeof d);
    for (;;) {
        for (int i = 0; i < DETECTOR_INPUT_LEN; i++)
            x[i] = in[i];
        code = detector_step(&d, x, DETECTOR_INPUT_LEN, y, DETECTOR_OUTPUT_LEN);
    }
}
