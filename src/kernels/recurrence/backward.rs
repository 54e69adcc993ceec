//! Backpropagation through time (Werbos 1990) over one group of samples.
//!
//! ```text
//! for each block of steps, from the end:
//!     for each step t of it, from the end:
//!         dz_t = (dh_t + W_hh^T dz_{t+1}) * f'
//!     while dz is in cache:
//!         dW_ih += dz x^T,  dW_hh += dz h_{t-1}^T,  db += dz,  dx = W_ih^T dz
//!     what reaches the block before: W_hh^T dz of the first step
//! ```

use super::in_lanes;
use super::work::{Backward, BackwardInputs};
use crate::cells::Activation;
use crate::kernels::gradient::{Block, Columns, Source};
use crate::kernels::order::{STEPS_PER_BLOCK, blocks_from_the_end};
use crate::kernels::rows::Rows;
use crate::kernels::throughput::projection::Projection;
use crate::kernels::throughput::tile::{BeforeActivation, Input, Multiply, Output, multiply, prefetch_ahead};
use crate::kernels::tuning::{COLUMNS_IN_PLACE, FAR_BACK, NEAR, STEPS_AHEAD, back_in_lanes};
use crate::simd::{Kernel, Simd, load_some, store_some};
use core::marker::PhantomData;
use core::ops::Range;

/// Backward of one layer over one group of samples.
pub(crate) struct BackwardOf<'a, 'g, A>(pub(crate) Backward<'a, 'g>, pub(crate) PhantomData<A>);

impl<A: Activation> Kernel for BackwardOf<'_, '_, A> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self(Backward { inputs, scratch, d_input, d_initial, gradients, .. }, _) = self;
        let BackwardInputs { hidden, samples, steps, input, initial, output, d_output, d_final: last, packed, .. } =
            inputs;
        let in_lanes = back_in_lanes(S::LANES, hidden, samples);
        // One row more than there are steps: samples a power of two apart would share the same few sets of the cache.
        let slots = STEPS_PER_BLOCK.min(steps) + 1;
        let in_place = hidden <= COLUMNS_IN_PLACE;
        let packed_columns = if in_place { 0 } else { hidden };
        let block_memory = Block::memory(s, samples * slots, packed_columns, hidden.max(input.width));
        // In place, up to two vectors are read behind the last row.
        let d_sums = samples * slots * hidden + 2 * S::LANES;
        let columns = if in_lanes { in_lanes::backward_memory(s, &inputs) } else { 0 };
        let (block_memory, rest) = scratch.get(block_memory + d_sums + columns).split_at_mut(block_memory);
        let (d_sums, columns) = rest.split_at_mut(d_sums);
        let d_input = &mut d_input.unwrap_or_default();
        // What the steps read, and the outer products of their block.
        let streams = [d_output, output, input];
        let far = streams.iter().any(|rows| rows.are_more_than(FAR_BACK));
        for (start, end) in blocks_from_the_end(steps) {
            // What reaches the last step of the block from the steps behind it.
            let following = Rows::one_a_sample(d_initial, hidden);
            let d_final = if end == steps { last } else { Some(following) };
            // With samples in lanes, only the last step goes by rows.
            let by_rows = if in_lanes { end - 1..end } else { start..end };
            for step in by_rows.rev() {
                let ahead = (far && step >= STEPS_AHEAD).then(|| {
                    // Of those that are near, nothing.
                    streams.map(|rows| match rows.are_more_than(FAR_BACK) {
                        true => rows.along_outer(0, step - STEPS_AHEAD),
                        false => Rows::ZEROS,
                    })
                });
                let ahead = ahead.as_slice().as_flattened();
                let first = (step - start) * hidden;
                if step + 1 == end {
                    for rows in ahead {
                        prefetch_ahead(s, rows, 0..samples, 0..hidden, hidden);
                    }
                    last_step::<S, A>(&inputs, s, step, d_final, &mut d_sums[first..], slots * hidden);
                    continue;
                }
                let mut work = Multiply {
                    input: Input::Results(first + hidden),
                    second_input: None,
                    start: d_output.along_outer(0, step),
                    output: Output { data: d_sums, first, outer: 0, inner: slots * hidden, far: false },
                    ahead,
                };
                let epilogue = BeforeActivation { cell: PhantomData::<A>, states: output.along_outer(0, step) };
                multiply(s, [&packed.recurrent[0]; 2], step % 2 == 1, (1, samples), &mut work, epilogue);
            }
            if in_lanes {
                let inputs = inputs.skip_inner(start);
                let d_input = d_input.get_mut(start * input.width..).filter(|rows| !rows.is_empty());
                in_lanes::backward::<S, A>(s, &inputs, end - start, (d_sums, slots), d_input, columns);
            }
            let d_sum_rows = Rows::batch_first(d_sums, hidden, slots);
            let grid = (samples, end - start);
            let mut block = if in_place {
                Block::in_place(d_sum_rows, grid, hidden, block_memory)
            } else {
                Block::pack(s, &d_sum_rows, grid, hidden, block_memory)
            };
            let [d_weight_ih, d_weight_hh, d_bias_ih, d_bias_hh] = &mut gradients.tensors;
            block.add_outer_products(s, &input.skip_inner(start), d_weight_ih, Columns::all(hidden));
            block.add_outer_products(s, &Previous { initial, output, first: start }, d_weight_hh, Columns::all(hidden));
            block.add_rows(s, [&mut **d_bias_ih, &mut **d_bias_hh]);
            gradients.count_block();
            if !d_input.is_empty() && !in_lanes {
                d_inputs(s, &inputs, d_sum_rows, start..end, d_input);
            }
            // The gradient of the state before the block: W_hh^T dz of its first step.
            let projection = Projection {
                panels: &packed.recurrent[0],
                input: d_sum_rows,
                bias: None,
                out: d_initial,
                out_steps: 1,
                samples,
                steps: 0..1,
                far: false,
            };
            projection.run(s);
        }
    }
}

/// `dx = W_ih^T dz` of a block of steps, given the rows of `dz`.
#[inline(always)]
pub(super) fn d_inputs<S: Simd>(
    s: S,
    work: &BackwardInputs<'_>,
    d_sums: Rows<'_>,
    block: Range<usize>,
    d_input: &mut [f32],
) {
    let BackwardInputs { samples, steps, input, packed, .. } = *work;
    let together = (NEAR / d_sums.outer).max(1);
    for first in (0..samples).step_by(together) {
        let projection = Projection {
            panels: &packed.input,
            input: d_sums.skip_outer(first),
            bias: None,
            out: &mut d_input[(first * steps + block.start) * input.width..],
            out_steps: steps,
            samples: together.min(samples - first),
            steps: 0..block.len(),
            far: input.are_more_than(FAR_BACK),
        };
        projection.run(s);
    }
}

/// The last step of a block, `dz = dh * (1 - h^2)`, with the gradient that comes from behind it in `dh`. Rows of `dz` are
/// `stride` apart.
#[inline(always)]
fn last_step<S: Simd, A: Activation>(
    work: &BackwardInputs<'_>,
    s: S,
    step: usize,
    d_final: Option<Rows<'_>>,
    d_sums: &mut [f32],
    stride: usize,
) {
    for (sample, row) in d_sums.chunks_mut(stride).take(work.samples).enumerate() {
        for first in (0..work.hidden).step_by(S::LANES) {
            let mut d_hidden = load_some(s, &work.d_output.row(sample, step)[first..]);
            if let Some(d_final) = d_final {
                d_hidden = s.add(d_hidden, load_some(s, &d_final.row(sample, 0)[first..]));
            }
            let h = load_some(s, &work.output.row(sample, step)[first..]);
            store_some(s, A::d_sum(s, d_hidden, h), &mut row[first..work.hidden]);
        }
    }
}

/// The hidden states that the steps from `first` on started from.
pub(super) struct Previous<'a> {
    pub(super) initial: Rows<'a>,
    pub(super) output: Rows<'a>,
    pub(super) first: usize,
}

impl Source for Previous<'_> {
    #[inline(always)]
    fn rows(&self, sample: usize) -> (&[f32], Rows<'_>) {
        let before = match self.first {
            0 => self.initial.row(sample, 0),
            t => self.output.row(sample, t - 1),
        };
        let data = self.output.starting_at(sample, self.first);
        (before, Rows::line(data, self.output.width, self.output.inner))
    }
}
