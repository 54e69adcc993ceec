//! The rectified cell, PyTorch's `nonlinearity='relu'` (Le, Jaitly & Hinton 2015, "A simple way to initialize recurrent
//! networks of rectified linear units"): `h' = max(z, 0)`.

use super::{Activation, layout_of_one_sum};
use crate::math::flush_gradient;
use crate::simd::Simd;

/// `max(z, 0)`, with the slope 0 where `z` is 0; denormal numbers become zero, NaN stays NaN.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub struct Relu;

layout_of_one_sum!(Relu);

impl Activation for Relu {
    #[inline(always)]
    fn activate<S: Simd>(s: S, z: S::F32) -> S::F32 {
        s.select_less(z, s.splat(f32::MIN_POSITIVE), s.splat(0.0), z)
    }

    /// `d` where `y > 0`, and where either is NaN.
    #[inline(always)]
    fn d_sum<S: Simd>(s: S, d: S::F32, y: S::F32) -> S::F32 {
        flush_gradient(s, s.select_less(y, s.splat(f32::MIN_POSITIVE), s.splat(0.0), d))
    }
}
