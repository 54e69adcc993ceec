//! The passes of a recurrent layer over a batch, cut between samples for the threads.
//!
//! Sizes are values here, not types: this code does not grow with every size of a cell.

use crate::Level;
use crate::batch::{Divide, GroupGradients, SAMPLES_PER_GROUP};
use crate::kernels::pack::Scratch;
use crate::kernels::recurrence::{Backward, Forward, PackedTranspose, Strided};

/// A forward over samples.
pub(super) struct ForwardSamples<'a> {
    pub(super) level: Level,
    pub(super) forward: Forward<'a>,
}

impl Divide for ForwardSamples<'_> {
    fn pieces(&self) -> usize {
        self.forward.samples.div_ceil(SAMPLES_PER_GROUP)
    }

    fn split(self, pieces: usize) -> (Self, Self) {
        let Self { level, forward } = self;
        let samples = pieces * SAMPLES_PER_GROUP;
        let numbers = samples * forward.steps * forward.packed.recurrent.columns();
        let (out, out_rest) = forward.out.split_at_mut(numbers);
        let (scratch, scratch_rest) = forward.scratch.split_at_mut(pieces);
        let rest = Forward {
            samples: forward.samples - samples,
            input: forward.input.starting_at_sample(samples),
            initial: forward.initial.starting_at_sample(samples),
            out: out_rest,
            scratch: scratch_rest,
            ..forward
        };
        (Self { level, forward: Forward { samples, out, scratch, ..forward } }, Self { level, forward: rest })
    }

    fn run(self) {
        self.forward.at(self.level);
    }
}

/// A backward over groups of samples.
pub(super) struct BackwardGroups<'a> {
    pub(super) level: Level,
    pub(super) hidden: usize,
    pub(super) samples: usize,
    pub(super) steps: usize,
    pub(super) input: Strided<'a>,
    pub(super) initial: Strided<'a>,
    pub(super) output: Strided<'a>,
    pub(super) d_output: Strided<'a>,
    pub(super) d_final: Option<Strided<'a>>,
    pub(super) packed: &'a PackedTranspose,
    /// One a group.
    pub(super) scratch: &'a mut [Scratch],
    /// `[samples][steps][inputs]`, where anybody asks for it.
    pub(super) d_input: Option<&'a mut [f32]>,
    /// `[samples][hidden]`
    pub(super) d_initial: &'a mut [f32],
    /// Of the weights of the input, those of the recurrence, and the bias.
    pub(super) gradients: [GroupGradients<'a>; 3],
}

impl Divide for BackwardGroups<'_> {
    fn pieces(&self) -> usize {
        self.samples.div_ceil(SAMPLES_PER_GROUP)
    }

    fn split(mut self, pieces: usize) -> (Self, Self) {
        let samples = pieces * SAMPLES_PER_GROUP;
        let (scratch, scratch_rest) = self.scratch.split_at_mut(pieces);
        let (d_input, d_input_rest) =
            self.d_input.map(|rows| rows.split_at_mut(samples * self.steps * self.input.width)).unzip();
        let (d_initial, d_initial_rest) = self.d_initial.split_at_mut(samples * self.hidden);
        let gradients = self.gradients.each_mut().map(|tensor| tensor.take_front(pieces));
        (
            Self { samples, scratch, d_input, d_initial, gradients, ..self },
            Self {
                samples: self.samples - samples,
                input: self.input.starting_at_sample(samples),
                initial: self.initial.starting_at_sample(samples),
                output: self.output.starting_at_sample(samples),
                d_output: self.d_output.starting_at_sample(samples),
                d_final: self.d_final.map(|rows| rows.starting_at_sample(samples)),
                scratch: scratch_rest,
                d_input: d_input_rest,
                d_initial: d_initial_rest,
                gradients: self.gradients,
                ..self
            },
        )
    }

    fn run(self) {
        if self.samples == 0 {
            return;
        }
        let [d_weight_ih, d_weight_hh, d_bias] = self.gradients.map(GroupGradients::only);
        let backward = Backward {
            hidden: self.hidden,
            samples: self.samples,
            steps: self.steps,
            input: self.input,
            initial: self.initial,
            output: self.output,
            d_output: self.d_output,
            d_final: self.d_final,
            packed: self.packed,
            scratch: &mut self.scratch[0],
            d_input: self.d_input,
            d_initial: self.d_initial,
            d_weight_ih,
            d_weight_hh,
            d_bias,
        };
        backward.at(self.level);
    }
}
