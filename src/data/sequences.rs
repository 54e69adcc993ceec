//! Views of sequences in the caller's memory, whichever axis comes first.

use super::error::Error;
#[cfg(feature = "alloc")]
use crate::kernels::rows::Rows;
use core::fmt;
use core::ops::Range;

/// How many sequences there are side by side. A type of its own, so that it cannot be exchanged with [`Steps`] in silence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batch(pub usize);

/// How many steps each sequence has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Steps(pub usize);

/// `batch` sequences of `steps` rows each, borrowed, in either memory order.
///
/// A row `R` is what a layer takes or gives at one step: a token (`usize`), or a vector (`[f32; N]`). PyTorch's
/// `(L, N, ...)` is [`Sequences::time_major`], its `batch_first=True` is [`Sequences::batch_first`]; nothing is copied
/// for either. A single sequence is a plain slice: layers take `&rows` where they take sequences.
///
/// ```
/// use elman::{Batch, Sequences, Steps};
/// let rows = [[0.0f32], [1.0], [2.0], [3.0], [4.0], [5.0]];
/// let time_major = Sequences::time_major(&rows, Steps(3), Batch(2))?;
/// assert_eq!(time_major.row(1, 0), &[1.0]); // sample 1, step 0
/// let batch_first = Sequences::batch_first(&rows, Batch(2), Steps(3))?;
/// assert_eq!(batch_first.row(1, 0), &[3.0]);
/// # Ok::<(), elman::Error>(())
/// ```
pub struct Sequences<'a, R> {
    rows: &'a [R],
    steps: usize,
    batch: usize,
    sample_stride: usize,
    step_stride: usize,
}

impl<'a, R> Sequences<'a, R> {
    /// One sequence: `steps` rows.
    #[must_use]
    pub const fn one(rows: &'a [R]) -> Self {
        Self { rows, steps: rows.len(), batch: 1, sample_stride: rows.len(), step_stride: 1 }
    }

    /// `(steps, batch)` rows: all samples of step 0, then all of step 1, ...
    ///
    /// # Errors
    ///
    /// [`Error::Length`] if there are not `steps * batch` rows.
    pub const fn time_major(rows: &'a [R], Steps(steps): Steps, Batch(batch): Batch) -> Result<Self, Error> {
        Self::with_strides(rows, steps, batch, 1, batch)
    }

    /// `(batch, steps)` rows: all steps of sample 0, then all of sample 1, ...
    ///
    /// # Errors
    ///
    /// [`Error::Length`] if there are not `batch * steps` rows.
    pub const fn batch_first(rows: &'a [R], Batch(batch): Batch, Steps(steps): Steps) -> Result<Self, Error> {
        Self::with_strides(rows, steps, batch, steps, 1)
    }

    const fn with_strides(
        rows: &'a [R],
        steps: usize,
        batch: usize,
        sample_stride: usize,
        step_stride: usize,
    ) -> Result<Self, Error> {
        match steps.checked_mul(batch) {
            Some(expected) if expected == rows.len() => Ok(Self { rows, steps, batch, sample_stride, step_stride }),
            expected => Err(Error::Length {
                what: "rows of the sequences",
                expected: match expected {
                    Some(expected) => expected,
                    None => usize::MAX,
                },
                given: rows.len(),
            }),
        }
    }

    /// Steps in each sequence.
    #[must_use]
    pub const fn steps(&self) -> usize {
        self.steps
    }

    /// How many sequences.
    #[must_use]
    pub const fn batch(&self) -> usize {
        self.batch
    }

    /// The row of one sample at one step.
    ///
    /// # Panics
    ///
    /// If there is no such sample or step.
    #[must_use]
    #[inline]
    pub fn row(&self, sample: usize, step: usize) -> &'a R {
        assert!(
            sample < self.batch && step < self.steps,
            "sample {sample}, step {step} of {} sequences of {} steps",
            self.batch,
            self.steps
        );
        &self.rows[sample * self.sample_stride + step * self.step_stride]
    }

    /// The same sequences from step `steps.start` up to `steps.end`; nothing is copied.
    ///
    /// ```
    /// use elman::{Batch, Sequences, Steps};
    /// let rows = [0, 1, 2, 10, 11, 12];
    /// let sequences = Sequences::batch_first(&rows, Batch(2), Steps(3))?;
    /// assert!(sequences.of_steps(1..3).iter().eq(&[1, 2, 11, 12]));
    /// # Ok::<(), elman::Error>(())
    /// ```
    ///
    /// # Panics
    ///
    /// If the range does not lie in the steps.
    #[must_use]
    pub fn of_steps(&self, steps: Range<usize>) -> Self {
        assert!(
            steps.start <= steps.end && steps.end <= self.steps,
            "steps {steps:?} of sequences of {} steps",
            self.steps
        );
        let len = steps.len();
        // From the first row to the last one; what lies between the samples of batch-first memory stays in between.
        let first = steps.start * self.step_stride;
        let rows = match (self.batch, len) {
            (0, _) | (_, 0) => &[],
            (batch, _) => &self.rows[first..][..(batch - 1) * self.sample_stride + (len - 1) * self.step_stride + 1],
        };
        Self { rows, steps: len, ..*self }
    }

    /// The sequences of the first `samples` samples, and the others.
    #[cfg(feature = "alloc")]
    pub(crate) fn split_samples(self, samples: usize) -> (Self, Self) {
        let second = self.rows.get(samples * self.sample_stride..).unwrap_or_default();
        (Self { batch: samples, ..self }, Self { rows: second, batch: self.batch - samples, ..self })
    }

    /// The last row of every sample, in order.
    pub fn last_rows(&self) -> impl Iterator<Item = &'a R> + '_ {
        (0..if self.steps == 0 { 0 } else { self.batch }).map(|sample| self.row(sample, self.steps - 1))
    }

    /// All rows: the steps of sample 0 in order, then those of sample 1, ...
    pub fn iter(&self) -> impl Iterator<Item = &'a R> + '_ {
        (0..self.batch).flat_map(move |sample| (0..self.steps).map(move |step| self.row(sample, step)))
    }

    /// The rows as one slice, if they lie batch-first, as the outputs of all layers do.
    #[must_use]
    pub const fn as_batch_first(&self) -> Option<&'a [R]> {
        let contiguous =
            (self.step_stride == 1 || self.steps <= 1) && (self.sample_stride == self.steps || self.batch <= 1);
        if contiguous { Some(self.rows) } else { None }
    }

    /// The place in the caller's memory of the first row that is refused.
    #[cfg(feature = "alloc")]
    pub(crate) fn first_in_memory(&self, refused: impl Fn(&R) -> bool) -> Option<(usize, &'a R)> {
        let all = (0..self.batch).flat_map(|sample| (0..self.steps).map(move |step| (sample, step)));
        let places = all.filter(|&(sample, step)| refused(self.row(sample, step)));
        let index = places.map(|(sample, step)| sample * self.sample_stride + step * self.step_stride).min()?;
        Some((index, &self.rows[index]))
    }

    /// The memory from the first row on.
    #[cfg(feature = "alloc")]
    pub(crate) const fn memory(&self) -> &'a [R] {
        self.rows
    }

    /// Rows from one sample to the next, and from one step to the next.
    #[cfg(feature = "alloc")]
    pub(crate) const fn strides(&self) -> (usize, usize) {
        (self.sample_stride, self.step_stride)
    }

    #[cfg(feature = "alloc")]
    pub(crate) const fn shape(&self) -> (usize, usize) {
        (self.steps, self.batch)
    }

    #[cfg(feature = "alloc")]
    pub(crate) fn check_shape(&self, what: &'static str, expected: (usize, usize)) -> Result<(), Error> {
        if self.shape() == expected { Ok(()) } else { Err(Error::Shape { what, expected, given: self.shape() }) }
    }

    #[cfg(feature = "alloc")]
    pub(crate) fn check_steps(&self) -> Result<(), Error> {
        if self.steps == 0 { Err(Error::NoSteps) } else { Ok(()) }
    }
}

#[cfg(feature = "alloc")]
impl<'a, const N: usize> Sequences<'a, [f32; N]> {
    /// The rows for a kernel: samples along the outer axis, steps along the inner one.
    pub(crate) fn rows(&self) -> Rows<'a> {
        // Of no steps or samples, there may be any number of the other.
        let distance = |rows: usize| rows.saturating_mul(N);
        Rows::new(self.rows.as_flattened(), N, distance(self.sample_stride), distance(self.step_stride))
    }
}

impl<R> Clone for Sequences<'_, R> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<R> Copy for Sequences<'_, R> {}

impl<R: fmt::Debug> fmt::Debug for Sequences<'_, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sequences({} steps of {} samples: ", self.steps, self.batch)?;
        f.debug_list().entries(self.iter()).finish()?;
        f.write_str(")")
    }
}

impl<'a, R> From<&'a [R]> for Sequences<'a, R> {
    fn from(rows: &'a [R]) -> Self {
        Self::one(rows)
    }
}

impl<'a, R, const T: usize> From<&'a [R; T]> for Sequences<'a, R> {
    fn from(rows: &'a [R; T]) -> Self {
        Self::one(rows)
    }
}

/// Sequences with memory of their own, batch-first: outputs of a forward, gradients of a loss.
///
/// It is reused: as long as the shape does not grow, nothing is allocated.
#[cfg(feature = "alloc")]
#[derive(Clone, Debug)]
pub struct SequencesBuf<R> {
    rows: alloc::vec::Vec<R>,
    steps: usize,
    batch: usize,
}

#[cfg(feature = "alloc")]
impl<R> Default for SequencesBuf<R> {
    fn default() -> Self {
        Self { rows: alloc::vec::Vec::new(), steps: 0, batch: 0 }
    }
}

#[cfg(feature = "alloc")]
impl<R> SequencesBuf<R> {
    /// The rows as a view.
    #[must_use]
    pub fn view(&self) -> Sequences<'_, R> {
        Sequences { rows: &self.rows, steps: self.steps, batch: self.batch, sample_stride: self.steps, step_stride: 1 }
    }

    /// All rows, batch-first.
    #[must_use]
    pub fn rows(&self) -> &[R] {
        &self.rows
    }

    /// No rows, in the memory that is there.
    pub(crate) fn clear(&mut self) {
        self.rows.clear();
        (self.steps, self.batch) = (0, 0);
    }

    /// All rows, batch-first.
    #[must_use]
    pub fn rows_mut(&mut self) -> &mut [R] {
        &mut self.rows
    }
}

#[cfg(feature = "alloc")]
impl<const N: usize> SequencesBuf<[f32; N]> {
    /// Takes a shape, `(steps, batch)`; what the rows hold afterwards is unspecified.
    ///
    /// # Panics
    ///
    /// If there are more rows than a `usize` counts, or no memory is left for them.
    pub fn reshape(&mut self, (steps, batch): (usize, usize)) {
        let rows = steps.checked_mul(batch).expect("steps times batch, more than there can be");
        self.rows.resize(rows, [0.0; N]);
        (self.steps, self.batch) = (steps, batch);
    }
}

#[cfg(feature = "alloc")]
impl<'a, R> From<&'a SequencesBuf<R>> for Sequences<'a, R> {
    fn from(rows: &'a SequencesBuf<R>) -> Self {
        rows.view()
    }
}

#[cfg(feature = "alloc")]
impl<'a, R> From<&'a alloc::vec::Vec<R>> for Sequences<'a, R> {
    fn from(rows: &'a alloc::vec::Vec<R>) -> Self {
        Self::one(rows)
    }
}
