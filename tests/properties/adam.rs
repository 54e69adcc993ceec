//! Adam over several steps.
//!
//! Errors carried along one step, with `f = 1 - b1`, `k = b2`, `s = 1 - b2`, each rounded to `f32` once:
//!
//! * `m' = m + f (g - m)`: the old error times at most `1 - f + f U`, and three roundings of terms of the size of
//!   `|m| + f |g - m|`; where `f` is at least a half, `m' = g - b1 (g - m)`, with terms of the size of `|g| + b1 |g - m|`.
//! * `v' = k v + s g g`: all terms are positive, so the relative error grows by six roundings at most.
//! * The root is taken at both ends of what `v` can be; then come three roundings (root, quotient, sum) and those of
//!   the correction and of eps.
//! * The step is at most `|rate m|` at its largest over the denominator at its smallest, with four roundings, and the
//!   parameter's own sum is rounded once.
//!
//! Everything that can underflow adds `TINY`, a moment below the smallest normal number becomes zero, and so does a step whose
//! product with the rate is below it, or a gradient below 2^-102.

use crate::bounds::{Near, TINY, U};
use crate::support::*;
use elman::{Adam, Linear};
use elman_reference as reference;
use proptest::prelude::*;

const TO_ZERO: f64 = f32::MIN_POSITIVE as f64;
/// Gradients below it count as zero.
const SMALLEST_GRADIENT: f64 = TO_ZERO * (1 << 24) as f64;

struct Errors {
    p: Vec<f64>,
    m: Vec<f64>,
    v: Vec<f64>,
}

impl Errors {
    fn zeros(len: usize) -> Self {
        Errors { p: vec![0.0; len], m: vec![0.0; len], v: vec![0.0; len] }
    }

    /// The errors after step `t`, which led to `p` and `moments` from the moments `before`.
    fn step(
        &mut self,
        options: &reference::Adam,
        t: u64,
        gradient: &[f64],
        p: &[f64],
        before: &reference::Moments,
        moments: &reference::Moments,
    ) {
        let (beta1, beta2) = options.betas;
        let rate = options.lr / (1.0 - beta1.powi(t as i32));
        let correction = (1.0 - beta2.powi(t as i32)).sqrt();
        for i in 0..p.len() {
            let f = 1.0 - beta1;
            let apart = (gradient[i] - before.m[i]).abs() + self.m[i];
            let size =
                if f < 0.5 { before.m[i].abs() + self.m[i] + f * apart } else { gradient[i].abs() + beta1 * apart };
            self.m[i] = beta1 * self.m[i] * (1.0 + 4.0 * U) + 4.0 * U * size + 4.0 * TINY + TO_ZERO;
            if gradient[i].abs() < SMALLEST_GRADIENT {
                self.m[i] += f * gradient[i].abs();
            }
            self.v[i] = beta2 * self.v[i] + 6.0 * U * (moments.v[i] + self.v[i]) + 4.0 * TINY + TO_ZERO;

            let (m, v) = (moments.m[i].abs(), moments.v[i]);
            let denominator = |v: f64| v.max(0.0).sqrt() / correction + options.eps;
            let smallest = denominator(v - self.v[i]) * (1.0 - 8.0 * U) - 2.0 * TINY;
            let largest = denominator(v + self.v[i]) * (1.0 + 8.0 * U) + 2.0 * TINY;
            let step = rate * m / denominator(v);
            let high = rate * (m + self.m[i]) / smallest * (1.0 + 8.0 * U);
            let low = rate * (m - self.m[i]).max(0.0) / largest * (1.0 - 8.0 * U);
            // A moment whose sign is in doubt can go either way.
            let turned = rate * (self.m[i] - m).max(0.0) / smallest;
            let step_error = (high - step).max(step - low) + turned + (4.0 * TINY + TO_ZERO) / smallest + TINY;
            self.p[i] += step_error + U * (p[i].abs() + self.p[i] + step_error);
        }
    }
}

fn many_steps<const IN: usize, const OUT: usize>() {
    let options = (
        prop_oneof![Just(1e-3), Just(0.05), Just(0.3)],
        prop_oneof![Just((0.9, 0.999)), Just((0.5, 0.9)), Just((0.0, 0.99))],
        prop_oneof![Just(1e-8), Just(1e-4)],
    );
    property(48, (any::<u64>(), options, values(), values(), 1..12u64), |(seed, options, parameters, data, steps)| {
        let (lr, betas, eps) = options;
        let of_reference = reference::Adam { lr, betas, eps, ..reference::Adam::default() };
        at_every_level(|level| {
            let mut numbers = Numbers(seed);
            let (mut linear, mut gradients) = (Linear::<IN, OUT>::zeros(), Linear::<IN, OUT>::zeros());
            Weights::Plain(parameters).fill(&mut numbers, IN, &mut linear);
            let mut adam = Adam::new(lr).with_betas(betas.0, betas.1).with_eps(eps).at(level);
            let mut p = Near::exact(&flat(&linear)).value;
            let mut moments = reference::Moments::zeros(p.len());
            let mut errors = Errors::zeros(p.len());
            for t in 1..=steps {
                Weights::Plain(data).fill(&mut numbers, IN, &mut gradients);
                adam.step(&mut linear, &gradients)?;
                let gradient = Near::exact(&flat(&gradients)).value;
                let before = moments.clone();
                reference::adam_step(&of_reference, t, &mut p, &gradient, &mut moments);
                errors.step(&of_reference, t, &gradient, &p, &before, &moments);
                let near = Near { value: p.clone(), error: errors.p.clone() };
                near.check(&format!("a parameter after step {t}"), &flat(&linear))?;
            }
            Ok(())
        })
    });
}

for_sizes!(many_steps: parameters_2(1, 1), parameters_15(2, 5), parameters_136(16, 8), parameters_594(17, 33));
