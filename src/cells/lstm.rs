//! Long short-term memory (Hochreiter & Schmidhuber 1997; with the forget gate of Gers et al. 2000), as PyTorch computes it:
//! no connections from `c` to the gates.
//!
//! ```text
//! i = sigmoid(W_ii x + b_ii + W_hi h + b_hi)
//! f = sigmoid(W_if x + b_if + W_hf h + b_hf)
//! g = tanh(W_ig x + b_ig + W_hg h + b_hg)
//! o = sigmoid(W_io x + b_io + W_ho h + b_ho)
//! c' = f c + i g
//! h' = o tanh(c')
//! ```

use super::{Carried, Feeds, Gated, Layout, SUMS};
#[cfg(feature = "alloc")]
use alloc::vec::Vec;
use crate::math::sigmoid::{gate, logistic_slope};
use crate::math::tanh::tanh;
use crate::math::{flush_gradient, flush_state};
use crate::simd::Simd;

/// Long short-term memory: gates i, f, g, o; states h and c.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub struct Lstm;

/// 2^-60, 8.7e-19: beside any state that is not such itself, nothing.
pub(crate) const SMALLEST_CELL: f32 = f32::from_bits((127 - 60) << 23);

impl Layout for Lstm {
    const CELL: Self = Lstm;
    const FEEDS: Feeds = Feeds::new(SUMS, &[0, 1, 2, 3]);
    type Row<const HID: usize> = [[f32; HID]; 4];
    type Sums<const HID: usize> = [[f32; HID]; SUMS];
    type Kept<const HID: usize> = [[f32; HID]; SUMS];
    type State<const HID: usize> = ([f32; HID], [f32; HID]);
    #[cfg(feature = "alloc")]
    type States<const HID: usize> = (Vec<[f32; HID]>, Vec<[f32; HID]>);
}

impl Gated for Lstm {
    const CARRIES: bool = true;

    /// Keeps `i`, `f`, `g` and `o`.
    ///
    /// `c` counts as zero below [`SMALLEST_CELL`]: what fades from step to step never ends among denormal numbers, nor do its
    /// square, which tanh needs, and its product with a gate.
    #[inline(always)]
    fn forward<S: Simd>(
        s: S,
        [i, f, g, o]: [S::F32; SUMS],
        before: Carried<S::F32>,
    ) -> (Carried<S::F32>, [S::F32; SUMS]) {
        let (i, f, o) = (gate(s, i), gate(s, f), gate(s, o));
        let g = tanh(s, g);
        let c = s.zero_small(s.mul_add(f, before.c, s.mul(i, g)), s.splat(SMALLEST_CELL));
        let h = flush_state(s, s.mul(o, tanh(s, c)));
        (Carried { h, c }, [i, f, g, o])
    }

    /// `do = dh' tanh(c') o (1 - o)`, `dc = dc' + dh' o (1 - tanh(c')^2)`, `di = dc g i (1 - i)`, `df = dc c f (1 - f)`,
    /// `dg = dc i (1 - g^2)`; directly to the `c` before, `dc f`.
    #[inline(always)]
    fn backward<S: Simd>(
        s: S,
        [i, f, g, o]: [S::F32; SUMS],
        before: Carried<S::F32>,
        after: Carried<S::F32>,
        d: Carried<S::F32>,
    ) -> ([S::F32; SUMS], Carried<S::F32>) {
        let one = s.splat(1.0);
        let y = tanh(s, after.c);
        let d_o = s.mul(s.mul(d.h, y), logistic_slope(s, o));
        let d_c = s.mul_add(s.mul(d.h, o), s.neg_mul_add(y, y, one), d.c);
        let d_i = s.mul(s.mul(d_c, g), logistic_slope(s, i));
        let d_f = s.mul(s.mul(d_c, before.c), logistic_slope(s, f));
        let d_g = s.mul(s.mul(d_c, i), s.neg_mul_add(g, g, one));
        let d_sums =
            [flush_gradient(s, d_i), flush_gradient(s, d_f), flush_gradient(s, d_g), flush_gradient(s, d_o)];
        (d_sums, Carried { h: s.splat(0.0), c: flush_gradient(s, s.mul(d_c, f)) })
    }
}
