//! The passes of a recurrent layer over a batch, cut between samples for the threads.
//!
//! Sizes are values here, not types: this code does not grow with every size of a cell.

use super::cell::Kernels;
use crate::cells::SUMS;
use crate::kernels::order::SAMPLES_PER_GROUP;
use crate::kernels::recurrence::work::{Backward, BackwardInputs, Forward};
use crate::simd::Level;
use crate::threads::{Divide, ShareOutputs};

/// A forward over samples.
pub(super) struct ForwardSamples<'a, C> {
    pub(super) cell: C,
    pub(super) level: Level,
    pub(super) forward: Forward<'a>,
}

impl<C: Kernels> Divide for ForwardSamples<'_, C> {
    fn pieces(&self) -> usize {
        self.forward.samples.div_ceil(SAMPLES_PER_GROUP)
    }

    fn split(self, pieces: usize) -> (Self, Self) {
        let Self { cell, level, forward } = self;
        let samples = pieces * SAMPLES_PER_GROUP;
        let numbers = samples * forward.steps * forward.packed.recurrent.columns();
        let (out, out_rest) = forward.out.split_at_mut(numbers);
        let (c, c_rest) = split_rows(forward.c, numbers);
        let (kept, kept_rest) = split_rows(forward.kept, SUMS * numbers);
        let (scratch, scratch_rest) = forward.scratch.split_at_mut(pieces);
        let rest = Forward {
            samples: forward.samples - samples,
            input: forward.input.skip_outer(samples),
            initial: forward.initial.skip_outer(samples),
            initial_c: forward.initial_c.skip_outer(samples),
            out: out_rest,
            c: c_rest,
            kept: kept_rest,
            scratch: scratch_rest,
            ..forward
        };
        (
            Self { cell, level, forward: Forward { samples, out, c, kept, scratch, ..forward } },
            Self { cell, level, forward: rest },
        )
    }

    fn run(self) {
        C::forward(self.level, self.forward);
    }
}

/// A backward over shares of the batch.
pub(super) struct BackwardShares<'a, C> {
    pub(super) cell: C,
    pub(super) level: Level,
    pub(super) inputs: BackwardInputs<'a>,
    /// The gradients are those of the weights of the input and of the recurrence, and of both biases.
    pub(super) outputs: ShareOutputs<'a>,
    /// `[samples][hidden]`, of `h` and of `c`, for cells that carry one.
    pub(super) d_initial: &'a mut [f32],
    pub(super) d_initial_c: &'a mut [f32],
}

/// The first rows, if there are any, and the others.
fn split_rows(rows: &mut [f32], numbers: usize) -> (&mut [f32], &mut [f32]) {
    let numbers = numbers.min(rows.len());
    rows.split_at_mut(numbers)
}

impl<C: Kernels> Divide for BackwardShares<'_, C> {
    fn pieces(&self) -> usize {
        self.inputs.samples.div_ceil(self.outputs.samples)
    }

    fn split(self, pieces: usize) -> (Self, Self) {
        let Self { cell, level, inputs, outputs, d_initial, d_initial_c } = self;
        let samples = pieces * outputs.samples;
        let (outputs, outputs_rest) = outputs.split(pieces, samples * inputs.steps * inputs.input.width);
        let (d_initial, d_initial_rest) = d_initial.split_at_mut(samples * inputs.hidden);
        let (d_initial_c, d_initial_c_rest) = split_rows(d_initial_c, samples * inputs.hidden);
        let (inputs, inputs_rest) = inputs.split_at(samples);
        (
            Self { cell, level, inputs, outputs, d_initial, d_initial_c },
            Self {
                cell,
                level,
                inputs: inputs_rest,
                outputs: outputs_rest,
                d_initial: d_initial_rest,
                d_initial_c: d_initial_c_rest,
            },
        )
    }

    fn run(self) {
        let Self { level, mut inputs, outputs, mut d_initial, mut d_initial_c, .. } = self;
        let ShareOutputs { scratch, mut d_input, gradients, .. } = outputs;
        let mut gradients = gradients.only();
        // Of a single group, nothing is cut off.
        while inputs.samples > SAMPLES_PER_GROUP {
            let group;
            (group, inputs) = inputs.split_at(SAMPLES_PER_GROUP);
            let (d_input_of_group, d_input_rest) =
                d_input.map(|rows| rows.split_at_mut(group.samples * group.steps * group.input.width)).unzip();
            let (d_initial_of_group, d_initial_rest) = d_initial.split_at_mut(group.samples * group.hidden);
            let (d_initial_c_of_group, d_initial_c_rest) = split_rows(d_initial_c, group.samples * group.hidden);
            (d_input, d_initial, d_initial_c) = (d_input_rest, d_initial_rest, d_initial_c_rest);
            let backward = Backward {
                inputs: group,
                scratch: &mut scratch[0],
                d_input: d_input_of_group,
                d_initial: d_initial_of_group,
                d_initial_c: d_initial_c_of_group,
                gradients: &mut gradients,
            };
            C::backward(level, backward);
        }
        if inputs.samples > 0 {
            let (scratch, gradients) = (&mut scratch[0], &mut gradients);
            C::backward(level, Backward { inputs, scratch, d_input, d_initial, d_initial_c, gradients });
        }
    }
}
