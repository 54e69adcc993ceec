//! Softmax cross-entropy and its gradient, row by row.

#[cfg(feature = "alloc")]
use crate::kernels::rows::Rows;
use crate::kernels::slice::{starting_at, starting_at_mut};
use crate::kernels::tuning::narrow;
#[cfg(feature = "alloc")]
use crate::kernels::tuning::{SOFTMAX_ROWS_TOGETHER, SOFTMAX_WIDEST_TOGETHER};
use crate::math::SMALLEST_GRADIENT;
use crate::math::exp::exp;
use crate::simd::{Kernel, Level, Simd, load_some};

/// Lanes of the partial sums of a row, whatever the lanes of the vectors: what makes the sum the same at every level.
const PARTIAL_SUMS: usize = 16;

/// `loss = log(sum exp(x - max)) - (x[target] - max)`, `d = (softmax - onehot) * scale` for all rows; returns the sum of
/// the losses.
#[cfg(feature = "alloc")]
pub(crate) struct SoftmaxCrossEntropy<'a> {
    pub(crate) logits: Rows<'a>,
    /// Each below `logits.width`; distances from one sample to the next, and from one step to the next.
    pub(crate) targets: &'a [usize],
    pub(crate) target_strides: (usize, usize),
    pub(crate) steps: usize,
    pub(crate) scale: f32,
    /// Batch-first.
    pub(crate) d_logits: &'a mut [f32],
}

#[cfg(feature = "alloc")]
impl SoftmaxCrossEntropy<'_> {
    #[inline(never)]
    pub(crate) fn at(self, level: Level) -> f64 {
        narrow(level, self.logits.width).run(self)
    }
}

#[cfg(feature = "alloc")]
impl Kernel for SoftmaxCrossEntropy<'_> {
    type Output = f64;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> f64 {
        let Self { logits, targets, target_strides, steps, scale, d_logits } = self;
        let width = logits.width;
        let (mut sample, mut step) = (0, 0);
        let mut total = 0.0;
        for d_logits in d_logits.chunks_mut(SOFTMAX_ROWS_TOGETHER * width) {
            let count = d_logits.len() / width;
            let (mut rows, mut classes) = ([[].as_slice(); SOFTMAX_ROWS_TOGETHER], [0; SOFTMAX_ROWS_TOGETHER]);
            for (row, class) in rows.iter_mut().zip(&mut classes).take(count) {
                *row = logits.row(sample, step);
                *class = targets[sample * target_strides.0 + step * target_strides.1];
                step += 1;
                if step == steps {
                    (sample, step) = (sample + 1, 0);
                }
            }
            if count == SOFTMAX_ROWS_TOGETHER && width <= SOFTMAX_WIDEST_TOGETHER {
                total += SoftmaxRows { logits: &rows, targets: &classes, scale, d_logits }.run(s);
            } else {
                for (i, d_logits) in d_logits.chunks_exact_mut(width).enumerate() {
                    total += SoftmaxRows { logits: &[rows[i]], targets: &[classes[i]], scale, d_logits }.run(s);
                }
            }
        }
        total
    }
}

/// The same for rows of one length.
pub(crate) struct SoftmaxRows<'a, const ROWS: usize> {
    pub(crate) logits: &'a [&'a [f32]; ROWS],
    /// Below the length of a row.
    pub(crate) targets: &'a [usize; ROWS],
    pub(crate) scale: f32,
    /// Row after row.
    pub(crate) d_logits: &'a mut [f32],
}

impl SoftmaxRows<'_, 1> {
    #[inline(never)]
    pub(crate) fn at(self, level: Level) -> f64 {
        narrow(level, self.d_logits.len()).run(self)
    }
}

impl<const ROWS: usize> Kernel for SoftmaxRows<'_, ROWS> {
    type Output = f64;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> f64 {
        let Self { logits, targets, scale, d_logits } = self;
        let width = d_logits.len() / ROWS;
        let mut largest = [0.0; ROWS];
        for (largest, logits) in largest.iter_mut().zip(logits) {
            *largest = largest_of(s, logits);
        }
        let mut exponentials = [Exponentials { tail: s.splat(0.0), sums: [0.0; PARTIAL_SUMS] }; ROWS];
        for i in 0..ROWS {
            exponentials[i].take(s, logits[i], largest[i], &mut d_logits[i * width..(i + 1) * width]);
        }
        // The logarithm of a product is the sum of the logarithms. A row's sum is at least 1, and at most its length.
        let (mut product, mut of_targets) = (1.0, 0.0);
        let smallest = SMALLEST_GRADIENT / scale;
        for i in 0..ROWS {
            let (logits, target, row) = (logits[i], targets[i], &mut d_logits[i * width..(i + 1) * width]);
            let sum = halved(exponentials[i].sums, |a, b| a + b);
            exponentials[i].multiply(s, scale / sum, smallest * sum, row);
            row[target] -= scale;
            product *= f64::from(sum);
            of_targets += f64::from(logits[target]) - f64::from(largest[i]);
        }
        libm::log(product) - of_targets
    }
}

/// The largest element that is not NaN. One that is makes its own exponential NaN, and with it the sum and all results.
#[inline(always)]
fn largest_of<S: Simd>(s: S, row: &[f32]) -> f32 {
    let mut largest = f32::NEG_INFINITY;
    if row.len() < S::LANES {
        for x in row {
            largest = if *x > largest { *x } else { largest };
        }
        return largest;
    }
    let mut vector = s.splat(largest);
    let mut first = 0;
    while first < row.len() {
        // The last vector ends with the row. What is not NaN goes second: the maximum gives it back where the other one is.
        vector = s.max(s.load(starting_at(row, first.min(row.len() - S::LANES))), vector);
        first += S::LANES;
    }
    let mut lanes = [largest; PARTIAL_SUMS];
    s.store(vector, &mut lanes);
    halved(lanes, |a, b| if b > a { b } else { a })
}

/// `exp(x - largest)` of a row, all whole vectors of which are in memory.
#[derive(Clone, Copy)]
struct Exponentials<S: Simd> {
    /// The vector that is not whole, zeros behind the last element.
    tail: S::F32,
    /// Interleaved parts of the sum.
    sums: [f32; PARTIAL_SUMS],
}

impl<S: Simd> Exponentials<S> {
    #[inline(always)]
    fn take(&mut self, s: S, row: &[f32], largest: f32, out: &mut [f32]) {
        let mut first = 0;
        while first < row.len() {
            let logits = starting_at(row, first);
            let mut exponentials = exp(s, s.sub(load_some(s, logits), s.splat(largest)));
            if logits.len() >= S::LANES {
                s.store(exponentials, starting_at_mut(out, first));
            } else {
                exponentials = first_lanes(s, exponentials, logits.len());
                self.tail = exponentials;
            }
            let sums = starting_at_mut(&mut self.sums, first % PARTIAL_SUMS);
            s.store(s.add(s.load(sums), exponentials), sums);
            first += S::LANES;
        }
    }

    /// `row *= number`, zero where a number of it is below the smallest.
    #[inline(always)]
    fn multiply(&self, s: S, number: f32, smallest: f32, row: &mut [f32]) {
        // Before the product, as denormal results cost most where they arise.
        let smallest = s.splat(smallest);
        let mut first = 0;
        while first + S::LANES <= row.len() {
            let numbers = starting_at_mut(row, first);
            s.store(s.mul(s.zero_small(s.load(numbers), smallest), s.splat(number)), numbers);
            first += S::LANES;
        }
        if first < row.len() {
            let numbers = s.mul(s.zero_small(self.tail, smallest), s.splat(number));
            s.store_partial(numbers, starting_at_mut(row, first));
        }
    }
}

/// Zero behind the first `count` lanes.
#[inline(always)]
fn first_lanes<S: Simd>(s: S, numbers: S::F32, count: usize) -> S::F32 {
    const ALL_BITS: [f32; PARTIAL_SUMS] = [f32::from_bits(u32::MAX); PARTIAL_SUMS];
    s.with_bits(s.and(s.to_bits(numbers), s.to_bits(s.load_partial(&ALL_BITS[..count]))))
}

/// All lanes in one, the second half of them taken into the first, again and again.
#[inline(always)]
fn halved(mut lanes: [f32; PARTIAL_SUMS], both: impl Fn(f32, f32) -> f32) -> f32 {
    let mut width = PARTIAL_SUMS;
    while width > 1 {
        width /= 2;
        for i in 0..width {
            lanes[i] = both(lanes[i], lanes[i + width]);
        }
    }
    lanes[0]
}
