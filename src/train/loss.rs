//! The loss: softmax cross-entropy on logits.

use crate::data::error::Error;
#[cfg(feature = "alloc")]
use crate::data::sequences::{Sequences, SequencesBuf};
#[cfg(feature = "alloc")]
use crate::kernels::elementwise::softmax::SoftmaxCrossEntropy;
use crate::kernels::elementwise::softmax::SoftmaxRows;
#[cfg(feature = "alloc")]
use crate::kernels::order::SAMPLES_PER_GROUP;
use crate::simd::Level;
#[cfg(feature = "alloc")]
use crate::threads;

/// How the losses of all rows become one number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reduction {
    /// Their mean, PyTorch's default.
    #[default]
    Mean,
    /// Their sum.
    Sum,
    /// Their sum divided by a number of rows: the mean over a whole of which these are a part, such as a chunk of a long
    /// sequence.
    MeanOf(usize),
}

/// Cross-entropy of the softmax of logits and target classes, as PyTorch's `nn.CrossEntropyLoss` computes it:
///
/// `loss = -log softmax(logits)[target] = log(sum over c of exp(logits[c])) - logits[target]`,
/// `d_logits = softmax(logits) - onehot(target)` (Goodfellow, Bengio & Courville 2016, section 6.2.2.3),
/// divided by the number of rows for the mean.
///
/// ```
/// use elman::CrossEntropy;
/// let (loss, d_logits) = CrossEntropy::mean().loss(&[[0.0f32, 0.0]], &[1])?;
/// assert!((loss - 2f32.ln()).abs() < 1e-6);
/// assert_eq!(d_logits.rows(), &[[0.5, -0.5]]);
/// # Ok::<(), elman::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct CrossEntropy {
    reduction: Reduction,
    level: Level,
    /// Whether large work is shared among threads.
    #[cfg_attr(not(feature = "alloc"), allow(dead_code, reason = "a row is no large work"))]
    threads: bool,
}

impl CrossEntropy {
    /// The loss with a given reduction.
    #[must_use]
    pub fn new(reduction: Reduction) -> Self {
        Self { reduction, level: Level::detect(), threads: true }
    }

    /// The mean over all rows.
    #[must_use]
    pub fn mean() -> Self {
        Self::new(Reduction::Mean)
    }

    /// The sum over all rows.
    #[must_use]
    pub fn sum() -> Self {
        Self::new(Reduction::Sum)
    }

    /// The sum over the rows given, divided by `rows`: a part of the mean over a whole of so many rows.
    #[must_use]
    pub fn mean_of(rows: usize) -> Self {
        Self::new(Reduction::MeanOf(rows))
    }

    /// The instruction set, instead of [`Level::detect`].
    #[must_use]
    pub fn at(mut self, level: Level) -> Self {
        self.level = level;
        self
    }

    /// Keeps all work on the calling thread, whatever its size, as `Workspace::on_this_thread` does. The bits are the same.
    #[must_use]
    pub fn on_this_thread(mut self) -> Self {
        self.threads = false;
        self
    }

    /// What the sum of the losses of so many rows is multiplied by.
    fn scale(&self, rows: usize) -> Result<f64, Error> {
        match self.reduction {
            Reduction::Sum => Ok(1.0),
            Reduction::Mean if rows == 0 => Err(Error::NoTargets),
            Reduction::MeanOf(0) => Err(Error::NoTargets),
            Reduction::Mean => Ok(1.0 / rows as f64),
            Reduction::MeanOf(whole) => Ok(1.0 / whole as f64),
        }
    }

    /// The loss of a single row and its gradient with respect to the logits, for training step by step. (The mean over
    /// one row is its sum; for the mean over several that come one by one, take [`CrossEntropy::mean_of`].)
    ///
    /// # Errors
    ///
    /// [`Error::TargetOutOfRange`] if the target is not a class, [`Error::NoTargets`] for the mean of no rows.
    pub fn row<const C: usize>(&self, logits: &[f32; C], target: usize) -> Result<(f32, [f32; C]), Error> {
        const { assert!(C > 0, "logits of no classes") };
        if target >= C {
            return Err(Error::TargetOutOfRange { target, classes: C, index: 0 });
        }
        let mut d_logits = [0.0; C];
        let scale = self.scale(1)?;
        let (logits, targets) = (&[logits.as_slice()], &[target]);
        let row = SoftmaxRows { logits, targets, scale: scale as f32, d_logits: &mut d_logits };
        Ok(((row.at(self.level) * scale) as f32, d_logits))
    }

    /// The loss, and its gradient with respect to the logits.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] if there is not one target for each row of logits, [`Error::TargetOutOfRange`] if one is not a
    /// class, [`Error::NoTargets`] for the mean over no rows.
    #[cfg(feature = "alloc")]
    pub fn loss<'a, 'b, const C: usize>(
        &self,
        logits: impl Into<Sequences<'a, [f32; C]>>,
        targets: impl Into<Sequences<'b, usize>>,
    ) -> Result<(f32, SequencesBuf<[f32; C]>), Error> {
        let mut d_logits = SequencesBuf::default();
        let loss = self.loss_into(logits, targets, &mut d_logits)?;
        Ok((loss, d_logits))
    }

    /// [`CrossEntropy::loss`] with memory of the caller for the gradient, which is overwritten.
    ///
    /// # Errors
    ///
    /// Like [`CrossEntropy::loss`]; `d_logits` is then as it was.
    #[cfg(feature = "alloc")]
    pub fn loss_into<'a, 'b, const C: usize>(
        &self,
        logits: impl Into<Sequences<'a, [f32; C]>>,
        targets: impl Into<Sequences<'b, usize>>,
        d_logits: &mut SequencesBuf<[f32; C]>,
    ) -> Result<f32, Error> {
        const { assert!(C > 0, "logits of no classes") };
        let (logits, targets) = (logits.into(), targets.into());
        targets.check_shape("the targets", logits.shape())?;
        if let Some((index, target)) = targets.first_in_memory(|target| *target >= C) {
            return Err(Error::TargetOutOfRange { target: *target, classes: C, index });
        }
        let rows = logits.steps() * logits.batch();
        let scale = self.scale(rows)?;
        d_logits.reshape(logits.shape());
        // An exponential takes about as long as twenty multiplications.
        let on_threads = threads::threads(self.threads, threads::operations(&[20, rows, C])) > 1;
        let d_logits = d_logits.rows_mut().as_flattened_mut();
        let sum = sum_of_losses(self.level, on_threads, logits, targets, scale as f32, d_logits);
        Ok((sum * scale) as f32)
    }
}

/// The sum of the losses, of groups of samples that are added in pairs: an order that the number of threads does not change.
#[cfg(feature = "alloc")]
fn sum_of_losses<const C: usize>(
    level: Level,
    on_threads: bool,
    logits: Sequences<'_, [f32; C]>,
    targets: Sequences<'_, usize>,
    scale: f32,
    d_logits: &mut [f32],
) -> f64 {
    let samples = targets.batch();
    if samples <= SAMPLES_PER_GROUP {
        let (targets, target_strides, steps) = (targets.memory(), targets.strides(), targets.steps());
        return SoftmaxCrossEntropy { logits: logits.rows(), targets, target_strides, steps, scale, d_logits }
            .at(level);
    }
    let half = samples.div_ceil(SAMPLES_PER_GROUP) / 2 * SAMPLES_PER_GROUP;
    let (first, second) = d_logits.split_at_mut(half * targets.steps() * C);
    let (logits, targets) = (logits.split_samples(half), targets.split_samples(half));
    let (first, second) = threads::join(
        on_threads,
        || sum_of_losses(level, on_threads, logits.0, targets.0, scale, first),
        || sum_of_losses(level, on_threads, logits.1, targets.1, scale, second),
    );
    first + second
}
