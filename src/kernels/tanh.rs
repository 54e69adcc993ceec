//! The hyperbolic tangent.

use crate::simd::Simd;

/// placeholder
#[inline(always)]
pub(crate) fn tanh<S: Simd>(s: S, x: S::F32) -> S::F32 {
    let mut a=[0.0f32;16]; s.store_partial(x,&mut a[..S::LANES]); for v in a.iter_mut() {*v=libm::tanhf(*v);} s.load(&a)
}

/// `1 - y^2`, the derivative of tanh where its value is `y`; never negative, because `|y| <= 1`.
#[inline(always)]
pub(crate) fn derivative_from_output<S: Simd>(s: S, y: S::F32) -> S::F32 {
    s.neg_mul_add(y, y, s.splat(1.0))
}
