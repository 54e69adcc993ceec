//! Four lanes over `wide`, which knows at compile time what the target has: SSE2, NEON, simd128 or plain scalars.

use super::lookup::lookup;
use super::{Kernel, Matrix, Simd, four};
use bytemuck::cast;
use wide::{f32x4, i32x4, u32x4};

/// The level that every target has; it needs no proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq, bytemuck::Zeroable)]
pub(crate) struct Portable;

impl Portable {
    /// The token, which every CPU has.
    #[inline]
    pub(crate) fn detect() -> Option<Self> {
        Some(Self)
    }

    /// Runs a kernel compiled for the target's own features.
    #[inline]
    pub(crate) fn run<K: Kernel>(self, kernel: K) -> K::Output {
        kernel.run(self)
    }
}

impl Simd for Portable {
    const LANES: usize = 4;
    const FUSED: bool = four::FUSED;
    const TILE_ROWS: usize = if cfg!(target_arch = "aarch64") { 8 } else { 4 };
    type Half = Self;
    type F32 = f32x4;
    type I32 = i32x4;

    #[inline(never)]
    fn call<K: Kernel>(self, kernel: K) -> K::Output {
        kernel.run(self)
    }
    #[inline(always)]
    fn half(self) -> Self::Half {
        self
    }

    #[inline(always)]
    fn prefetch(self, _: &[f32]) {}
    #[inline(always)]
    fn prefetch_for_later(self, _: &[f32]) {}
    #[inline(always)]
    fn splat(self, x: f32) -> f32x4 {
        // `f32x4::splat` and its like are loops with `opt-level = "s"`.
        f32x4::new([x, x, x, x])
    }
    #[inline(always)]
    fn load(self, from: &[f32]) -> f32x4 {
        f32x4::new([from[0], from[1], from[2], from[3]])
    }
    #[inline(always)]
    fn load_partial(self, from: &[f32]) -> f32x4 {
        if from.len() >= 4 {
            return self.load(from);
        }
        let mut lanes = [0.0; 4];
        for (lane, x) in lanes.iter_mut().zip(from) {
            *lane = *x;
        }
        f32x4::new(lanes)
    }
    #[inline(always)]
    fn store(self, v: f32x4, to: &mut [f32]) {
        *to.first_chunk_mut().expect("room for four lanes") = v.to_array();
    }
    #[inline(always)]
    fn store_partial(self, v: f32x4, to: &mut [f32]) {
        if to.len() >= 4 {
            return self.store(v, to);
        }
        for (x, lane) in to.iter_mut().zip(v.to_array()) {
            *x = lane;
        }
    }

    #[inline(always)]
    fn add(self, a: f32x4, b: f32x4) -> f32x4 {
        a + b
    }
    #[inline(always)]
    fn sub(self, a: f32x4, b: f32x4) -> f32x4 {
        a - b
    }
    #[inline(always)]
    fn mul(self, a: f32x4, b: f32x4) -> f32x4 {
        a * b
    }
    #[inline(always)]
    fn div(self, a: f32x4, b: f32x4) -> f32x4 {
        a / b
    }
    #[inline(always)]
    fn mul_add(self, a: f32x4, b: f32x4, c: f32x4) -> f32x4 {
        four::mul_add(a, b, c)
    }
    #[inline(always)]
    fn neg_mul_add(self, a: f32x4, b: f32x4, c: f32x4) -> f32x4 {
        four::neg_mul_add(a, b, c)
    }
    #[inline(always)]
    fn lookup_polynomial(self, base: f32x4, d: f32x4, tables: &[[f32; 16]; 7], index: i32x4) -> f32x4 {
        four::lookup_polynomial(base, d, tables, index)
    }
    #[inline(always)]
    fn product<M: Matrix, const P: usize>(
        self,
        start: [f32x4; P],
        x: &[f32],
        weight: &[f32],
        partial: bool,
    ) -> Option<[f32x4; P]> {
        four::product::<M, P>(start, x, weight, partial)
    }
    #[inline(always)]
    fn sqrt(self, a: f32x4) -> f32x4 {
        four::sqrt(a)
    }
    #[inline(always)]
    fn min(self, a: f32x4, b: f32x4) -> f32x4 {
        self.select_less(a, b, a, b)
    }
    #[inline(always)]
    fn max(self, a: f32x4, b: f32x4) -> f32x4 {
        self.select_less(b, a, a, b)
    }
    #[inline(always)]
    fn interleave(self, a: f32x4, b: f32x4) -> (f32x4, f32x4) {
        let ([a0, a1, a2, a3], [b0, b1, b2, b3]) = (a.to_array(), b.to_array());
        (f32x4::new([a0, b0, a1, b1]), f32x4::new([a2, b2, a3, b3]))
    }
    #[inline(always)]
    fn interleave_fours(self, a: f32x4, b: f32x4) -> (f32x4, f32x4) {
        (a, b)
    }
    #[inline(always)]
    fn zero_small(self, a: f32x4, limit: f32x4) -> f32x4 {
        self.select_less(self.with_bits(self.and(self.to_bits(a), self.splat_i32(i32::MAX))), limit, f32x4::ZERO, a)
    }
    #[inline(always)]
    fn select_less(self, a: f32x4, b: f32x4, then: f32x4, otherwise: f32x4) -> f32x4 {
        four::select_less(a, b, then, otherwise)
    }
    #[inline(always)]
    fn select_less_i32(self, a: i32x4, b: i32x4, then: f32x4, otherwise: f32x4) -> f32x4 {
        four::select_less_i32(a, b, then, otherwise)
    }
    #[inline(always)]
    fn load_four(self, from: &[f32]) -> f32x4 {
        self.load(from)
    }
    #[inline(always)]
    fn one_of_four(self, a: f32x4, i: i32) -> f32x4 {
        self.splat(a.to_array()[(i & 3) as usize])
    }

    #[inline(always)]
    fn to_bits(self, a: f32x4) -> i32x4 {
        cast(a)
    }
    #[inline(always)]
    fn with_bits(self, a: i32x4) -> f32x4 {
        cast(a)
    }
    #[inline(always)]
    fn splat_i32(self, x: i32) -> i32x4 {
        i32x4::new([x, x, x, x])
    }
    #[inline(always)]
    fn add_i32(self, a: i32x4, b: i32x4) -> i32x4 {
        a + b
    }
    #[inline(always)]
    fn sub_i32(self, a: i32x4, b: i32x4) -> i32x4 {
        a - b
    }
    #[inline(always)]
    fn and(self, a: i32x4, b: i32x4) -> i32x4 {
        a & b
    }
    #[inline(always)]
    fn or(self, a: i32x4, b: i32x4) -> i32x4 {
        a | b
    }
    #[inline(always)]
    fn shift_left<const BITS: i32>(self, a: i32x4) -> i32x4 {
        a << BITS
    }
    #[inline(always)]
    fn shift_right<const BITS: i32>(self, a: i32x4) -> i32x4 {
        cast(cast::<_, u32x4>(a) >> BITS)
    }
    #[inline(always)]
    fn lookup(self, table: &[f32; 16], index: i32x4) -> f32x4 {
        lookup(table, index)
    }
}
