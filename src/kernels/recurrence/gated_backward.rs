//! Backpropagation through time (Werbos 1990) of cells of gates, over one group of samples.
//!
//! ```text
//! for each block of steps, from the end:
//!     for each step t of it, from the end:
//!         dh_t = d_output_t + W_hh^T dz_{t+1} + what reaches h_t directly
//!         dz_t, and what reaches h_{t-1} and c_{t-1} directly = cell's backward of dh_t, dc_t
//!     while dz is in cache, for each sum g:
//!         dW_ih += dz_g x^T,  dW_hh += dz_g h_{t-1}^T,  db += dz_g, of the gates that feed it
//!     dx = W_ih^T dz
//!     what reaches the block before: W_hh^T dz of the first step, and what reaches it directly
//! ```

use super::backward::{Previous, d_inputs};
use super::packed::PackedTranspose;
use super::work::{Backward, BackwardInputs};
use crate::cells::{Gated, SUMS};
use crate::kernels::gates::CellBackward;
use crate::kernels::gradient::{Block, Columns};
use crate::kernels::order::{STEPS_PER_BLOCK, blocks_from_the_end};
use crate::kernels::rows::Rows;
use crate::kernels::throughput::tile::{Input, Multiply, Output, Store, multiply};
use crate::kernels::tuning::{COLUMNS_IN_PLACE, NUMBERS_PER_LINE};
use crate::simd::{Kernel, Simd};
use core::marker::PhantomData;

/// Backward of one layer of gates over one group of samples.
pub(crate) struct GatedBackward<'a, 'g, C>(pub(crate) Backward<'a, 'g>, pub(crate) PhantomData<C>);

impl<C: Gated> Kernel for GatedBackward<'_, '_, C> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Backward { inputs, scratch, d_input, d_initial, d_initial_c, gradients } = self.0;
        let BackwardInputs { hidden, samples, steps, input, initial, output, d_output, packed, .. } = inputs;
        let feeds = C::FEEDS;
        // One row more than there are steps: samples a power of two apart would share the same few sets of the cache.
        let slots = STEPS_PER_BLOCK.min(steps) + 1;
        let row = SUMS * hidden;
        let d_h_row = hidden + NUMBERS_PER_LINE;
        let in_place = hidden <= COLUMNS_IN_PLACE;
        let block_memory =
            Block::memory(s, samples * slots, if in_place { 0 } else { hidden }, hidden.max(input.width));
        // In place, up to two vectors are read behind the last row.
        let lens = [block_memory, samples * slots * row + 2 * S::LANES, samples * d_h_row];
        let (block_memory, rest) = scratch.get(lens.iter().sum::<usize>() + samples * hidden).split_at_mut(lens[0]);
        let (d_sums, rest) = rest.split_at_mut(lens[1]);
        let (d_h, direct) = rest.split_at_mut(lens[2]);
        let d_input = d_input.unwrap_or_default();
        for (start, end) in blocks_from_the_end(steps) {
            if end == steps {
                match inputs.d_final {
                    Some(rows) => copy_rows(&rows, d_initial, hidden),
                    None => d_initial.fill(0.0),
                }
                match inputs.d_final_c {
                    Some(rows) => copy_rows(&rows, d_initial_c, hidden),
                    None => d_initial_c.fill(0.0),
                }
            }
            for step in (start..end).rev() {
                let d_output = d_output.along_outer(0, step);
                let slot = (step - start) * row;
                if step + 1 == end {
                    let samples = d_h.chunks_exact_mut(d_h_row).zip(d_initial.chunks_exact(hidden));
                    for (sample, (d_h, behind)) in samples.enumerate() {
                        let rows = d_h.iter_mut().zip(d_output.row(0, sample)).zip(behind);
                        rows.for_each(|((d_h, d_output), behind)| *d_h = d_output + behind);
                    }
                    direct.fill(0.0);
                } else {
                    let following = Rows::new(d_sums, row, 0, slots * row).skip_numbers(slot + row);
                    let out = Output { data: d_h, first: 0, outer: 0, inner: d_h_row, far: false };
                    before_sums::<S, C>(s, packed, following, d_output, out, samples, step % 2 == 1);
                }
                let (d_h, d_c) = (&*d_h, &mut *d_initial_c);
                s.call(StepBack::<C> {
                    inputs: &inputs,
                    step,
                    d_h: Rows::line(d_h, hidden, d_h_row),
                    d_c,
                    direct,
                    d_sums: &mut d_sums[slot..],
                    stride: slots * row,
                    cell: PhantomData,
                });
            }
            let grid = (samples, end - start);
            let [d_weight_ih, d_weight_hh, d_bias_ih, d_bias_hh] = &mut gradients.tensors;
            for sum in 0..SUMS {
                let rows = Rows::batch_first(d_sums, row, slots).skip_numbers(sum * hidden);
                let mut block = if in_place {
                    Block::in_place(rows, grid, hidden, block_memory)
                } else {
                    Block::pack(s, &rows, grid, hidden, block_memory)
                };
                let columns = |gate: usize| Columns { first: gate * hidden, count: hidden, of: feeds.gates * hidden };
                if sum < feeds.gates {
                    block.add_outer_products(s, &input.skip_inner(start), d_weight_ih, columns(sum));
                    block.add_rows(s, [&mut d_bias_ih[sum * hidden..][..hidden]]);
                }
                if let Some(gate) = feeds.recurrent_gates[sum] {
                    let states = Previous { initial, output, first: start };
                    block.add_outer_products(s, &states, d_weight_hh, columns(gate));
                    block.add_rows(s, [&mut d_bias_hh[gate * hidden..][..hidden]]);
                }
            }
            gradients.count_block();
            if !d_input.is_empty() {
                let mut d_sum_rows = Rows::batch_first(d_sums, row, slots);
                d_sum_rows.width = feeds.gates * hidden;
                d_inputs(s, &inputs, d_sum_rows, start..end, d_input);
            }
            let following = Rows::new(d_sums, row, 0, slots * row);
            let out = Output { data: d_initial, first: 0, outer: 0, inner: hidden, far: false };
            before_sums::<S, C>(s, packed, following, Rows::ZEROS, out, samples, false);
            d_initial.iter_mut().zip(&*direct).for_each(|(d, direct)| *d += direct);
        }
    }
}

#[inline(always)]
fn copy_rows(rows: &Rows<'_>, to: &mut [f32], hidden: usize) {
    for (sample, to) in to.chunks_exact_mut(hidden).enumerate() {
        to.copy_from_slice(rows.row(sample, 0));
    }
}

/// `out = start + W_hh^T dz`, of rows `dz` of all sums.
#[inline(always)]
fn before_sums<S: Simd, C: Gated>(
    s: S,
    packed: &PackedTranspose,
    d_sums: Rows<'_>,
    start: Rows<'_>,
    output: Output<'_>,
    samples: usize,
    from_the_right: bool,
) {
    let (feeds, hidden) = (C::FEEDS, d_sums.width / SUMS);
    let run = const { C::FEEDS.first_run() };
    let rest = (run < feeds.gates).then(|| Input::Rows(d_sums.skip_numbers(feeds.recurrent[run] * hidden)));
    let input = Input::Rows(d_sums.skip_numbers(feeds.recurrent[0] * hidden));
    let mut work = Multiply { input, second_input: rest, start, output, ahead: &[] };
    let [first, second] = &packed.recurrent;
    let matrices = [first, if rest.is_some() { second } else { first }];
    multiply(s, matrices, from_the_right, (1, samples), &mut work, Store);
}

/// The cell's backward of one step.
struct StepBack<'a, 'r, C> {
    inputs: &'a BackwardInputs<'r>,
    step: usize,
    /// Of the state after the step: by way of the output and of the sums of the step behind it.
    d_h: Rows<'a>,
    /// Of `c` after the step, and then before it.
    d_c: &'a mut [f32],
    /// What reaches the state after the step directly, and then that before it.
    direct: &'a mut [f32],
    /// Rows of all sums, `stride` apart.
    d_sums: &'a mut [f32],
    stride: usize,
    cell: PhantomData<C>,
}

impl<C: Gated> Kernel for StepBack<'_, '_, C> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { inputs, step, d_h, d_c, direct, d_sums, stride, .. } = self;
        let BackwardInputs { hidden, samples, initial, output, initial_c, c, kept, .. } = *inputs;
        for sample in 0..samples {
            let h_before = if step == 0 { initial.row(sample, 0) } else { output.row(sample, step - 1) };
            let (c_before, c_after): (&[f32], &[f32]) = match (C::CARRIES, step) {
                (false, _) => (&[], &[]),
                (true, 0) => (initial_c.row(sample, 0), c.row(sample, 0)),
                (true, t) => (c.row(sample, t - 1), c.row(sample, t)),
            };
            CellBackward {
                kept: kept.row(sample, step),
                before: (h_before, c_before),
                after: (output.row(sample, step), c_after),
                d_h_more: Some(d_h.row(0, sample)),
                d_h: &mut direct[sample * hidden..][..hidden],
                d_c: if C::CARRIES { &mut d_c[sample * hidden..][..hidden] } else { &mut [] },
                d_sums: &mut d_sums[sample * stride..][..SUMS * hidden],
            }
            .run::<S, C>(s);
        }
    }
}
