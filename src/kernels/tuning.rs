//! Every threshold of the kernels, with what was measured for it and on which CPU.
//!
//! None of them changes a result: they choose between ways that give the same bits.
//!
//! "Zen 4" is an AMD EPYC of that generation (AVX-512 in halves, 32 KB L1, 1 MB L2), "Zen 3" its predecessor (AVX2, 512 KB
//! L2); where nothing else is said, a number was chosen on Zen 4 at both levels.

use crate::simd::{Level, Simd};

/// Numbers in a line of the cache.
pub(crate) const NUMBERS_PER_LINE: usize = 64 / size_of::<f32>();

/// Bytes of weights that the first level of the cache keeps from one evaluation to the next, beside what else it is for.
pub(crate) const BYTES_IN_L1: usize = 24 * 1024;

// ---------------------------------------------------------------- half-width vectors

/// The level for so many outputs, on half-width vectors where one holds all of them.
#[inline(always)]
pub(crate) fn narrow(level: Level, outputs: usize) -> Level {
    level.half_up_to(8, outputs)
}

/// The same for a step alone, which waits for its results: half-width vectors are faster up to three of them. Their
/// permutations take half as long, and 17 to 24 outputs fill more of them. Measured on Zen 4: 16 outputs take 19 % more
/// time on whole vectors and 24 take 17 % more, but 28 take 20 % less.
#[inline(always)]
pub(crate) fn narrow_alone(level: Level, outputs: usize) -> Level {
    level.half_up_to(24, outputs)
}

// ---------------------------------------------------------------- one sample, one step

/// Rows of weights that all panels take before the next ones come, where weights are read in the order in which they lie.
pub(crate) const WEIGHT_ROWS_TOGETHER: usize = 16;

/// Samples that take them together; their sums lie on the stack.
pub(crate) const SAMPLES_TOGETHER: usize = 4;

/// Whether a state that is one vector is read by fours. A core forwards several reads from a store that is still on its way
/// at one speed or at another, as it happens (Zen 4: 17 or 23 ns for each of very many steps of 4 neurons).
#[inline(always)]
pub(crate) const fn reads_state_by_fours<S: Simd>(inputs: usize) -> bool {
    inputs.is_multiple_of(4) && inputs <= S::LANES && S::LANES >= 8
}

/// Whether a long sum over several vectors reads its inputs by fours: it waits for its reads. With sixteen registers a state
/// gains nothing: what four numbers take longer to arrive than one is what they save.
#[inline(always)]
pub(crate) const fn reads_inputs_by_fours<S: Simd>(terms_of_chain: usize, are_state: bool) -> bool {
    terms_of_chain >= 32 && (S::REGISTERS == 32 || S::LANES >= 8 && !are_state)
}

// ---------------------------------------------------------------- one sequence

/// Steps that are projected together where a sample goes through time alone: whole tiles of six or eight rows, so many that
/// bringing the weights of the input near, for which those of the recurrence have to go, is rare.
#[cfg(feature = "alloc")]
pub(crate) const STEPS_ALONE: usize = 96;

/// Samples below which each is taken through time alone, several chains at once; above, as rows of a tile.
#[cfg(feature = "alloc")]
pub(crate) const SAMPLES_FOR_TILES: usize = 4;

// ---------------------------------------------------------------- batches

/// Samples that go through time together in a forward pass: enough that reading the weights is cheap, few enough that
/// their states stay near.
#[cfg(feature = "alloc")]
pub(crate) const SAMPLES_IN_CACHE: usize = 64;

/// Numbers from which on rows are prefetched, 1 MB: more than lies near a core.
#[cfg(feature = "alloc")]
pub(crate) const FAR: usize = 1024 * 1024 / size_of::<f32>();

/// The same for a backward through time, which goes through four such tables at once: 512 KB.
#[cfg(feature = "alloc")]
pub(crate) const FAR_BACK: usize = FAR / 2;

/// How many steps before their use rows are prefetched: enough to come from memory, few enough to be still there.
#[cfg(feature = "alloc")]
pub(crate) const STEPS_AHEAD: usize = 2;

/// Neurons from which on the inputs of a forward come in time without a prefetch.
#[cfg(feature = "alloc")]
pub(crate) const NEURONS_IN_TIME: usize = 64;

/// Numbers that stay in the second level of the cache while all panels pass by: 128 KB.
#[cfg(feature = "alloc")]
pub(crate) const NEAR: usize = 128 * 1024 / size_of::<f32>();

/// Chains of a sum that a tile takes side by side. With 32 registers two: on CPUs that store half a vector in a cycle, each
/// way through memory costs as much as two multiply-adds. With 16, two would leave room for half as many rows, and twice as
/// many tiles would begin and end.
#[cfg(feature = "alloc")]
#[inline(always)]
pub(crate) const fn chains_side_by_side<S: Simd>() -> usize {
    if S::REGISTERS == 32 { 2 } else { 1 }
}

/// How the epilogue of a tile reaches its sums: right out of their registers where there are enough for the constants of an
/// activation beside them and the activation is short (AVX-512), otherwise out of a copy.
#[cfg(feature = "alloc")]
#[inline(always)]
pub(crate) const fn finishes_in_registers<S: Simd>() -> bool {
    S::REGISTERS == 32 && S::LANES == 16
}

/// Whether an epilogue out of a copy is a function of its own. Within a tile of six rows, with 16 registers, the compiler
/// would keep the constants of an activation in registers, and sums in memory.
#[cfg(feature = "alloc")]
#[inline(always)]
pub(crate) const fn finishes_apart<S: Simd>() -> bool {
    S::TILE_ROWS == 6
}

/// Terms that a tile of one chain takes at a time, which saves instructions: a compiler then loads the inputs of all of them
/// first. With two chains, with sixteen sums, or with 16 registers and six rows, it would find no registers for them.
#[cfg(feature = "alloc")]
pub(crate) const TERMS_UNROLLED: usize = 4;

/// Whether a tile takes [`TERMS_UNROLLED`] terms at a time.
#[cfg(feature = "alloc")]
#[inline(always)]
pub(crate) const fn unrolls_terms<S: Simd>(chains: usize, rows: usize, vectors: usize) -> bool {
    chains == 1 && rows * vectors != 16 && S::TILE_ROWS != 6
}

// ---------------------------------------------------------------- samples in lanes

/// How many samples, the first ones, a forward takes in lanes.
#[cfg(feature = "alloc")]
pub(crate) const fn samples_in_lanes(lanes: usize, hidden: usize, samples: usize) -> usize {
    let full_enough = lanes == 16 && hidden <= 32 && nearly_fill_16(hidden);
    if leave_lanes_empty(lanes, hidden) && !full_enough { whole_vectors(lanes, hidden, samples) } else { 0 }
}

/// Whether the way back takes so many samples in lanes. More is turned into columns than in a forward, and a single vector of
/// neurons has to be emptier.
#[cfg(feature = "alloc")]
pub(crate) const fn back_in_lanes(lanes: usize, hidden: usize, samples: usize) -> bool {
    let full_enough = lanes == 16 && (nearly_fill_16(hidden) || 12 < hidden && hidden <= 16);
    leave_lanes_empty(lanes, hidden) && !full_enough && whole_vectors(lanes, hidden, samples) == samples
}

/// Whether the neurons do not fill pairs of vectors (of 16 lanes, whole vectors). Then samples are faster in lanes, by 3 to
/// 12 % (AVX-512) and up to 11 % (AVX2), as measured for this and all that follows; many neurons lose little.
#[cfg(feature = "alloc")]
const fn leave_lanes_empty(lanes: usize, hidden: usize) -> bool {
    let filled = if lanes < 8 { 2 * lanes } else { 16 };
    !hidden.is_multiple_of(filled) && hidden < 104
}

/// Whether neurons fill nearly all lanes of vectors of 16.
#[cfg(feature = "alloc")]
const fn nearly_fill_16(hidden: usize) -> bool {
    15 * hidden >= 14 * hidden.next_multiple_of(16)
}

/// How many of some samples are whole vectors, or pairs of them where a single vector is no faster than rows of neurons.
#[cfg(feature = "alloc")]
const fn whole_vectors(lanes: usize, hidden: usize, samples: usize) -> usize {
    samples - samples % if lanes == 16 || hidden < 40 { lanes } else { 2 * lanes }
}

/// How many steps are turned into columns and back together, where one has so many numbers: the rows of a sample's steps
/// lie one behind the other, and 16 of them fill vectors. What is turned stays in the second level of the cache.
#[cfg(feature = "alloc")]
#[inline(always)]
pub(crate) fn steps_in_columns(numbers: usize) -> usize {
    (NEAR / numbers.max(1)).clamp(1, 16)
}

/// Columns that are left over after whole blocks of a transpose and are moved one number at a time: shuffling a block takes
/// longer.
pub(crate) const FEW_COLUMNS_TO_TURN: usize = 4;

// ---------------------------------------------------------------- weight gradients

/// Inputs from which on those of a tile are copied before they are multiplied: the inputs of a block lie far apart then, and
/// do not stay near while the panels pass by. Measured at AVX2 on Zen 3: with 256 inputs training gains 5 %; with 128 the
/// copies cost what the products gain.
#[cfg(feature = "alloc")]
pub(crate) const fn inputs_for_slabs<S: Simd>() -> usize {
    if S::TILE_ROWS == 6 { 256 } else { 512 }
}

/// Tiles whose inputs are copied together: what is read of a row fills lines of the cache, and what is written stays in
/// the second level.
#[cfg(feature = "alloc")]
pub(crate) const TILES_TOGETHER: usize = 8;

/// Columns up to which the rows of a block are so near that panels need not be packed: 256 rows of 32 numbers take 32 KB.
#[cfg(feature = "alloc")]
pub(crate) const COLUMNS_IN_PLACE: usize = 32;

/// The most columns that are few enough to go by inputs in lanes.
#[cfg(feature = "alloc")]
pub(crate) const MOST_OF_FEW: usize = 4;

// ---------------------------------------------------------------- softmax

/// Rows that go through each phase together: one alone would wait for its maximum, its sum and its quotient.
#[cfg(feature = "alloc")]
pub(crate) const SOFTMAX_ROWS_TOGETHER: usize = 8;

/// Numbers in a row up to which that pays: all of them are in the first level of the cache meanwhile.
#[cfg(feature = "alloc")]
pub(crate) const SOFTMAX_WIDEST_TOGETHER: usize = 256;

// ---------------------------------------------------------------- threads

/// Floating-point operations below which a pass stays on the calling thread: waking another one costs as long.
#[cfg(feature = "rayon")]
pub(crate) const OPERATIONS_FOR_THREADS: usize = 2_000_000;
