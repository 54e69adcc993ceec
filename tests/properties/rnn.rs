//! `Rnn` of one to three layers: against the reference, and bit for bit against its cells run one by one.

use crate::bounds::{self, CellSums, Near, Passed};
use crate::kept::{Kept, Passes};
use crate::support::*;
use elman::{Batch, Level, Relu, Rnn, RnnCell, Sequences, Steps, Tanh};
use proptest::prelude::*;

fn stacks<const IN: usize, const HID: usize, const LAYERS: usize>() {
    stacks_of::<IN, HID, LAYERS, Tanh>();
}

fn stacks_relu<const IN: usize, const HID: usize, const LAYERS: usize>() {
    stacks_of::<IN, HID, LAYERS, Relu>();
}

fn stacks_of<const IN: usize, const HID: usize, const LAYERS: usize, A: OneSum<HID>>() {
    let row = HID * (IN + HID + (LAYERS - 1) * 2 * HID);
    property(32, case(row), |case| {
        let run = Stack::<IN, HID, LAYERS, A>::new(case);
        at_every_level(|level| {
            let mut trace = Kept::at(level);
            if run.case.d_input {
                trace = trace.with_d_input();
            }
            run.rnn.forward_from(run.input.view(), &run.initial, &mut trace)?;
            let mut gradients = run.rnn.clone();
            run.rnn.backward_from(run.input.view(), &mut trace, run.d_output.view(), &run.d_final, &mut gradients)?;
            prop_assert_eq!(trace.d_input().is_some(), run.case.d_input);
            run.against_the_reference(level, &trace, &gradients)?;
            run.against_its_cells(level, &trace, &gradients)
        })
    });
}

struct Stack<const IN: usize, const HID: usize, const LAYERS: usize, A: OneSum<HID>> {
    case: Case,
    rnn: Rnn<IN, HID, LAYERS, A>,
    input: Rows<[f32; IN]>,
    d_output: Rows<[f32; HID]>,
    initial: Vec<[f32; HID]>,
    d_final: Vec<[f32; HID]>,
}

impl<const IN: usize, const HID: usize, const LAYERS: usize, A: OneSum<HID>> Stack<IN, HID, LAYERS, A> {
    fn new(case: Case) -> Self {
        let mut numbers = Numbers(case.seed);
        let mut rnn = Rnn::zeros();
        case.weights.fill(&mut numbers, HID, &mut rnn);
        let rows = case.steps * case.batch;
        let input = Rows::new(case.orders.0, case.shape(), case.data.rows(&mut numbers, rows));
        let d_output = Rows::new(case.orders.1, case.shape(), case.gradient.rows(&mut numbers, rows));
        let initial = case.state(case.initial, case.data, &mut numbers, LAYERS * case.batch);
        let d_final = case.state(case.d_final, case.gradient, &mut numbers, LAYERS * case.batch);
        Stack { case, rnn, input, d_output, initial, d_final }
    }

    /// The row of one layer and one sample: states are `[layers][batch]`.
    fn state(&self, state: &[[f32; HID]], layer: usize, sample: usize) -> Near {
        Near::exact(state.get(layer * self.case.batch + sample).unwrap_or(&[0.0; HID]))
    }

    fn against_the_reference(
        &self,
        level: Level,
        trace: &Kept<Rnn<IN, HID, LAYERS, A>>,
        gradients: &Rnn<IN, HID, LAYERS, A>,
    ) -> Checked {
        let (steps, batch) = self.case.shape();
        let mut cells = vec![reference_cell(self.rnn.first())];
        cells.extend(self.rnn.rest().iter().map(reference_cell));
        let mut sums: Vec<CellSums> = cells.iter().map(CellSums::zeros).collect();
        for b in 0..batch {
            let mut rows = vec![Near::exact(self.input.sample(b).as_flattened())];
            for (layer, cell) in cells.iter().enumerate() {
                let output = bounds::layer_forward(cell, &rows[layer], &self.state(&self.initial, layer, b));
                output.row(HID, steps - 1).check("the final state", &trace.final_state()[layer * batch + b])?;
                rows.push(output);
            }
            let given: Vec<f32> = (0..steps).flat_map(|t| *trace.output().row(b, t)).collect();
            rows[LAYERS].check("the output", &given)?;

            let mut d_rows = Near::exact(self.d_output.sample(b).as_flattened());
            for (layer, cell) in cells.iter().enumerate().rev() {
                let h0 = self.state(&self.initial, layer, b);
                let passed = Passed { x: &rows[layer], h0: &h0, output: &rows[layer + 1] };
                let d_last = self.state(&self.d_final, layer, b);
                let (d_x, d_h0) =
                    bounds::layer_backward(cell, &passed, &d_rows, &d_last, level.is_fused(), &mut sums[layer]);
                d_h0.check("d h0", &trace.d_initial().unwrap()[layer * batch + b])?;
                d_rows = d_x;
            }
            if let Some(d_input) = trace.d_input() {
                let given: Vec<f32> = (0..steps).flat_map(|t| *d_input.row(b, t)).collect();
                d_rows.check("d input", &given)?;
            }
        }
        let mut given = vec![torch_parameters(gradients.first())];
        given.extend(gradients.rest().iter().map(torch_parameters));
        for (layer, (sums, given)) in sums.iter().zip(&given).enumerate() {
            for ((name, near), given) in CELL_PARAMETERS.iter().zip(sums.parameters()).zip(given) {
                near.check(&format!("{name} of layer {layer}"), given)?;
            }
        }
        Ok(())
    }

    /// The cells have been held to the reference step by step (in `cell`); here their stack is held to them.
    fn against_its_cells(
        &self,
        level: Level,
        trace: &Kept<Rnn<IN, HID, LAYERS, A>>,
        gradients: &Rnn<IN, HID, LAYERS, A>,
    ) -> Checked {
        let (rnn, batch) = (&self.rnn, self.case.batch);
        let layer_of = |state: &[[f32; HID]], layer: usize| -> Vec<[f32; HID]> {
            if state.is_empty() { Vec::new() } else { state[layer * batch..][..batch].to_vec() }
        };
        let mut first = Kept::<RnnCell<IN, HID, A>>::at(level).with_d_input();
        rnn.first().forward_from(self.input.view(), &layer_of(&self.initial, 0), &mut first)?;
        let mut rest: Vec<Kept<RnnCell<HID, HID, A>>> = Vec::new();
        for (i, cell) in rnn.rest().iter().enumerate() {
            let below = rest.last().map_or(first.output(), Kept::output);
            let mut above = Kept::at(level).with_d_input();
            cell.forward_from(below, &layer_of(&self.initial, i + 1), &mut above)?;
            rest.push(above);
        }
        let output = rest.last().map_or(first.output(), Kept::output);
        same_bits("the output", batch_first(output), batch_first(trace.output()))?;
        let last: Vec<[f32; HID]> = core::iter::once(&first)
            .map(Kept::final_state)
            .chain(rest.iter().map(Kept::final_state))
            .flatten()
            .copied()
            .collect();
        same_bits("the final state", last.as_flattened(), trace.final_state().as_flattened())?;

        let mut d_initial = Vec::new();
        let mut d_above: Vec<[f32; HID]> = Vec::new();
        for i in (0..rest.len()).rev() {
            let (lower, upper) = rest.split_at_mut(i);
            let below = lower.last().map_or(first.output(), Kept::output);
            let d_output = if i == LAYERS - 2 { self.d_output.view() } else { self.sequences(&d_above) };
            let mut d_cell = RnnCell::zeros_boxed();
            let d_final = layer_of(&self.d_final, i + 1);
            rnn.rest()[i].backward_from(below, &mut upper[0], d_output, &d_final, &mut d_cell)?;
            same_bits("gradients of an upper layer", &flat(&d_cell), &flat(&gradients.rest()[i]))?;
            d_initial.splice(0..0, upper[0].d_initial().unwrap().iter().copied());
            d_above = upper[0].d_input().unwrap().iter().copied().collect();
        }
        let d_output = if LAYERS == 1 { self.d_output.view() } else { self.sequences(&d_above) };
        let mut d_cell = RnnCell::zeros_boxed();
        let d_final = layer_of(&self.d_final, 0);
        rnn.first().backward_from(self.input.view(), &mut first, d_output, &d_final, &mut d_cell)?;
        same_bits("gradients of the first layer", &flat(&d_cell), &flat(gradients.first()))?;
        d_initial.splice(0..0, first.d_initial().unwrap().iter().copied());
        same_bits("d h0", d_initial.as_flattened(), trace.d_initial().unwrap().as_flattened())?;
        match trace.d_input() {
            Some(d_input) => same_bits("d input", batch_first(first.d_input().unwrap()), batch_first(d_input)),
            None => Ok(()),
        }
    }

    fn sequences<'a>(&self, rows: &'a [[f32; HID]]) -> Sequences<'a, [f32; HID]> {
        Sequences::batch_first(rows, Batch(self.case.batch), Steps(self.case.steps)).unwrap()
    }
}

/// The numbers of rows that lie batch-first, as all results do.
pub fn batch_first<const N: usize>(rows: Sequences<'_, [f32; N]>) -> &[f32] {
    rows.as_batch_first().unwrap().as_flattened()
}

for_sizes!(stacks:
    in_1_hid_1_layers_3(1, 1, 3), in_2_hid_3_layers_1(2, 3, 1), in_3_hid_5_layers_2(3, 5, 2),
    in_10_hid_8_layers_2(10, 8, 2), in_7_hid_16_layers_3(7, 16, 3), in_17_hid_33_layers_2(17, 33, 2),
    in_33_hid_17_layers_3(33, 17, 3), in_5_hid_40_layers_1(5, 40, 1), in_530_hid_12_layers_1(530, 12, 1),
);

for_sizes!(stacks_relu:
    relu_in_1_hid_1_layers_3(1, 1, 3), relu_in_4_hid_4_layers_2(4, 4, 2), relu_in_10_hid_17_layers_2(10, 17, 2),
    relu_in_40_hid_33_layers_2(40, 33, 2),
);
