// Runs the three models and prints every output and state as bits, for scripts/targets/c.sh to compare with Rust's.
#include "models.h"
#include "numbers.h"

#include <stdio.h>
#include <string.h>

enum { STEPS = 48, ALONE = 16 }; // so many steps one by one, the others as a block

static int failures = 0;

#define EXPECT(code, call)                                                                                 \
    do {                                                                                                   \
        elman_code got = (call);                                                                           \
        if (got != (code)) {                                                                               \
            failures++;                                                                                    \
            fprintf(stderr, "line %d: %s gives %d, not %s\n", __LINE__, #call, (int)got, #code);           \
        }                                                                                                  \
    } while (0)

#define OK(call) EXPECT(ELMAN_CODE_OK, call)

static void print(const char *name, const float *numbers, size_t count)
{
    printf("%s", name);
    for (size_t i = 0; i < count; i++) {
        uint32_t bits;
        memcpy(&bits, &numbers[i], sizeof bits);
        printf(" %08lx", (unsigned long)bits);
    }
    printf("\n");
}

static void print_rows(const char *name, const float *rows, size_t count, size_t len)
{
    for (size_t i = 0; i < count; i++)
        print(name, rows + i * len, len);
}

static void run_detector(void)
{
    static float in[STEPS * DETECTOR_INPUT_LEN], out[STEPS * DETECTOR_OUTPUT_LEN];
    float state[DETECTOR_STATE_LEN];
    detector d, copy;
    fill(1, in, STEPS * DETECTOR_INPUT_LEN);
    OK(detector_init(&d, sizeof d));
    for (size_t i = 0; i < ALONE; i++)
        OK(detector_step(&d, in + i * DETECTOR_INPUT_LEN, DETECTOR_INPUT_LEN, out + i * DETECTOR_OUTPUT_LEN,
                         DETECTOR_OUTPUT_LEN));
    OK(detector_state_get(&d, state, DETECTOR_STATE_LEN));
    copy = d; // memory may be copied
    OK(detector_reset(&d));
    OK(detector_state_set(&d, state, DETECTOR_STATE_LEN));
    OK(detector_process(&d, STEPS - ALONE, in + ALONE * DETECTOR_INPUT_LEN, (STEPS - ALONE) * DETECTOR_INPUT_LEN,
                        out + ALONE * DETECTOR_OUTPUT_LEN, (STEPS - ALONE) * DETECTOR_OUTPUT_LEN));
    print_rows("detector", out, STEPS, DETECTOR_OUTPUT_LEN);
    // In place: the outputs are shorter than the inputs.
    OK(detector_process(&copy, STEPS - ALONE, in + ALONE * DETECTOR_INPUT_LEN, (STEPS - ALONE) * DETECTOR_INPUT_LEN,
                        in + ALONE * DETECTOR_INPUT_LEN, (STEPS - ALONE) * DETECTOR_OUTPUT_LEN));
    if (memcmp(in + ALONE * DETECTOR_INPUT_LEN, out + ALONE * DETECTOR_OUTPUT_LEN,
               (STEPS - ALONE) * DETECTOR_OUTPUT_LEN * sizeof(float)) != 0 ||
        memcmp(&copy, &d, sizeof d) != 0) {
        failures++;
        fprintf(stderr, "a copy gives other outputs\n");
    }
    OK(detector_state_get(&d, state, DETECTOR_STATE_LEN));
    print("detector state", state, DETECTOR_STATE_LEN);
}

static void run_speller(void)
{
    static const uint32_t hello[] = {1, 0, 2, 2, 3};
    float out[5 * SPELLER_OUTPUT_LEN], state[SPELLER_STATE_LEN];
    char word[6] = "";
    speller s;
    OK(speller_init(&s, sizeof s));
    OK(speller_step(&s, hello[0], out, SPELLER_OUTPUT_LEN));
    OK(speller_process(&s, 4, hello + 1, 4, out + SPELLER_OUTPUT_LEN, 4 * SPELLER_OUTPUT_LEN));
    print_rows("speller", out, 5, SPELLER_OUTPUT_LEN);
    OK(speller_state_get(&s, state, SPELLER_STATE_LEN));
    print("speller state", state, SPELLER_STATE_LEN);
    for (size_t i = 0; i < 5; i++) {
        size_t best = 0;
        for (size_t j = 1; j < SPELLER_OUTPUT_LEN; j++)
            if (out[i * SPELLER_OUTPUT_LEN + j] > out[i * SPELLER_OUTPUT_LEN + best])
                best = j;
        word[i] = "ehlo"[best];
    }
    printf("%s\n", word);
}

static void run_adaptive(void)
{
    static float weights[ADAPTIVE_WEIGHTS_LEN], in[STEPS * ADAPTIVE_INPUT_LEN], out[STEPS * ADAPTIVE_OUTPUT_LEN];
    static adaptive a;
    float state[ADAPTIVE_STATE_LEN];
    fill(2, weights, ADAPTIVE_WEIGHTS_LEN);
    fill(3, in, STEPS * ADAPTIVE_INPUT_LEN);
    OK(adaptive_init(&a, sizeof a, weights, ADAPTIVE_WEIGHTS_LEN));
    for (size_t i = 0; i < ALONE; i++)
        OK(adaptive_step(&a, in + i * ADAPTIVE_INPUT_LEN, ADAPTIVE_INPUT_LEN, out + i * ADAPTIVE_OUTPUT_LEN,
                         ADAPTIVE_OUTPUT_LEN));
    OK(adaptive_process(&a, STEPS - ALONE, in + ALONE * ADAPTIVE_INPUT_LEN, (STEPS - ALONE) * ADAPTIVE_INPUT_LEN,
                        out + ALONE * ADAPTIVE_OUTPUT_LEN, (STEPS - ALONE) * ADAPTIVE_OUTPUT_LEN));
    print_rows("adaptive", out, STEPS, ADAPTIVE_OUTPUT_LEN);
    OK(adaptive_state_get(&a, state, ADAPTIVE_STATE_LEN));
    print("adaptive state", state, ADAPTIVE_STATE_LEN);
}

// Numbers of the header are those of the library.
static void check_lengths(void)
{
    const size_t pairs[][2] = {
        {sizeof(detector), detector_size()},
        {sizeof(speller), speller_size()},
        {sizeof(adaptive), adaptive_size()},
        {64, adaptive_align()},
        {sizeof(uint32_t), detector_align()},
        {DETECTOR_INPUT_LEN, detector_input_len()},
        {DETECTOR_OUTPUT_LEN, detector_output_len()},
        {DETECTOR_STATE_LEN, detector_state_len()},
        {SPELLER_INPUT_LEN, speller_input_len()},
        {SPELLER_OUTPUT_LEN, speller_output_len()},
        {SPELLER_STATE_LEN, speller_state_len()},
        {ADAPTIVE_INPUT_LEN, adaptive_input_len()},
        {ADAPTIVE_OUTPUT_LEN, adaptive_output_len()},
        {ADAPTIVE_STATE_LEN, adaptive_state_len()},
        {ADAPTIVE_WEIGHTS_LEN, adaptive_weights_len()},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
        if (pairs[i][0] != pairs[i][1]) {
            failures++;
            fprintf(stderr, "pair %u: %u and %u\n", (unsigned)i, (unsigned)pairs[i][0], (unsigned)pairs[i][1]);
        }
}

// Every code, and that a call that is refused changes nothing.
static void check_refusals(void)
{
    static float weights[ADAPTIVE_WEIGHTS_LEN + 1];
    static adaptive a;
    float in[6] = {0.5f, -0.25f, 0.125f, 1, 1, 1}, out[4] = {7, 7, 7, 7}, state[SPELLER_STATE_LEN], *null = NULL;
    uint32_t tokens[2] = {1, 4};
    detector d, before;
    speller s;
    // Uninitialized memory, some that an init of another model made, and memory that is too small or not aligned.
    memset(&d, 0, sizeof d);
    EXPECT(ELMAN_CODE_UNINITIALIZED, detector_step(&d, in, 3, out, 2));
    memset(&d, 0xa5, sizeof d);
    EXPECT(ELMAN_CODE_UNINITIALIZED, detector_reset(&d));
    EXPECT(ELMAN_CODE_UNINITIALIZED, detector_state_get(&d, state, DETECTOR_STATE_LEN));
    EXPECT(ELMAN_CODE_UNINITIALIZED, detector_state_set(&d, state, DETECTOR_STATE_LEN));
    OK(speller_init(&s, sizeof s));
    EXPECT(ELMAN_CODE_UNINITIALIZED, detector_step((detector *)(void *)&s, in, 3, out, 2));
    EXPECT(ELMAN_CODE_TOO_SMALL, detector_init(&d, sizeof d - 1));
    EXPECT(ELMAN_CODE_MISALIGNED, detector_init((detector *)(void *)((char *)&s + 1), sizeof d));
    EXPECT(ELMAN_CODE_NULL_POINTER, detector_init(NULL, sizeof d));
    EXPECT(ELMAN_CODE_UNINITIALIZED, detector_reset(&d));
    OK(detector_init(&d, sizeof d));
    OK(detector_step(&d, in, 3, out, 2));
    out[0] = out[1] = 7;
    before = d;
    // The memory.
    EXPECT(ELMAN_CODE_NULL_POINTER, detector_step(NULL, in, 3, out, 2));
    EXPECT(ELMAN_CODE_NULL_POINTER, detector_process(NULL, 1, in, 3, out, 2));
    EXPECT(ELMAN_CODE_NULL_POINTER, detector_reset(NULL));
    EXPECT(ELMAN_CODE_NULL_POINTER, detector_state_get(NULL, state, DETECTOR_STATE_LEN));
    EXPECT(ELMAN_CODE_NULL_POINTER, detector_state_set(NULL, state, DETECTOR_STATE_LEN));
    EXPECT(ELMAN_CODE_MISALIGNED, detector_step((detector *)(void *)((char *)&d + 2), in, 3, out, 2));
    // Arrays.
    EXPECT(ELMAN_CODE_NULL_POINTER, detector_step(&d, null, 3, out, 2));
    EXPECT(ELMAN_CODE_NULL_POINTER, detector_step(&d, in, 3, null, 2));
    EXPECT(ELMAN_CODE_NULL_POINTER, detector_state_get(&d, null, DETECTOR_STATE_LEN));
    EXPECT(ELMAN_CODE_NULL_POINTER, detector_state_set(&d, null, DETECTOR_STATE_LEN));
    EXPECT(ELMAN_CODE_MISALIGNED, detector_step(&d, (const float *)(void *)((char *)in + 1), 3, out, 2));
    EXPECT(ELMAN_CODE_MISALIGNED, detector_step(&d, in, 3, (float *)(void *)((char *)out + 2), 2));
    EXPECT(ELMAN_CODE_WRONG_LENGTH, detector_step(&d, in, 2, out, 2));
    EXPECT(ELMAN_CODE_WRONG_LENGTH, detector_step(&d, in, 4, out, 2));
    EXPECT(ELMAN_CODE_WRONG_LENGTH, detector_step(&d, in, 3, out, 1));
    EXPECT(ELMAN_CODE_WRONG_LENGTH, detector_step(&d, in, 3, out, 3));
    EXPECT(ELMAN_CODE_WRONG_LENGTH, detector_process(&d, 2, in, 3, out, 4));
    EXPECT(ELMAN_CODE_WRONG_LENGTH, detector_process(&d, 2, in, 6, out, 2));
    EXPECT(ELMAN_CODE_WRONG_LENGTH, detector_process(&d, SIZE_MAX, in, SIZE_MAX, out, SIZE_MAX));
    EXPECT(ELMAN_CODE_WRONG_LENGTH, detector_process(&d, SIZE_MAX / 4, in, SIZE_MAX / 4 * 3, out, SIZE_MAX / 4 * 2));
    EXPECT(ELMAN_CODE_WRONG_LENGTH, detector_state_get(&d, state, DETECTOR_STATE_LEN - 1));
    EXPECT(ELMAN_CODE_WRONG_LENGTH, detector_state_set(&d, state, DETECTOR_STATE_LEN + 1));
    EXPECT(ELMAN_CODE_OVERLAP, detector_step(&d, (const float *)(const void *)&d, 3, out, 2));
    EXPECT(ELMAN_CODE_OVERLAP, detector_step(&d, in, 3, (float *)(void *)&d, 2));
    EXPECT(ELMAN_CODE_OVERLAP, detector_state_set(&d, (const float *)(const void *)&d, DETECTOR_STATE_LEN));
    EXPECT(ELMAN_CODE_OVERLAP, detector_state_get(&d, (float *)(void *)&d, DETECTOR_STATE_LEN));
    OK(detector_process(&d, 0, NULL, 0, NULL, 0));
    // Tokens: none of a block is taken if one cannot be.
    EXPECT(ELMAN_CODE_TOKEN_OUT_OF_RANGE, speller_step(&s, 4, out, 4));
    EXPECT(ELMAN_CODE_TOKEN_OUT_OF_RANGE, speller_step(&s, UINT32_MAX, out, 4));
    float two[2 * SPELLER_OUTPUT_LEN] = {7};
    EXPECT(ELMAN_CODE_TOKEN_OUT_OF_RANGE, speller_process(&s, 2, tokens, 2, two, 2 * SPELLER_OUTPUT_LEN));
    OK(speller_state_get(&s, state, SPELLER_STATE_LEN));
    for (size_t i = 0; i < SPELLER_STATE_LEN; i++)
        if (state[i] != 0) {
            failures++;
            fprintf(stderr, "a token that was refused has changed the state\n");
        }
    // Weights.
    EXPECT(ELMAN_CODE_WRONG_LENGTH, adaptive_init(&a, sizeof a, weights, ADAPTIVE_WEIGHTS_LEN - 1));
    EXPECT(ELMAN_CODE_WRONG_LENGTH, adaptive_init(&a, sizeof a, weights, ADAPTIVE_WEIGHTS_LEN + 1));
    EXPECT(ELMAN_CODE_NULL_POINTER, adaptive_init(&a, sizeof a, null, ADAPTIVE_WEIGHTS_LEN));
    EXPECT(ELMAN_CODE_TOO_SMALL, adaptive_init(&a, sizeof a - 1, weights, ADAPTIVE_WEIGHTS_LEN));
    EXPECT(ELMAN_CODE_MISALIGNED, adaptive_init((adaptive *)(void *)((char *)&a + 4), sizeof a, weights, ADAPTIVE_WEIGHTS_LEN));
    EXPECT(ELMAN_CODE_OVERLAP, adaptive_init(&a, sizeof a, (float *)(void *)&a, ADAPTIVE_WEIGHTS_LEN));
    EXPECT(ELMAN_CODE_UNINITIALIZED, adaptive_reset(&a));
    if (memcmp(&before, &d, sizeof d) != 0 || out[0] != 7 || out[1] != 7 || two[0] != 7) {
        failures++;
        fprintf(stderr, "a call that was refused has changed something\n");
    }
}

// The environment is wrong: only init asks for it. Called as `models unknown-level` with ELMAN_LEVEL=none.
static int check_unknown_level(void)
{
    static float weights[ADAPTIVE_WEIGHTS_LEN];
    static adaptive a;
    detector d;
    EXPECT(ELMAN_CODE_UNKNOWN_LEVEL, detector_init(&d, sizeof d));
    EXPECT(ELMAN_CODE_UNKNOWN_LEVEL, adaptive_init(&a, sizeof a, weights, ADAPTIVE_WEIGHTS_LEN));
    return failures != 0;
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "unknown-level") == 0)
        return check_unknown_level();
    run_detector();
    run_speller();
    run_adaptive();
    check_lengths();
    check_refusals();
    return failures != 0;
}
