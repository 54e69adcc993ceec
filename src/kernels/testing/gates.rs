//! Cells of gates, number by number.

use super::{Sum, TINY, U, aside, assert_near, chains, flushed, mul_add, numbers};
use crate::cells::SMALLEST_CELL;
use crate::cells::{Gated, Gru, Lstm, SUMS};
use crate::math::SMALLEST_GRADIENT;
use crate::math::sigmoid::{SHUT, gate};
use crate::math::tanh::tanh;
use crate::simd::{Kernel, Level, Simd, load_some, store_some};
use alloc::vec::Vec;

/// A number as a level computes it, beside it the exact one, and how far they may be apart.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Near {
    pub(crate) value: f32,
    exact: f64,
    error: f64,
}

impl From<f32> for Near {
    fn from(value: f32) -> Self {
        Self { value, exact: f64::from(value), error: 0.0 }
    }
}

impl From<Sum> for Near {
    fn from(sum: Sum) -> Self {
        Self { value: sum.checked(), exact: sum.exact, error: sum.error() }
    }
}

impl Near {
    /// A result of numbers that are wrong by so much, with a rounding of its own.
    fn rounded(value: f32, exact: f64, error: f64) -> Self {
        Self { value, exact, error: error + U * (exact.abs() + error) + TINY }
    }

    fn mul(self, b: Self) -> Self {
        let error = self.exact.abs() * b.error + b.exact.abs() * self.error + self.error * b.error;
        Self::rounded(self.value * b.value, self.exact * b.exact, error)
    }

    fn add(self, b: Self) -> Self {
        Self::rounded(self.value + b.value, self.exact + b.exact, self.error + b.error)
    }

    fn neg(self) -> Self {
        Self { value: -self.value, exact: -self.exact, ..self }
    }

    fn sub(self, b: Self) -> Self {
        self.add(b.neg())
    }

    /// `self * b + c`. Of its roundings, where there are two, the bound is good for a fused one too.
    fn mul_add(self, fused: bool, b: Self, c: Self) -> Self {
        Self { value: mul_add(fused, self.value, b.value, c.value), ..self.mul(b).add(c) }
    }

    /// `1 - y^2`
    fn tanh_slope(self, fused: bool) -> Self {
        self.neg().mul_add(fused, self, 1.0.into())
    }

    /// `y - y^2`
    fn logistic_slope(self, fused: bool) -> Self {
        self.neg().mul_add(fused, self, self)
    }

    /// Of a level, whose bits are tested with the functions: at most so many units in the last place, each at most `2 U |y|`, or
    /// a little more; no slope is above `slope`, and what is denormal may become zero.
    fn of_function(self, level: Level, sigmoid: bool, exact: f64, slope: f64, units: f64) -> Self {
        let mut value = [self.value];
        aside(|| level.run(Function { numbers: &mut value, sigmoid }));
        let error = slope * self.error;
        let error = error + 2.1 * units * U * (exact.abs() + error) + f64::from(f32::MIN_POSITIVE);
        Self { value: value[0], exact, error }
    }

    fn sigmoid(self, level: Level) -> Self {
        let gate = self.of_function(level, true, logistic(self.exact), 0.25, 1.71);
        Self { error: gate.error + if self.value < SHUT + 1.0 { 2f64.powi(-47) } else { 0.0 }, ..gate }
    }

    fn tanh(self, level: Level) -> Self {
        self.of_function(level, false, self.exact.tanh(), 1.0, 1.0)
    }

    fn flushed_below(self, smallest: f32) -> Self {
        let value = if self.value.abs() < smallest { 0.0 } else { self.value };
        Self { value, error: self.error + f64::from(smallest), ..self }
    }

    fn flushed_state(self) -> Self {
        self.flushed_below(f32::MIN_POSITIVE)
    }

    fn flushed_gradient(self) -> Self {
        Self { value: flushed(self.value), ..self.flushed_below(SMALLEST_GRADIENT) }
    }

    /// The number, which is as near as it has to be to what the textbook says.
    #[track_caller]
    fn checked(self, textbook: f64) -> f32 {
        assert_near(self.value, textbook, self.error);
        self.value
    }
}

fn logistic(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

struct Function<'a> {
    numbers: &'a mut [f32],
    sigmoid: bool,
}

impl Kernel for Function<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let x = load_some(s, self.numbers);
        store_some(s, if self.sigmoid { gate(s, x) } else { tanh(s, x) }, self.numbers);
    }
}

/// The states of one neuron, or their gradients; `c` is zero where there is none.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pair {
    pub(crate) h: f32,
    pub(crate) c: f32,
}

/// Cells of gates, number by number.
pub(crate) trait ScalarGated: Gated {
    const GATES: usize;
    /// The gates of `W_ih` and of `W_hh` that feed each sum: the rule once more, so that a change of it is noticed.
    const FED_BY: [[Option<usize>; 2]; SUMS];
    /// The gates of `W_hh` that go back to the state together, and those behind them.
    const RUNS: &'static [core::ops::Range<usize>];

    /// The states after a step, and what is kept.
    fn after(level: Level, sums: [Sum; SUMS], before: Pair) -> (Pair, [f32; SUMS]);

    /// The gradients of the sums, and of the states before by every other way.
    fn back(level: Level, kept: [f32; SUMS], before: Pair, after: Pair, d: Pair) -> ([f32; SUMS], Pair);

    /// The sum that a gate of `W_hh` feeds.
    fn sum_of(gate: usize) -> usize {
        (0..SUMS).find(|sum| Self::FED_BY[*sum][1] == Some(gate)).unwrap()
    }

    /// Gradients of the sums, `[sum][hidden]`, as those of the gates of `W_hh`.
    fn d_gates(d_sums: &[f32], hidden: usize) -> Vec<f32> {
        (0..Self::GATES).flat_map(|gate| &d_sums[Self::sum_of(gate) * hidden..][..hidden]).copied().collect()
    }
}

impl ScalarGated for Gru {
    const GATES: usize = 3;
    const FED_BY: [[Option<usize>; 2]; SUMS] =
        [[Some(0), Some(0)], [Some(1), Some(1)], [Some(2), None], [None, Some(2)]];
    const RUNS: &'static [core::ops::Range<usize>] = &[0..2, 2..3];

    fn after(level: Level, sums: [Sum; SUMS], before: Pair) -> (Pair, [f32; SUMS]) {
        let fused = level.is_fused();
        let [r, z, n_x, n_h] = sums.map(Near::from);
        let exact = {
            let (r, z) = (logistic(r.exact), logistic(z.exact));
            let n = (n_x.exact + r * n_h.exact).tanh();
            (1.0 - z) * n + z * f64::from(before.h)
        };
        let (r, z) = (r.sigmoid(level), z.sigmoid(level));
        let n = r.mul_add(fused, n_h, n_x).tanh(level);
        let h = z.mul_add(fused, Near::from(before.h).sub(n), n).flushed_state();
        (Pair { h: h.checked(exact), c: 0.0 }, [r.value, z.value, n.value, n_h.value])
    }

    fn back(level: Level, kept: [f32; SUMS], before: Pair, _: Pair, d: Pair) -> ([f32; SUMS], Pair) {
        let fused = level.is_fused();
        let one = Near::from(1.0);
        let exact = {
            let [r, z, n, n_h] = kept.map(f64::from);
            let (h, d) = (f64::from(before.h), f64::from(d.h));
            let d_n = d * (1.0 - z) * (1.0 - n * n);
            [d_n * n_h * r * (1.0 - r), d * (h - n) * z * (1.0 - z), d_n, d_n * r, d * z]
        };
        let [r, z, n, n_h] = kept.map(Near::from);
        let (h, d) = (Near::from(before.h), Near::from(d.h));
        let d_n = d.mul(one.sub(z)).mul(n.tanh_slope(fused));
        let d_r = d_n.mul(n_h).mul(r.logistic_slope(fused));
        let d_z = d.mul(h.sub(n)).mul(z.logistic_slope(fused));
        let all = [d_r, d_z, d_n, d_n.mul(r), d.mul(z)];
        let mut all = all.into_iter().zip(exact).map(|(d, exact)| d.flushed_gradient().checked(exact));
        (core::array::from_fn(|_| all.next().unwrap()), Pair { h: all.next().unwrap(), c: 0.0 })
    }
}

impl ScalarGated for Lstm {
    const GATES: usize = 4;
    const FED_BY: [[Option<usize>; 2]; SUMS] =
        [[Some(0), Some(0)], [Some(1), Some(1)], [Some(2), Some(2)], [Some(3), Some(3)]];
    #[allow(clippy::single_range_in_vec_init, reason = "a single range")]
    const RUNS: &'static [core::ops::Range<usize>] = &[0..4];

    fn after(level: Level, sums: [Sum; SUMS], before: Pair) -> (Pair, [f32; SUMS]) {
        let fused = level.is_fused();
        let [i, f, g, o] = sums.map(Near::from);
        let exact_c = logistic(f.exact) * f64::from(before.c) + logistic(i.exact) * g.exact.tanh();
        let exact_h = logistic(o.exact) * exact_c.tanh();
        let [i, f, o] = [i, f, o].map(|sum| sum.sigmoid(level));
        let g = g.tanh(level);
        let c = f.mul_add(fused, before.c.into(), i.mul(g)).flushed_below(SMALLEST_CELL);
        let h = o.mul(c.tanh(level)).flushed_state();
        (Pair { h: h.checked(exact_h), c: c.checked(exact_c) }, [i, f, g, o].map(|gate| gate.value))
    }

    fn back(level: Level, kept: [f32; SUMS], before: Pair, after: Pair, d: Pair) -> ([f32; SUMS], Pair) {
        let fused = level.is_fused();
        let exact = {
            let [i, f, g, o] = kept.map(f64::from);
            let (c, y) = (f64::from(before.c), f64::from(after.c).tanh());
            let d_c = f64::from(d.c) + f64::from(d.h) * o * (1.0 - y * y);
            let d_o = f64::from(d.h) * y * o * (1.0 - o);
            [d_c * g * i * (1.0 - i), d_c * c * f * (1.0 - f), d_c * i * (1.0 - g * g), d_o, d_c * f]
        };
        let [i, f, g, o] = kept.map(Near::from);
        let (d_h, y) = (Near::from(d.h), Near::from(after.c).tanh(level));
        let d_o = d_h.mul(y).mul(o.logistic_slope(fused));
        let d_c = d_h.mul(o).mul_add(fused, y.tanh_slope(fused), d.c.into());
        let d_i = d_c.mul(g).mul(i.logistic_slope(fused));
        let d_f = d_c.mul(before.c.into()).mul(f.logistic_slope(fused));
        let d_g = d_c.mul(i).mul(g.tanh_slope(fused));
        let all = [d_i, d_f, d_g, d_o, d_c.mul(f)];
        let mut all = all.into_iter().zip(exact).map(|(d, exact)| d.flushed_gradient().checked(exact));
        (core::array::from_fn(|_| all.next().unwrap()), Pair { h: 0.0, c: all.next().unwrap() })
    }
}

/// The parameters of a layer of gates, input-major: of each input, gate after gate.
#[derive(Clone)]
pub(crate) struct GatedWeights {
    pub(crate) hidden: usize,
    pub(crate) weight_ih: Vec<f32>,
    pub(crate) weight_hh: Vec<f32>,
    /// Of the input and of the state, gate after gate.
    pub(crate) biases: [Vec<f32>; 2],
}

impl GatedWeights {
    /// Small enough that gates are neither all open nor all shut.
    pub(crate) fn new<C: ScalarGated>(seed: u64, inputs: usize, hidden: usize) -> Self {
        let (row, size) = (C::GATES * hidden, 1.0 / (hidden as f32).sqrt());
        Self {
            hidden,
            weight_ih: numbers(seed + 1, inputs * row),
            weight_hh: numbers(seed + 2, hidden * row).iter().map(|w| w * size).collect(),
            biases: [3, 4].map(|i| numbers(seed + i, row)),
        }
    }

    /// A sum of neuron `n`: biases, then the products of the inputs, then those of the state.
    pub(crate) fn sum<C: ScalarGated>(&self, fused: bool, sum: usize, n: usize, x: &[f32], h: &[f32]) -> Sum {
        let mut total = self.of_input::<C>(fused, sum, n, x);
        if let Some(gate) = C::FED_BY[sum][1] {
            add_gate::<C>(&mut total, fused, &self.weight_hh, (gate, self.hidden), n, h);
        }
        total
    }

    /// The same without the products of the state.
    pub(crate) fn of_input<C: ScalarGated>(&self, fused: bool, sum: usize, n: usize, x: &[f32]) -> Sum {
        let bias = |part: usize| C::FED_BY[sum][part].map(|gate| self.biases[part][gate * self.hidden + n]);
        let mut biases = [0, 1].into_iter().filter_map(bias);
        let mut total = Sum::start(biases.next().unwrap());
        biases.for_each(|bias| total.add(bias));
        if let Some(gate) = C::FED_BY[sum][0] {
            add_gate::<C>(&mut total, fused, &self.weight_ih, (gate, self.hidden), n, x);
        }
        total
    }

    /// The states of all neurons after a step, and what is kept: `[SUMS][hidden]`.
    pub(crate) fn step<C: ScalarGated>(&self, level: Level, x: &[f32], h: &[f32], c: &[f32]) -> Stepped {
        let hidden = self.hidden;
        let mut kept = alloc::vec![0.0; SUMS * hidden];
        let (mut after_h, mut after_c) = (Vec::new(), Vec::new());
        for n in 0..hidden {
            let sums = core::array::from_fn(|sum| self.sum::<C>(level.is_fused(), sum, n, x, h));
            let (after, to_keep) = C::after(level, sums, Pair { h: h[n], c: if C::CARRIES { c[n] } else { 0.0 } });
            after_h.push(after.h);
            if C::CARRIES {
                after_c.push(after.c);
            }
            (0..SUMS).for_each(|sum| kept[sum * hidden + n] = to_keep[sum]);
        }
        Stepped { h: after_h, c: after_c, kept }
    }

    /// What the gradients of the sums of a step give to number `k` of the state before it: run after run of gates.
    pub(crate) fn d_state<C: ScalarGated>(&self, fused: bool, start: f32, d_sums: &[f32], k: usize) -> f32 {
        let hidden = self.hidden;
        let d = C::d_gates(d_sums, hidden);
        let mut sum = Sum::start(start);
        for run in C::RUNS {
            let (d, terms) = (&d[run.start * hidden..], run.len() * hidden);
            let weight = &self.weight_hh[(k * C::GATES + run.start) * hidden..];
            sum.add_products(fused, chains(terms, hidden), terms, |n| (d[n], weight[n]));
        }
        sum.checked()
    }

    /// The same of number `k` of `inputs`. The sums of `W_ih` are the first ones.
    pub(crate) fn d_input<C: ScalarGated>(&self, fused: bool, d_sums: &[f32], k: usize, inputs: usize) -> f32 {
        let terms = C::GATES * self.hidden;
        let weight = &self.weight_ih[k * terms..];
        let mut sum = Sum::start(0.0);
        sum.add_products(fused, chains(terms, inputs), terms, |n| (d_sums[n], weight[n]));
        sum.checked()
    }
}

/// The products of one gate, in as many chains as there are for the outputs of all.
fn add_gate<C: ScalarGated>(
    sum: &mut Sum,
    fused: bool,
    weight: &[f32],
    (gate, hidden): (usize, usize),
    n: usize,
    x: &[f32],
) {
    let row = C::GATES * hidden;
    sum.add_products(fused, chains(x.len(), row), x.len(), |k| (x[k], weight[k * row + gate * hidden + n]));
}

/// What a step leaves.
pub(crate) struct Stepped {
    pub(crate) h: Vec<f32>,
    /// Empty where there is none.
    pub(crate) c: Vec<f32>,
    pub(crate) kept: Vec<f32>,
}
