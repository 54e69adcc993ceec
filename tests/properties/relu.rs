//! The rectified cell, a step at a time: against the reference. (Its passes over sequences and batches give the bits of these
//! steps, which `one_answer` holds; `golden` has PyTorch's numbers for both.)
//!
//! With one product over inputs and state, `z` is off by the bound of an affine map; `max(z, 0)` passes that on and rounds
//! nothing, but what is below the smallest normal number becomes zero. On the way back `dz` is the gradient of the state, or
//! zero where the state is, so that only what is below 2^-110 is off; the rest are affine maps again.

use crate::bounds::{self, AffineSums, Near};
use crate::support::*;
use elman::{Relu, RnnCell};
use elman_reference as reference;
use proptest::prelude::*;

fn steps<const IN: usize, const HID: usize>() {
    let strategy = (any::<u64>(), weights(), values(), values(), 0..20usize);
    property(48, strategy, |(seed, weights, data, gradient, batch)| {
        let mut numbers = Numbers(seed);
        let mut cell = RnnCell::<IN, HID, Relu>::zeros_boxed();
        weights.fill(&mut numbers, HID, &mut cell);
        let wide = |values: &mut dyn Iterator<Item = f32>| -> Vec<f64> { values.map(f64::from).collect() };
        let (of_x, of_h) = (wide(&mut cell.weight_ih_torch()), wide(&mut cell.weight_hh_torch()));
        // One matrix over both.
        let both: Vec<f64> = of_x.chunks(IN).zip(of_h.chunks(HID)).flat_map(|(x, h)| [x, h].concat()).collect();
        let bias: Vec<f64> =
            cell.bias_ih.iter().zip(&cell.bias_hh).map(|(a, b)| f64::from(*a) + f64::from(*b)).collect();
        let x = data.rows::<IN>(&mut numbers, batch);
        let h = data.rows::<HID>(&mut numbers, batch);
        let d_h_next = gradient.rows::<HID>(&mut numbers, batch);

        at_every_level(|level| {
            let mut all_next = h.clone();
            cell.at(level).step_batch_in_place(&x, &mut all_next)?;
            let mut gradients = RnnCell::zeros_boxed();
            let (mut of_ih, mut of_hh) = (AffineSums::zeros(HID * IN, HID), AffineSums::zeros(HID * HID, HID));
            for b in 0..batch {
                let h_next = cell.at(level).step(&x[b], &h[b]);
                same_bits("h_next of a batch", &all_next[b], &h_next)?;
                let z = bounds::affine(&both, &bias, &Near::exact(x[b].iter().chain(&h[b])));
                let mut expected = Near::default();
                for (z, error) in z.value.iter().zip(&z.error) {
                    let y = reference::relu(*z);
                    let smallest = f64::from(f32::MIN_POSITIVE);
                    expected.value.push(y);
                    expected.error.push(error + if y - error < smallest { y.min(smallest + error) } else { 0.0 });
                }
                expected.check("h_next", &h_next)?;

                let mut d_z = Near::default();
                for (d, y) in d_h_next[b].iter().zip(&h_next) {
                    let value = f64::from(*d) * reference::relu_derivative_from_output(f64::from(*y));
                    d_z.value.push(value);
                    d_z.error.push(bounds::to_zero(value, 0.0));
                }
                let (d_x, d_h) = cell.at(level).step_backward_add(&x[b], &h[b], &h_next, &d_h_next[b], &mut gradients);
                bounds::affine_backward(&of_x, &Near::exact(&x[b]), &d_z, &mut of_ih).check("d_x", &d_x)?;
                bounds::affine_backward(&of_h, &Near::exact(&h[b]), &d_z, &mut of_hh).check("d_h", &d_h)?;
            }
            let sums = [of_ih.weight(), of_hh.weight(), of_ih.bias(), of_hh.bias()];
            let given = [
                gradients.weight_ih_torch().collect(),
                gradients.weight_hh_torch().collect(),
                gradients.bias_ih.to_vec(),
                gradients.bias_hh.to_vec(),
            ];
            for ((name, near), given) in CELL_PARAMETERS.iter().zip(sums).zip(given) {
                near.check(name, &given)?;
            }
            Ok(())
        })
    });
}

for_sizes!(steps: cell_1_1(1, 1), cell_4_4(4, 4), cell_10_17(10, 17), cell_16_32(16, 32), cell_33_65(33, 65));
