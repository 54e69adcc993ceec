//! `RnnCell`: single steps, batches of steps, and whole sequences, forward and backward.

use crate::bounds::{self, CellSums, Near, Passed};
use crate::kept::{Kept, Passes};
use crate::support::*;
use elman::{Level, Relu, RnnCell, Tanh};
use proptest::prelude::*;

fn steps<const IN: usize, const HID: usize>() {
    steps_of::<IN, HID, Tanh>();
}

fn steps_relu<const IN: usize, const HID: usize>() {
    steps_of::<IN, HID, Relu>();
}

fn steps_of<const IN: usize, const HID: usize, A: OneSum<HID>>() {
    let strategy = (any::<u64>(), weights(), values(), values(), 0..20usize);
    property(48, strategy, |(seed, weights, data, gradient, batch)| {
        let mut numbers = Numbers(seed);
        let mut cell = RnnCell::<IN, HID, A>::zeros_boxed();
        weights.fill(&mut numbers, HID, &mut cell);
        let reference = reference_cell(&cell);
        let x = data.rows::<IN>(&mut numbers, batch);
        let h = data.rows::<HID>(&mut numbers, batch);
        let d_h_next = gradient.rows::<HID>(&mut numbers, batch);
        // What single steps add their gradients to.
        let mut start = RnnCell::<IN, HID, A>::zeros_boxed();
        gradient_start(&mut numbers, gradient, &mut start);

        at_every_level(|level| {
            let (mut gradients, mut sums) = (start.clone(), sums_from(&start));
            let mut all_next = h.clone();
            cell.at(level).step_batch_in_place(&x, &mut all_next)?;
            for b in 0..batch {
                let mut h_next = h[b];
                cell.at(level).step_in_place(&x[b], &mut h_next);
                let (x_near, h_near) = (Near::exact(&x[b]), Near::exact(&h[b]));
                bounds::cell_step(&reference, &x_near, &h_near).check("h_next", &h_next)?;
                same_bits("step", &cell.at(level).step(&x[b], &h[b]), &h_next)?;
                same_bits("h_next of a batch", &all_next[b], &h_next)?;

                let (d_x, d_h) = cell.at(level).step_backward_add(&x[b], &h[b], &h_next, &d_h_next[b], &mut gradients);
                let (h_next, d_h_next) = (Near::exact(&h_next), Near::exact(&d_h_next[b]));
                let fused = level.is_fused();
                let (near_d_x, near_d_h) =
                    bounds::cell_step_backward(&reference, &x_near, &h_near, &h_next, &d_h_next, fused, &mut sums);
                near_d_x.check("d_x", &d_x)?;
                near_d_h.check("d_h", &d_h)?;
            }
            check_gradients(&sums, &gradients)
        })
    });
}

fn gradient_start<const IN: usize, const HID: usize, A: OneSum<HID>>(
    numbers: &mut Numbers,
    values: Values,
    gradients: &mut RnnCell<IN, HID, A>,
) {
    Weights::Plain(values).fill(numbers, HID, gradients);
}

/// Sums that start from gradients that are there.
fn sums_from<const IN: usize, const HID: usize, A: OneSum<HID>>(start: &RnnCell<IN, HID, A>) -> CellSums {
    let from = reference_cell(start);
    let mut sums = CellSums::zeros(&from);
    sums.ih.start(&from.weight_ih, &from.bias_ih);
    sums.hh.start(&from.weight_hh, &from.bias_hh);
    sums
}

fn check_gradients<const IN: usize, const HID: usize, A: OneSum<HID>>(
    sums: &CellSums,
    gradients: &RnnCell<IN, HID, A>,
) -> Checked {
    let given = torch_parameters(gradients);
    for ((name, near), given) in CELL_PARAMETERS.iter().zip(sums.parameters()).zip(&given) {
        near.check(name, given)?;
    }
    Ok(())
}

fn sequences<const IN: usize, const HID: usize>() {
    property(32, case(HID * (IN + HID)), check_sequences::<IN, HID, Tanh>);
}

fn sequences_relu<const IN: usize, const HID: usize>() {
    property(32, case(HID * (IN + HID)), check_sequences::<IN, HID, Relu>);
}

fn check_sequences<const IN: usize, const HID: usize, A: OneSum<HID>>(case: Case) -> Checked {
    let mut numbers = Numbers(case.seed);
    let mut cell = RnnCell::<IN, HID, A>::zeros_boxed();
    case.weights.fill(&mut numbers, HID, &mut cell);
    let reference = reference_cell(&cell);
    let rows = case.steps * case.batch;
    let input = Rows::new(case.orders.0, case.shape(), case.data.rows::<IN>(&mut numbers, rows));
    let d_output = Rows::new(case.orders.1, case.shape(), case.gradient.rows::<HID>(&mut numbers, rows));
    let initial = case.state::<HID>(case.initial, case.data, &mut numbers, case.batch);
    let d_final = case.state::<HID>(case.d_final, case.gradient, &mut numbers, case.batch);
    let state_of = |state: &[[f32; HID]], sample: usize| Near::exact(state.get(sample).unwrap_or(&[0.0; HID]));
    // For the gradients of two batches that are added to what is there.
    let mut start = RnnCell::<IN, HID, A>::zeros_boxed();
    gradient_start(&mut numbers, case.gradient, &mut start);
    let d_second = Rows::new(case.orders.0, case.shape(), case.gradient.rows::<HID>(&mut numbers, rows));

    // From the first step to the last, with the errors that pile up on the way.
    let whole: Vec<Near> = (0..case.batch)
        .map(|b| {
            bounds::layer_forward(&reference, &Near::exact(input.sample(b).as_flattened()), &state_of(&initial, b))
        })
        .collect();

    at_every_level(|level| {
        let mut trace = Kept::<Box<RnnCell<IN, HID, A>>>::at(level);
        if case.d_input {
            trace = trace.with_d_input();
        }
        cell.forward_from(input.view(), &initial, &mut trace)?;
        let outputs = trace.output().as_batch_first().unwrap().to_vec();
        prop_assert_eq!(outputs.len(), rows);
        prop_assert_eq!(trace.final_state().len(), case.batch);
        for b in 0..case.batch {
            let states = &outputs[b * case.steps..][..case.steps];
            whole[b].check("the output", states.as_flattened())?;
            same_bits("the final state", &states[case.steps - 1], &trace.final_state()[b])?;
            // Step by step: each state against the reference's step from the state before, whatever that is.
            let mut h = state_of(&initial, b);
            for (t, state) in states.iter().enumerate() {
                let x = Near::exact(input.view().row(b, t));
                bounds::cell_step(&reference, &x, &h).check("the output of a step", state)?;
                h = Near::exact(state);
            }
        }

        // Overwritten, whatever was there.
        let mut gradients = cell.clone();
        cell.backward_from(input.view(), &mut trace, d_output.view(), &d_final, &mut gradients)?;
        let mut sums = CellSums::zeros(&reference);
        prop_assert_eq!(trace.d_initial().unwrap().len(), case.batch);
        prop_assert_eq!(trace.d_input().is_some(), case.d_input);
        for b in 0..case.batch {
            let x = Near::exact(input.sample(b).as_flattened());
            let output = Near::exact(outputs[b * case.steps..][..case.steps].as_flattened());
            let passed = Passed { x: &x, h0: &state_of(&initial, b), output: &output };
            let d_output = Near::exact(d_output.sample(b).as_flattened());
            let d_last = state_of(&d_final, b);
            let (d_x, d_h0) =
                bounds::layer_backward(&reference, &passed, &d_output, &d_last, level.is_fused(), &mut sums);
            d_h0.check("d h0", &trace.d_initial().unwrap()[b])?;
            if let Some(d_input) = trace.d_input() {
                let rows: Vec<f32> = (0..case.steps).flat_map(|t| *d_input.row(b, t)).collect();
                d_x.check("d input", &rows)?;
            }
        }
        check_gradients(&sums, &gradients)?;

        // Two batches, added to what is there.
        let mut added = start.clone();
        cell.backward_add(input.view(), &mut trace, d_output.view(), &d_final, &mut added)?;
        cell.backward_add(input.view(), &mut trace, d_second.view(), &Vec::new(), &mut added)?;
        let mut sums = sums_from(&start);
        for (d_output, d_final) in [(&d_output, d_final.as_slice()), (&d_second, &[])] {
            for b in 0..case.batch {
                let x = Near::exact(input.sample(b).as_flattened());
                let output = Near::exact(outputs[b * case.steps..][..case.steps].as_flattened());
                let passed = Passed { x: &x, h0: &state_of(&initial, b), output: &output };
                let d_output = Near::exact(d_output.sample(b).as_flattened());
                let d_last = state_of(d_final, b);
                bounds::layer_backward(&reference, &passed, &d_output, &d_last, level.is_fused(), &mut sums);
            }
        }
        check_gradients(&sums, &added)
    })
}

/// Bounds that grow beyond the values would prove nothing: where the weights contract, they do not.
#[test]
fn bounds_are_sharp() {
    sharp::<Tanh>();
}

/// No slope is in doubt here.
#[test]
fn bounds_of_relu_are_sharp() {
    sharp::<Relu>();
}

fn sharp<A: OneSum<33>>() {
    let mut numbers = Numbers(1);
    let mut cell = RnnCell::<17, 33, A>::zeros_boxed();
    Weights::Contracting.fill(&mut numbers, 33, &mut cell);
    let reference = reference_cell(&cell);
    let (x, h0) = (Values::Ordinary.rows::<17>(&mut numbers, 40), Values::Ordinary.rows::<33>(&mut numbers, 1));
    let d_output = Near::exact(Values::Ordinary.rows::<33>(&mut numbers, 40).as_flattened());
    let d_last = Near::exact(&Values::Ordinary.rows::<33>(&mut numbers, 1)[0]);
    let (x, h0) = (Near::exact(x.as_flattened()), Near::exact(&h0[0]));
    let output = bounds::layer_forward(&reference, &x, &h0);
    assert!(output.sharpness() < 2e-5, "{:e}", output.sharpness());

    let mut sums = CellSums::zeros(&reference);
    let passed = Passed { x: &x, h0: &h0, output: &output };
    let (d_x, d_h0) = bounds::layer_backward(&reference, &passed, &d_output, &d_last, true, &mut sums);
    for near in sums.parameters().iter().chain([&d_x, &d_h0]) {
        assert!(near.sharpness() < 1e-4, "{:e}", near.sharpness());
    }
}

/// The functions that take no level run at the one that is detected.
#[test]
fn the_detected_level_is_the_default() -> Checked {
    let mut numbers = Numbers(3);
    let mut cell = RnnCell::<7, 16>::zeros();
    Weights::Initial.fill(&mut numbers, 16, &mut cell);
    let x = Values::Ordinary.rows::<7>(&mut numbers, 9);
    let h = Values::Ordinary.rows::<16>(&mut numbers, 9);
    let level = Level::detect();
    let (mut at_level, mut in_batch) = (h.clone(), h.clone());
    cell.at(level).step_batch_in_place(&x, &mut at_level)?;
    cell.step_batch_in_place(&x, &mut in_batch)?;
    let (mut gradients, mut gradients_at) = (RnnCell::zeros(), RnnCell::zeros());
    for b in 0..9 {
        let mut in_place = h[b];
        cell.step_in_place(&x[b], &mut in_place);
        same_bits("step_in_place", &in_place, &at_level[b])?;
        same_bits("step", &cell.step(&x[b], &h[b]), &at_level[b])?;
        same_bits("step_batch", &in_batch[b], &at_level[b])?;
        let d = cell.step_backward_add(&x[b], &h[b], &in_place, &h[b], &mut gradients);
        let d_at = cell.at(level).step_backward_add(&x[b], &h[b], &in_place, &h[b], &mut gradients_at);
        prop_assert_eq!(d, d_at);
    }
    same_bits("gradients", &flat(&gradients), &flat(&gradients_at))
}

mod single_steps {
    use super::*;
    for_sizes!(steps:
        in_1_hid_1(1, 1), in_2_hid_3(2, 3), in_3_hid_5(3, 5), in_4_hid_4(4, 4), in_5_hid_2(5, 2), in_8_hid_8(8, 8),
        in_10_hid_8(10, 8), in_7_hid_16(7, 16), in_16_hid_16(16, 16), in_17_hid_33(17, 33), in_31_hid_32(31, 32),
        in_33_hid_17(33, 17), in_48_hid_65(48, 65), in_64_hid_64(64, 64), in_100_hid_10(100, 10), in_5_hid_130(5, 130),
        in_3_hid_24(3, 24), in_5_hid_28(5, 28), in_9_hid_44(9, 44), in_4_hid_100(4, 100), in_100_hid_200(100, 200),
        in_2_hid_256(2, 256), in_69_hid_40(69, 40),
    );
    for_sizes!(steps_relu:
        relu_in_1_hid_1(1, 1), relu_in_4_hid_4(4, 4), relu_in_10_hid_17(10, 17), relu_in_16_hid_32(16, 32),
        relu_in_40_hid_33(40, 33), relu_in_33_hid_65(33, 65), relu_in_64_hid_64(64, 64),
    );
}

mod over_time {
    use super::*;
    for_sizes!(sequences:
        in_1_hid_1(1, 1), in_2_hid_3(2, 3), in_3_hid_5(3, 5), in_4_hid_4(4, 4), in_5_hid_2(5, 2), in_8_hid_8(8, 8),
        in_10_hid_8(10, 8), in_7_hid_16(7, 16), in_16_hid_16(16, 16), in_17_hid_33(17, 33), in_31_hid_32(31, 32),
        in_33_hid_17(33, 17), in_48_hid_65(48, 65), in_64_hid_64(64, 64), in_100_hid_10(100, 10), in_5_hid_130(5, 130),
        in_270_hid_20(270, 20), in_270_hid_40(270, 40), in_3_hid_270(3, 270), in_3_hid_7(3, 7), in_40_hid_66(40, 66),
    );
    for_sizes!(sequences_relu:
        relu_in_1_hid_1(1, 1), relu_in_4_hid_4(4, 4), relu_in_10_hid_17(10, 17), relu_in_16_hid_32(16, 32),
        relu_in_40_hid_33(40, 33), relu_in_64_hid_64(64, 64),
    );
}
