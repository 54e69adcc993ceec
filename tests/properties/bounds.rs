//! How far a correct `f32` result may be from the reference: errors are carried along with the `f64` values.
//!
//! # The model of one operation
//!
//! An `f32` operation, rounded to nearest, returns `(a op b)(1 + d) + e` with `|d| <= U = 2^-24` and, only where it
//! underflows, `|e| <= 2^-150`. The errors of the reference itself (`2^-53`) vanish beside that.
//!
//! # A sum of products
//!
//! In `init + sum of k products`, in whatever order and with or without fused multiply-add, no term passes more than
//! `n = k + c` roundings: at most `k` additions, one product, and what chains, blocks and groups of samples add (`c`).
//! So the computed sum is off by at most `gamma(n) * sum of |terms|` with `gamma(n) = n U / (1 - n U)` (Higham 2002,
//! "Accuracy and stability of numerical algorithms", section 3.1), plus `n` underflows. Inputs that are themselves off
//! by `error` add the *same sum of absolute values*: `sum |w| error` (`propagated` below).
//!
//! # tanh
//!
//! `|tanh(z + dz) - tanh(z)| <= dz * max tanh'` over the interval, and `tanh' = 1 - tanh^2` is largest where `|z|` is
//! smallest. The implementation adds one unit in the last place of the result, which is at most `2 U |y|`.
//!
//! # The derivative from the output, `1 - y^2`
//!
//! Fused, one rounding of the result. Not fused, also one of `y^2 <= 1`. An output off by `e` adds `2 |y| e + e^2`. A gradient
//! in front of tanh that is below `2^-110`, or may be, may become zero.
//!
//! # relu
//!
//! `max(z, 0)` passes the error of `z` on and rounds nothing, but what is below the smallest normal number becomes zero, as
//! does the slope. Where `z` is surely below, the state is exactly zero; where it is surely not, the slope is exactly 1; between
//! (`z` within its error), the slope may be either, so that all of the gradient may be lost, or too much.
//!
//! # Over time
//!
//! The error of a state is the input error of the next step, on the way back too. Where the recurrent weights contract
//! (sums of `|w|` up to 1), the bound grows linearly with time; where they do not, it may grow beyond any use, and the
//! step-by-step comparison in `cell` is the sharp one. Where a value may overflow `f32`, the bound is infinite.
//!
//! # Cross-entropy
//!
//! With the largest logit `m`, the kernel computes `e_c = exp(z_c - m)` and `s = sum e_c`, then
//! `loss = ln s - (z_t - m)` in `f64` and `d_c = e_c * (scale / s)`, with `scale` subtracted at the target.
//!
//! * `z_c - m` is off by `U |z_c - m|`, so `e_c` is off by that, relatively, and by what `exp` adds: one unit in the
//!   last place, `2 U`. Where `e_c` would be below the normal numbers, all of it is lost.
//! * `s` is a sum of positive terms: their errors weighted, and `gamma(C)`; it is at least 1. The loss of a row is off by
//!   the relative error of `s`; the sum of the losses is `f64`, rounded to `f32` once.
//! * `d_c` is off by the relative errors of `e_c` and `s` and four roundings (`scale`, the quotient, the product, and at
//!   the target the difference, whose terms are at most `scale`).

use elman_reference::{self as reference, Cell, Nonlinearity};
use proptest::test_runner::TestCaseError;

/// The unit roundoff of `f32`.
pub const U: f64 = 1.0 / (1u64 << 24) as f64;

/// The smallest positive `f32`, twice what an underflow can lose.
pub const TINY: f64 = 1.401_298_464_324_817e-45;

/// Gradients of sums and of logits below it become zero.
pub const SMALLEST_GRADIENT: f64 = 1.0 / (1u128 << 110) as f64;

/// States below it become zero.
pub const SMALLEST_STATE: f64 = f32::MIN_POSITIVE as f64;

/// What `n` roundings can do, relative to the sum of the absolute values.
pub fn gamma(n: usize) -> f64 {
    let n_u = n as f64 * U;
    n_u / (1.0 - n_u)
}

/// Numbers of the reference, and how far the crate's may be from them.
#[derive(Clone, Debug, Default)]
pub struct Near {
    pub value: Vec<f64>,
    pub error: Vec<f64>,
}

impl Near {
    /// Numbers that are what they are: data, parameters, results that the crate itself goes on from.
    pub fn exact<'a>(values: impl IntoIterator<Item = &'a f32>) -> Self {
        let value: Vec<f64> = values.into_iter().map(|x| f64::from(*x)).collect();
        Near { error: vec![0.0; value.len()], value }
    }

    pub fn row(&self, width: usize, index: usize) -> Near {
        let range = index * width..(index + 1) * width;
        Near { value: self.value[range.clone()].to_vec(), error: self.error[range].to_vec() }
    }

    pub fn extend(&mut self, other: &Near) {
        self.value.extend_from_slice(&other.value);
        self.error.extend_from_slice(&other.error);
    }

    pub fn magnitude(&self) -> Vec<f64> {
        self.value.iter().zip(&self.error).map(|(value, error)| value.abs() + error).collect()
    }

    /// Fails where a number of the crate is farther away than it may be.
    pub fn check<'a>(&self, what: &str, given: impl IntoIterator<Item = &'a f32>) -> Result<(), TestCaseError> {
        let given: Vec<f32> = given.into_iter().copied().collect();
        if given.len() != self.value.len() {
            let (expected, given) = (self.value.len(), given.len());
            return Err(TestCaseError::fail(format!("{what}: {given} numbers instead of {expected}")));
        }
        for (i, ((value, error), given)) in self.value.iter().zip(&self.error).zip(given).enumerate() {
            // An infinite or undefined error is no statement; any other must hold, for NaN too.
            let holds = (f64::from(given) - value).abs() <= *error;
            if error.is_finite() && !holds {
                let message = format!("{what}[{i}] is {given:e}, should be {value:e} within {error:e}");
                return Err(TestCaseError::fail(message));
            }
        }
        Ok(())
    }

    /// The largest error, relative to the largest value: how sharp the bound is.
    pub fn sharpness(&self) -> f64 {
        let largest = |values: &[f64]| values.iter().fold(0.0, |a: f64, b| a.max(b.abs()));
        largest(&self.error) / largest(&self.value)
    }
}

pub fn abs(values: &[f64]) -> Vec<f64> {
    values.iter().map(|x| x.abs()).collect()
}

/// The error of a sum whose terms have the absolute sum `magnitude`, errors of the inputs included, and take part in
/// `n` roundings.
pub fn sum_error(n: usize, magnitude: f64, propagated: f64) -> f64 {
    let error = propagated + gamma(n) * magnitude + n as f64 * TINY;
    if magnitude + error < f64::from(f32::MAX) { error } else { f64::INFINITY }
}

fn sum_errors(n: usize, magnitude: &[f64], plain: &[f64]) -> Vec<f64> {
    magnitude.iter().zip(plain).map(|(magnitude, plain)| sum_error(n, *magnitude, magnitude - plain)).collect()
}

/// Roundings beyond one for each term: the product, the sum of both biases, the sums of chains.
pub const EXTRA: usize = 8;

/// `W x + b`
pub fn affine(weight: &[f64], bias: &[f64], x: &Near) -> Near {
    let magnitude = reference::affine(&abs(weight), &abs(bias), &x.magnitude());
    let plain = reference::affine(&abs(weight), &abs(bias), &abs(&x.value));
    Near {
        value: reference::affine(weight, bias, &x.value),
        error: sum_errors(x.value.len() + EXTRA, &magnitude, &plain),
    }
}

/// `W_ih x + b_ih + W_hh h + b_hh`, of `weight_ih`, `weight_hh`, `bias_ih`, `bias_hh`.
pub fn sums(parameters: [&[f64]; 4], x: &Near, h: &Near) -> Near {
    let both = |[weight_ih, weight_hh, bias_ih, bias_hh]: [&[f64]; 4], x: &[f64], h: &[f64]| -> Vec<f64> {
        let (i, h) = (reference::affine(weight_ih, bias_ih, x), reference::affine(weight_hh, bias_hh, h));
        i.iter().zip(&h).map(|(i, h)| i + h).collect()
    };
    let absolute = parameters.map(abs);
    let absolute = absolute.each_ref().map(|parameter| &parameter[..]);
    let magnitude = both(absolute, &x.magnitude(), &h.magnitude());
    let plain = both(absolute, &abs(&x.value), &abs(&h.value));
    Near {
        value: both(parameters, &x.value, &h.value),
        error: sum_errors(x.value.len() + h.value.len() + EXTRA, &magnitude, &plain),
    }
}

/// `f(W_ih x + b_ih + W_hh h + b_hh)`
pub fn cell_step(cell: &Cell, x: &Near, h: &Near) -> Near {
    let z = sums(cell.parameters(), x, h);
    let value = reference::cell_step(cell, &x.value, &h.value);
    let error = z.value.iter().zip(&z.error).zip(&value).map(|((z, d_z), y)| match cell.nonlinearity {
        Nonlinearity::Tanh => tanh_error(*z, *d_z, *y),
        Nonlinearity::Relu => relu_error(*z, *d_z, *y),
    });
    Near { error: error.collect(), value }
}

pub fn tanh_error(z: f64, d_z: f64, y: f64) -> f64 {
    let nearest = reference::tanh((z.abs() - d_z).max(0.0));
    let before = (1.0 - nearest * nearest) * d_z;
    // What is denormal, or may be, may become zero.
    let to_zero = if y.abs() - before < SMALLEST_STATE { y.abs() } else { 0.0 };
    before + 2.0 * U * (y.abs() + before) + TINY + to_zero
}

fn relu_error(z: f64, d_z: f64, y: f64) -> f64 {
    if z + d_z < SMALLEST_STATE {
        // Zero, whatever it would have been.
        y
    } else if z - d_z < SMALLEST_STATE {
        d_z.max(y)
    } else {
        d_z
    }
}

/// Every state of one layer over one sequence.
pub fn layer_forward(cell: &Cell, x: &Near, h0: &Near) -> Near {
    let (mut h, mut output) = (h0.clone(), Near::default());
    for t in 0..x.value.len() / cell.input_size {
        h = cell_step(cell, &x.row(cell.input_size, t), &h);
        output.extend(&h);
    }
    output
}

/// Gradients of an affine map, summed over rows: the sums, and what their error needs.
#[derive(Clone, Debug)]
pub struct AffineSums {
    weight: [Vec<f64>; 3],
    bias: [Vec<f64>; 3],
    terms: usize,
}

impl AffineSums {
    pub fn zeros(weight: usize, bias: usize) -> Self {
        let zeros = |len: usize| [vec![0.0; len], vec![0.0; len], vec![0.0; len]];
        AffineSums { weight: zeros(weight), bias: zeros(bias), terms: 0 }
    }

    /// Sums that start from numbers that are there already.
    pub fn start(&mut self, weight: &[f64], bias: &[f64]) {
        for (sum, start) in [(&mut self.weight, weight), (&mut self.bias, bias)] {
            *sum = [start.to_vec(), abs(start), abs(start)];
        }
        self.terms += 1;
    }

    /// `db += dy`
    pub fn add_to_bias(&mut self, d_y: &Near) {
        let terms = [d_y.value.clone(), abs(&d_y.value), d_y.magnitude()];
        for (sums, terms) in self.bias.iter_mut().zip(terms) {
            sums.iter_mut().zip(terms).for_each(|(sum, term)| *sum += term);
        }
        self.terms += 1;
    }

    pub fn weight(&self) -> Near {
        self.near(&self.weight)
    }

    pub fn bias(&self) -> Near {
        self.near(&self.bias)
    }

    fn near(&self, [value, plain, magnitude]: &[Vec<f64>; 3]) -> Near {
        Near { value: value.clone(), error: sum_errors(self.terms + EXTRA, magnitude, plain) }
    }
}

/// `dW += dy x^T`, `db += dy`, `dx = W^T dy`: all three are sums of products, so all three errors are the same sums of
/// absolute values.
pub fn affine_backward(weight: &[f64], x: &Near, d_y: &Near, sums: &mut AffineSums) -> Near {
    let AffineSums { weight: [w_value, w_plain, w_magnitude], bias: [b_value, b_plain, b_magnitude], terms } = sums;
    *terms += 1;
    let absolute = abs(weight);
    let value = reference::affine_backward(weight, &x.value, &d_y.value, w_value, b_value);
    let plain = reference::affine_backward(&absolute, &abs(&x.value), &abs(&d_y.value), w_plain, b_plain);
    let magnitude = reference::affine_backward(&absolute, &x.magnitude(), &d_y.magnitude(), w_magnitude, b_magnitude);
    Near { value, error: sum_errors(d_y.value.len() + EXTRA, &magnitude, &plain) }
}

/// The gradients of a cell.
#[derive(Clone, Debug)]
pub struct CellSums {
    pub ih: AffineSums,
    pub hh: AffineSums,
}

impl CellSums {
    pub fn zeros(cell: &Cell) -> Self {
        let sums = |weight: &[f64]| AffineSums::zeros(weight.len(), cell.hidden_size);
        CellSums { ih: sums(&cell.weight_ih), hh: sums(&cell.weight_hh) }
    }

    /// `weight_ih`, `weight_hh`, `bias_ih`, `bias_hh`
    pub fn parameters(&self) -> [Near; 4] {
        [self.ih.weight(), self.hh.weight(), self.ih.bias(), self.hh.bias()]
    }
}

/// What may be lost of a gradient that is below [`SMALLEST_GRADIENT`], or may be: all of it.
pub fn to_zero(value: f64, error: f64) -> f64 {
    if value.abs() - error < SMALLEST_GRADIENT { value.abs() } else { 0.0 }
}

/// `dz = dh' (1 - h'^2)`
pub fn before_tanh(h_next: &Near, d_h_next: &Near, fused: bool) -> Near {
    let mut d_z = Near::default();
    for i in 0..h_next.value.len() {
        let (h, h_error) = (h_next.value[i], h_next.error[i]);
        let (d_h, d_h_error) = (d_h_next.value[i], d_h_next.error[i]);
        let slope = reference::tanh_derivative_from_output(h);
        let propagated = 2.0 * h.abs() * h_error + h_error * h_error;
        let rounded = if fused { U * (slope + propagated) } else { 2.0 * U };
        let slope_error = propagated + rounded + TINY;
        let propagated = d_h_error * (slope + slope_error) + d_h.abs() * slope_error;
        let value = d_h * slope;
        d_z.value.push(value);
        let error = propagated + U * (value.abs() + propagated) + TINY;
        d_z.error.push(error + to_zero(value, error));
    }
    d_z
}

/// `dz = dh'` where `h' > 0`, else zero
fn before_relu(h_next: &Near, d_h_next: &Near) -> Near {
    let mut d_z = Near::default();
    for i in 0..h_next.value.len() {
        let (h, h_error) = (h_next.value[i], h_next.error[i]);
        let (d_h, d_h_error) = (d_h_next.value[i], d_h_next.error[i]);
        let on = reference::relu_derivative_from_output(h) > 0.0;
        let (surely_on, surely_off) = (h - h_error >= SMALLEST_STATE, h + h_error < SMALLEST_STATE);
        let (as_on, as_off) = if on { (d_h_error, d_h.abs()) } else { (d_h.abs() + d_h_error, 0.0) };
        let error = if surely_on {
            as_on
        } else if surely_off {
            as_off
        } else {
            as_on.max(as_off)
        };
        let value = if on { d_h } else { 0.0 };
        d_z.value.push(value);
        d_z.error.push(error + to_zero(value, error));
    }
    d_z
}

/// One step backward; returns the gradients of `x` and of `h`.
pub fn cell_step_backward(
    cell: &Cell,
    x: &Near,
    h: &Near,
    h_next: &Near,
    d_h_next: &Near,
    fused: bool,
    sums: &mut CellSums,
) -> (Near, Near) {
    let d_z = match cell.nonlinearity {
        Nonlinearity::Tanh => before_tanh(h_next, d_h_next, fused),
        Nonlinearity::Relu => before_relu(h_next, d_h_next),
    };
    let d_x = affine_backward(&cell.weight_ih, x, &d_z, &mut sums.ih);
    let d_h = affine_backward(&cell.weight_hh, h, &d_z, &mut sums.hh);
    (d_x, d_h)
}

/// What a layer went through in one sequence.
pub struct Passed<'a> {
    pub x: &'a Near,
    pub h0: &'a Near,
    pub output: &'a Near,
}

/// Backpropagation through time over one sequence; returns the gradients of `x` and of `h0`.
pub fn layer_backward(
    cell: &Cell,
    passed: &Passed<'_>,
    d_output: &Near,
    d_last: &Near,
    fused: bool,
    sums: &mut CellSums,
) -> (Near, Near) {
    let (inputs, hidden) = (cell.input_size, cell.hidden_size);
    let steps = passed.x.value.len() / inputs;
    let mut d_x = vec![Near::default(); steps];
    let mut d_h = d_last.clone();
    for t in (0..steps).rev() {
        let h = if t == 0 { passed.h0.clone() } else { passed.output.row(hidden, t - 1) };
        // The sum with `d_output` is a further term of the sum that `d_h` is.
        for i in 0..hidden {
            let (d_output, d_output_error) = (d_output.value[t * hidden + i], d_output.error[t * hidden + i]);
            let magnitude = d_h.value[i].abs() + d_h.error[i] + d_output.abs() + d_output_error;
            d_h.error[i] += sum_error(hidden + EXTRA, magnitude, d_output_error);
            d_h.value[i] += d_output;
        }
        let (x, h_next) = (passed.x.row(inputs, t), passed.output.row(hidden, t));
        (d_x[t], d_h) = cell_step_backward(cell, &x, &h, &h_next, &d_h, fused, sums);
    }
    let mut rows = Near::default();
    d_x.iter().for_each(|row| rows.extend(row));
    (rows, d_h)
}

/// The gradient of the cross-entropy of one row, `scale` times, with its errors, and the error of its loss.
pub fn cross_entropy_row(logits: &[f64], target: usize, scale: f64) -> (Near, f64) {
    let max = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let exponentials: Vec<f64> = logits.iter().map(|z| (z - max).exp()).collect();
    let error = |z: f64, e: f64| {
        let relative = (U * (z - max).abs()).exp_m1() + 2.0 * U;
        if e < 1.2e-38 { e + TINY } else { e * relative }
    };
    let errors: Vec<f64> = logits.iter().zip(&exponentials).map(|(z, e)| error(*z, *e)).collect();
    let sum: f64 = exponentials.iter().sum();
    let sum_error = (errors.iter().sum::<f64>() + gamma(logits.len()) * sum) / sum;
    let value = reference::cross_entropy_backward(logits, target, scale);
    let d_errors = exponentials.iter().zip(&errors).enumerate().map(|(class, (e, error))| {
        let p_error = error / sum + e / sum * (sum_error + 8.0 * U);
        let at_target = if class == target { 4.0 * U } else { 0.0 };
        // A quotient that underflows (`scale / s` does not, `e_c` of many classes may) loses less than this.
        let error = scale * (p_error * (1.0 + 8.0 * U) + at_target) + TINY;
        error + to_zero(scale * e / sum, error)
    });
    (Near { error: d_errors.collect(), value }, sum_error * (1.0 + sum_error))
}

/// The bounds walk the reference's own steps: without errors they give its numbers.
#[test]
fn the_bounds_follow_the_reference() {
    let numbers = |n: usize, seed: f64| (0..n).map(|i| (i as f64 * 0.7 + seed).sin()).collect::<Vec<f64>>();
    let near = |value: Vec<f64>| Near { error: vec![0.0; value.len()], value };
    for nonlinearity in [Nonlinearity::Tanh, Nonlinearity::Relu] {
        let mut cell = Cell { nonlinearity, ..Cell::zeros(3, 4) };
        for (i, tensor) in cell.parameters_mut().into_iter().enumerate() {
            tensor.copy_from_slice(&numbers(tensor.len(), i as f64));
        }
        let (x, h0) = (numbers(15, 10.0), numbers(4, 11.0));
        let (d_output, d_last) = (numbers(20, 12.0), numbers(4, 13.0));
        let output = reference::layer_forward(&cell, &x, &h0);
        let mut d_cell = Cell::zeros(3, 4);
        let (d_x, d_h0) = reference::layer_backward(&cell, &x, &h0, &output, &d_output, &d_last, &mut d_cell);

        let (x, h0) = (near(x), near(h0));
        assert_eq!(layer_forward(&cell, &x, &h0).value, output);
        let (mut sums, output) = (CellSums::zeros(&cell), near(output));
        let passed = Passed { x: &x, h0: &h0, output: &output };
        let near_d = layer_backward(&cell, &passed, &near(d_output), &near(d_last), true, &mut sums);
        assert_eq!((&near_d.0.value, &near_d.1.value), (&d_x, &d_h0));
        for (near, d) in sums.parameters().iter().zip(d_cell.parameters()) {
            assert_eq!(near.value, d);
        }
    }
}
