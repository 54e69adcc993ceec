//! The passes of a recurrent layer over a batch, cut between samples for the threads.
//!
//! Sizes are values here, not types: this code does not grow with every size of a cell.

use super::nonlinearity::BatchKernels;
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

impl<C: BatchKernels> Divide for ForwardSamples<'_, C> {
    fn pieces(&self) -> usize {
        self.forward.samples.div_ceil(SAMPLES_PER_GROUP)
    }

    fn split(self, pieces: usize) -> (Self, Self) {
        let Self { cell, level, forward } = self;
        let samples = pieces * SAMPLES_PER_GROUP;
        let numbers = samples * forward.steps * forward.packed.recurrent.columns();
        let (out, out_rest) = forward.out.split_at_mut(numbers);
        let (scratch, scratch_rest) = forward.scratch.split_at_mut(pieces);
        let rest = Forward {
            samples: forward.samples - samples,
            input: forward.input.skip_outer(samples),
            initial: forward.initial.skip_outer(samples),
            out: out_rest,
            scratch: scratch_rest,
            ..forward
        };
        (
            Self { cell, level, forward: Forward { samples, out, scratch, ..forward } },
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
    /// `[samples][hidden]`
    pub(super) d_initial: &'a mut [f32],
}

impl<C: BatchKernels> Divide for BackwardShares<'_, C> {
    fn pieces(&self) -> usize {
        self.inputs.samples.div_ceil(self.outputs.samples)
    }

    fn split(self, pieces: usize) -> (Self, Self) {
        let Self { cell, level, inputs, outputs, d_initial } = self;
        let samples = pieces * outputs.samples;
        let (outputs, outputs_rest) = outputs.split(pieces, samples * inputs.steps * inputs.input.width);
        let (d_initial, d_initial_rest) = d_initial.split_at_mut(samples * inputs.hidden);
        let (inputs, inputs_rest) = inputs.split_at(samples);
        (
            Self { cell, level, inputs, outputs, d_initial },
            Self { cell, level, inputs: inputs_rest, outputs: outputs_rest, d_initial: d_initial_rest },
        )
    }

    fn run(self) {
        let Self { level, mut inputs, outputs, mut d_initial, .. } = self;
        let ShareOutputs { scratch, mut d_input, gradients, .. } = outputs;
        let mut gradients = gradients.only();
        // Of a single group, nothing is cut off.
        while inputs.samples > SAMPLES_PER_GROUP {
            let group;
            (group, inputs) = inputs.split_at(SAMPLES_PER_GROUP);
            let (d_input_of_group, d_input_rest) =
                d_input.map(|rows| rows.split_at_mut(group.samples * group.steps * group.input.width)).unzip();
            let (d_initial_of_group, d_initial_rest) = d_initial.split_at_mut(group.samples * group.hidden);
            (d_input, d_initial) = (d_input_rest, d_initial_rest);
            let backward = Backward {
                inputs: group,
                scratch: &mut scratch[0],
                d_input: d_input_of_group,
                d_initial: d_initial_of_group,
                gradients: &mut gradients,
            };
            C::backward(level, backward);
        }
        if inputs.samples > 0 {
            let (scratch, gradients) = (&mut scratch[0], &mut gradients);
            C::backward(level, Backward { inputs, scratch, d_input, d_initial, gradients });
        }
    }
}
