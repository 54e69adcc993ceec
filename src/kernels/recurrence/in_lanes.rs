//! The recurrence with samples in lanes, for layers whose neurons would leave many lanes empty; its backward beneath it.
//!
//! The roles are exchanged: the rows of a tile are neurons, whose weights are broadcast, and its columns are samples
//! ([`tile`](crate::kernels::lanes::tile)). Every sum has the same terms in the same order, so that the bits are the same.

use super::work::{BackwardInputs, Forward};
use crate::cells::Activation;
use crate::kernels::lanes::tile::{NeuronProduct, NeuronSum};
use crate::kernels::lanes::transpose::{ColumnsToRows, RowsToColumns};
use crate::kernels::order::chains;
use crate::kernels::rows::{Rows, RowsMut};
use crate::kernels::tuning::steps_in_columns;
use crate::math::{InPlace, Pointwise};
use crate::simd::Simd;
use core::marker::PhantomData;
use core::ops::Range;

/// [`Forward`] over samples of one whole vector or two.
#[inline(always)]
pub(crate) fn forward<S: Simd, A: Activation>(s: S, work: Forward<'_>) {
    let Forward { input, initial, packed, out, samples, steps, scratch, .. } = work;
    let (inputs, hidden) = (packed.input.rows(), packed.recurrent.columns());
    let chains = [chains(inputs, hidden), chains(hidden, hidden)];
    let weights = [packed.input_of_neurons.weights(), packed.recurrent_of_neurons.weights()];
    let together = steps_in_columns((inputs + hidden) * samples).min(steps);
    // Columns of samples: of the inputs, of the state before some steps and those after each, and the bias in all.
    let (x_step, state) = (inputs * samples, hidden * samples);
    let columns = scratch[0].get(together * x_step + (together + 2) * state);
    let (x, columns) = columns.split_at_mut(together * x_step);
    let (states, start) = columns.split_at_mut((together + 1) * state);
    for (start, bias) in start.chunks_exact_mut(samples).zip(packed.bias.as_slice(hidden)) {
        start.fill(*bias);
    }
    rows_to_columns(s, initial.along_outer(0, 0), hidden, states, samples);
    for first in (0..steps).step_by(together) {
        let count = together.min(steps - first);
        steps_to_columns(s, &input, first..first + count, x, samples);
        for step in 0..count {
            let (before, after) = states.split_at_mut((step + 1) * state);
            let input = NeuronSum { weights: weights[0], columns: &x[step * x_step..], chains: chains[0] };
            let recurrent = NeuronSum { weights: weights[1], columns: &before[step * state..], chains: chains[1] };
            let out = &mut after[..state];
            NeuronProduct { sums: &[input, recurrent], start, states: &[], out, samples }.run::<S, A>(s);
            s.call(InPlace::<State<A>>::new(out));
        }
        let out = &mut out[first * hidden..];
        columns_to_rows(s, &states[state..], samples, count * hidden, out, steps * hidden);
        states.copy_within(count * state..(count + 1) * state, 0);
    }
}

/// The memory of [`backward`], in numbers.
pub(crate) fn backward_memory<S: Simd>(_: S, work: &BackwardInputs<'_>) -> usize {
    let samples = work.samples.min(2 * S::LANES);
    steps_in_columns(numbers_of_step(work, samples)) * numbers_of_step(work, samples) + work.hidden * samples
}

/// What a step of some samples takes on the way back: h, its gradient, that of the sums and that of the inputs.
fn numbers_of_step(work: &BackwardInputs<'_>, samples: usize) -> usize {
    (3 * work.hidden + work.input.width) * samples
}

/// The way back through the first `steps` steps, of whole vectors of samples.
///
/// Of the rows `d_sums`, those of the last step are given and those of the others written; so are those of `d_input`,
/// if requested, from the first step on.
#[inline(always)]
pub(crate) fn backward<S: Simd, A: Activation>(
    s: S,
    work: &BackwardInputs<'_>,
    steps: usize,
    (d_sums, slots): (&mut [f32], usize),
    mut d_input: Option<&mut [f32]>,
    memory: &mut [f32],
) {
    let BackwardInputs { hidden, input: Rows { width: inputs, .. }, output, d_output, .. } = *work;
    let most = work.samples.min(2 * S::LANES);
    let together = steps_in_columns(numbers_of_step(work, most));
    let recurrent = work.packed.recurrent_of_neurons.weights();
    // Packed if the gradient of the input is requested.
    let input = d_input.is_some().then(|| work.packed.input_of_neurons.weights());
    for sample in (0..work.samples).step_by(most) {
        let samples = most.min(work.samples - sample);
        let (state, x_step) = (hidden * samples, inputs * samples);
        let (h, rest) = memory.split_at_mut(together * state);
        let (d_h, rest) = rest.split_at_mut(together * state);
        // The last one is of the step behind those that are taken together.
        let (d_z, d_x) = rest.split_at_mut((together + 1) * state);
        let (output, d_output) = (output.skip_outer(sample), d_output.skip_outer(sample));
        let d_sums = &mut d_sums[sample * slots * hidden..];
        let mut end = steps;
        while end > 0 {
            let start = end.saturating_sub(together);
            steps_to_columns(s, &output, start..end, h, samples);
            steps_to_columns(s, &d_output, start..end, d_h, samples);
            for step in (start..end).rev() {
                let here = (step - start) * state;
                if step + 1 == steps {
                    let row = Rows::line(&d_sums[step * hidden..], hidden, slots * hidden);
                    rows_to_columns(s, row, hidden, &mut d_z[here..], samples);
                } else {
                    let (before, behind) =
                        d_z.split_at_mut(if step + 1 == end { together * state } else { here + state });
                    let sum = NeuronSum { weights: recurrent, columns: behind, chains: chains(hidden, hidden) };
                    let out = &mut before[here..here + state];
                    NeuronProduct { sums: &[sum], start: &d_h[here..], states: &h[here..], out, samples }
                        .run::<S, A>(s);
                }
                if let Some(weights) = input {
                    let sum = NeuronSum { weights, columns: &d_z[here..], chains: chains(hidden, inputs) };
                    let out = &mut d_x[(step - start) * x_step..];
                    NeuronProduct { sums: &[sum], start: &[], states: &[], out, samples }.run::<S, A>(s);
                }
            }
            let count = end - start;
            columns_to_rows(s, d_z, samples, count * hidden, &mut d_sums[start * hidden..], slots * hidden);
            if let Some(d_input) = &mut d_input {
                let d_input = &mut d_input[(sample * work.steps + start) * inputs..];
                columns_to_rows(s, d_x, samples, count * inputs, d_input, work.steps * inputs);
            }
            d_z.copy_within(..state, together * state);
            end = start;
        }
    }
}

/// `columns[step][k][sample] = rows[sample][step][k]` for whole vectors of samples and some steps.
#[inline(always)]
fn steps_to_columns<S: Simd>(s: S, rows: &Rows<'_>, steps: Range<usize>, columns: &mut [f32], samples: usize) {
    if rows.inner == rows.width {
        rows_to_columns(s, rows.along_outer(0, steps.start), steps.len() * rows.width, columns, samples);
    } else {
        for (step, columns) in steps.zip(columns.chunks_exact_mut(rows.width * samples)) {
            rows_to_columns(s, rows.along_outer(0, step), rows.width, columns, samples);
        }
    }
}

/// `columns[k][sample] = rows[sample][k]` for whole vectors of samples.
#[inline(always)]
fn rows_to_columns<S: Simd>(s: S, rows: Rows<'_>, width: usize, columns: &mut [f32], samples: usize) {
    for first in (0..samples).step_by(S::LANES) {
        let rows = rows.along_inner(0, first);
        s.call(RowsToColumns { rows, width, columns: RowsMut::line(columns, samples), first });
    }
}

/// `rows[sample][n] = columns[n][sample]` for whole vectors of samples.
#[inline(always)]
fn columns_to_rows<S: Simd>(s: S, columns: &[f32], samples: usize, width: usize, rows: &mut [f32], stride: usize) {
    for first in (0..samples).step_by(S::LANES) {
        let rows = RowsMut::line(&mut rows[first * stride..], stride);
        s.call(ColumnsToRows { columns: Rows::line(columns, samples, samples), width, rows, first });
    }
}

/// What a sum becomes.
struct State<A>(PhantomData<A>);

impl<A: Activation> Pointwise for State<A> {
    #[inline(always)]
    fn apply<S: Simd>(s: S, z: S::F32) -> S::F32 {
        A::activate(s, z)
    }
}
