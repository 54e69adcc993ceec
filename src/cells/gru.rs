//! The gated recurrent unit (Cho et al. 2014, "Learning phrase representations using RNN encoder-decoder"), as PyTorch
//! computes it: the reset gate multiplies `W_hn h + b_hn`, bias included.
//!
//! ```text
//! r = sigmoid(W_ir x + b_ir + W_hr h + b_hr)
//! z = sigmoid(W_iz x + b_iz + W_hz h + b_hz)
//! n = tanh(W_in x + b_in + r (W_hn h + b_hn))
//! h' = (1 - z) n + z h
//! ```

use super::{Carried, Feeds, Gated, Layout, SUMS};
use crate::math::sigmoid::{gate, logistic_slope};
use crate::math::tanh::tanh;
use crate::math::{flush_gradient, flush_state};
use crate::simd::Simd;

/// The gated recurrent unit: gates r, z, n.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub struct Gru;

/// The sums: `r`, `z`, `n_x = W_in x + b_in`, `n_h = W_hn h + b_hn`.
impl Layout for Gru {
    const CELL: Self = Gru;
    const FEEDS: Feeds = Feeds::new(SUMS, &[0, 1, 3]);
    type Row<const HID: usize> = [[f32; HID]; 3];
    type Sums<const HID: usize> = [[f32; HID]; SUMS];
    type Kept<const HID: usize> = [[f32; HID]; SUMS];
    type State<const HID: usize> = [f32; HID];
    #[cfg(feature = "alloc")]
    type States<const HID: usize> = alloc::vec::Vec<[f32; HID]>;
}

impl Gated for Gru {
    const CARRIES: bool = false;

    /// Keeps `r`, `z`, `n` and `n_h`.
    #[inline(always)]
    fn forward<S: Simd>(
        s: S,
        [r, z, n_x, n_h]: [S::F32; SUMS],
        before: Carried<S::F32>,
    ) -> (Carried<S::F32>, [S::F32; SUMS]) {
        let (r, z) = (gate(s, r), gate(s, z));
        let n = tanh(s, s.mul_add(r, n_h, n_x));
        let h = flush_state(s, s.mul_add(z, s.sub(before.h, n), n));
        (Carried { h, c: before.c }, [r, z, n, n_h])
    }

    /// `dn = dh' (1 - z) (1 - n^2)`, `dr = dn n_h r (1 - r)`, `dz = dh' (h - n) z (1 - z)`; directly `dh = dh' z`.
    #[inline(always)]
    fn backward<S: Simd>(
        s: S,
        [r, z, n, n_h]: [S::F32; SUMS],
        before: Carried<S::F32>,
        _: Carried<S::F32>,
        d: Carried<S::F32>,
    ) -> ([S::F32; SUMS], Carried<S::F32>) {
        let one = s.splat(1.0);
        let d_n = s.mul(s.mul(d.h, s.sub(one, z)), s.neg_mul_add(n, n, one));
        let d_r = s.mul(s.mul(d_n, n_h), logistic_slope(s, r));
        let d_z = s.mul(s.mul(d.h, s.sub(before.h, n)), logistic_slope(s, z));
        let d_sums = [
            flush_gradient(s, d_r),
            flush_gradient(s, d_z),
            flush_gradient(s, d_n),
            flush_gradient(s, s.mul(d_n, r)),
        ];
        (d_sums, Carried { h: flush_gradient(s, s.mul(d.h, z)), c: d.c })
    }
}
