//! Softmax cross-entropy and its gradient, row by row.

use super::exp::exp;
#[cfg(feature = "alloc")]
use super::recurrence::Strided;
use super::{starting_at, starting_at_mut};
use crate::Level;
#[cfg(feature = "alloc")]
use crate::batch::{self, SAMPLES_PER_GROUP};
#[cfg(feature = "alloc")]
use crate::sequences::Sequences;
use crate::simd::{Kernel, Simd, load_some, store_some};

/// Lanes of the partial sums of a row, whatever the lanes of the vectors: what makes the sum the same at every level.
const PARTIAL_SUMS: usize = 16;

/// `loss = log(sum exp(x - max)) - (x[target] - max)`, `d = (softmax - onehot) * scale` for all rows; returns the sum of
/// the losses.
#[cfg(feature = "alloc")]
pub(crate) struct SoftmaxCrossEntropy<'a> {
    pub(crate) logits: Strided<'a>,
    /// Below `logits.width`.
    pub(crate) targets: Sequences<'a, usize>,
    pub(crate) scale: f32,
    /// Batch-first.
    pub(crate) d_logits: &'a mut [f32],
}

#[cfg(feature = "alloc")]
impl SoftmaxCrossEntropy<'_> {
    #[inline(never)]
    fn at(self, level: Level) -> f64 {
        level.run(self)
    }

    /// The sum of the losses, of groups of samples that are added in pairs: an order that the number of threads does not
    /// change.
    pub(crate) fn sum(self, level: Level, on_threads: bool) -> f64 {
        let samples = self.targets.batch();
        if samples <= SAMPLES_PER_GROUP {
            return self.at(level);
        }
        let (first, second) = self.split(samples.div_ceil(SAMPLES_PER_GROUP) / 2 * SAMPLES_PER_GROUP);
        let (first, second) =
            batch::join(on_threads, || first.sum(level, on_threads), || second.sum(level, on_threads));
        first + second
    }

    fn split(self, samples: usize) -> (Self, Self) {
        let Self { logits, targets, scale, d_logits } = self;
        let (first, second) = d_logits.split_at_mut(samples * targets.steps() * logits.width);
        let (first_targets, second_targets) = targets.split_samples(samples);
        (
            Self { logits, targets: first_targets, scale, d_logits: first },
            Self { logits: logits.starting_at_sample(samples), targets: second_targets, scale, d_logits: second },
        )
    }
}

#[cfg(feature = "alloc")]
impl Kernel for SoftmaxCrossEntropy<'_> {
    type Output = f64;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> f64 {
        let Self { logits, targets, scale, d_logits } = self;
        let mut total = 0.0;
        let mut d_rows = d_logits.chunks_exact_mut(logits.width);
        for sample in 0..targets.batch() {
            for (step, d_logits) in (0..targets.steps()).zip(&mut d_rows) {
                let (logits, target) = (logits.row(sample, step), *targets.row(sample, step));
                total += Row { logits, target, scale, d_logits }.run(s);
            }
        }
        total
    }
}

/// The same for one row.
pub(crate) struct Row<'a> {
    pub(crate) logits: &'a [f32],
    /// Below the length of `logits`.
    pub(crate) target: usize,
    pub(crate) scale: f32,
    pub(crate) d_logits: &'a mut [f32],
}

impl Row<'_> {
    #[inline(never)]
    pub(crate) fn at(self, level: Level) -> f64 {
        level.run(self)
    }
}

impl Kernel for Row<'_> {
    type Output = f64;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> f64 {
        let Self { logits, target, scale, d_logits } = self;
        let largest = largest(s, logits);
        let sum = exponentials(s, logits, largest, d_logits);
        let factor = s.splat(scale / sum);
        let mut first = 0;
        while first < d_logits.len() {
            let exponentials = starting_at_mut(d_logits, first);
            store_some(s, s.mul(load_some(s, exponentials), factor), exponentials);
            first += S::LANES;
        }
        d_logits[target] -= scale;
        libm::log(f64::from(sum)) - (f64::from(logits[target]) - f64::from(largest))
    }
}

/// The largest element that is not NaN. One that is makes its own exponential NaN, and with it the sum and all results.
#[inline(always)]
fn largest<S: Simd>(s: S, row: &[f32]) -> f32 {
    let mut vector = s.splat(f32::NEG_INFINITY);
    let mut first = 0;
    while first + S::LANES <= row.len() {
        // What is not NaN goes second: the maximum gives it back where the other one is NaN.
        vector = s.max(s.load(starting_at(row, first)), vector);
        first += S::LANES;
    }
    let mut lanes = [f32::NEG_INFINITY; PARTIAL_SUMS];
    s.store(vector, &mut lanes);
    // By halves: one after the other, each would wait for the one before.
    let mut width = PARTIAL_SUMS;
    while width > 1 {
        width /= 2;
        for i in 0..width {
            lanes[i] = if lanes[i + width] > lanes[i] { lanes[i + width] } else { lanes[i] };
        }
    }
    let mut largest = lanes[0];
    for x in starting_at(row, first) {
        largest = if *x > largest { *x } else { largest };
    }
    largest
}

/// `out = exp(row - largest)`; returns the sum, taken in [`PARTIAL_SUMS`] interleaved parts that are then halved.
#[inline(always)]
fn exponentials<S: Simd>(s: S, row: &[f32], largest: f32, out: &mut [f32]) -> f32 {
    let mut parts = [0.0; PARTIAL_SUMS];
    let shift = s.splat(largest);
    let mut first = 0;
    while first < row.len() {
        let (out, part) = (starting_at_mut(out, first), starting_at_mut(&mut parts, first % PARTIAL_SUMS));
        store_some(s, exp(s, s.sub(load_some(s, starting_at(row, first)), shift)), out);
        s.store(s.add(s.load(part), load_some(s, out)), part);
        first += S::LANES;
    }
    let mut width = PARTIAL_SUMS;
    while width > 1 {
        width /= 2;
        for i in 0..width {
            parts[i] += parts[i + width];
        }
    }
    parts[0]
}
