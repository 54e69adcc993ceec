//! Softmax and Adam, number by number.

use super::adam::{AdamStep, Factors};
use super::softmax::{SoftmaxCrossEntropy, SoftmaxRows};
use crate::kernels::rows::Rows;
use crate::kernels::testing::{
    TINY, U, UNTOUCHED, aside, assert_near, assert_same, at_every_level, gamma, mul_add, numbers,
};
use crate::math::SMALLEST_GRADIENT;
use crate::math::exp::exp;
use crate::simd::{Kernel, Level, Simd, load_some, store_some};
use alloc::format;
use alloc::vec;
use alloc::vec::Vec;

// ---------------------------------------------------------------- softmax

/// Replaces every number by its exponential, whose errors are tested with it.
struct Exp<'a>(&'a mut [f32]);

impl Kernel for Exp<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        for numbers in self.0.chunks_mut(S::LANES) {
            store_some(s, exp(s, load_some(s, numbers)), numbers);
        }
    }
}

/// The gradient of one row, the sum of its exponentials, and its logit at the target below the largest one.
fn softmax_row(level: Level, logits: &[f32], target: usize, scale: f32) -> (Vec<f32>, f32, f64) {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut e: Vec<f32> = logits.iter().map(|z| z - largest).collect();
    aside(|| level.run(Exp(&mut e)));
    // Sixteen sums, whatever the lanes, of which the second half is added to the first, again and again.
    let mut sums = [0.0; 16];
    e.iter().enumerate().for_each(|(i, e)| sums[i % 16] += e);
    for width in [8, 4, 2, 1] {
        (0..width).for_each(|i| sums[i] += sums[i + width]);
    }
    let (sum, smallest) = (sums[0], SMALLEST_GRADIENT / scale * sums[0]);
    let mut d: Vec<f32> = e.iter().map(|e| if *e < smallest { 0.0 } else { *e } * (scale / sum)).collect();
    d[target] -= scale;
    check_softmax_row(logits, target, scale, &d, sum);
    (d, sum, f64::from(logits[target]) - f64::from(largest))
}

/// A difference that is off by `U |z - m|` makes its exponential off by as much, relatively; two units more for the rounding
/// of `exp`. The sum of `n` of them passes `n` roundings. A gradient has the errors of both, and four roundings.
fn check_softmax_row(logits: &[f32], target: usize, scale: f32, d: &[f32], sum: f32) {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let below = |z: &f32| f64::from(*z) - f64::from(largest);
    let exact: Vec<f64> = logits.iter().map(|z| below(z).exp()).collect();
    let error = |z: &f32, e: f64| match e < 1.2e-38 {
        true => e + TINY,
        false => e * ((U * below(z).abs()).exp_m1() + 2.0 * U),
    };
    let errors: Vec<f64> = logits.iter().zip(&exact).map(|(z, e)| error(z, *e)).collect();
    let total: f64 = exact.iter().sum();
    let sum_error = errors.iter().sum::<f64>() + gamma(logits.len()) * total;
    assert_near(sum, total, sum_error);
    let scale = f64::from(scale);
    for (class, d) in d.iter().enumerate() {
        let p = exact[class] / total;
        let p_error = errors[class] / total + p * (sum_error / total + 8.0 * U);
        let (at_target, rounding) = if class == target { (scale, 4.0 * U) } else { (0.0, 0.0) };
        let error = scale * (p_error * (1.0 + 8.0 * U) + rounding) + TINY + f64::from(SMALLEST_GRADIENT);
        assert_near(*d, scale * p - at_target, error);
    }
}

#[test]
fn softmax_of_rows_of_every_width() {
    at_every_level(|level| {
        for width in (1..=70).chain([128, 255, 256, 257, 300]) {
            for (samples, steps, time_major) in
                [(1, 1, false), (1, 7, false), (2, 4, true), (3, 7, true), (20, 1, false)]
            {
                let rows = samples * steps;
                // Of very different sizes, so that some exponentials are tiny.
                let size = [1.0, 4.0, 40.0, 200.0][width % 4];
                let logits: Vec<f32> = numbers(width as u64, rows * width).iter().map(|x| x * size).collect();
                let targets: Vec<usize> = (0..rows).map(|i| (i * 7 + 3) % width).collect();
                let (view, target_strides) = match time_major {
                    true => (Rows::new(&logits, width, width, samples * width), (1, samples)),
                    false => (Rows::batch_first(&logits, width, steps), (steps, 1)),
                };
                let scale = 1.0 / rows as f32;
                let mut d_logits = vec![UNTOUCHED; rows * width];
                let d = &mut d_logits;
                let loss =
                    SoftmaxCrossEntropy { logits: view, targets: &targets, target_strides, steps, scale, d_logits: d }
                        .at(level);

                let (mut expected, mut sums, mut losses) = (Vec::new(), Vec::new(), Vec::new());
                for (sample, step) in (0..samples).flat_map(|sample| (0..steps).map(move |step| (sample, step))) {
                    let row = if time_major { step * samples + sample } else { sample * steps + step };
                    let (d, sum, at_target) = softmax_row(level, &logits[row * width..][..width], targets[row], scale);
                    expected.extend(d);
                    sums.push((f64::from(sum), at_target));
                    losses.push(f64::from(sum).ln() - at_target);
                }
                assert_same(&d_logits, &expected, || format!("{level}: {samples} x {steps} rows of {width}"));
                // The loss: eight rows share a logarithm where they go together.
                let together = if width <= 256 { 8 } else { 1 };
                let mut total = 0.0;
                for group in sums.chunks(8) {
                    let each = if group.len() == 8 { together } else { 1 };
                    for rows in group.chunks(each) {
                        let product = rows.iter().fold(1.0, |product, (sum, _)| product * sum);
                        total += libm::log(product) - rows.iter().fold(0.0, |sum, (_, at_target)| sum + at_target);
                    }
                }
                assert_eq!(loss.to_bits(), total.to_bits(), "{level}: {samples} x {steps} rows of {width}, the loss");
                // In double precision, some roundings for each row.
                let (sum, size): (f64, f64) = (losses.iter().sum(), losses.iter().map(|loss| loss.abs() + 10.0).sum());
                assert!((loss - sum).abs() <= size * rows as f64 * 4.0 * f64::EPSILON, "{loss} is far from {sum}");
            }
        }
    });
}

#[test]
fn softmax_of_a_single_row() {
    at_every_level(|level| {
        for width in 1..=70 {
            let logits: Vec<f32> = numbers(width as u64, width).iter().map(|x| x * 9.0).collect();
            let target = width / 2;
            let mut d_logits = vec![UNTOUCHED; width];
            let rows = SoftmaxRows { logits: &[&logits], targets: &[target], scale: 0.5, d_logits: &mut d_logits };
            let loss = rows.at(level);
            let (expected, sum, at_target) = softmax_row(level, &logits, target, 0.5);
            assert_same(&d_logits, &expected, || format!("{level}: a row of {width}"));
            assert_eq!(loss.to_bits(), (libm::log(f64::from(sum)) - at_target).to_bits(), "{level}: {width}");
        }
    });
}

// ---------------------------------------------------------------- Adam

fn factors(beta1: f32, beta2: f64, steps: i32, eps: f64) -> Factors {
    let (first, from_gradient) = Factors::first_moment(1.0 - beta1);
    let step = 1e-3 / (1.0 - f64::from(beta1).powi(steps));
    let smallest_moment = Factors::smallest_moment(eps);
    Factors {
        first,
        from_gradient,
        keep_second: beta2 as f32,
        second: (1.0 - beta2) as f32,
        negative_step: -step as f32,
        correction: (1.0 - beta2.powi(steps)).sqrt() as f32,
        eps: eps as f32,
        smallest_moment,
        smallest_gradient: smallest_moment * (1 << 24) as f32,
        smallest_moving: smallest_moment / step as f32,
        smallest_squared: (smallest_moment / (1.0 - beta2) as f32).sqrt(),
    }
}

/// One parameter, its gradient and its moments become the new parameter and moments.
fn adam(fused: bool, f: &Factors, [p, g, m, v]: [f32; 4]) -> [f32; 3] {
    let zero_small = |x: f32, limit: f32| if x.abs() < limit { 0.0 } else { x };
    let g = zero_small(g, f.smallest_gradient);
    let m_new = mul_add(fused, f.first, g - m, if f.from_gradient { g } else { m });
    let squared = zero_small(g, f.smallest_squared);
    let v_new = mul_add(fused, f.second * squared, squared, f.keep_second * v);
    let (m_new, v_new) = (zero_small(m_new, f.smallest_moment), zero_small(v_new, f.smallest_moment));
    let denominator = v_new.sqrt() / f.correction + f.eps;
    let p_new = p + f.negative_step * zero_small(m_new, f.smallest_moving) / denominator;
    check_adam(f, [p, g, m, v], [p_new, m_new, v_new]);
    [p_new, m_new, v_new]
}

/// The equations in double precision. Moments: three roundings. The step: two roundings in front of the quotient, the root, a
/// quotient and a sum beneath it, the quotient itself: six of it; and one of the parameter. What is flushed is lost.
fn check_adam(f: &Factors, given: [f32; 4], [p_new, m_new, v_new]: [f32; 3]) {
    let [p, g, m, v] = given.map(f64::from);
    let lost = f64::from(f.smallest_gradient) + 4.0 * TINY;
    let keep = if f.from_gradient { -f64::from(f.first) } else { 1.0 - f64::from(f.first) };
    assert_near(m_new, keep * m + (1.0 - keep) * g, gamma(3) * (m.abs() + 2.0 * (g.abs() + m.abs())) + lost);
    let (old, new) = (f64::from(f.keep_second) * v, f64::from(f.second) * g * g);
    assert_near(v_new, old + new, gamma(3) * (old + new) + 2.0 * f64::from(f.smallest_moment) + 4.0 * TINY);
    let denominator = f64::from(v_new).sqrt() / f64::from(f.correction) + f64::from(f.eps);
    let step = f64::from(f.negative_step) * f64::from(m_new) / denominator;
    let stays = (f64::from(f.smallest_moment) + TINY) / denominator;
    assert_near(p_new, p + step, gamma(1) * (p + step).abs() + gamma(7) * step.abs() + stays + TINY);
}

/// Parameters, gradients and both moments of which something becomes zero, or is.
const SMALL: [[f32; 4]; 7] = [
    // Moments that fall below the normal numbers.
    [0.5, 0.0, 1.2e-38, f32::MIN_POSITIVE],
    // A moment that would move nothing but a parameter as small.
    [0.0, 0.0, 1e-36, 1e-4],
    // A square that is too small, beside a moment that is not.
    [0.25, 3e-18, 0.0, 3e-38],
    // A gradient that is too small.
    [0.0, 1e-31, 1e-37, 0.0],
    [-0.0, -1e-40, 1e-39, 1e-41],
    [0.5, 3e-20, -1e-20, 1e-37],
    [-1.0, -0.0, -0.0, 0.0],
];

#[test]
fn adam_of_every_length() {
    // Usual factors, a first moment from the gradient, none at all, no flushing.
    let all = [
        factors(0.9, 0.999, 3, 1e-8),
        factors(0.3, 0.9, 1, 1e-8),
        factors(0.0, 0.999, 2, 1e-8),
        factors(0.9, 0.99, 9, 1e-12),
    ];
    at_every_level(|level| {
        for len in 0..=40 {
            for (i, factors) in all.iter().enumerate() {
                let tensor = |seed: u64| numbers(seed + len as u64, len + 2);
                let (mut p, mut g, mut m, mut v) = (tensor(1), tensor(2), tensor(3), tensor(4));
                v.iter_mut().for_each(|v| *v = v.abs());
                for i in (1..=len).step_by(2) {
                    [p[i], g[i], m[i], v[i]] = SMALL[i / 2 % SMALL.len()];
                }
                let mut expected = [p.clone(), m.clone(), v.clone()];
                for i in 1..=len {
                    let new = adam(level.is_fused(), factors, [p[i], g[i], m[i], v[i]]);
                    expected.iter_mut().zip(new).for_each(|(to, x)| to[i] = x);
                }
                let inner = 1..1 + len;
                AdamStep {
                    factors: *factors,
                    parameters: &mut p[inner.clone()],
                    gradients: &g[inner.clone()],
                    first_moments: &mut m[inner.clone()],
                    second_moments: &mut v[inner],
                }
                .at(level);
                // The numbers on either side included.
                for (given, expected) in [p, m, v].iter().zip(&expected) {
                    assert_same(given, expected, || format!("{level}: {len} parameters, factors {i}"));
                }
            }
        }
    });
}
