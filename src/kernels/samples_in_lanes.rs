//! The recurrence with samples in lanes, for layers whose neurons would leave many lanes empty; its backward beneath it.
//!
//! The roles are exchanged: the rows of the tile are neurons, whose weights are broadcast, and its columns are samples.
//! Every sum has the same terms in the same order, so that the bits are the same.

use super::chains;
use super::recurrence::{BackwardInputs, Forward, Strided};
use super::tile::{Finish, Input, Output, Rows, Table, multiply_one};
use super::transpose::{ColumnsToRows, RowsToColumns};
use super::view::{View, ViewMut};
use crate::simd::Simd;
use core::ops::Range;

/// Whether whole vectors of samples are faster in lanes than the neurons, as measured: where neurons would leave more than
/// a seventh of the lanes empty; and with lanes whose vectors are stored in part at a price, where neurons leave any
/// empty, up to sizes at which that does not count.
pub(crate) const fn pay(lanes: usize, hidden: usize) -> bool {
    let padded = hidden.next_multiple_of(lanes);
    if lanes == 16 { 7 * hidden < 6 * padded } else { hidden < padded && hidden < 64 }
}

/// The same for the way back, where more is turned into columns: a single vector of neurons is faster as it is, unless half of
/// it is empty, and sizes count sooner.
pub(super) const fn pay_back(lanes: usize, hidden: usize) -> bool {
    (hidden > lanes || 2 * hidden <= lanes) && pay(lanes, hidden) && (lanes == 16 || hidden < 40)
}

/// [`Forward`] over samples of one whole vector or two.
#[inline(always)]
pub(crate) fn forward<S: Simd>(s: S, work: Forward<'_>) {
    let Forward { input, initial, packed, out, samples, steps, scratch } = work;
    let (inputs, hidden) = (packed.input.rows(), packed.recurrent.columns());
    let chains = [chains(inputs, hidden), chains(hidden, hidden)];
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
            let input = Table::along_inner(packed.input_of_neurons.as_slice(inputs * hidden), inputs);
            let recurrent = Table::along_inner(packed.recurrent_of_neurons.as_slice(hidden * hidden), hidden);
            let start = Table::along_inner(start, samples);
            let mut rows = rows_of_neurons(input, Some(recurrent), start, Finish::Tanh, &mut after[..state], samples);
            let panels = [&x[step * x_step..][..x_step], &before[step * state..]];
            multiply_one(s, panels, chains, samples, hidden, &mut rows);
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
                    let slope = Finish::Slope(Table::along_inner(&h[here..], samples));
                    let weights = Table::along_inner(work.weight_hh, hidden);
                    let start = Table::along_inner(&d_h[here..], samples);
                    let out = &mut before[here..here + state];
                    let mut rows = rows_of_neurons(weights, None, start, slope, out, samples);
                    let chains = [chains(hidden, hidden); 2];
                    multiply_one(s, [&behind[..state]; 2], chains, samples, hidden, &mut rows);
                }
                if d_input.is_some() {
                    let weights = Table::along_inner(work.weight_ih, hidden);
                    let out = &mut d_x[(step - start) * x_step..];
                    let mut rows = rows_of_neurons(weights, None, Table::ZEROS, Finish::Nothing, out, samples);
                    let chains = [chains(hidden, inputs); 2];
                    multiply_one(s, [&d_z[here..here + state]; 2], chains, samples, inputs, &mut rows);
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
/// lie one behind the other, and long rows fill more of the vectors. What is turned stays in L1.
#[inline(always)]
fn steps_together(numbers: usize) -> usize {
    const NUMBERS: usize = 16 * 1024 / size_of::<f32>();
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

/// A product whose rows are neurons and whose columns are samples.
#[inline(always)]
fn rows_of_neurons<'a>(
    weights: Table<'a>,
    second_weights: Option<Table<'a>>,
    start: Table<'a>,
    finish: Finish<'a>,
    out: &'a mut [f32],
    samples: usize,
) -> Rows<'a> {
    Rows {
        input: Input::Rows(weights),
        second_input: second_weights.map(Input::Rows),
        start,
        finish,
        output: Output { data: out, first: 0, outer: 0, inner: samples, far: false },
        ahead: &[],
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
