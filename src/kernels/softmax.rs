//! Softmax cross-entropy and its gradient, row by row.

use super::exp::exp;
use super::recurrence::Strided;
use crate::Level;
use crate::sequences::Sequences;
use crate::simd::{Kernel, Simd};

/// Lanes of the partial sums of a row, whatever the lanes of the vectors: what makes the sum the same at every level.
const PARTIAL_SUMS: usize = 16;

/// `loss = log(sum exp(x - max)) - (x[target] - max)`, `d = (softmax - onehot) * scale`; returns the sum of the losses.
pub(crate) struct SoftmaxCrossEntropy<'a> {
    pub(crate) logits: Strided<'a>,
    /// Below `logits.width`.
    pub(crate) targets: Sequences<'a, usize>,
    pub(crate) scale: f32,
    /// Batch-first.
    pub(crate) d_logits: &'a mut [f32],
}

impl SoftmaxCrossEntropy<'_> {
    #[inline(never)]
    pub(crate) fn at(self, level: Level) -> f64 {
        level.run(self)
    }
}

impl Kernel for SoftmaxCrossEntropy<'_> {
    type Output = f64;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> f64 {
        let mut total = 0.0;
        let mut d_rows = self.d_logits.chunks_exact_mut(self.logits.width);
        for sample in 0..self.targets.batch() {
            for (step, d_logits) in (0..self.targets.steps()).zip(&mut d_rows) {
                let (logits, target) = (self.logits.row(sample, step), *self.targets.row(sample, step));
                let largest = largest(logits);
                let sum = exponentials(s, logits, largest, d_logits);
                total += libm::log(f64::from(sum)) - (f64::from(logits[target]) - f64::from(largest));
                let factor = s.splat(self.scale / sum);
                for chunk in d_logits.chunks_mut(S::LANES) {
                    s.store_partial(s.mul(s.load_partial(chunk), factor), chunk);
                }
                d_logits[target] -= self.scale;
            }
        }
        total
    }
}

/// The largest element; NaN if there is one.
#[inline(always)]
fn largest(row: &[f32]) -> f32 {
    row.iter().fold(f32::NEG_INFINITY, |largest, x| if *x > largest || x.is_nan() { *x } else { largest })
}

/// `out = exp(row - largest)`; returns the sum, taken in [`PARTIAL_SUMS`] interleaved parts that are then halved.
#[inline(always)]
fn exponentials<S: Simd>(s: S, row: &[f32], largest: f32, out: &mut [f32]) -> f32 {
    let mut parts = [0.0; PARTIAL_SUMS];
    let shift = s.splat(largest);
    for (row, out) in row.chunks(PARTIAL_SUMS).zip(out.chunks_mut(PARTIAL_SUMS)) {
        let vectors = row.chunks(S::LANES).zip(out.chunks_mut(S::LANES)).zip(parts.chunks_mut(S::LANES));
        for ((x, out), part) in vectors {
            s.store_partial(exp(s, s.sub(s.load_partial(x), shift)), out);
            s.store(s.add(s.load(part), s.load_partial(out)), part);
        }
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
