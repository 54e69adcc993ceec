//! `out(b, t) = bias + W x(b, t)` over rows: a linear layer, the inputs of one sequence, the gradients of inputs.

use super::panels::Panels;
use super::tile::{Input, Multiply, Output, Store, multiply};
use crate::kernels::rows::Rows;
use crate::simd::{Kernel, Level, Simd};
use core::ops::Range;

/// The product of a block of rows and one matrix.
pub(crate) struct Projection<'a> {
    pub(crate) panels: &'a Panels,
    pub(crate) input: Rows<'a>,
    /// What the sums start from; nothing is zero.
    pub(crate) bias: Option<&'a [f32]>,
    /// `[samples][out_steps][outputs]`
    pub(crate) out: &'a mut [f32],
    pub(crate) out_steps: usize,
    pub(crate) samples: usize,
    /// The steps that are projected.
    pub(crate) steps: Range<usize>,
    /// Whether the output is prefetched before it is written.
    pub(crate) far: bool,
}

impl Projection<'_> {
    #[inline(never)]
    pub(crate) fn at(self, level: Level) {
        level.run(self);
    }
}

impl Kernel for Projection<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { panels, input, bias, out, out_steps, samples, steps, far } = self;
        // Batches of nothing may have any number of steps, more than can be multiplied.
        if samples == 0 {
            return;
        }
        let outputs = panels.outputs();
        // The tile runs along the axis that fills it.
        let by_steps = steps.len() >= samples || steps.len() >= 8;
        let in_order = |samples: usize, steps: usize| if by_steps { (samples, steps) } else { (steps, samples) };
        let input = input.skip_inner(steps.start);
        let (outer, inner) = in_order(out_steps * outputs, outputs);
        let mut work = Multiply {
            input: Input::Rows(if by_steps { input } else { input.transposed() }),
            second_input: None,
            start: bias.map_or(Rows::ZEROS, Rows::repeated),
            output: Output { data: out, first: steps.start * outputs, outer, inner, far },
            ahead: &[],
        };
        multiply(s, [panels; 2], false, in_order(samples, steps.len()), &mut work, Store);
    }
}
