//! GRU and LSTM, cells and stacks, forward and backward.

use crate::bounds::{Near, U};
use crate::bounds_gated::{self, GatedSums, Passed, State};
use crate::gated_layers::{GatedLayer, rows_of_c, states};
use crate::source::{Kind, Source};
use crate::support::{CELL_PARAMETERS, Checked, Order, Rows, flat};
use crate::{OneAnswer, pool, same};
use elman::cells::{Gru, Lstm, States};
use elman::{Batch, Chunked, Error, Level, Rnn, RnnCell, Sequences, Steps, Workspace};
use elman_reference::gated::{Cell, Kind as Equations};
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

/// Drawn numbers through a drawn layer: states and gradients within the bounds of the reference, NaN never hidden, one answer
/// however it is reached, and states of the wrong length are refused and change nothing.
pub fn gates(data: &[u8]) -> Checked {
    let source = &mut Source::new(data);
    type Check = fn(&mut Source<'_>) -> Checked;
    let checks: [Check; 14] = [
        check::<1, 1, Box<RnnCell<1, 1, Gru>>>,
        check::<3, 5, Box<RnnCell<3, 5, Gru>>>,
        check::<9, 8, Box<RnnCell<9, 8, Gru>>>,
        check::<4, 20, Box<RnnCell<4, 20, Gru>>>,
        check::<2, 45, Box<RnnCell<2, 45, Gru>>>,
        check::<3, 6, Rnn<3, 6, 2, Gru>>,
        check::<5, 17, Rnn<5, 17, 3, Gru>>,
        check::<1, 1, Box<RnnCell<1, 1, Lstm>>>,
        check::<3, 5, Box<RnnCell<3, 5, Lstm>>>,
        check::<9, 8, Box<RnnCell<9, 8, Lstm>>>,
        check::<4, 20, Box<RnnCell<4, 20, Lstm>>>,
        check::<2, 45, Box<RnnCell<2, 45, Lstm>>>,
        check::<3, 6, Rnn<3, 6, 2, Lstm>>,
        check::<5, 17, Rnn<5, 17, 3, Lstm>>,
    ];
    source.choose(&checks)(source)
}

/// Batch-first rows; of a state, one row for each layer and sample, or none.
struct Case<const IN: usize, const HID: usize, L: GatedLayer<IN, HID>> {
    layer: L,
    steps: usize,
    batch: usize,
    orders: [Order; 2],
    input: Vec<[f32; IN]>,
    d_output: Vec<[f32; HID]>,
    initial: L::State,
    d_final: L::State,
}

fn rows<const N: usize>(source: &mut Source<'_>, kind: Kind, count: usize) -> Vec<[f32; N]> {
    (0..count).map(|_| core::array::from_fn(|_| source.number(kind))).collect()
}

impl<const IN: usize, const HID: usize, L: GatedLayer<IN, HID>> Case<IN, HID, L> {
    fn draw(source: &mut Source<'_>) -> Self {
        let orders = [(); 2].map(|()| if source.flag() { Order::TimeMajor } else { Order::BatchFirst });
        let most = if source.once_in(4) { 36 } else { 6 };
        let (steps, batch) = (1 + source.below(most), source.below(20));
        let [of_weights, of_input, of_gradients, of_states] = [(); 4].map(|()| source.kind());
        let contracts = source.flag();
        let mut layer = L::zeros();
        layer.visit_mut(&mut |tensor| {
            let size = if contracts { 1.0 / (HID as f32).sqrt() } else { 1.0 };
            tensor.iter_mut().for_each(|w| *w = source.number(of_weights) * size);
        });
        let mut state = |kind: Kind| {
            let [h, c] = [(); 2].map(|()| {
                let count = if source.flag() { L::LAYERS * batch } else { 0 };
                rows(source, kind, count)
            });
            states(h, c)
        };
        let (initial, d_final) = (state(of_states), state(of_gradients));
        let input = rows(source, of_input, steps * batch);
        let d_output = rows(source, of_gradients, steps * batch);
        Self { layer, steps, batch, orders, input, d_output, initial, d_final }
    }

    fn arranged<R: Copy>(&self, order: Order, batch_first: &[R]) -> Rows<R> {
        Rows::new(order, (self.steps, self.batch), batch_first.to_vec())
    }

    /// One sample as a batch of its own.
    fn sample(&self, sample: usize) -> Self {
        let state = |of_all: &L::State| {
            let part = |rows: &[[f32; HID]]| -> Vec<[f32; HID]> {
                rows.iter().skip(sample).step_by(self.batch).copied().collect()
            };
            states(part(of_all.h()), part(rows_of_c(of_all)))
        };
        let steps = sample * self.steps..(sample + 1) * self.steps;
        Self {
            layer: self.layer.clone(),
            batch: 1,
            input: self.input[steps.clone()].to_vec(),
            d_output: self.d_output[steps].to_vec(),
            initial: state(&self.initial),
            d_final: state(&self.d_final),
            ..*self
        }
    }
}

/// What a pass gives, batch-first; states are `[layers][batch][hidden]`.
struct Answer {
    output: Vec<f32>,
    last: [Vec<f32>; 2],
    d_input: Vec<f32>,
    d_initial: [Vec<f32>; 2],
    gradients: Vec<f32>,
}

fn parts<const HID: usize>(state: &impl States<HID>) -> [Vec<f32>; 2] {
    [state.h().as_flattened().to_vec(), rows_of_c(state).as_flattened().to_vec()]
}

/// One pass, in a workspace that may have been used; gradients too.
fn run<const IN: usize, const HID: usize, L: GatedLayer<IN, HID>>(
    case: &Case<IN, HID, L>,
    workspace: &mut Workspace<L>,
    order: usize,
    threads: usize,
) -> Result<(Answer, L), TestCaseError> {
    let input = case.arranged(case.orders[order], &case.input);
    let d_output = case.arranged(case.orders[1 - order], &case.d_output);
    let mut gradients = L::zeros();
    let answer = pool(threads).install(|| {
        let pass = workspace.forward_from(&case.layer, input.view(), &case.initial)?;
        let output = pass.output().iter().flatten().copied().collect();
        let last = parts(pass.final_state());
        let passed = pass.with_d_final(&case.d_final).backward_into(d_output.view(), &mut gradients)?;
        let d_input = passed.d_input().into_iter().flat_map(|rows| rows.iter().flatten().copied().collect::<Vec<_>>());
        let (d_input, d_initial) = (d_input.collect(), parts(passed.d_initial()));
        Ok::<_, Error>(Answer { output, last, d_input, d_initial, gradients: Vec::new() })
    })?;
    Ok((Answer { gradients: flat(&gradients), ..answer }, gradients))
}

fn same_answer(what: &str, a: &Answer, b: &Answer) -> Checked {
    same(&format!("{what}: output"), &a.output, &b.output)?;
    same(&format!("{what}: gradients"), &a.gradients, &b.gradients)?;
    same(&format!("{what}: d input"), &a.d_input, &b.d_input)?;
    for part in 0..2 {
        same(&format!("{what}: final state"), &a.last[part], &b.last[part])?;
        same(&format!("{what}: d initial"), &a.d_initial[part], &b.d_initial[part])?;
    }
    Ok(())
}

fn check<const IN: usize, const HID: usize, L: GatedLayer<IN, HID>>(source: &mut Source<'_>) -> Checked {
    let [another_order, two_threads, chunks] = [(); 3].map(|()| source.once_in(3));
    let by = 1 + source.below(5);
    let case = Case::<IN, HID, L>::draw(source);
    let cells = case.layer.reference();
    let mut one_answer = OneAnswer::default();
    for level in Level::available() {
        let new = || Workspace::new().at(level).with_d_input();
        let (whole, gradients) = run(&case, &mut new(), 0, 1)?;
        if two_threads {
            same_answer("two threads", &run(&case, &mut new(), 0, 2)?.0, &whole)?;
        }
        if another_order {
            same_answer("the other order", &run(&case, &mut new(), 1, 1)?.0, &whole)?;
        }
        let mut used = new();
        let mut sums: Vec<GatedSums> = cells.iter().map(GatedSums::zeros).collect();
        let (width, in_width) = (case.steps * HID, case.steps * IN);
        for sample in 0..case.batch {
            let alone = case.sample(sample);
            // Samples do not meet, but in the gradients of the parameters.
            let (given, _) = run(&alone, &mut used, 0, 1)?;
            let of_sample = |rows: &[f32]| -> Vec<f32> {
                rows.chunks(HID).skip(sample).step_by(case.batch).flatten().copied().collect()
            };
            let expected = Answer {
                output: whole.output[sample * width..][..width].to_vec(),
                last: whole.last.each_ref().map(|rows| of_sample(rows)),
                d_input: whole.d_input[sample * in_width..][..in_width].to_vec(),
                d_initial: whole.d_initial.each_ref().map(|rows| of_sample(rows)),
                gradients: given.gradients.clone(),
            };
            same_answer("a sample alone", &given, &expected)?;
            never_hidden(&alone, &given)?;
            check_sample(&alone, &cells, &given, level.is_fused(), &mut sums)?;
        }
        for (layer, (sums, given)) in sums.iter().zip(gradients.tensors()).enumerate() {
            for ((name, near), given) in CELL_PARAMETERS.iter().zip(sums.parameters()).zip(&given) {
                check_near(&near, &format!("{name} of layer {layer}"), given)?;
            }
        }
        if chunks {
            let (mut chunked, mut state) = (Chunked::new(16)?.at(level), case.initial.clone());
            let mut output = vec![0.0; whole.output.len()];
            let input = case.arranged(case.orders[0], &case.input);
            chunked.forward(&case.layer, input.view(), &mut state, |steps, rows| {
                for (sample, (row, step)) in
                    (0..rows.batch()).flat_map(|sample| (0..).zip(steps.clone()).map(move |step| (sample, step)))
                {
                    output[(sample * case.steps + step) * HID..][..HID].copy_from_slice(rows.row(sample, row));
                }
            })?;
            same("chunks: output", &output, &whole.output)?;
            if case.batch > 0 {
                let last = parts(&state);
                same("chunks: h", &last[0], &whole.last[0])?;
                same("chunks: c", &last[1], &whole.last[1])?;
            }
        }
        refuse(&case, new(), by, &whole)?;
        let Answer { output, last: [h, c], d_input, d_initial: [d_h, d_c], gradients } = whole;
        one_answer.hold(level, vec![output, h, c, d_input, d_h, d_c, gradients])?;
    }
    Ok(())
}

/// NaN in an input reaches all states from there on; NaN in the gradient of an output, all gradients of the initial `h`.
fn never_hidden<const IN: usize, const HID: usize, L: GatedLayer<IN, HID>>(
    case: &Case<IN, HID, L>,
    given: &Answer,
) -> Checked {
    let has_nan = |row: &[f32]| row.iter().any(|x| x.is_nan());
    if let Some(step) = case.input.iter().position(|row| has_nan(row)) {
        let behind = &given.output[step * HID..];
        prop_assert!(behind.iter().all(|h| h.is_nan()), "NaN in the input of step {} is hidden", step);
    }
    if let Some(step) = given.output.chunks(HID).position(has_nan) {
        let behind = &given.output[(step + 1) * HID..];
        prop_assert!(behind.iter().all(|h| h.is_nan()), "NaN in the states of step {} is hidden", step);
    }
    if case.d_output.iter().any(|row| has_nan(row)) {
        prop_assert!(given.d_initial[0].iter().all(|d| d.is_nan()), "NaN in a gradient is hidden");
    }
    Ok(())
}

/// [`Near::check`], but for sums whose parts overflow and cancel. The bounds of a sum of sums know the parts by what is left of
/// them; a part beyond a quarter of the largest number has left a rounding error behind, which they have.
fn check_near(near: &Near, what: &str, given: &[f32]) -> Checked {
    let of_overflow = f64::from(f32::MAX) / 4.0 * U;
    let mut near = near.clone();
    for (error, given) in near.error.iter_mut().zip(given) {
        if !given.is_finite() && *error >= of_overflow {
            *error = f64::INFINITY;
        }
    }
    near.check(what, given)
}

fn near_row<const HID: usize>(kind: Equations, state: &impl States<HID>, layer: usize) -> State {
    let near = |rows: &[[f32; HID]]| Near::exact(rows.get(layer).unwrap_or(&[0.0; HID]));
    let c = if kind == Equations::Lstm { near(rows_of_c(state)) } else { Near::default() };
    State { h: near(state.h()), c }
}

/// One sample against the reference; the gradients of its parameters are added to `sums`.
fn check_sample<const IN: usize, const HID: usize, L: GatedLayer<IN, HID>>(
    case: &Case<IN, HID, L>,
    cells: &[Cell],
    given: &Answer,
    fused: bool,
    sums: &mut [GatedSums],
) -> Checked {
    let x = Near::exact(case.input.as_flattened());
    let output = Near::exact(&given.output);
    let mut states: Vec<State> = Vec::new();
    for (layer, cell) in cells.iter().enumerate() {
        let initial = near_row(L::KIND, &case.initial, layer);
        let input = states.last().map_or(&x, |below| &below.h);
        if layer + 1 == cells.len() {
            // The states of the last layer are known: each is near what the one before makes of the input.
            let (behind, expected) = bounds_gated::layer_behind(cell, input, &initial, &output);
            expected.check("output", &given.output)?;
            states.push(behind);
        } else {
            states.push(bounds_gated::layer_forward(cell, input, &initial));
        }
        let last = states[layer].row(HID, case.steps - 1);
        let last_h = &given.last[0][layer * HID..][..HID];
        if layer + 1 == cells.len() {
            same("the final h", last_h, &given.output[(case.steps - 1) * HID..])?;
        } else {
            last.h.check("the final h", last_h)?;
        }
        last.c.check("the final c", given.last[1].get(layer * HID..(layer + 1) * HID).unwrap_or_default())?;
    }
    let mut d_rows = Near::exact(case.d_output.as_flattened());
    for (layer, cell) in cells.iter().enumerate().rev() {
        let initial = near_row(L::KIND, &case.initial, layer);
        let below = if layer == 0 { &x } else { &states[layer - 1].h };
        let passed = Passed { x: below, initial: &initial, states: &states[layer] };
        let d_last = near_row(L::KIND, &case.d_final, layer);
        let d_initial;
        (d_rows, d_initial) = bounds_gated::layer_backward(cell, &passed, &d_rows, &d_last, fused, &mut sums[layer]);
        check_near(&d_initial.h, "d initial h", &given.d_initial[0][layer * HID..][..HID])?;
        check_near(
            &d_initial.c,
            "d initial c",
            given.d_initial[1].get(layer * HID..(layer + 1) * HID).unwrap_or_default(),
        )?;
    }
    check_near(&d_rows, "d input", &given.d_input)
}

/// States of which one part has the wrong number of rows: a typed error, and nothing has changed.
fn refuse<const IN: usize, const HID: usize, L: GatedLayer<IN, HID>>(
    case: &Case<IN, HID, L>,
    mut workspace: Workspace<L>,
    by: usize,
    whole: &Answer,
) -> Checked {
    let right = L::LAYERS * case.batch;
    let input = case.arranged(case.orders[0], &case.input);
    let rows = |count: usize| vec![[0.5; HID]; count];
    let mut wrong = vec![states(rows(right + by), rows(right))];
    if L::KIND == Equations::Lstm {
        wrong.push(states(rows(right), rows(right + by)));
    }
    for state in &wrong {
        let refused = workspace.forward_from(&case.layer, input.view(), state).map(|_| ());
        let is_typed =
            matches!(refused, Err(Error::Length { expected, given, .. }) if (expected, given) == (right, right + by));
        prop_assert!(is_typed, "{:?}", refused);
        let mut gradients = case.layer.clone();
        let pass = workspace.forward(&case.layer, input.view())?.with_d_final(state);
        let d_output = Sequences::batch_first(&case.d_output, Batch(case.batch), Steps(case.steps))?;
        let refused = pass.backward_add(d_output, &mut gradients).map(|_| ());
        let is_typed =
            matches!(refused, Err(Error::Length { expected, given, .. }) if (expected, given) == (right, right + by));
        prop_assert!(is_typed, "{:?}", refused);
        same("gradients after a refusal", &flat(&gradients), &flat(&case.layer))?;
    }
    same_answer("after a refusal", &run(case, &mut workspace, 0, 1)?.0, whole)
}
