//! What passes over batches are given.

use super::packed::{PackedCell, PackedTranspose};
use crate::kernels::gradient::BlockSums;
use crate::kernels::rows::Rows;
use crate::kernels::scratch::Scratch;

/// The work of a forward over some samples.
pub(crate) struct Forward<'a> {
    pub(crate) input: Rows<'a>,
    /// One row a sample.
    pub(crate) initial: Rows<'a>,
    /// The same of `c`, for cells that carry one.
    pub(crate) initial_c: Rows<'a>,
    pub(crate) packed: &'a PackedCell,
    /// `[samples][steps][hidden]`
    pub(crate) out: &'a mut [f32],
    /// `c` after every step, and what cells of gates keep for the backward, `[samples][steps][SUMS][hidden]`; nothing for
    /// cells that have neither.
    pub(crate) c: &'a mut [f32],
    pub(crate) kept: &'a mut [f32],
    pub(crate) samples: usize,
    pub(crate) steps: usize,
    /// One for every group of samples, of which the first is used.
    pub(crate) scratch: &'a mut [Scratch],
}

/// What a backward over samples reads.
#[derive(Clone, Copy)]
pub(crate) struct BackwardInputs<'a> {
    pub(crate) hidden: usize,
    pub(crate) samples: usize,
    pub(crate) steps: usize,
    pub(crate) input: Rows<'a>,
    pub(crate) initial: Rows<'a>,
    /// What the forward computed, `[samples][steps][hidden]`.
    pub(crate) output: Rows<'a>,
    pub(crate) d_output: Rows<'a>,
    /// Gradient of the last hidden state, one row a sample, on top of `d_output`.
    pub(crate) d_final: Option<Rows<'a>>,
    /// For cells of gates: `c` before the first step and after every step, what the forward has kept, and the gradient of the
    /// last `c`.
    pub(crate) initial_c: Rows<'a>,
    pub(crate) c: Rows<'a>,
    pub(crate) kept: Rows<'a>,
    pub(crate) d_final_c: Option<Rows<'a>>,
    pub(crate) packed: &'a PackedTranspose,
}

impl BackwardInputs<'_> {
    /// From `step` on.
    pub(super) fn skip_inner(self, step: usize) -> Self {
        Self { output: self.output.skip_inner(step), d_output: self.d_output.skip_inner(step), ..self }
    }

    /// Those of the first `samples` samples, and the others.
    pub(crate) fn split_at(self, samples: usize) -> (Self, Self) {
        let rest = Self {
            samples: self.samples - samples,
            input: self.input.skip_outer(samples),
            initial: self.initial.skip_outer(samples),
            output: self.output.skip_outer(samples),
            d_output: self.d_output.skip_outer(samples),
            d_final: self.d_final.map(|rows| rows.skip_outer(samples)),
            initial_c: self.initial_c.skip_outer(samples),
            c: self.c.skip_outer(samples),
            kept: self.kept.skip_outer(samples),
            d_final_c: self.d_final_c.map(|rows| rows.skip_outer(samples)),
            ..self
        };
        (Self { samples, ..self }, rest)
    }
}

/// The work of a backward over one group of samples.
pub(crate) struct Backward<'a, 'g> {
    pub(crate) inputs: BackwardInputs<'a>,
    pub(crate) scratch: &'a mut Scratch,
    /// `[samples][steps][inputs]`, if the gradient of the input is requested.
    pub(crate) d_input: Option<&'a mut [f32]>,
    /// `[samples][hidden]`: what reaches the block before, and at the end the gradient of the initial state.
    pub(crate) d_initial: &'a mut [f32],
    /// The same of `c`.
    pub(crate) d_initial_c: &'a mut [f32],
    /// Gradients of the weights of the input and of the recurrence, and of both biases, are added to these.
    pub(crate) gradients: &'a mut BlockSums<'g>,
}
