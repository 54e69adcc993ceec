//! The recurrence of cells of several gates, for the samples that one thread takes through all steps.
//!
//! ```text
//! for each step t:
//!     for each panel of neurons n:
//!         for each sum g of them, for each tile of samples b:
//!             z[b][g][n] = bias[g][n] + what of W_ih x_t and W_hh h_{t-1} feeds it
//!         h_t[b][n] = cell(z[b][..][n], h_{t-1}[b][n]), while the sums are near
//! ```

use crate::cells::gated::GatedCell;
use crate::kernels::rows::Rows;
use crate::kernels::slice::{starting_at, starting_at_mut, zeros};
use crate::kernels::throughput::panels::Panels;
use crate::kernels::throughput::tile::{Input, Multiply, Output, Store, multiply_panel};
use crate::simd::{Kernel, Simd, load_some, store_some};
use core::marker::PhantomData;

/// The work of a forward over some samples.
pub(crate) struct GatedForward<'a, C, const SUMS: usize> {
    pub(crate) cell: PhantomData<C>,
    pub(crate) input: Rows<'a>,
    /// One row a sample.
    pub(crate) initial: Rows<'a>,
    /// The matrices, a gate for each that PyTorch has.
    pub(crate) weights: [&'a Panels; 2],
    /// What each sum starts from, `[SUMS][hidden]`.
    pub(crate) bias: &'a [f32],
    /// `[samples][steps][hidden]`
    pub(crate) out: &'a mut [f32],
    pub(crate) samples: usize,
    pub(crate) steps: usize,
    /// `[samples][SUMS][hidden]`
    pub(crate) sums: &'a mut [f32],
}

impl<C: GatedCell<SUMS>, const SUMS: usize> Kernel for GatedForward<'_, C, SUMS> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { input, initial, weights: [input_weights, recurrent], bias, out, samples, steps, sums, .. } = self;
        let hidden = recurrent.columns();
        let row = SUMS * hidden;
        for step in 0..steps {
            let x = Input::Rows(input.along_outer(0, step));
            for i in 0..recurrent.count() {
                // Alternating direction: what the last step left in L1 is used first.
                let panel = if step % 2 == 1 { recurrent.count() - 1 - i } else { i };
                let h = match step {
                    0 => initial.along_outer(0, 0),
                    t => Rows::batch_first(&*out, hidden, steps).along_outer(0, t - 1),
                };
                for (sum, fed_by) in C::FED_BY.into_iter().enumerate() {
                    let (matrices, input, second_input) = match fed_by {
                        (Some(of_x), Some(of_h)) => {
                            ([(input_weights, of_x), (recurrent, of_h)], x, Some(Input::Rows(h)))
                        }
                        (Some(gate), None) => ([(input_weights, gate); 2], x, None),
                        (None, Some(gate)) => ([(recurrent, gate); 2], Input::Rows(h), None),
                        (None, None) => continue,
                    };
                    let output = Output { data: sums, first: 0, outer: 0, inner: row, far: false };
                    let mut work = Multiply { input, second_input, start: Rows::repeated(bias), output, ahead: &[] };
                    multiply_panel(s, matrices, panel, sum, (1, samples), &mut work, Store);
                }
            }
            advance::<S, C, SUMS>(s, sums, &initial, out, (samples, steps, step), hidden);
        }
    }
}

/// The states of a step, out of its sums.
#[inline(always)]
fn advance<S: Simd, C: GatedCell<SUMS>, const SUMS: usize>(
    s: S,
    sums: &[f32],
    initial: &Rows<'_>,
    out: &mut [f32],
    (samples, steps, step): (usize, usize, usize),
    hidden: usize,
) {
    for sample in 0..samples {
        let sums = &sums[sample * SUMS * hidden..][..SUMS * hidden];
        let (earlier, now) = out.split_at_mut((sample * steps + step) * hidden);
        let before = if step == 0 { initial.row(sample, 0) } else { &earlier[earlier.len() - hidden..] };
        let now = &mut now[..hidden];
        for first in (0..hidden).step_by(S::LANES) {
            let mut of_neurons: [S::F32; SUMS] = zeros();
            unrolled!(g < SUMS, {
                of_neurons[g] = load_some(s, &starting_at(sums, g * hidden + first)[..hidden - first]);
            });
            let h = C::forward(s, of_neurons, load_some(s, starting_at(before, first)));
            store_some(s, h, starting_at_mut(now, first));
        }
    }
}
