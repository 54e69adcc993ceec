//! The kernels: one operation a file, each written once over [`Simd`](crate::simd::Simd) and free of `unsafe`.
//!
//! # The canonical order of summation
//!
//! Every matrix-vector product of the crate, `z[n] = init[n] + sum over k of x[k] * w[k][n]`, is summed in one order,
//! whatever the instruction set, the batch and the kernel, so that all of them give the same bits:
//!
//! 1. The sum over `k` is cut into [`chains`]`(K, N)` contiguous blocks of nearly equal length ([`chain_start`]).
//! 2. Each block is a chain of multiply-adds in ascending `k`. The first chain starts from `init[n]`, the others from 0.
//! 3. The chains are added pairwise: `(c0 + c1) + (c2 + c3)`.
//!
//! Output neurons sit in lanes, so the order does not depend on the number of lanes. Several chains exist because one
//! alone would leave a core waiting for the latency of its multiply-add unit where few neurons are computed at a time
//! (one sample, one step); with many samples in flight two at a time or one after the other do as well.
#![forbid(unsafe_code)]

/// A block again and again, for every index in a list that lies below a constant, or for all of them: no loop, whatever
/// the compiler optimizes for.
///
/// Sums stay in registers only where the indices of their arrays are constants. With `opt-level = "s"` or `"z"`, which
/// programs for small devices are compiled with, a compiler unrolls no loop.
macro_rules! unrolled {
    ($i:ident < $n:expr, $body:block) => {
        const { assert!($n <= 12) };
        unrolled!($i < $n, of 0 1 2 3 4 5 6 7 8 9 10 11, $body);
    };
    ($i:ident < $n:expr, of $($index:literal)*, $body:block) => {
        $(if const { $index < $n } {
            let $i = $index;
            $body
        })*
    };
    ($i:ident of $($index:literal)*, $body:block) => {
        $({
            let $i = $index;
            $body
        })*
    };
}

pub(crate) mod adam;
#[cfg(feature = "alloc")]
pub(crate) mod cascade;
#[cfg(all(test, feature = "std"))]
mod exhaustive;
pub(crate) mod exp;
pub(crate) mod matvec;
#[cfg(feature = "alloc")]
mod neuron_tile;
#[cfg(feature = "alloc")]
pub(crate) mod pack;
#[cfg(feature = "alloc")]
pub(crate) mod recurrence;
#[cfg(feature = "alloc")]
pub(crate) mod samples_in_lanes;
pub(crate) mod softmax;
pub(crate) mod tanh;
#[cfg(feature = "alloc")]
pub(crate) mod tile;
pub(crate) mod transpose;
mod view;
pub(crate) mod weight_gradient;

/// Numbers in a line of the cache.
pub(crate) const NUMBERS_PER_LINE: usize = 64 / size_of::<f32>();

/// Bytes of weights that the first level of the cache keeps from one evaluation to the next, beside what else it is for.
pub(crate) const BYTES_IN_L1: usize = 24 * 1024;

/// Gradients of sums and logits below it, 7.7e-34, count as zero: 2^-110.
///
/// A gradient that dies on its way back through time would otherwise end among the denormal numbers, below 2^-126, and stay
/// there, as their rounding stops it; many CPUs take a hundred cycles longer for each multiply-add that has a denormal result.
/// A limit of 2^-126 would not do: products with weights and states, and their partial sums, fall below it first. Counted for
/// 64 neurons with PyTorch's initial weights, 200 steps and a gradient at the last one, of all vectors of multiply-adds:
///
/// | limit | none | 2^-126 | 2^-118 | 2^-114 | 2^-110 |
/// |---|---|---|---|---|---|
/// | denormal | 18 % | 5.8 % | 0.25 % | 0.012 % | 0.0004 % |
pub(crate) const SMALLEST_GRADIENT: f32 = f32::from_bits((127 - 110) << 23);

/// Vectors of zeros. Not `[zero; P]`, which is compiled to a loop where programs are optimized for size.
#[inline(always)]
fn zeros<T: bytemuck::Zeroable>() -> T {
    T::zeroed()
}

/// `numbers[first..]`, which is a call with `opt-level = "z"`.
#[inline(always)]
fn starting_at(numbers: &[f32], first: usize) -> &[f32] {
    &numbers[first..numbers.len()]
}

/// The same, to be written.
#[inline(always)]
fn starting_at_mut(numbers: &mut [f32], first: usize) -> &mut [f32] {
    let end = numbers.len();
    &mut numbers[first..end]
}

/// The numbers of rows one after the other. `as_flattened` is a call with `lto = "off"`, and hides how many they are.
#[inline(always)]
pub(crate) fn flat<const N: usize>(rows: &[[f32; N]]) -> &[f32] {
    bytemuck::must_cast_slice(rows)
}

/// The same, to be written.
#[inline(always)]
pub(crate) fn flat_mut<const N: usize>(rows: &mut [[f32; N]]) -> &mut [f32] {
    bytemuck::must_cast_slice_mut(rows)
}

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
