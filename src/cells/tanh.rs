//! The cell of Elman 1990, "Finding structure in time": `h' = tanh(z)`.

use super::{Activation, layout_of_one_sum};
use crate::math::flush_gradient;
use crate::math::tanh::tanh;
use crate::simd::Simd;

/// The hyperbolic tangent, PyTorch's default `nonlinearity`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub struct Tanh;

layout_of_one_sum!(Tanh);

impl Activation for Tanh {
    #[inline(always)]
    fn activate<S: Simd>(s: S, z: S::F32) -> S::F32 {
        tanh(s, z)
    }

    /// `1 - y^2`, which is never negative, because `|y| <= 1`.
    #[inline(always)]
    fn d_sum<S: Simd>(s: S, d: S::F32, y: S::F32) -> S::F32 {
        flush_gradient(s, s.mul(d, s.neg_mul_add(y, y, s.splat(1.0))))
    }
}
