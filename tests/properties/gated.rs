//! Cells of gates and their stacks: single steps, batches of steps, and whole sequences, forward and backward, against the
//! reference.

use crate::bounds::Near;
use crate::bounds_gated::{self, GatedSums, Passed, State};
use crate::differences::{differentiate, dot, with_errors_of};
use crate::gates::{GatedLayer, Gates, rows_of_c};
use crate::gates::{state as state_of, states as states_of};
use crate::kept::{Kept, Passes};
use crate::support::*;
use elman::cells::{self, Gru, Lstm, State as _, States};
use elman::{Rnn, RnnCell};
use elman_reference::gated::{self, Cell, Kind};
use proptest::prelude::*;

/// One row of states that are there, or of zeros.
fn near_row<const HID: usize>(kind: Kind, states: &impl States<HID>, row: usize) -> State {
    let near = |rows: &[[f32; HID]]| Near::exact(rows.get(row).unwrap_or(&[0.0; HID]));
    let c = if kind == Kind::Lstm { near(rows_of_c(states)) } else { Near::default() };
    State { h: near(states.h()), c }
}

fn near<const HID: usize>(state: &impl cells::State<HID>) -> State {
    State { h: Near::exact(state.h()), c: Near::exact(state.c()) }
}

/// `h` and, of an LSTM, `c`, against numbers of the crate.
fn check_state(what: &str, expected: &State, h: &[f32], c: &[f32]) -> Checked {
    expected.h.check(&format!("{what}: h"), h)?;
    expected.c.check(&format!("{what}: c"), c)
}

fn check_row<const HID: usize>(what: &str, expected: &State, states: &impl States<HID>, row: usize) -> Checked {
    check_state(what, expected, &states.h()[row], rows_of_c(states).get(row).map_or(&[], |c| c))
}

fn same_state<const HID: usize>(what: &str, a: &impl cells::State<HID>, b: &impl cells::State<HID>) -> Checked {
    same_bits(&format!("{what}: h"), a.h(), b.h())?;
    same_bits(&format!("{what}: c"), a.c(), b.c())
}

fn check_gradients<const IN: usize, const HID: usize>(
    sums: &[GatedSums],
    gradients: &impl GatedLayer<IN, HID>,
) -> Checked {
    for (layer, (sums, given)) in sums.iter().zip(gradients.tensors()).enumerate() {
        for ((name, near), given) in CELL_PARAMETERS.iter().zip(sums.parameters()).zip(&given) {
            near.check(&format!("{name} of layer {layer}"), given)?;
        }
    }
    Ok(())
}

fn steps<const IN: usize, const HID: usize, A: Gates>() {
    let strategy = (any::<u64>(), weights(), values(), values(), 0..20usize);
    property(48, strategy, |(seed, weights, data, gradient, batch)| {
        let mut numbers = Numbers(seed);
        let mut cell = RnnCell::<IN, HID, A>::zeros_boxed();
        weights.fill(&mut numbers, HID, &mut cell);
        let [reference] = &cell.reference()[..] else { panic!("one cell") };
        let x = data.rows::<IN>(&mut numbers, batch);
        let mut states = |values: Values| -> Vec<A::State<HID>> {
            let (h, c) = (values.rows(&mut numbers, batch), values.rows(&mut numbers, batch));
            h.iter().zip(&c).map(|(h, c)| state_of(h, c)).collect()
        };
        let (before, d_after) = (states(data), states(gradient));
        // What single steps add their gradients to.
        let mut start = RnnCell::<IN, HID, A>::zeros_boxed();
        Weights::Plain(gradient).fill(&mut numbers, HID, &mut start);

        at_every_level(|level| {
            let (mut gradients, mut sums) = (start.clone(), GatedSums::from(&start.reference()[0]));
            let mut all_after = before.clone();
            cell.at(level).step_batch_in_place(&x, &mut all_after)?;
            for b in 0..batch {
                let (x_near, near_before) = (Near::exact(&x[b]), near(&before[b]));
                let after = cell.at(level).step(&x[b], &before[b]);
                check_state("after", &bounds_gated::step(reference, &x_near, &near_before), after.h(), after.c())?;
                let mut in_place = before[b];
                cell.at(level).step_in_place(&x[b], &mut in_place);
                same_state("in place", &in_place, &after)?;
                same_state("in a batch", &all_after[b], &after)?;

                let (d_x, d_before) =
                    cell.at(level).step_backward_add(&x[b], &before[b], &after, &d_after[b], &mut gradients);
                let (near_d_after, fused) = (near(&d_after[b]), level.is_fused());
                let (near_d_x, near_d_before) =
                    bounds_gated::step_backward(reference, &x_near, &near_before, &near_d_after, fused, &mut sums);
                near_d_x.check("d_x", &d_x)?;
                check_state("d before", &near_d_before, d_before.h(), d_before.c())?;
            }
            check_gradients(&[sums], &gradients)
        })
    });
}

/// A run of a layer over sequences, and what the reference makes of it.
struct Run<const IN: usize, const HID: usize, L: GatedLayer<IN, HID>> {
    case: Case,
    layer: L,
    cells: Vec<Cell>,
    input: Rows<[f32; IN]>,
    initial: L::State,
    d_final: L::State,
}

impl<const IN: usize, const HID: usize, L: GatedLayer<IN, HID>> Run<IN, HID, L> {
    fn new(case: Case, numbers: &mut Numbers) -> Self {
        let mut layer = L::zeros();
        case.weights.fill(numbers, HID, &mut layer);
        let input = Rows::new(case.orders.0, case.shape(), case.data.rows(numbers, case.steps * case.batch));
        let mut states = |given: bool, values: Values| {
            let rows = L::LAYERS * case.batch;
            let h = case.state(given, values, numbers, rows);
            states_of(h, case.state(given, values, numbers, rows))
        };
        let (initial, d_final) = (states(case.initial, case.data), states(case.d_final, case.gradient));
        Run { cells: layer.reference(), case, layer, input, initial, d_final }
    }

    /// The row of one layer and one sample: states are `[layers][batch]`.
    fn row(&self, layer: usize, sample: usize) -> usize {
        layer * self.case.batch + sample
    }

    /// The states of every layer for one sample, with the errors that pile up on the way; beneath them the input.
    fn whole(&self, sample: usize) -> (Near, Vec<State>) {
        let x = Near::exact(self.input.sample(sample).as_flattened());
        let mut all: Vec<State> = Vec::new();
        for (layer, cell) in self.cells.iter().enumerate() {
            let initial = near_row(L::KIND, &self.initial, self.row(layer, sample));
            let input = all.last().map_or(&x, |below| &below.h);
            all.push(bounds_gated::layer_forward(cell, input, &initial));
        }
        (x, all)
    }

    /// The gradients of the input and of each layer's initial state for one sample; those of the parameters are added.
    fn backward(
        &self,
        sample: usize,
        (x, states): &(Near, Vec<State>),
        d_output: &[[f32; HID]],
        d_final: &L::State,
        fused: bool,
        sums: &mut [GatedSums],
    ) -> (Near, Vec<State>) {
        let (mut d_rows, mut d_initial) = (Near::exact(d_output.as_flattened()), vec![State::default(); L::LAYERS]);
        for (layer, cell) in self.cells.iter().enumerate().rev() {
            let initial = near_row(L::KIND, &self.initial, self.row(layer, sample));
            let below = if layer == 0 { x } else { &states[layer - 1].h };
            let passed = Passed { x: below, initial: &initial, states: &states[layer] };
            let d_last = near_row(L::KIND, d_final, self.row(layer, sample));
            (d_rows, d_initial[layer]) =
                bounds_gated::layer_backward(cell, &passed, &d_rows, &d_last, fused, &mut sums[layer]);
        }
        (d_rows, d_initial)
    }
}

fn sequences<const IN: usize, const HID: usize, L: GatedLayer<IN, HID>>() {
    let row = L::KIND.gates() * HID * (IN + HID + (L::LAYERS - 1) * 2 * HID);
    property(32, case(row), check_sequences::<IN, HID, L>);
}

fn check_sequences<const IN: usize, const HID: usize, L: GatedLayer<IN, HID>>(case: Case) -> Checked {
    let mut numbers = Numbers(case.seed);
    let run = Run::<IN, HID, L>::new(case, &mut numbers);
    let Run { case, layer, cells, input, initial, d_final } = &run;
    let (steps, batch) = case.shape();
    let [d_output, d_second] = [case.orders.1, case.orders.0]
        .map(|order| Rows::new(order, case.shape(), case.gradient.rows::<HID>(&mut numbers, steps * batch)));
    // For the gradients of two batches that are added to what is there.
    let mut start = L::zeros();
    Weights::Plain(case.gradient).fill(&mut numbers, HID, &mut start);
    let whole: Vec<(Near, Vec<State>)> = (0..batch).map(|b| run.whole(b)).collect();

    at_every_level(|level| {
        let mut trace = Kept::at(level);
        if case.d_input {
            trace = trace.with_d_input();
        }
        layer.forward_from(input.view(), initial, &mut trace)?;
        let outputs = trace.output().as_batch_first().unwrap().to_vec();
        prop_assert_eq!(outputs.len(), steps * batch);
        prop_assert_eq!(trace.final_state().h().len(), L::LAYERS * batch);
        let mut passed = whole.clone();
        for (b, (x, states)) in passed.iter_mut().enumerate() {
            let output = &outputs[b * steps..][..steps];
            states[L::LAYERS - 1].h.check("the output", output.as_flattened())?;
            for (layer, states) in states.iter().enumerate() {
                let last = states.row(HID, steps - 1);
                check_row("the final state", &last, trace.final_state(), run.row(layer, b))?;
            }
            let last_row = &trace.final_state().h()[run.row(L::LAYERS - 1, b)];
            same_bits("the final state", &output[steps - 1], last_row)?;
            if let [cell] = &cells[..] {
                // Step by step: each state against the reference's step from the state before, whatever that is.
                let output = Near::exact(output.as_flattened());
                let (behind, expected) = bounds_gated::layer_behind(cell, x, &near_row(L::KIND, initial, b), &output);
                expected.check("the output of a step", outputs[b * steps..][..steps].as_flattened())?;
                check_row("the final state behind", &behind.row(HID, steps - 1), trace.final_state(), b)?;
                states[0] = behind;
            }
        }

        // Overwritten, whatever was there.
        let mut gradients = layer.clone();
        layer.backward_from(input.view(), &mut trace, d_output.view(), d_final, &mut gradients)?;
        let mut sums: Vec<GatedSums> = cells.iter().map(GatedSums::zeros).collect();
        let given = trace.d_initial().unwrap();
        prop_assert_eq!(given.h().len(), L::LAYERS * batch);
        prop_assert_eq!(trace.d_input().is_some(), case.d_input);
        for (b, passed) in passed.iter().enumerate() {
            let (d_x, d_initial) = run.backward(b, passed, &d_output.sample(b), d_final, level.is_fused(), &mut sums);
            for (layer, d_initial) in d_initial.iter().enumerate() {
                check_row("d initial", d_initial, given, run.row(layer, b))?;
            }
            if let Some(d_input) = trace.d_input() {
                let rows: Vec<f32> = (0..steps).flat_map(|t| *d_input.row(b, t)).collect();
                d_x.check("d input", &rows)?;
            }
        }
        check_gradients(&sums, &gradients)?;

        // Two batches, added to what is there.
        let mut added = start.clone();
        layer.backward_add(input.view(), &mut trace, d_output.view(), d_final, &mut added)?;
        layer.backward_add(input.view(), &mut trace, d_second.view(), &L::State::default(), &mut added)?;
        let mut sums: Vec<GatedSums> = start.reference().iter().map(GatedSums::from).collect();
        for (d_output, d_final) in [(&d_output, d_final), (&d_second, &L::State::default())] {
            for (b, passed) in passed.iter().enumerate() {
                run.backward(b, passed, &d_output.sample(b), d_final, level.is_fused(), &mut sums);
            }
        }
        check_gradients(&sums, &added)
    })
}

/// Gradients against central differences of the reference's own loss.
fn by_differences<const IN: usize, const HID: usize, L: GatedLayer<IN, HID>>() {
    property(24, case(IN * HID), |case| {
        let (steps, batch) = (case.steps.min(6), case.batch.min(2));
        let (weights, ordinary) = (Weights::Initial, Values::Ordinary);
        let case =
            Case { steps, batch, weights, data: ordinary, gradient: ordinary, initial: true, d_final: true, ..case };
        let mut numbers = Numbers(case.seed);
        let run = Run::<IN, HID, L>::new(case, &mut numbers);
        let (cells, case) = (&run.cells, &run.case);
        let d_output = Rows::new(case.orders.1, case.shape(), ordinary.rows::<HID>(&mut numbers, steps * batch));
        let d_y: Vec<Near> = (0..batch).map(|b| Near::exact(d_output.sample(b).as_flattened())).collect();
        // The states of all layers of one sample, `h` and then `c`, one after the other, and back.
        let joined = |states: &L::State, b: usize| -> Vec<f64> {
            let rows = (0..L::LAYERS).map(|layer| near_row(L::KIND, states, run.row(layer, b)));
            let (h, c): (Vec<_>, Vec<_>) = rows.map(|row| (row.h.value, row.c.value)).unzip();
            [h.concat(), c.concat()].concat()
        };
        let split = |joined: &[f64]| {
            let (h, c) = joined.split_at(L::LAYERS * HID);
            gated::State { h: h.to_vec(), c: c.to_vec() }
        };
        // A loss that is linear in every output and in the final states, so that `d_output` and `d_final` are its
        // derivatives.
        let loss = |cells: &[Cell], b: usize, x: &[f64], initial: &[f64]| {
            let (initial, d_last) = (split(initial), split(&joined(&run.d_final, b)));
            let states = gated::forward(cells, x, &initial);
            let last = gated::last(&states, &initial);
            dot(&states[L::LAYERS - 1].h, &d_y[b].value) + dot(&last.h, &d_last.h) + dot(&last.c, &d_last.c)
        };
        let x: Vec<Near> = (0..batch).map(|b| Near::exact(run.input.sample(b).as_flattened())).collect();

        at_every_level(|level| {
            let mut trace = Kept::at(level).with_d_input();
            run.layer.forward_from(run.input.view(), &run.initial, &mut trace)?;
            let mut gradients = run.layer.zeros_like();
            run.layer.backward_from(run.input.view(), &mut trace, d_output.view(), &run.d_final, &mut gradients)?;
            let mut sums: Vec<GatedSums> = cells.iter().map(GatedSums::zeros).collect();
            for b in 0..batch {
                let (d_x, d_initial) =
                    run.backward(b, &run.whole(b), &d_output.sample(b), &run.d_final, level.is_fused(), &mut sums);
                let by_x = differentiate(&x[b].value, |x| loss(cells, b, x, &joined(&run.initial, b)));
                let given: Vec<f32> = (0..steps).flat_map(|t| *trace.d_input().unwrap().row(b, t)).collect();
                with_errors_of(by_x, &d_x).check("d input by differences", &given)?;

                let by_initial = differentiate(&joined(&run.initial, b), |start| loss(cells, b, &x[b].value, start));
                let mut bound = Near::default();
                d_initial.iter().for_each(|layer| bound.extend(&layer.h));
                d_initial.iter().for_each(|layer| bound.extend(&layer.c));
                let given = trace.d_initial().unwrap();
                let rows = |states: &[[f32; HID]]| -> Vec<f32> {
                    let rows = states.iter().skip(b).step_by(batch);
                    rows.flatten().copied().collect()
                };
                let given = [rows(given.h()), rows(rows_of_c(given))].concat();
                with_errors_of(by_initial, &bound).check("d initial by differences", &given)?;
            }
            for (layer, (sums, given)) in sums.iter().zip(gradients.tensors()).enumerate() {
                for (i, near) in sums.parameters().iter().enumerate() {
                    let by_parameter = differentiate(cells[layer].parameters()[i], |parameter| {
                        let mut moved = cells.clone();
                        moved[layer].parameters_mut()[i].copy_from_slice(parameter);
                        (0..batch).map(|b| loss(&moved, b, &x[b].value, &joined(&run.initial, b))).sum()
                    });
                    let what = format!("{} of layer {layer} by differences", CELL_PARAMETERS[i]);
                    with_errors_of(by_parameter, near).check(&what, &given[i])?;
                }
            }
            Ok(())
        })
    });
}

/// Bounds that grow beyond the values would prove nothing: where the weights contract, they do not. Gradients are sums over
/// all gates, of so many more roundings than those of one sum.
fn sharp<A: Gates>() {
    let mut numbers = Numbers(1);
    let mut cell = RnnCell::<17, 33, A>::zeros_boxed();
    Weights::Contracting.fill(&mut numbers, 33, &mut cell);
    let [cell] = &cell.reference()[..] else { panic!("one cell") };
    let mut state = || -> State {
        let rows = Values::Ordinary.rows(&mut numbers, 2);
        near(&state_of::<33, A::State<33>>(&rows[0], &rows[1]))
    };
    let (initial, d_last) = (state(), state());
    let x = Near::exact(Values::Ordinary.rows::<17>(&mut numbers, 40).as_flattened());
    let d_output = Near::exact(Values::Ordinary.rows::<33>(&mut numbers, 40).as_flattened());
    let states = bounds_gated::layer_forward(cell, &x, &initial);
    let (mut sums, passed) = (GatedSums::zeros(cell), Passed { x: &x, initial: &initial, states: &states });
    let (d_x, d_initial) = bounds_gated::layer_backward(cell, &passed, &d_output, &d_last, true, &mut sums);
    for near in [&states.h, &states.c] {
        assert!(near.value.is_empty() || near.sharpness() < 1e-5, "{:e}", near.sharpness());
    }
    for near in sums.parameters().iter().chain([&d_x, &d_initial.h, &d_initial.c]) {
        assert!(near.value.is_empty() || near.sharpness() < 2e-4, "{:e}", near.sharpness());
    }
}

#[test]
fn bounds_of_gates_are_sharp() {
    sharp::<Gru>();
    sharp::<Lstm>();
}

fn gru_steps<const IN: usize, const HID: usize>() {
    steps::<IN, HID, Gru>();
}

fn lstm_steps<const IN: usize, const HID: usize>() {
    steps::<IN, HID, Lstm>();
}

fn gru_sequences<const IN: usize, const HID: usize>() {
    sequences::<IN, HID, Box<RnnCell<IN, HID, Gru>>>();
}

fn lstm_sequences<const IN: usize, const HID: usize>() {
    sequences::<IN, HID, Box<RnnCell<IN, HID, Lstm>>>();
}

fn gru_stacks<const IN: usize, const HID: usize, const LAYERS: usize>() {
    sequences::<IN, HID, Rnn<IN, HID, LAYERS, Gru>>();
}

fn lstm_stacks<const IN: usize, const HID: usize, const LAYERS: usize>() {
    sequences::<IN, HID, Rnn<IN, HID, LAYERS, Lstm>>();
}

fn gru_by_differences<const IN: usize, const HID: usize, const LAYERS: usize>() {
    by_differences::<IN, HID, Rnn<IN, HID, LAYERS, Gru>>();
}

fn lstm_by_differences<const IN: usize, const HID: usize, const LAYERS: usize>() {
    by_differences::<IN, HID, Rnn<IN, HID, LAYERS, Lstm>>();
}

mod single_steps {
    use super::*;
    for_sizes!(gru_steps:
        gru_in_1_hid_1(1, 1), gru_in_4_hid_4(4, 4), gru_in_10_hid_8(10, 8), gru_in_17_hid_33(17, 33),
        gru_in_5_hid_130(5, 130),
    );
    for_sizes!(lstm_steps:
        lstm_in_2_hid_3(2, 3), lstm_in_7_hid_16(7, 16), lstm_in_40_hid_24(40, 24), lstm_in_64_hid_64(64, 64),
    );
}

mod over_time {
    use super::*;
    for_sizes!(gru_sequences:
        gru_in_1_hid_1(1, 1), gru_in_4_hid_4(4, 4), gru_in_10_hid_8(10, 8), gru_in_17_hid_33(17, 33),
        gru_in_5_hid_130(5, 130),
    );
    for_sizes!(lstm_sequences:
        lstm_in_2_hid_3(2, 3), lstm_in_7_hid_16(7, 16), lstm_in_40_hid_24(40, 24), lstm_in_64_hid_64(64, 64),
        lstm_in_270_hid_20(270, 20),
    );
    for_sizes!(gru_stacks: gru_in_10_hid_8_layers_2(10, 8, 2), gru_in_17_hid_33_layers_2(17, 33, 2));
    for_sizes!(lstm_stacks: lstm_in_2_hid_3_layers_2(2, 3, 2), lstm_in_7_hid_16_layers_3(7, 16, 3));
}

mod differences {
    use super::*;
    for_sizes!(gru_by_differences: gru_in_1_hid_1(1, 1, 1), gru_in_3_hid_4_layers_2(3, 4, 2));
    for_sizes!(lstm_by_differences: lstm_in_4_hid_5(4, 5, 1), lstm_in_3_hid_4_layers_2(3, 4, 2));
}
