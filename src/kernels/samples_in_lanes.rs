//! The recurrence with samples in lanes, for layers whose neurons would leave many lanes empty.
//!
//! The roles are exchanged: the rows of the tile are neurons, whose weights are broadcast, and its columns are samples.
//! Every sum has the same terms in the same order, so that the bits are the same.

use super::chains;
use super::recurrence::{Forward, Recurrent, Strided};
use super::tile::{View, ViewMut, multiply_one};
use super::transpose::{ColumnsToRows, RowsToColumns};
use crate::simd::Simd;

/// Whether whole vectors of samples are faster in lanes than the neurons, as measured: where neurons would leave more than
/// a seventh of the lanes empty; and with lanes whose vectors are stored in part at a price, where neurons leave any
/// empty, up to sizes at which that does not count.
pub(crate) const fn pay(lanes: usize, hidden: usize) -> bool {
    let padded = hidden.next_multiple_of(lanes);
    if lanes == 16 { 7 * hidden < 6 * padded } else { hidden < padded && hidden < 128 }
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
        if input.step_stride == 1 {
            rows_to_columns(s, input.view(0, first), count * inputs, x, samples);
        } else {
            for (step, x) in (first..first + count).zip(x.chunks_exact_mut(x_step)) {
                rows_to_columns(s, input.view(0, step), inputs, x, samples);
            }
        }
        for step in 0..count {
            let (before, after) = states.split_at_mut((step + 1) * state);
            let mut rows = Recurrent {
                input: neurons(packed.input_of_neurons.as_slice(inputs * hidden), inputs),
                start: View { data: start, stride: samples },
                initial: neurons(packed.recurrent_of_neurons.as_slice(hidden * hidden), hidden),
                states: &mut after[..state],
                steps: 1,
                step: 0,
                hidden: samples,
            };
            let panels = [&x[step * x_step..][..x_step], &before[step * state..]];
            multiply_one(s, panels, chains, samples, hidden, &mut rows);
        }
        let out = &mut out[first * hidden..];
        columns_to_rows(s, &states[state..], samples, count * hidden, out, steps * hidden);
        states.copy_within(count * state..(count + 1) * state, 0);
    }
}

/// How many steps are turned into columns and back together, where one has so many numbers: the rows of a sample's steps
/// lie one behind the other, and long rows fill more of the vectors. What is turned stays in L1.
#[inline(always)]
fn steps_together(numbers: usize) -> usize {
    const NUMBERS: usize = 16 * 1024 / size_of::<f32>();
    (NUMBERS / numbers.max(1)).clamp(1, 16)
}

/// The weights of each neuron, as rows.
#[inline(always)]
fn neurons(weights: &[f32], width: usize) -> Strided<'_> {
    Strided::new(weights, width, 1, 0)
}

/// `columns[k][sample] = rows[sample][k]` for whole vectors of samples.
#[inline(always)]
fn rows_to_columns<S: Simd>(s: S, rows: View<'_>, width: usize, columns: &mut [f32], samples: usize) {
    for first in (0..samples).step_by(S::LANES) {
        let rows = View { data: &rows.data[first * rows.stride..], ..rows };
        s.call(RowsToColumns { rows, width, columns: ViewMut { data: &mut columns[first..], stride: samples } });
    }
}

/// `rows[sample][n] = columns[n][sample]` for whole vectors of samples.
#[inline(always)]
fn columns_to_rows<S: Simd>(s: S, columns: &[f32], samples: usize, width: usize, rows: &mut [f32], stride: usize) {
    for first in (0..samples).step_by(S::LANES) {
        let rows = ViewMut { data: &mut rows[first * stride..], stride };
        s.call(ColumnsToRows { columns: View { data: &columns[first..], stride: samples }, width, rows });
    }
}
