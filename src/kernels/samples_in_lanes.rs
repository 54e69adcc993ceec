//! The recurrence with samples in lanes, for layers whose neurons would leave many lanes empty; its backward beneath it.
//!
//! The roles are exchanged: the rows of a tile are neurons, whose weights are broadcast, and its columns are samples
//! ([`neuron_tile`](super::neuron_tile)). Every sum has the same terms in the same order, so that the bits are the same.

use super::chains;
use super::neuron_tile::{Product, Sum};
use super::recurrence::{BackwardInputs, Forward, Strided};
use super::tanh::TanhInPlace;
use super::transpose::{ColumnsToRows, RowsToColumns};
use super::view::{View, ViewMut};
use crate::simd::Simd;
use core::ops::Range;

/// How many samples, the first ones, a forward takes in lanes.
pub(crate) const fn samples(lanes: usize, hidden: usize, samples: usize) -> usize {
    let full_enough = lanes == 16 && hidden <= 32 && nearly_fill_16(hidden);
    if leave_lanes_empty(lanes, hidden) && !full_enough { whole_vectors(lanes, hidden, samples) } else { 0 }
}

/// Whether the way back takes so many samples in lanes. More is turned into columns than in a forward, and a single vector of
/// neurons has to be emptier.
pub(super) const fn back(lanes: usize, hidden: usize, samples: usize) -> bool {
    let full_enough = lanes == 16 && (nearly_fill_16(hidden) || 12 < hidden && hidden <= 16);
    leave_lanes_empty(lanes, hidden) && !full_enough && whole_vectors(lanes, hidden, samples) == samples
}

/// Whether the neurons do not fill pairs of vectors (of 16 lanes, whole vectors). Then samples are faster in lanes, by 3 to
/// 12 % (AVX-512) and up to 11 % (AVX2), as measured for this and all that follows; many neurons lose little.
const fn leave_lanes_empty(lanes: usize, hidden: usize) -> bool {
    let filled = if lanes < 8 { 2 * lanes } else { 16 };
    !hidden.is_multiple_of(filled) && hidden < 104
}

/// Whether neurons fill nearly all lanes of vectors of 16.
const fn nearly_fill_16(hidden: usize) -> bool {
    15 * hidden >= 14 * hidden.next_multiple_of(16)
}

/// How many of some samples are whole vectors, or pairs of them where a single vector is no faster than rows of neurons.
const fn whole_vectors(lanes: usize, hidden: usize, samples: usize) -> usize {
    samples - samples % if lanes == 16 || hidden < 40 { lanes } else { 2 * lanes }
}

/// [`Forward`] over samples of one whole vector or two.
#[inline(always)]
pub(crate) fn forward<S: Simd>(s: S, work: Forward<'_>) {
    let Forward { input, initial, packed, out, samples, steps, scratch } = work;
    let (inputs, hidden) = (packed.input.rows(), packed.recurrent.columns());
    let chains = [chains(inputs, hidden), chains(hidden, hidden)];
    let weights = [packed.input_of_neurons.weights(), packed.recurrent_of_neurons.weights()];
    let together = steps_together((inputs + hidden) * samples).min(steps);
    // Columns of samples: of the inputs, of the state before some steps and those after each, and the bias in all.
    let (x_step, state) = (inputs * samples, hidden * samples);
    let columns = scratch[0].get(together * x_step + (together + 2) * state);
    let (x, columns) = columns.split_at_mut(together * x_step);
    let (states, start) = columns.split_at_mut((together + 1) * state);
    for (start, bias) in start.chunks_exact_mut(samples).zip(packed.bias.as_slice(hidden)) {
        start.fill(*bias);
    }
    rows_to_columns(s, initial.view(0, 0), hidden, states, samples);
    for first in (0..steps).step_by(together) {
        let count = together.min(steps - first);
        steps_to_columns(s, &input, first..first + count, x, samples);
        for step in 0..count {
            let (before, after) = states.split_at_mut((step + 1) * state);
            let input = Sum { weights: weights[0], columns: &x[step * x_step..], chains: chains[0] };
            let recurrent = Sum { weights: weights[1], columns: &before[step * state..], chains: chains[1] };
            let out = &mut after[..state];
            Product { sums: &[input, recurrent], start, slope: &[], out, samples }.run(s);
            s.call(TanhInPlace(out));
        }
        let out = &mut out[first * hidden..];
        columns_to_rows(s, &states[state..], samples, count * hidden, out, steps * hidden);
        states.copy_within(count * state..(count + 1) * state, 0);
    }
}

/// The memory of [`backward`], in numbers.
pub(super) fn backward_memory<S: Simd>(_: S, work: &BackwardInputs<'_>) -> usize {
    let samples = work.samples.min(2 * S::LANES);
    steps_together(numbers_of_step(work, samples)) * numbers_of_step(work, samples) + work.hidden * samples
}

/// What a step of some samples takes on the way back: h, its gradient, that of the sums and that of the inputs.
fn numbers_of_step(work: &BackwardInputs<'_>, samples: usize) -> usize {
    (3 * work.hidden + work.input.width) * samples
}

/// The way back through the first `steps` steps, of whole vectors of samples.
///
/// Of the rows `d_sums`, those of the last step are given and those of the others written; so are those of `d_input`,
/// where anybody asks for it, from the first step on.
#[inline(always)]
pub(super) fn backward<S: Simd>(
    s: S,
    work: &BackwardInputs<'_>,
    steps: usize,
    (d_sums, slots): (&mut [f32], usize),
    mut d_input: Option<&mut [f32]>,
    memory: &mut [f32],
) {
    let BackwardInputs { hidden, input: Strided { width: inputs, .. }, output, d_output, .. } = *work;
    let most = work.samples.min(2 * S::LANES);
    let together = steps_together(numbers_of_step(work, most));
    let recurrent = work.packed.recurrent_of_neurons.weights();
    // Packed where anybody asks for the gradient of the input.
    let input = d_input.is_some().then(|| work.packed.input_of_neurons.weights());
    for sample in (0..work.samples).step_by(most) {
        let samples = most.min(work.samples - sample);
        let (state, x_step) = (hidden * samples, inputs * samples);
        let (h, rest) = memory.split_at_mut(together * state);
        let (d_h, rest) = rest.split_at_mut(together * state);
        // The last one is of the step behind those that are taken together.
        let (d_z, d_x) = rest.split_at_mut((together + 1) * state);
        let (output, d_output) = (output.starting_at_sample(sample), d_output.starting_at_sample(sample));
        let d_sums = &mut d_sums[sample * slots * hidden..];
        let mut end = steps;
        while end > 0 {
            let start = end.saturating_sub(together);
            steps_to_columns(s, &output, start..end, h, samples);
            steps_to_columns(s, &d_output, start..end, d_h, samples);
            for step in (start..end).rev() {
                let here = (step - start) * state;
                if step + 1 == steps {
                    let row = View { data: &d_sums[step * hidden..], stride: slots * hidden };
                    rows_to_columns(s, row, hidden, &mut d_z[here..], samples);
                } else {
                    let (before, behind) =
                        d_z.split_at_mut(if step + 1 == end { together * state } else { here + state });
                    let sum = Sum { weights: recurrent, columns: behind, chains: chains(hidden, hidden) };
                    let out = &mut before[here..here + state];
                    Product { sums: &[sum], start: &d_h[here..], slope: &h[here..], out, samples }.run(s);
                }
                if let Some(weights) = input {
                    let sum = Sum { weights, columns: &d_z[here..], chains: chains(hidden, inputs) };
                    let out = &mut d_x[(step - start) * x_step..];
                    Product { sums: &[sum], start: &[], slope: &[], out, samples }.run(s);
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

/// How many steps are turned into columns and back together, where one has so many numbers: the rows of a sample's steps
/// lie one behind the other, and 16 of them fill vectors. What is turned stays in the second level of the cache.
#[inline(always)]
fn steps_together(numbers: usize) -> usize {
    const NUMBERS: usize = 128 * 1024 / size_of::<f32>();
    (NUMBERS / numbers.max(1)).clamp(1, 16)
}

/// `columns[step][k][sample] = rows[sample][step][k]` for whole vectors of samples and some steps.
#[inline(always)]
fn steps_to_columns<S: Simd>(s: S, rows: &Strided<'_>, steps: Range<usize>, columns: &mut [f32], samples: usize) {
    if rows.step_stride == 1 {
        rows_to_columns(s, rows.view(0, steps.start), steps.len() * rows.width, columns, samples);
    } else {
        for (step, columns) in steps.zip(columns.chunks_exact_mut(rows.width * samples)) {
            rows_to_columns(s, rows.view(0, step), rows.width, columns, samples);
        }
    }
}

/// `columns[k][sample] = rows[sample][k]` for whole vectors of samples.
#[inline(always)]
fn rows_to_columns<S: Simd>(s: S, rows: View<'_>, width: usize, columns: &mut [f32], samples: usize) {
    for first in (0..samples).step_by(S::LANES) {
        let rows = View { data: &rows.data[first * rows.stride..], ..rows };
        s.call(RowsToColumns { rows, width, columns: ViewMut { data: columns, stride: samples }, first });
    }
}

/// `rows[sample][n] = columns[n][sample]` for whole vectors of samples.
#[inline(always)]
fn columns_to_rows<S: Simd>(s: S, columns: &[f32], samples: usize, width: usize, rows: &mut [f32], stride: usize) {
    for first in (0..samples).step_by(S::LANES) {
        let rows = ViewMut { data: &mut rows[first * stride..], stride };
        s.call(ColumnsToRows { columns: View { data: columns, stride: samples }, width, rows, first });
    }
}
