//! Fused operations of four lanes and the square root, as `wide` has them.

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

/// The square root, correctly rounded.
#[inline(always)]
pub(super) fn sqrt(a: f32x4) -> f32x4 {
    a.sqrt()
}
