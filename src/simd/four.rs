//! What differs between the targets of the level `portable`, for those that `wide` knows.

use super::portable::Portable;
use super::{Matrix, estrin};
use wide::f32x4;

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

/// [`Simd::polynomial`](super::Simd::polynomial)
#[inline(always)]
pub(super) fn polynomial(base: f32x4, d: f32x4, coefficients: [f32x4; 7]) -> f32x4 {
    estrin(Portable, base, d, coefficients)
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
