//! Where the rows of an outer product come from.

use crate::kernels::cut::Span;
use crate::kernels::rows::Rows;

/// The inputs of the product: a row for every sample and every step of the block.
pub(crate) trait Source {
    /// Those of a sample: of the first step, and of the steps behind it, as far as there are any.
    fn rows(&self, sample: usize) -> (&[f32], Rows<'_>);
}

impl Source for Rows<'_> {
    #[inline(always)]
    fn rows(&self, sample: usize) -> (&[f32], Rows<'_>) {
        let data = self.data.get(sample * self.outer + self.inner..).unwrap_or_default();
        (self.row(sample, 0), Rows::line(data, self.width, self.inner))
    }
}

/// The columns of one panel: a row for every sample and every step.
#[derive(Clone, Copy)]
pub(super) struct PanelRows<'a> {
    pub(super) data: &'a [f32],
    /// Numbers from one sample to the next, and from one step to the next.
    pub(super) sample_stride: usize,
    pub(super) step_stride: usize,
    pub(super) span: Span,
}

impl<'a> PanelRows<'a> {
    /// Those of a sample, the first one at the beginning.
    #[inline(always)]
    pub(super) fn of_sample(&self, sample: usize) -> &'a [f32] {
        &self.data[sample * self.sample_stride..]
    }
}
