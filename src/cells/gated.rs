//! Cells of several sums a neuron: gates.
//!
//! Not part of the crate yet: the trait and [`Gru`] show that the way of a batch through time holds for such cells, and are
//! compiled for its tests alone, until the first gated layer makes them public.

use crate::math::exp::exp;
use crate::math::tanh::tanh;
use crate::simd::Simd;

/// A cell of `SUMS` sums for each neuron, some of which only the input or only the state feeds.
pub(crate) trait GatedCell<const SUMS: usize>: Copy + Send + Sync + 'static {
    /// Of each sum, the gates of `W_ih` and of `W_hh` that feed it: their places among the rows of PyTorch's matrices.
    const FED_BY: [(Option<usize>, Option<usize>); SUMS];

    /// The next state of one vector of neurons.
    fn forward<S: Simd>(s: S, sums: [S::F32; SUMS], h: S::F32) -> S::F32;
}

/// `r = sigmoid(W_ir x + b_ir + W_hr h + b_hr)`, `z` alike, `n = tanh(W_in x + b_in + r (W_hn h + b_hn))`,
/// `h' = (1 - z) n + z h` (Cho et al. 2014, as PyTorch computes it).
#[derive(Clone, Copy)]
pub(crate) struct Gru;

impl GatedCell<4> for Gru {
    const FED_BY: [(Option<usize>, Option<usize>); 4] =
        [(Some(0), Some(0)), (Some(1), Some(1)), (Some(2), None), (None, Some(2))];

    #[inline(always)]
    fn forward<S: Simd>(s: S, [r, z, n_x, n_h]: [S::F32; 4], h: S::F32) -> S::F32 {
        let n = tanh(s, s.mul_add(sigmoid(s, r), n_h, n_x));
        s.mul_add(sigmoid(s, z), s.sub(h, n), n)
    }
}

/// `1 / (1 + e^-x)`
#[inline(always)]
fn sigmoid<S: Simd>(s: S, x: S::F32) -> S::F32 {
    let one = s.splat(1.0);
    s.div(one, s.add(one, exp(s, s.sub(s.splat(0.0), x))))
}
