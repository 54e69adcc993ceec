//! A recurrent layer over sequences: what is kept between forward and backward, and the passes.

use super::RnnCell;
use super::nonlinearity::Nonlinearity;
use super::passes::{BackwardShares, ForwardSamples};
use crate::data::error::Error;
use crate::data::sequences::{Sequences, SequencesBuf};
use crate::kernels::latency::cell::{OneSample, Steps};
use crate::kernels::order::{SAMPLES_PER_GROUP, samples_per_share};
use crate::kernels::recurrence::packed::{PackedCell, PackedTranspose};
use crate::kernels::recurrence::work::{BackwardInputs, Forward};
use crate::kernels::rows::Rows;
use crate::kernels::scratch::Scratch;
use crate::kernels::throughput::projection::Projection;
use crate::kernels::tuning::{BYTES_IN_L1, SAMPLES_FOR_TILES, STEPS_ALONE, narrow_alone, samples_in_lanes};
use crate::model::layer::{Gradients, Layer, Run, Start, check_output_shape, sealed};
use crate::model::parameters::Parameters;
use crate::simd::Level;
use crate::threads::{self, ShareMemory, ShareOutputs};
use alloc::vec::Vec;

/// What an [`RnnCell`] keeps between forward and backward, and its memory for both.
#[derive(Debug, Default)]
pub struct RnnCellCache<const IN: usize, const HID: usize> {
    output: SequencesBuf<[f32; HID]>,
    /// One row a sample.
    initial: Vec<[f32; HID]>,
    last: Vec<[f32; HID]>,
    packed: PackedCell,
    packed_transpose: PackedTranspose,
    /// One for every group of samples.
    scratch: Vec<Scratch>,
    share_gradients: ShareMemory,
    d_input: SequencesBuf<[f32; IN]>,
    d_initial: Vec<[f32; HID]>,
}

impl<const IN: usize, const HID: usize> RnnCellCache<IN, HID> {
    pub(in crate::layers) fn output(&self) -> Sequences<'_, [f32; HID]> {
        self.output.view()
    }
    pub(in crate::layers) fn d_input(&self) -> Sequences<'_, [f32; IN]> {
        self.d_input.view()
    }
    /// Does something with the memory of the gradient of the input beside all else.
    pub(in crate::layers) fn beside_d_input<R>(
        &mut self,
        work: impl FnOnce(&mut Self, &mut SequencesBuf<[f32; IN]>) -> R,
    ) -> R {
        let mut d_input = core::mem::take(&mut self.d_input);
        let result = work(self, &mut d_input);
        self.d_input = d_input;
        result
    }
    /// The state after the last step, one row a sample.
    pub(in crate::layers) fn last(&self) -> &Vec<[f32; HID]> {
        &self.last
    }
    /// The gradient of the initial state, one row a sample.
    pub(in crate::layers) fn d_initial(&self) -> &Vec<[f32; HID]> {
        &self.d_initial
    }
}

/// Whether a backward over `layers` layers fits the forward, whose outputs had a shape.
pub(in crate::layers) fn check_rows<const IN: usize, const HID: usize>(
    input: Sequences<'_, [f32; IN]>,
    shape: (usize, usize),
    d_output: (usize, usize),
    layers: usize,
    d_final: &[[f32; HID]],
) -> Result<(), Error> {
    input.check_shape("the input of the backward", shape)?;
    check_output_shape(shape, d_output)?;
    if !d_final.is_empty() {
        Error::check_length("rows of the gradient of the final state", layers * shape.1, d_final.len())?;
    }
    Ok(())
}

/// Whether a state has one row for each layer and sample, or none at all.
pub(in crate::layers) fn check_state<const HID: usize>(
    layers: usize,
    batch: usize,
    state: &[[f32; HID]],
) -> Result<(), Error> {
    if state.is_empty() {
        return Ok(());
    }
    Error::check_length("rows of the initial state", layers * batch, state.len())
}

/// One row a sample.
fn rows_of_samples<const N: usize>(rows: &[[f32; N]]) -> Rows<'_> {
    Rows::one_a_sample(rows.as_flattened(), N)
}

impl<const IN: usize, const HID: usize, A: Nonlinearity> RnnCell<IN, HID, A> {
    /// Whether one sample's steps take inputs and states together; otherwise, where both matrices do not stay in L1, the
    /// inputs are projected in bulk first.
    const STEPS_TOGETHER: bool = (IN + HID) * HID * size_of::<f32>() <= BYTES_IN_L1;

    /// How many samples, the last ones, each go through time alone in a forward: all of a few, and the few that those
    /// in lanes leave.
    const fn samples_alone(lanes: usize, samples: usize) -> usize {
        let left = samples - samples_in_lanes(lanes, HID, samples);
        if left < SAMPLES_FOR_TILES { left } else { 0 }
    }

    /// What a backward computes.
    fn tensors_mut(&mut self) -> [&mut [f32]; 4] {
        let Self { weight_ih, weight_hh, bias_ih, bias_hh, .. } = self;
        [weight_ih.as_flattened_mut(), weight_hh.as_flattened_mut(), bias_ih, bias_hh]
    }

    /// Forward; `initial` has one row a sample, or none at all for zeros.
    pub(in crate::layers) fn forward_rows(
        &self,
        run: Run,
        input: Sequences<'_, [f32; IN]>,
        initial: &[[f32; HID]],
        cache: &mut RnnCellCache<IN, HID>,
    ) -> Result<(), Error> {
        const { Self::CHECK };
        input.check_steps()?;
        let (steps, samples) = input.shape();
        check_state(1, samples, initial)?;
        cache.initial.clear();
        cache.initial.extend_from_slice(initial);
        cache.initial.resize(samples, [0.0; HID]);
        cache.output.reshape(input.shape());
        let lanes = run.level.lanes();
        let together = samples - Self::samples_alone(lanes, samples);
        if together > 0 || !Self::STEPS_TOGETHER {
            let biases = [&self.bias_ih[..], &self.bias_hh];
            cache.packed.pack_input(lanes, self.weight_ih.as_flattened(), biases);
        }
        let (input, out) = (input.rows(), cache.output.rows_mut());
        let (out, out_alone) = out.split_at_mut(together * steps);
        if together > 0 {
            let weights = [self.weight_ih.as_flattened(), self.weight_hh.as_flattened()];
            cache.packed.pack_recurrent(lanes, weights, HID, together);
            let initial = rows_of_samples(&cache.initial);
            let out = out.as_flattened_mut();
            let scratch = threads::scratch_of_groups(&mut cache.scratch, together);
            let forward = Forward { input, initial, packed: &cache.packed, out, samples: together, steps, scratch };
            let work = ForwardSamples { level: run.level, forward, cell: A::CELL };
            threads::run_shared(run.threads, work, threads::operations(&[2, steps, together, HID, IN + HID]));
        }
        for (states, sample) in out_alone.chunks_exact_mut(steps).zip(together..) {
            let before = &cache.initial[sample];
            self.forward_alone(run.level, input.skip_outer(sample), before, states, &cache.packed);
        }
        cache.last.clear();
        cache.last.extend(cache.output.view().last_rows());
        Ok(())
    }

    /// Forward of one sample alone.
    fn forward_alone(
        &self,
        level: Level,
        input: Rows<'_>,
        initial: &[f32; HID],
        out: &mut [[f32; HID]],
        packed: &PackedCell,
    ) {
        if const { Self::STEPS_TOGETHER } {
            let steps = Steps { cell: A::CELL, weights: self.weights(), input, before: initial, states: out };
            return narrow_alone(level, HID).run(steps);
        }
        let steps = out.len();
        for start in (0..steps).step_by(STEPS_ALONE) {
            let end = steps.min(start + STEPS_ALONE);
            let projection = Projection {
                panels: &packed.input,
                input,
                bias: Some(packed.bias.as_slice(HID)),
                out: out.as_flattened_mut(),
                out_steps: steps,
                samples: 1,
                steps: start..end,
                far: false,
            };
            projection.at(level);
            let (done, states) = out[..end].split_at_mut(start);
            let before = done.last().unwrap_or(initial);
            narrow_alone(level, HID).run(OneSample { cell: A::CELL, weight_hh: &self.weight_hh, before, states });
        }
    }

    /// Backward; `d_final` has one row a sample, or none at all for zeros. `d_output` is what it is given, beside it
    /// where the gradient of the input goes.
    pub(in crate::layers) fn backward_rows(
        &self,
        run: Run,
        input: Sequences<'_, [f32; IN]>,
        cache: &mut RnnCellCache<IN, HID>,
        (d_output, d_input): (Sequences<'_, [f32; HID]>, &mut SequencesBuf<[f32; IN]>),
        d_final: &[[f32; HID]],
        (gradients, how): (&mut Self, Gradients),
    ) -> Result<(), Error> {
        check_rows(input, cache.output.view().shape(), d_output.shape(), 1, d_final)?;
        let (steps, samples) = input.shape();
        if how.start != Start::Continue {
            cache.share_gradients.reset(samples, [IN * HID, HID * HID, HID, HID]);
            if how.start == Start::Zero {
                gradients.fill_zero();
            }
        }
        cache.d_initial.resize(samples, [0.0; HID]);
        d_input.reshape((steps, if run.d_input { samples } else { 0 }));
        let lanes = run.level.lanes();
        let weight_ih = run.d_input.then_some(self.weight_ih.as_flattened());
        let group = samples.min(SAMPLES_PER_GROUP);
        cache.packed_transpose.pack(lanes, weight_ih, self.weight_hh.as_flattened(), HID, group);
        let work = BackwardShares {
            level: run.level,
            cell: A::CELL,
            inputs: BackwardInputs {
                hidden: HID,
                samples,
                steps,
                input: input.rows(),
                initial: rows_of_samples(&cache.initial),
                output: cache.output.view().rows(),
                d_output: d_output.rows(),
                d_final: (!d_final.is_empty()).then(|| rows_of_samples(d_final)),
                packed: &cache.packed_transpose,
            },
            outputs: ShareOutputs {
                samples: samples_per_share(samples),
                scratch: threads::scratch_of_groups(&mut cache.scratch, samples),
                d_input: run.d_input.then_some(d_input.rows_mut().as_flattened_mut()),
                gradients: cache.share_gradients.shares(gradients.tensors_mut()),
            },
            d_initial: cache.d_initial.as_flattened_mut(),
        };
        threads::run_pieces(run.threads, work, threads::operations(&[4, steps, samples, HID, IN + HID]));
        if how.complete {
            cache.share_gradients.add_to(gradients.tensors_mut());
        }
        Ok(())
    }
}

impl<const IN: usize, const HID: usize, A: Nonlinearity> sealed::Sealed for RnnCell<IN, HID, A> {}

impl<const IN: usize, const HID: usize, A: Nonlinearity> Layer for RnnCell<IN, HID, A> {
    type Input = [f32; IN];
    type Output = [f32; HID];
    type InputGradient = [f32; IN];
    type State = Vec<[f32; HID]>;
    type Cache = RnnCellCache<IN, HID>;

    fn check_initial(batch: usize, initial: &Self::State) -> Result<(), Error> {
        check_state(1, batch, initial)
    }

    fn forward_with(
        &self,
        run: Run,
        input: Sequences<'_, [f32; IN]>,
        initial: &Self::State,
        cache: &mut Self::Cache,
    ) -> Result<(), Error> {
        self.forward_rows(run, input, initial, cache)
    }

    fn output(cache: &Self::Cache) -> Sequences<'_, [f32; HID]> {
        cache.output()
    }

    fn final_state(cache: &Self::Cache) -> &Self::State {
        cache.last()
    }

    fn check_backward(
        &self,
        input: Sequences<'_, [f32; IN]>,
        cache: &Self::Cache,
        d_output: (usize, usize),
        d_final: &Self::State,
    ) -> Result<(), Error> {
        check_rows(input, cache.output().shape(), d_output, 1, d_final)
    }

    fn backward_with(
        &self,
        run: Run,
        input: Sequences<'_, [f32; IN]>,
        cache: &mut Self::Cache,
        d_output: Sequences<'_, [f32; HID]>,
        d_final: &Self::State,
        (gradients, how): (&mut Self, Gradients),
    ) -> Result<(), Error> {
        cache.beside_d_input(|cache, d_input| {
            self.backward_rows(run, input, cache, (d_output, d_input), d_final, (gradients, how))
        })
    }

    fn d_input(cache: &Self::Cache) -> Sequences<'_, [f32; IN]> {
        cache.d_input()
    }

    fn d_initial(cache: &Self::Cache) -> &Self::State {
        cache.d_initial()
    }

    fn copy_state(from: &Self::State, to: &mut Self::State) {
        to.clone_from(from);
    }
}
