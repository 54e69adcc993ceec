//! The lanes every kernel is written over: one trait, one implementation per instruction set.
//!
//! A value of a [`Simd`] type is a *token*: it exists only where its instruction set exists (its field is private, and it is
//! made by detection or, AVX2's, from the token of AVX-512, which detects both), so holding one is the proof that its
//! operations may be executed. That is why the operations are safe functions. `Portable` needs no proof.
//!
//! All operations are elementwise IEEE 754 single precision, rounded to nearest even; [`Simd::mul_add`] is fused where
//! [`Simd::FUSED`] says so. Nothing here depends on the number of lanes except [`Simd::LANES`] itself, and a kernel
//! that never adds across lanes therefore computes the same bits at every fused level.

// ARM's M profile with a floating-point unit: of the targets whose ABI passes floats in registers, those without 64-bit atomics.
#[cfg_attr(
    all(target_arch = "arm", target_os = "none", target_abi = "eabihf", not(target_has_atomic = "64")),
    path = "arm/m_profile.rs"
)]
mod four;
mod level;
#[cfg_attr(all(target_arch = "aarch64", target_feature = "neon"), path = "arm/neon.rs")]
mod lookup;
pub(crate) mod portable;
#[cfg(all(test, feature = "std"))]
pub(crate) mod ran;
#[cfg(all(test, feature = "std"))]
mod tests;
#[cfg(target_arch = "x86_64")]
pub(crate) mod x86;

pub use level::{Level, UnknownLevel};

/// The lane operations of one instruction set.
///
/// Implementations mark every method `#[inline(always)]`: an operation that is not inlined into its trampoline becomes
/// a function call.
#[cfg_attr(not(feature = "alloc"), allow(dead_code, reason = "training needs more operations than a step"))]
pub(crate) trait Simd: Copy + Send + Sync {
    /// Lanes in one vector: 4, 8 or 16.
    const LANES: usize;
    /// Whether [`Simd::mul_add`] rounds once.
    const FUSED: bool;
    /// Rows of a register tile, two vectors wide, that this instruction set has registers for: 4, 6 or 8.
    const TILE_ROWS: usize;
    /// Vector registers.
    const REGISTERS: usize = if Self::TILE_ROWS == 8 { 32 } else { 16 };
    /// The lanes for what fills at most half a vector, where the CPU has them and they compute the same bits; otherwise
    /// these lanes themselves.
    type Half: Simd;
    /// `LANES` single-precision numbers.
    type F32: Copy + bytemuck::Pod;
    /// `LANES` 32-bit integers, used as bit patterns and as table indices.
    type I32: Copy;

    /// Runs a kernel that stands for itself: one function for all kernels that call it, never inlined into them.
    fn call<K: Kernel>(self, kernel: K) -> K::Output;

    /// The token of [`Simd::Half`].
    fn half(self) -> Self::Half;

    /// Prefetches the cache line that the slice begins in, where the instruction set can.
    fn prefetch(self, from: &[f32]);
    /// The same, into the second level of the cache, past the first: for what is needed later.
    fn prefetch_for_later(self, from: &[f32]);
    /// `x` in every lane.
    fn splat(self, x: f32) -> Self::F32;
    /// The first `LANES` elements. Panics if there are fewer.
    fn load(self, from: &[f32]) -> Self::F32;
    /// The first elements of a slice that may be shorter than a vector; zero in the lanes that it does not reach.
    fn load_partial(self, from: &[f32]) -> Self::F32;
    /// Writes all lanes to the first `LANES` elements. Panics if there are fewer.
    fn store(self, v: Self::F32, to: &mut [f32]);
    /// Writes as many lanes as the slice has room for; the other lanes are dropped.
    fn store_partial(self, v: Self::F32, to: &mut [f32]);

    /// `a + b`
    fn add(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// `a - b`
    fn sub(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// `a * b`
    fn mul(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// `a / b`, correctly rounded.
    fn div(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// `a * b + c`, rounded once where [`Simd::FUSED`].
    fn mul_add(self, a: Self::F32, b: Self::F32, c: Self::F32) -> Self::F32;
    /// `c - a * b`, rounded once where [`Simd::FUSED`].
    fn neg_mul_add(self, a: Self::F32, b: Self::F32, c: Self::F32) -> Self::F32;
    /// `base + d (c0 + c1 d + ... + c6 d^6)`, in the order of [`lookup_estrin`]; `c0` is `tables[0][index & 7]`, and so on.
    #[inline(always)]
    fn lookup_polynomial(self, base: Self::F32, d: Self::F32, tables: &[[f32; 16]; 7], index: Self::I32) -> Self::F32 {
        lookup_estrin(self, base, d, tables, index)
    }
    /// `P` vectors of `start[n] + sum over k of x[k] * weight[k][n]` by a routine of the instruction set's own, where it has
    /// one. The weights begin with the first vector of the first row; of the last vector only the last columns are needed if
    /// `partial`.
    #[inline(always)]
    fn product<M: Matrix, const P: usize>(
        self,
        _start: [Self::F32; P],
        _x: &[f32],
        _weight: &[f32],
        _partial: bool,
    ) -> Option<[Self::F32; P]> {
        None
    }
    /// The square root, correctly rounded.
    fn sqrt(self, a: Self::F32) -> Self::F32;
    /// The smaller one; **`b` where either is NaN**. Of a constant and data, data therefore goes second.
    fn min(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// The larger one; **`b` where either is NaN**.
    fn max(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// The lanes of `a` and `b` in turn within each four lanes: `a0 b0 a1 b1 a4 b4 a5 b5 ...` and `a2 b2 a3 b3 a6 b6 ...`.
    fn interleave(self, a: Self::F32, b: Self::F32) -> (Self::F32, Self::F32);
    /// Each four lanes of `a` and `b` in turn, the first half of them and the second; `a` and `b` if they are one four.
    fn interleave_fours(self, a: Self::F32, b: Self::F32) -> (Self::F32, Self::F32);
    /// `then` where `a < b`, `otherwise` elsewhere (also where either is NaN).
    fn select_less(self, a: Self::F32, b: Self::F32, then: Self::F32, otherwise: Self::F32) -> Self::F32;
    /// The same for integers.
    fn select_less_i32(self, a: Self::I32, b: Self::I32, then: Self::F32, otherwise: Self::F32) -> Self::F32;
    /// Zero where `|a| < limit`, `a` elsewhere (also where either is NaN).
    fn zero_small(self, a: Self::F32, limit: Self::F32) -> Self::F32;

    /// The first four elements again and again. Panics if there are fewer.
    fn load_four(self, from: &[f32]) -> Self::F32;
    /// Of vectors like those of [`Simd::load_four`], element `i & 3` in every lane.
    fn one_of_four(self, a: Self::F32, i: i32) -> Self::F32;

    /// The bit pattern.
    fn to_bits(self, a: Self::F32) -> Self::I32;
    /// The number with this bit pattern.
    fn with_bits(self, a: Self::I32) -> Self::F32;
    /// `x` in every lane.
    fn splat_i32(self, x: i32) -> Self::I32;
    /// `a + b`, wrapping.
    fn add_i32(self, a: Self::I32, b: Self::I32) -> Self::I32;
    /// `a - b`, wrapping.
    fn sub_i32(self, a: Self::I32, b: Self::I32) -> Self::I32;
    /// `a & b`
    fn and(self, a: Self::I32, b: Self::I32) -> Self::I32;
    /// `a | b`
    fn or(self, a: Self::I32, b: Self::I32) -> Self::I32;
    /// `a << BITS`
    fn shift_left<const BITS: i32>(self, a: Self::I32) -> Self::I32;
    /// `a >> BITS`, filling with zeros.
    fn shift_right<const BITS: i32>(self, a: Self::I32) -> Self::I32;
    /// `table[index & 7]`, of a table whose second half repeats the first.
    fn lookup(self, table: &[f32; 16], index: Self::I32) -> Self::F32;
}

/// The shape of a matrix of a product, and how its sums are cut: see the canonical order of the kernels.
#[allow(dead_code, reason = "it is for routines that only some instruction sets have")]
pub(crate) trait Matrix {
    /// Numbers from one row to the next.
    const COLUMNS: usize;
    /// Rows of each chain, which are added `(c0 + c1) + (c2 + c3)`: one, two or four chains are not empty.
    const CHAINS: [usize; 4];
}

/// 2^-60
const SMALLEST_SQUARE: f32 = f32::from_bits((127 - 60) << 23);

/// `base + d (c0 + c1 d + ... + c6 d^6)`, by Estrin's scheme (1960).
///
/// The fourth power of a small `d` would be denormal: the square under it is kept above 2^-60, which changes tanh for no float.
#[inline(always)]
fn lookup_estrin<S: Simd>(s: S, base: S::F32, d: S::F32, tables: &[[f32; 16]; 7], index: S::I32) -> S::F32 {
    let [c0, c1, c2, c3, c4, c5, c6] = tables;
    let c01 = s.mul_add(s.lookup(c1, index), d, s.lookup(c0, index));
    let c23 = s.mul_add(s.lookup(c3, index), d, s.lookup(c2, index));
    let c45 = s.mul_add(s.lookup(c5, index), d, s.lookup(c4, index));
    let d2 = s.mul(d, d);
    let c46 = s.mul_add(d2, s.lookup(c6, index), c45);
    let above = s.max(s.splat(SMALLEST_SQUARE), d2);
    let p = s.mul_add(s.mul(above, above), c46, s.mul_add(d2, c23, c01));
    s.mul_add(d, p, base)
}

/// Loads a whole vector where there is one, or what there is of it.
#[inline(always)]
pub(crate) fn load_some<S: Simd>(s: S, from: &[f32]) -> S::F32 {
    if from.len() >= S::LANES { s.load(from) } else { s.load_partial(from) }
}

/// Stores a whole vector where there is room for it, or as much as there is room for. The branch pays: a masked store
/// costs as much as a dozen plain ones on some CPUs with AVX2.
#[inline(always)]
pub(crate) fn store_some<S: Simd>(s: S, v: S::F32, to: &mut [f32]) {
    if to.len() >= S::LANES { s.store(v, to) } else { s.store_partial(v, to) }
}

/// A computation that can run over any lanes: what a [`Level`] dispatches.
///
/// `run` must be `#[inline(always)]`, and so must everything between it and the lane operations: the trampoline that
/// calls it is what carries the target features.
pub(crate) trait Kernel {
    type Output;
    fn run<S: Simd>(self, simd: S) -> Self::Output;
}
