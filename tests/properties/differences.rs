//! Gradients against central differences of the reference's own loss, which knows nothing of backpropagation.
//!
//! `D(h) = (8 (f(h) - f(-h)) - (f(2h) - f(-2h))) / 12h` is off by a term in `h^4`; so `D(2h)` is off by 16 times as
//! much, and `|D(2h) - D(h)|`, which is 15 errors of `D(h)`, is a bound with much to spare. Rounding adds the size of
//! `f` times `2^-50 / h`. To that comes what the crate's gradient may be off by, from `bounds`.
//!
//! A function with relu has kinks: no neuron may go on or off between the points, or the quotient is no statement.

use crate::bounds::{self, CellSums, Near, Passed};
use crate::kept::{Kept, Passes};
use crate::support::*;
use elman::{CrossEntropy, Embedding, Linear, Relu, Rnn, RnnCell, Tanh};
use elman_reference::{self as reference, Cell, Loss};
use std::cell;

/// `df / d parameter[i]` for every `i`, with its error, of a smooth `f`.
pub fn differentiate(parameter: &[f64], f: impl Fn(&[f64]) -> f64) -> Near {
    differentiate_piecewise::<1024>(parameter, |parameter| (f(parameter), Vec::new()))
}

/// A value, and the piece of the function that it lies on.
type Piecewise<'a> = dyn Fn(&[f64]) -> (f64, Vec<bool>) + 'a;

/// The same of an `f` that is smooth where the second of its results does not change; the error is infinite elsewhere.
fn differentiate_piecewise<const INVERSE_H: usize>(parameter: &[f64], f: impl Fn(&[f64]) -> (f64, Vec<bool>)) -> Near {
    let h = 1.0 / INVERSE_H as f64;
    let (_, piece) = f(parameter);
    let mut near = Near::default();
    for i in 0..parameter.len() {
        let mut moved = parameter.to_vec();
        let (mut size, mut smooth) = (0.0f64, true);
        let mut at = |by: f64| {
            moved[i] = parameter[i] + by;
            let (value, piece_there) = f(&moved);
            size = size.max(value.abs());
            smooth &= piece_there == piece;
            value
        };
        let mut difference = |h: f64| {
            let (near, far) = (at(h) - at(-h), at(2.0 * h) - at(-2.0 * h));
            (8.0 * near - far) / (12.0 * h)
        };
        let (fine, coarse) = (difference(h), difference(2.0 * h));
        near.value.push(fine);
        let error = (fine - coarse).abs() + (size + 1.0) * 2f64.powi(-50) / h;
        near.error.push(if smooth { error } else { f64::INFINITY });
    }
    near
}

/// The difference quotient with the errors of the crate's gradient beside its own.
pub fn with_errors_of(mut differences: Near, bound: &Near) -> Near {
    differences.error.iter_mut().zip(&bound.error).for_each(|(error, more)| *error += more);
    differences
}

pub fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn cells<const IN: usize, const HID: usize>() {
    cells_of::<IN, HID, Tanh>();
}

fn cells_relu<const IN: usize, const HID: usize>() {
    cells_of::<IN, HID, Relu>();
}

fn cells_of<const IN: usize, const HID: usize, A: OneSum<HID>>() {
    // Of all numbers, those that are compared.
    let (all, compared) = (cell::Cell::new(0), cell::Cell::new(0));
    let count = |near: Near| {
        all.set(all.get() + near.error.len());
        compared.set(compared.get() + near.error.iter().filter(|error| error.is_finite()).count());
        near
    };
    property(24, case(IN * HID), |mut case| {
        (case.steps, case.batch) = (case.steps.min(6), case.batch.min(2));
        let mut numbers = Numbers(case.seed);
        let mut cell = RnnCell::<IN, HID, A>::zeros();
        Weights::Initial.fill(&mut numbers, HID, &mut cell);
        let reference = reference_cell(&cell);
        let rows = case.steps * case.batch;
        let input = Rows::new(case.orders.0, case.shape(), Values::Ordinary.rows::<IN>(&mut numbers, rows));
        let d_output = Rows::new(case.orders.1, case.shape(), Values::Ordinary.rows::<HID>(&mut numbers, rows));
        let initial = Values::Ordinary.rows::<HID>(&mut numbers, case.batch);
        let d_final = Values::Ordinary.rows::<HID>(&mut numbers, case.batch);
        let x: Vec<Near> = (0..case.batch).map(|b| Near::exact(input.sample(b).as_flattened())).collect();
        let d_y: Vec<Near> = (0..case.batch).map(|b| Near::exact(d_output.sample(b).as_flattened())).collect();
        // A loss that is linear in every output and in the final states, so that `d_output` and `d_final` are its
        // derivatives.
        let loss_of = |cell: &Cell, b: usize, x: &[f64], h0: &[f64]| {
            let output = reference::layer_forward(cell, x, h0);
            let last = &output[output.len() - HID..];
            let is_relu = cell.nonlinearity == reference::Nonlinearity::Relu;
            let piece: Vec<bool> = output.iter().filter(|_| is_relu).map(|y| *y > 0.0).collect();
            (dot(&output, &d_y[b].value) + dot(last, &Near::exact(&d_final[b]).value), piece)
        };
        // So little with relu that few neurons go on or off.
        let differentiate = |parameter: &[f64], f: &Piecewise<'_>| {
            count(match reference.nonlinearity {
                reference::Nonlinearity::Tanh => differentiate_piecewise::<1024>(parameter, f),
                reference::Nonlinearity::Relu => differentiate_piecewise::<8192>(parameter, f),
            })
        };
        let h0: Vec<Near> = initial.iter().map(Near::exact).collect();
        let loss = |cell: &Cell| {
            let (losses, pieces): (Vec<f64>, Vec<Vec<bool>>) =
                (0..case.batch).map(|b| loss_of(cell, b, &x[b].value, &h0[b].value)).unzip();
            (losses.iter().sum::<f64>(), pieces.concat())
        };

        at_every_level(|level| {
            let mut trace = Kept::at(level).with_d_input();
            cell.forward_from(input.view(), &initial, &mut trace)?;
            let mut gradients = RnnCell::zeros();
            cell.backward_from(input.view(), &mut trace, d_output.view(), &d_final, &mut gradients)?;
            let mut sums = CellSums::zeros(&reference);
            for b in 0..case.batch {
                let output = bounds::layer_forward(&reference, &x[b], &h0[b]);
                let passed = Passed { x: &x[b], h0: &h0[b], output: &output };
                let d_last = Near::exact(&d_final[b]);
                let fused = level.is_fused();
                let (d_x, d_h0) = bounds::layer_backward(&reference, &passed, &d_y[b], &d_last, fused, &mut sums);
                let by_x = differentiate(&x[b].value, &|x| loss_of(&reference, b, x, &h0[b].value));
                let given: Vec<f32> = (0..case.steps).flat_map(|t| *trace.d_input().unwrap().row(b, t)).collect();
                with_errors_of(by_x, &d_x).check("d input by differences", &given)?;
                let by_h0 = differentiate(&h0[b].value, &|h0| loss_of(&reference, b, &x[b].value, h0));
                with_errors_of(by_h0, &d_h0).check("d h0 by differences", &trace.d_initial().unwrap()[b])?;
            }
            let given = torch_parameters(&gradients);
            for (i, near) in sums.parameters().iter().enumerate() {
                let by_parameter = differentiate(reference.parameters()[i], &|parameter| {
                    let mut moved = reference.clone();
                    moved.parameters_mut()[i].copy_from_slice(parameter);
                    loss(&moved)
                });
                with_errors_of(by_parameter, near)
                    .check(&format!("{} by differences", CELL_PARAMETERS[i]), &given[i])?;
            }
            Ok(())
        })
    });
    assert!(10 * compared.get() >= 9 * all.get(), "only {} of {} numbers are compared", compared.get(), all.get());
}

for_sizes!(cells: in_1_hid_1(1, 1), in_2_hid_3(2, 3), in_4_hid_5(4, 5), in_3_hid_8(3, 8));

for_sizes!(cells_relu: relu_in_1_hid_1(1, 1), relu_in_4_hid_4(4, 4), relu_in_3_hid_8(3, 8));

/// A whole model with its loss: the gradients of every parameter by the loss that `CrossEntropy` computes. The errors
/// that `f32` leaves in all of them are bounded as a whole: `2^-24` for each of the fewer than 2000 operations that a
/// number of this small model passes, whose values and factors are all below 2.
#[test]
fn a_whole_model() {
    type Model = (Embedding<4, 3>, Rnn<3, 4, 2>, Linear<4, 4>);
    property(16, case(200), |mut case| {
        (case.steps, case.batch) = (case.steps.min(5), case.batch.clamp(1, 2));
        let mut numbers = Numbers(case.seed);
        let mut model: Model = (Embedding::zeros(), Rnn::zeros(), Linear::zeros());
        Weights::Initial.fill(&mut numbers, 4, &mut model);
        let rows = case.steps * case.batch;
        let tokens = Rows::new(case.orders.0, case.shape(), (0..rows).map(|_| numbers.below(4)).collect());
        let targets = Rows::new(case.orders.1, case.shape(), (0..rows).map(|_| numbers.below(4)).collect());
        let loss = |parameters: &[f64]| {
            let (table, rest) = parameters.split_at(12);
            let (lower, rest) = rest.split_at(3 * 4 + 4 * 4 + 8);
            let (upper, linear) = rest.split_at(4 * 4 + 4 * 4 + 8);
            let cells = [(3, lower), (4, upper)].map(|(inputs, from)| {
                let mut cell = Cell::zeros(inputs, 4);
                let mut from = from.iter();
                // The crate's memory order is the transpose.
                for (width, tensor) in [inputs, 4, 1, 1].into_iter().zip(cell.parameters_mut()) {
                    for i in 0..tensor.len() {
                        tensor[i % 4 * width + i / 4] = *from.next().unwrap();
                    }
                }
                cell
            });
            let weight: Vec<f64> = (0..16).map(|i| linear[i % 4 * 4 + i / 4]).collect();
            let (mut logits, mut expected) = (Vec::new(), Vec::new());
            for b in 0..case.batch {
                let x = reference::embedding(table, 3, &tokens.sample(b));
                let outputs = reference::rnn_forward(&cells, &x, &[0.0; 8]);
                for h in outputs[1].chunks_exact(4) {
                    logits.extend(reference::affine(&weight, &linear[16..], h));
                }
                expected.extend(targets.sample(b));
            }
            reference::cross_entropy_rows(&Loss::default(), 4, &logits, &expected)
        };
        let mut differences = differentiate(&Near::exact(&flat(&model)).value, loss);
        differences.error.iter_mut().for_each(|error| *error += 2000.0 * bounds::U);
        at_every_level(|level| {
            let mut trace = Kept::at(level);
            model.forward_into(tokens.view(), &mut trace)?;
            let (_, d_logits) = CrossEntropy::mean().at(level).loss(trace.output(), targets.view())?;
            let gradients = model.backward(tokens.view(), &mut trace, &d_logits)?;
            differences.check("a gradient by differences", &flat(&gradients))
        })
    });
}
