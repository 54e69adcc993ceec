//! A step of one sample: `h' = f(W_ih x + b_ih + W_hh h + b_hh)`, its backward beneath it, and the steps of a sequence.

#[cfg(feature = "alloc")]
use super::matvec::add_product;
use super::matvec::{Biases, PanelSum, State, add_in_row_order, evaluate, finish_in_place, product, rows_pay};
use super::transposed::matvec_transposed;
use crate::cells::Activation;
use crate::kernels::gradient::{add_outer_product, add_row};
use crate::kernels::order::chains;
#[cfg(feature = "alloc")]
use crate::kernels::rows::Rows;
use crate::kernels::slice::{flat_mut, starting_at, starting_at_mut};
use crate::kernels::tuning::SAMPLES_TOGETHER;
use crate::simd::{Kernel, Simd, load_some, store_some};
use core::marker::PhantomData;

/// The parameters of a cell, whose rows `R` have a number for every gate of every neuron.
#[derive(Clone, Copy)]
pub(crate) struct Weights<'a, R, const IN: usize, const HID: usize> {
    pub(crate) weight_ih: &'a [R; IN],
    pub(crate) weight_hh: &'a [R; HID],
    pub(crate) bias_ih: &'a R,
    pub(crate) bias_hh: &'a R,
}

impl<const IN: usize, const HID: usize> Weights<'_, [f32; HID], IN, HID> {
    /// The next state.
    #[inline(always)]
    pub(crate) fn step<S: Simd, A: Activation>(&self, s: S, cell: A, x: &[f32; IN], h: &[f32; HID]) -> [f32; HID] {
        let input = product(Biases(self.bias_ih, self.bias_hh), self.weight_ih, x);
        evaluate(s, &product(input, self.weight_hh, State(h)), cell)
    }

    /// The next states of samples that take the step together: weights from the second level of the cache are read once for
    /// [`SAMPLES_TOGETHER`].
    #[inline(always)]
    pub(crate) fn step_together<S: Simd, A: Activation>(&self, s: S, cell: A, x: &[[f32; IN]], h: &mut [[f32; HID]]) {
        if const { Self::reads_in_row_order::<S>() } {
            for (x, h) in x.chunks(SAMPLES_TOGETHER).zip(h.chunks_mut(SAMPLES_TOGETHER)) {
                let mut z = [[0.0; HID]; SAMPLES_TOGETHER];
                for z in &mut z {
                    Biases(self.bias_ih, self.bias_hh).in_row_order(s, z);
                }
                add_in_row_order(s, self.weight_ih, x, &mut z);
                add_in_row_order(s, self.weight_hh, h, &mut z);
                for (h, z) in h.iter_mut().zip(&mut z) {
                    finish_in_place(s, z, cell);
                    *h = *z;
                }
            }
        } else {
            for (x, h) in x.iter().zip(h) {
                *h = self.step(s, cell, x, h);
            }
        }
    }

    const fn reads_in_row_order<S: Simd>() -> bool {
        chains(IN, HID) == 1 && chains(HID, HID) == 1 && rows_pay::<S>(IN + HID, HID)
    }
}

/// The backward of a step, which adds to the gradients and gives that of the state before: `dz = dh' f'`, `dx = W_ih^T dz`,
/// `dh = W_hh^T dz`, `dW += dz (x, h)^T`, `db += dz`.
pub(crate) struct StepBackward<'a, A, const IN: usize, const HID: usize> {
    pub(crate) cell: PhantomData<A>,
    pub(crate) weights: Weights<'a, [f32; HID], IN, HID>,
    /// `x`, `h`, `h_next`
    pub(crate) step: (&'a [f32; IN], &'a [f32; HID], &'a [f32; HID]),
    pub(crate) d_h_next: &'a [f32; HID],
    pub(crate) d_x: Option<&'a mut [f32; IN]>,
    pub(crate) gradients: Gradients<'a, [f32; HID], IN, HID>,
}

/// What the gradients of the parameters of a cell are added to.
pub(crate) struct Gradients<'a, R, const IN: usize, const HID: usize> {
    pub(crate) weight_ih: &'a mut [R; IN],
    pub(crate) weight_hh: &'a mut [R; HID],
    pub(crate) bias_ih: &'a mut R,
    pub(crate) bias_hh: &'a mut R,
}

impl<A: Activation, const IN: usize, const HID: usize> Kernel for StepBackward<'_, A, IN, HID> {
    type Output = [f32; HID];

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> [f32; HID] {
        let StepBackward { weights, step: (x, h, h_next), d_h_next, d_x, gradients, .. } = self;
        let d_sum = d_sums::<S, A, HID>(s, d_h_next, h_next);
        add_outer_product(s, x, &d_sum, flat_mut(gradients.weight_ih));
        add_outer_product(s, h, &d_sum, flat_mut(gradients.weight_hh));
        add_row(s, &d_sum, gradients.bias_ih);
        add_row(s, &d_sum, gradients.bias_hh);
        if let Some(d_x) = d_x {
            *d_x = matvec_transposed(s, weights.weight_ih, &d_sum);
        }
        matvec_transposed(s, weights.weight_hh, &d_sum)
    }
}

/// The gradients of the sums, given those of the states `y`.
#[inline(always)]
fn d_sums<S: Simd, A: Activation, const N: usize>(s: S, d: &[f32; N], y: &[f32; N]) -> [f32; N] {
    let mut d_sums = [0.0; N];
    let mut first = 0;
    while first < N {
        // The last vector ends with the row; some are then computed twice.
        let begin = first.min(N.saturating_sub(S::LANES));
        let d_sum = A::d_sum(s, load_some(s, starting_at(d, begin)), load_some(s, starting_at(y, begin)));
        store_some(s, d_sum, starting_at_mut(&mut d_sums, begin));
        first += S::LANES;
    }
    d_sums
}

/// All steps of one sample alone, inputs and states together: `h_t = f(bias + W_ih x_t + W_hh h_{t-1})`.
#[cfg(feature = "alloc")]
pub(crate) struct Steps<'a, A, const IN: usize, const HID: usize> {
    pub(crate) cell: A,
    pub(crate) weights: Weights<'a, [f32; HID], IN, HID>,
    /// One sample.
    pub(crate) input: Rows<'a>,
    /// The state before the first step.
    pub(crate) before: &'a [f32; HID],
    pub(crate) states: &'a mut [[f32; HID]],
}

#[cfg(feature = "alloc")]
impl<A: Activation, const IN: usize, const HID: usize> Kernel for Steps<'_, A, IN, HID> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let mut before = self.before;
        for (step, state) in self.states.iter_mut().enumerate() {
            if let Some(x) = self.input.row(0, step).first_chunk() {
                *state = self.weights.step(s, self.cell, x, before);
            }
            before = state;
        }
    }
}

/// Steps of one sample alone whose inputs are projected already: `h_t = f(z_t + W_hh h_{t-1})`, in place.
#[cfg(feature = "alloc")]
pub(crate) struct OneSample<'a, A, const HID: usize> {
    pub(crate) cell: A,
    pub(crate) weight_hh: &'a [[f32; HID]; HID],
    /// The state before the first step.
    pub(crate) before: &'a [f32; HID],
    /// On entry the projected inputs, on exit the hidden states.
    pub(crate) states: &'a mut [[f32; HID]],
}

#[cfg(feature = "alloc")]
impl<A: Activation, const HID: usize> Kernel for OneSample<'_, A, HID> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let mut before = self.before;
        for state in self.states {
            add_product(s, self.weight_hh, before, state, self.cell);
            before = state;
        }
    }
}

/// A step whose sums begin with a row of a table: `h' = f(row + W_hh h)`.
pub(crate) struct TokenStep<'a, A, const HID: usize> {
    pub(crate) cell: A,
    pub(crate) weight_hh: &'a [[f32; HID]; HID],
    pub(crate) row: &'a [f32; HID],
    pub(crate) h: &'a mut [f32; HID],
}

impl<A: Activation, const HID: usize> Kernel for TokenStep<'_, A, HID> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        *self.h = evaluate(s, &product(self.row, self.weight_hh, State(self.h)), self.cell);
    }
}
