//! The canonical order of summation, which makes all kernels at all levels give the same bits.
//!
//! # Products
//!
//! Every matrix-vector product of the crate, `z[n] = init[n] + sum over k of x[k] * w[k][n]`, is summed in one order,
//! whatever the instruction set, the batch and the kernel:
//!
//! 1. The sum over `k` is cut into [`chains`]`(K, N)` contiguous blocks of nearly equal length ([`chain_start`]).
//! 2. Each block is a chain of multiply-adds in ascending `k`. The first chain starts from `init[n]`, the others from 0.
//! 3. The chains are added pairwise: `(c0 + c1) + (c2 + c3)`.
//!
//! Output neurons sit in lanes, so the order does not depend on the number of lanes. Several chains exist because one
//! alone would leave a core waiting for the latency of its multiply-add unit where few neurons are computed at a time
//! (one sample, one step); with many samples in flight two at a time or one after the other do as well.
//!
//! # Gradients
//!
//! A gradient is a sum over samples and steps. It is summed over [`SAMPLES_PER_GROUP`] samples and [`STEPS_PER_BLOCK`] steps
//! from zero, sample after sample and step after step; these sums are added up from the end of time to its beginning and
//! from the first group of a share to its last ([`Cascade`](super::gradient::Cascade)), and then share after share.

/// How many chains the sum over `k` terms for each of `n` outputs is cut into: 1, 2 or 4.
///
/// Fewer than 32 outputs make one or two vectors of 16, which need four chains to keep two FMA units of latency four
/// busy; fewer than 128 need two, and more fill the units by themselves. A short sum is not worth cutting.
///
/// What this costs batches, which would need no chains at all (measured with one chain everywhere, AVX-512, forward and
/// training): 2 and 1 % with 32 outputs, 1 and 2 % with 64, nothing from 128 on; 8 and 7 % with 16, where one sample alone
/// would lose a fifth without them.
#[inline(always)]
pub(crate) const fn chains(k: usize, n: usize) -> usize {
    if k < 4 || n >= 128 {
        1
    } else if k < 8 || n >= 32 {
        2
    } else {
        4
    }
}

/// Where chain `c` of `chains` begins in a sum over `k` terms; chain `c` ends where `c + 1` begins.
#[inline(always)]
pub(crate) const fn chain_start(c: usize, chains: usize, k: usize) -> usize {
    (c * k) >> chains.trailing_zeros()
}

/// Steps that are projected, differentiated and summed into the weight gradients together, while they are in cache.
#[cfg(feature = "alloc")]
pub(crate) const STEPS_PER_BLOCK: usize = 16;

/// Samples that go through a backward together, and the least that a thread is given.
#[cfg(feature = "alloc")]
pub(crate) const SAMPLES_PER_GROUP: usize = 16;

/// Shares of a batch whose gradients are summed apart, and then added: so many that there are enough for the threads, so few
/// that their memory stays a small multiple of the parameters however large the batch.
#[cfg(feature = "alloc")]
const MOST_SHARES: usize = 32;

/// Samples in a share: whole groups.
#[cfg(feature = "alloc")]
pub(crate) fn samples_per_share(samples: usize) -> usize {
    samples.div_ceil(SAMPLES_PER_GROUP).div_ceil(MOST_SHARES).max(1) * SAMPLES_PER_GROUP
}

/// Where the blocks of a sequence begin and end, the last one first. They begin at multiples of [`STEPS_PER_BLOCK`], so
/// that a sequence cut into chunks at such multiples has the same blocks.
#[cfg(feature = "alloc")]
pub(crate) fn blocks_from_the_end(steps: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..steps.div_ceil(STEPS_PER_BLOCK))
        .rev()
        .map(move |block| (block * STEPS_PER_BLOCK, steps.min((block + 1) * STEPS_PER_BLOCK)))
}
