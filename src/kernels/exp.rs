//! placeholder
use crate::simd::Simd;
#[inline(always)]
pub(crate) fn exp<S: Simd>(s: S, x: S::F32) -> S::F32 {
    let mut a=[0.0f32;16]; s.store_partial(x,&mut a[..S::LANES]); for v in a.iter_mut() {*v=libm::expf(*v);} s.load(&a)
}
