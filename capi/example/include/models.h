#ifndef MODELS_H
#define MODELS_H

/* Made by elman-c-header. Change the Rust source instead. */

#include <stddef.h>
#include <stdint.h>
#if defined(__cplusplus)
#define ELMAN_ALIGNED(n) alignas(n)
#elif defined(__GNUC__)
#define ELMAN_ALIGNED(n) __attribute__((aligned(n)))
#elif defined(_MSC_VER)
#define ELMAN_ALIGNED(n) __declspec(align(n))
#else
#define ELMAN_ALIGNED(n)
#endif

// Words of memory.
#define DETECTOR_WORDS 10

// Elements of an input.
#define DETECTOR_INPUT_LEN 3

// Numbers of an output.
#define DETECTOR_OUTPUT_LEN 2

// Numbers of a state.
#define DETECTOR_STATE_LEN 8

// Words of memory.
#define SPELLER_WORDS 18

// Elements of an input.
#define SPELLER_INPUT_LEN 1

// Numbers of an output.
#define SPELLER_OUTPUT_LEN 4

// Numbers of a state.
#define SPELLER_STATE_LEN 16

// Words of memory.
#define ADAPTIVE_WORDS 560

// Elements of an input.
#define ADAPTIVE_INPUT_LEN 2

// Numbers of an output.
#define ADAPTIVE_OUTPUT_LEN 1

// Numbers of a state.
#define ADAPTIVE_STATE_LEN 13

// Numbers of all weights.
#define ADAPTIVE_WEIGHTS_LEN 519

// What a call answers. All but OK have changed nothing.
enum elman_code
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  // Done.
  ELMAN_CODE_OK = 0,
  // A pointer is null that must not be. That of an array of no numbers may be.
  ELMAN_CODE_NULL_POINTER = 1,
  // A pointer is not aligned to what it points to.
  ELMAN_CODE_MISALIGNED = 2,
  // The memory is smaller than the model needs.
  ELMAN_CODE_TOO_SMALL = 3,
  // The memory was not initialized, or by the init of another model.
  ELMAN_CODE_UNINITIALIZED = 4,
  // An array has not as many numbers as it should have.
  ELMAN_CODE_WRONG_LENGTH = 5,
  // An array lies in the memory of the model.
  ELMAN_CODE_OVERLAP = 6,
  // A token is not in the vocabulary.
  ELMAN_CODE_TOKEN_OUT_OF_RANGE = 7,
  // The environment variable ELMAN_LEVEL names an instruction set that this CPU does not have.
  ELMAN_CODE_UNKNOWN_LEVEL = 8,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum elman_code elman_code;
#else
typedef int32_t elman_code;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// Tells rest from motion, by three accelerations.
//
// The memory of one model: its state. It may be copied and needs no clean-up; its weights are constants.
typedef struct detector {
  uint32_t words[DETECTOR_WORDS];
} detector;

// Spells `ohlol` when it hears `hello`; the letters are e h l o.
//
// The memory of one model: its state. It may be copied and needs no clean-up; its weights are constants.
typedef struct speller {
  uint32_t words[SPELLER_WORDS];
} speller;

// Two layers, with weights that are given at run time.
//
// The memory of one model: its state and its weights. It may be copied, to memory of the same alignment, and needs no
// clean-up.
typedef struct ELMAN_ALIGNED(64) adaptive {
  uint32_t words[ADAPTIVE_WORDS];
} adaptive;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// Makes memory ready: the state is zero.
//
// `size` is how many bytes there are, `sizeof` of the type or more.
//
// # Safety
//
// There are as many bytes, that nobody else uses.
elman_code detector_init(struct detector *memory, size_t size);

// Bytes of memory.
size_t detector_size(void);

// What the address of memory has to be a multiple of.
size_t detector_align(void);

// Elements of an input.
size_t detector_input_len(void);

// Numbers of an output.
size_t detector_output_len(void);

// Numbers of a state.
size_t detector_state_len(void);

// Sets the state to zero: a new sequence begins.
//
// # Safety
//
// `memory` is made ready, and nobody else uses it.
elman_code detector_reset(struct detector *memory);

// Copies the state out, layer after layer; of an LSTM `h` and then `c`.
//
// # Safety
//
// `memory` is made ready, there is room for as many numbers, and nobody else uses either.
elman_code detector_state_get(struct detector *memory, float *state, size_t state_len);

// Copies a state in that was copied out.
//
// # Safety
//
// `memory` is made ready, nobody else uses it, and there are as many numbers.
elman_code detector_state_set(struct detector *memory, const float *state, size_t state_len);

// Goes one step on. The output may lie where the input does.
//
// # Safety
//
// `memory` is made ready, arrays are as long as they say, and nobody else uses them.
elman_code detector_step(struct detector *memory,
                         const float *input,
                         size_t input_len,
                         float *output,
                         size_t output_len);

// Goes on by a block of steps, whose inputs lie one behind the other, and so do their outputs.
//
// # Safety
//
// `memory` is made ready, arrays are as long as they say, and nobody else uses them.
elman_code detector_process(struct detector *memory,
                            size_t steps,
                            const float *inputs,
                            size_t inputs_len,
                            float *outputs,
                            size_t outputs_len);

// Makes memory ready: the state is zero.
//
// `size` is how many bytes there are, `sizeof` of the type or more.
//
// # Safety
//
// There are as many bytes, that nobody else uses.
elman_code speller_init(struct speller *memory, size_t size);

// Bytes of memory.
size_t speller_size(void);

// What the address of memory has to be a multiple of.
size_t speller_align(void);

// Elements of an input.
size_t speller_input_len(void);

// Numbers of an output.
size_t speller_output_len(void);

// Numbers of a state.
size_t speller_state_len(void);

// Sets the state to zero: a new sequence begins.
//
// # Safety
//
// `memory` is made ready, and nobody else uses it.
elman_code speller_reset(struct speller *memory);

// Copies the state out, layer after layer; of an LSTM `h` and then `c`.
//
// # Safety
//
// `memory` is made ready, there is room for as many numbers, and nobody else uses either.
elman_code speller_state_get(struct speller *memory, float *state, size_t state_len);

// Copies a state in that was copied out.
//
// # Safety
//
// `memory` is made ready, nobody else uses it, and there are as many numbers.
elman_code speller_state_set(struct speller *memory, const float *state, size_t state_len);

// Goes one step on.
//
// # Safety
//
// `memory` is made ready, the array is as long as it says, and nobody else uses them.
elman_code speller_step(struct speller *memory, uint32_t token, float *output, size_t output_len);

// Goes on by a block of steps, whose outputs lie one behind the other.
//
// # Safety
//
// `memory` is made ready, arrays are as long as they say, and nobody else uses them.
elman_code speller_process(struct speller *memory,
                           size_t steps,
                           const uint32_t *tokens,
                           size_t tokens_len,
                           float *outputs,
                           size_t outputs_len);

// Makes memory ready: the state is zero, the weights are copied.
//
// `size` is how many bytes there are, `sizeof` of the type or more. `weights` are the tensors of PyTorch's
// `parameters()` one behind the other, in their order and each in row-major order.
//
// # Safety
//
// There are as many bytes, that nobody else uses, and as many numbers.
elman_code adaptive_init(struct adaptive *memory, size_t size, const float *weights, size_t weights_len);

// Numbers of all weights.
size_t adaptive_weights_len(void);

// Bytes of memory.
size_t adaptive_size(void);

// What the address of memory has to be a multiple of.
size_t adaptive_align(void);

// Elements of an input.
size_t adaptive_input_len(void);

// Numbers of an output.
size_t adaptive_output_len(void);

// Numbers of a state.
size_t adaptive_state_len(void);

// Sets the state to zero: a new sequence begins.
//
// # Safety
//
// `memory` is made ready, and nobody else uses it.
elman_code adaptive_reset(struct adaptive *memory);

// Copies the state out, layer after layer; of an LSTM `h` and then `c`.
//
// # Safety
//
// `memory` is made ready, there is room for as many numbers, and nobody else uses either.
elman_code adaptive_state_get(struct adaptive *memory, float *state, size_t state_len);

// Copies a state in that was copied out.
//
// # Safety
//
// `memory` is made ready, nobody else uses it, and there are as many numbers.
elman_code adaptive_state_set(struct adaptive *memory, const float *state, size_t state_len);

// Goes one step on. The output may lie where the input does.
//
// # Safety
//
// `memory` is made ready, arrays are as long as they say, and nobody else uses them.
elman_code adaptive_step(struct adaptive *memory,
                         const float *input,
                         size_t input_len,
                         float *output,
                         size_t output_len);

// Goes on by a block of steps, whose inputs lie one behind the other, and so do their outputs.
//
// # Safety
//
// `memory` is made ready, arrays are as long as they say, and nobody else uses them.
elman_code adaptive_process(struct adaptive *memory,
                            size_t steps,
                            const float *inputs,
                            size_t inputs_len,
                            float *outputs,
                            size_t outputs_len);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* MODELS_H */
