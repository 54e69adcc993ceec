//! The backward of a cell of gates, pointwise, for the neurons of one sample at one step.

use super::slice::zeros;
use crate::cells::{Carried, Gated, SUMS};
use crate::simd::{Simd, load_some, store_some};

/// Rows of one sample; those of `c` are empty for cells without it.
pub(crate) struct CellBackward<'a> {
    /// What the forward has kept, a row of all sums.
    pub(crate) kept: &'a [f32],
    /// `h` and `c` before the step and after it.
    pub(crate) before: (&'a [f32], &'a [f32]),
    pub(crate) after: (&'a [f32], &'a [f32]),
    /// More of the gradient of `h` after the step, added to `d_h` first.
    pub(crate) d_h_more: Option<&'a [f32]>,
    /// The gradients of `h` and `c` after the step; they become those of the states before it, by every way but the sums.
    pub(crate) d_h: &'a mut [f32],
    pub(crate) d_c: &'a mut [f32],
    /// Where the gradients of all sums go.
    pub(crate) d_sums: &'a mut [f32],
}

impl CellBackward<'_> {
    #[inline(always)]
    pub(crate) fn run<S: Simd, C: Gated>(self, s: S) {
        let Self { kept, before, after, d_h_more, d_h, d_c, d_sums } = self;
        let (hidden, zero) = (d_h.len(), s.splat(0.0));
        let mut first = 0;
        while first < hidden {
            let here = first..hidden.min(first + S::LANES);
            let mut of_neurons: [S::F32; SUMS] = zeros();
            unrolled!(g of 0 1 2 3, {
                of_neurons[g] = load_some(s, &kept[g * hidden + here.start..g * hidden + here.end]);
            });
            let (c_before, c_after, of_d_c) = match C::CARRIES {
                true => (
                    load_some(s, &before.1[here.clone()]),
                    load_some(s, &after.1[here.clone()]),
                    load_some(s, &d_c[here.clone()]),
                ),
                false => (zero, zero, zero),
            };
            let of_d_h = load_some(s, &d_h[here.clone()]);
            let of_d_h = match d_h_more {
                Some(more) => s.add(load_some(s, &more[here.clone()]), of_d_h),
                None => of_d_h,
            };
            let before = Carried { h: load_some(s, &before.0[here.clone()]), c: c_before };
            let after = Carried { h: load_some(s, &after.0[here.clone()]), c: c_after };
            let (of_sums, d_before) = C::backward(s, of_neurons, before, after, Carried { h: of_d_h, c: of_d_c });
            unrolled!(g of 0 1 2 3, {
                store_some(s, of_sums[g], &mut d_sums[g * hidden + here.start..g * hidden + here.end]);
            });
            store_some(s, d_before.h, &mut d_h[here.clone()]);
            if C::CARRIES {
                store_some(s, d_before.c, &mut d_c[here.clone()]);
            }
            first += S::LANES;
        }
    }
}
