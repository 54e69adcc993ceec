//! The view of rows that all kernels read and write through.

/// Rows of `width` numbers on a grid of two axes, in a slice that begins with the first row.
///
/// Of sequences, the outer axis are the samples and the inner one the steps. Distances are in numbers, so that any order of
/// memory fits: batch-first, time-major, the same row for all (0).
#[derive(Clone, Copy, Debug)]
#[cfg_attr(not(feature = "alloc"), allow(dead_code, reason = "batches need more of it than a step"))]
pub(crate) struct Rows<'a> {
    pub(crate) data: &'a [f32],
    pub(crate) width: usize,
    /// From one row to the next along the outer axis.
    pub(crate) outer: usize,
    /// From one row to the next along the inner axis.
    pub(crate) inner: usize,
    /// Numbers of the rows that the view was made of, those that it has passed since too.
    whole: usize,
}

#[cfg_attr(not(feature = "alloc"), allow(dead_code, reason = "as above"))]
impl<'a> Rows<'a> {
    /// No numbers, which stand for zeros.
    pub(crate) const ZEROS: Rows<'static> = Rows { data: &[], width: 0, outer: 0, inner: 0, whole: 0 };

    /// All rows of `data`.
    #[inline(always)]
    pub(crate) fn new(data: &'a [f32], width: usize, outer: usize, inner: usize) -> Self {
        Self { data, width, outer, inner, whole: data.len() }
    }

    /// One row for every sample, one behind the other.
    #[inline(always)]
    pub(crate) fn one_a_sample(data: &'a [f32], width: usize) -> Self {
        Self::new(data, width, width, 0)
    }

    /// `[outer][steps][width]`
    #[inline(always)]
    pub(crate) fn batch_first(data: &'a [f32], width: usize, steps: usize) -> Self {
        // No samples at all may have more steps than numbers can be counted, as in `Sequences`.
        Self::new(data, width, steps.saturating_mul(width), width)
    }

    /// The same row everywhere.
    #[inline(always)]
    pub(crate) fn repeated(row: &'a [f32]) -> Self {
        Self::new(row, row.len(), 0, 0)
    }

    /// Rows `stride` apart along the inner axis alone.
    #[inline(always)]
    pub(crate) fn line(data: &'a [f32], width: usize, stride: usize) -> Self {
        Self::new(data, width, 0, stride)
    }

    /// Whether all rows together are more than `numbers` numbers.
    #[inline(always)]
    pub(crate) fn are_more_than(&self, numbers: usize) -> bool {
        self.whole > numbers
    }

    #[inline(always)]
    pub(crate) fn row(&self, outer: usize, inner: usize) -> &'a [f32] {
        &self.data[outer * self.outer + inner * self.inner..][..self.width]
    }

    /// A row and all that follows it in memory.
    #[inline(always)]
    pub(crate) fn starting_at(&self, outer: usize, inner: usize) -> &'a [f32] {
        &self.data[outer * self.outer + inner * self.inner..]
    }

    /// A row and those behind it along the inner axis.
    #[inline(always)]
    pub(crate) fn along_inner(&self, outer: usize, inner: usize) -> Self {
        Self { data: self.starting_at(outer, inner), outer: 0, ..*self }
    }

    /// A row and those behind it along the outer axis, which becomes the inner one: of sequences, the rows of a step.
    #[inline(always)]
    pub(crate) fn along_outer(&self, outer: usize, inner: usize) -> Self {
        Self { data: self.starting_at(outer, inner), outer: 0, inner: self.outer, ..*self }
    }

    /// The same rows from a place on the outer axis on; none beyond its end.
    #[inline(always)]
    pub(crate) fn skip_outer(self, outer: usize) -> Self {
        Self { data: &self.data[(outer * self.outer).min(self.data.len())..], ..self }
    }

    /// The same rows from a place on the inner axis on; none beyond its end.
    #[inline(always)]
    pub(crate) fn skip_inner(self, inner: usize) -> Self {
        Self { data: &self.data[(inner * self.inner).min(self.data.len())..], ..self }
    }

    /// The same rows of which each begins some numbers later: columns of wider rows.
    #[inline(always)]
    pub(crate) fn skip_numbers(self, numbers: usize) -> Self {
        Self { data: &self.data[numbers.min(self.data.len())..], ..self }
    }

    /// The axes exchanged.
    #[inline(always)]
    pub(crate) fn transposed(self) -> Self {
        Self { outer: self.inner, inner: self.outer, ..self }
    }
}

/// Rows to be written, `inner` numbers from one to the next.
#[derive(Debug)]
pub(crate) struct RowsMut<'a> {
    pub(crate) data: &'a mut [f32],
    pub(crate) inner: usize,
}

impl<'a> RowsMut<'a> {
    #[inline(always)]
    pub(crate) fn line(data: &'a mut [f32], stride: usize) -> Self {
        Self { data, inner: stride }
    }
}
