//! What differs between the targets of the level `portable`, for those that `wide` knows.

use super::portable::Portable;
use super::{Matrix, lookup_estrin};
use bytemuck::cast;
use wide::{f32x4, i32x4};

/// Whether [`mul_add`] rounds once.
pub(super) const FUSED: bool = cfg!(any(
    all(target_feature = "sse2", target_feature = "fma"),
    all(target_arch = "aarch64", target_feature = "neon")
));

/// `a * b + c`
#[inline(always)]
pub(super) fn mul_add(a: f32x4, b: f32x4, c: f32x4) -> f32x4 {
    a.mul_add(b, c)
}

/// `c - a * b`
#[inline(always)]
pub(super) fn neg_mul_add(a: f32x4, b: f32x4, c: f32x4) -> f32x4 {
    a.mul_neg_add(b, c)
}

/// [`Simd::select_less`](super::Simd::select_less)
#[inline(always)]
pub(super) fn select_less(a: f32x4, b: f32x4, then: f32x4, otherwise: f32x4) -> f32x4 {
    a.simd_lt(b).bitselect(then, otherwise)
}

/// [`Simd::select_less_i32`](super::Simd::select_less_i32)
#[inline(always)]
pub(super) fn select_less_i32(a: i32x4, b: i32x4, then: f32x4, otherwise: f32x4) -> f32x4 {
    cast::<i32x4, f32x4>(a.simd_lt(b)).bitselect(then, otherwise)
}

/// [`Simd::lookup_polynomial`](super::Simd::lookup_polynomial)
#[inline(always)]
pub(super) fn lookup_polynomial(base: f32x4, d: f32x4, tables: &[[f32; 16]; 7], index: i32x4) -> f32x4 {
    lookup_estrin(Portable, base, d, tables, index)
}

/// [`Simd::product`](super::Simd::product): no routine of its own.
#[inline(always)]
pub(super) fn product<M: Matrix, const P: usize>(_: [f32x4; P], _: &[f32], _: &[f32], _: bool) -> Option<[f32x4; P]> {
    None
}

/// The square root, correctly rounded.
#[inline(always)]
pub(super) fn sqrt(a: f32x4) -> f32x4 {
    a.sqrt()
}
