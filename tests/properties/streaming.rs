//! `Stream`, `Streams`, `TokenRnnCell`, `StepTrace`: one step at a time, as everywhere else.

use crate::bounds::{self, AffineSums, CellSums, Near, Passed};
use crate::kept::{Kept, Passes};
use crate::support::*;
use elman::{Embedding, Error, Linear, Parameters, Rnn, RnnCell, Step, StepTrace, Stream, Streams, TokenRnnCell};
use proptest::prelude::*;

/// One sequence of at least one step.
fn sequence() -> impl Strategy<Value = Case> {
    case(400).prop_map(|case| Case { batch: 1, ..case })
}

fn tokens(numbers: &mut Numbers, steps: usize, vocabulary: usize) -> Vec<usize> {
    (0..steps).map(|_| numbers.below(vocabulary)).collect()
}

/// A stream gives the bits of the sequence, and its state is the final state.
#[test]
fn a_stream_is_a_sequence() {
    property(64, sequence(), |case| {
        let mut numbers = Numbers(case.seed);
        let mut model = (Embedding::<7, 5>::zeros(), Rnn::<5, 17, 2>::zeros(), Linear::<17, 3>::zeros());
        case.weights.fill(&mut numbers, 17, &mut model);
        let input = tokens(&mut numbers, case.steps, 7);
        at_every_level(|level| {
            let mut trace = Kept::at(level);
            model.forward_into(&input, &mut trace)?;
            let mut stream = Stream::new(&model.0).at(level);
            prop_assert_eq!(stream.advance_token(input[0])?, *model.0.get(input[0]).unwrap());
            let mut stream = Stream::new(model.clone()).at(level);
            for (t, token) in input.iter().enumerate() {
                same_bits("the output of a step", &stream.advance_token(*token)?, trace.output().row(0, t))?;
            }
            let state = *stream.state();
            same_bits("the state", state.1.as_flattened(), trace.final_state().1.as_flattened())?;
            let refused = stream.advance_token(7);
            prop_assert_eq!(refused, Err(Error::TokenOutOfRange { token: 7, vocabulary: 7, sample: 0, step: 0 }));
            same_bits("the state after a refused token", stream.state().1.as_flattened(), state.1.as_flattened())?;
            stream.reset();
            same_bits("the first step after a reset", &stream.advance_token(input[0])?, trace.output().row(0, 0))?;
            *stream.state_mut() = state;
            same_bits("a state that was set", stream.state().1.as_flattened(), state.1.as_flattened())
        })
    });
}

/// A cell with everything before the recurrence folded into a table gives the bits of the layers.
fn folded<const E: usize, const HID: usize>() {
    property(32, sequence(), |case| {
        let mut numbers = Numbers(case.seed);
        let mut model = (Embedding::<6, E>::zeros(), RnnCell::<E, HID>::zeros());
        case.weights.fill(&mut numbers, HID, &mut model);
        let input = tokens(&mut numbers, case.steps, 6);
        at_every_level(|level| {
            let mut folded = TokenRnnCell::boxed(&model.0, &model.1);
            folded.fold(&model.0, model.1.at(level));
            let mut folded = Stream::new(folded).at(level);
            let mut layers = Stream::new(&model).at(level);
            for token in &input {
                same_bits("a step", &folded.advance_token(*token)?, &layers.advance_token(*token)?)?;
            }
            prop_assert!(folded.advance_token(6).is_err());
            same_bits("the state", folded.state(), &layers.state().1)
        })
    });
}

/// Streams side by side do not touch each other, nor does what is not a number.
fn side_by_side<const HID: usize>() {
    property(24, sequence(), |case| {
        let mut numbers = Numbers(case.seed);
        let mut model =
            (RnnCell::<3, HID>::zeros_boxed(), Rnn::<HID, HID, 2>::zeros(), Linear::<HID, 2>::zeros_boxed());
        case.weights.fill(&mut numbers, HID, &mut model);
        let steps = case.steps.min(20);
        let input: Vec<[[f32; 3]; 6]> =
            (0..steps).map(|_| case.data.rows(&mut numbers, 6).try_into().unwrap()).collect();
        let reset_at = numbers.below(steps);
        at_every_level(|level| {
            let mut together = Streams::<_, 6>::new(&model).at(level);
            let mut alone: [_; 6] = core::array::from_fn(|_| Stream::new(&model).at(level));
            for (t, rows) in input.iter().enumerate() {
                if t == reset_at {
                    together.reset(2);
                    alone[2].reset();
                }
                let outputs = together.advance(rows);
                for ((stream, x), output) in alone.iter_mut().zip(rows).zip(&outputs) {
                    same_bits("a step", output, &stream.advance(x))?;
                }
            }
            for (stream, state) in alone.iter().zip(together.states()) {
                same_bits("the state", &state.0, &stream.state().0)?;
                same_bits("the states above", state.1.as_flattened(), stream.state().1.as_flattened())?;
            }
            let mut hurt = together;
            let mut rows = input[0];
            rows[4][1] = f32::NAN;
            let (outputs, expected) = (hurt.advance(&rows), together.advance(&input[0]));
            for (n, (output, expected)) in outputs.iter().zip(&expected).enumerate() {
                if n == 4 {
                    prop_assert!(output.iter().all(|y| y.is_nan()), "{:?}", output);
                } else {
                    same_bits("beside a NaN", output, expected)?;
                }
            }
            together.reset_all();
            same_bits("all states", &together.states()[3].0, &[0.0; HID])
        })
    });
}

/// Of several tokens one is out of range: the error names its stream, and no state has changed.
#[test]
fn a_refused_token_changes_no_stream() -> Checked {
    let mut numbers = Numbers(5);
    let mut model = (Embedding::<4, 2>::zeros(), RnnCell::<2, 3>::zeros());
    Weights::Initial.fill(&mut numbers, 3, &mut model);
    let mut streams = Streams::<_, 3>::new(model);
    streams.advance_tokens(&[0, 1, 2])?;
    let before = streams.states().map(|state| state.1);
    let error = streams.advance_tokens(&[0, 9, 2]).unwrap_err();
    let expected = matches!(error, Error::TokenOutOfRange { token: 9, vocabulary: 4, sample: 1, .. });
    prop_assert!(expected, "{}", error);
    prop_assert_eq!(streams.states().map(|state| state.1), before);
    Ok(())
}

/// Backpropagation step by step, against the reference: a cell and a linear layer behind an embedding.
#[test]
fn a_step_trace_against_the_reference() {
    const STEPS: usize = 12;
    type Model = (Embedding<5, 4>, RnnCell<4, 9>, Linear<9, 3>);
    property(64, sequence(), |case| {
        let mut numbers = Numbers(case.seed);
        let mut model: Model = (Embedding::zeros(), RnnCell::zeros(), Linear::zeros());
        case.weights.fill(&mut numbers, 9, &mut model);
        let cell = reference_cell(&model.1);
        let weight: Vec<f64> = model.2.weight_torch().map(f64::from).collect();
        let steps = case.steps.min(STEPS);
        let input = tokens(&mut numbers, steps, 5);
        let d_outputs = case.gradient.rows::<3>(&mut numbers, steps);
        let d_final = case.gradient.rows::<9>(&mut numbers, 1)[0];
        let initial = case.data.rows::<9>(&mut numbers, 1)[0];
        at_every_level(|level| {
            let mut trace = StepTrace::<Model, STEPS>::new().at(level);
            trace.reset_to(((), initial, ()));
            let (mut hidden, mut state) = (Vec::new(), ((), initial, ()));
            for token in &input {
                let output = trace.advance(&model, token)?;
                same_bits("the output", &output, &model.forward_step(level, token, &mut state))?;
                hidden.push(state.1);
            }
            prop_assert_eq!(trace.len(), steps);
            same_bits("the state", &trace.state().1, &state.1)?;
            let mut gradients = model.zeros_like();
            let d_initial = trace.backward_add_from(&model, &d_outputs, ((), d_final, ()), &mut gradients)?;

            let mut d_linear = AffineSums::zeros(weight.len(), 3);
            let mut d_hidden = Near::default();
            for (h, d_y) in hidden.iter().zip(&d_outputs) {
                let d_h = bounds::affine_backward(&weight, &Near::exact(h), &Near::exact(d_y), &mut d_linear);
                d_hidden.extend(&d_h);
            }
            let mut vectors = Near::default();
            input.iter().for_each(|token| vectors.extend(&Near::exact(&model.0.weight[*token])));
            let output = Near::exact(hidden.as_flattened());
            let passed = Passed { x: &vectors, h0: &Near::exact(&initial), output: &output };
            let mut d_cell = CellSums::zeros(&cell);
            let d_last = Near::exact(&d_final);
            let (d_vectors, d_h0) =
                bounds::layer_backward(&cell, &passed, &d_hidden, &d_last, level.is_fused(), &mut d_cell);
            d_h0.check("d h0", &d_initial.1)?;
            for ((name, near), given) in
                CELL_PARAMETERS.iter().zip(d_cell.parameters()).zip(&torch_parameters(&gradients.1))
            {
                near.check(name, given)?;
            }
            d_linear.weight().check("d weight", &gradients.2.weight_torch().collect::<Vec<f32>>())?;
            d_linear.bias().check("d bias", &gradients.2.bias)?;
            let mut d_table: Vec<AffineSums> = (0..5).map(|_| AffineSums::zeros(0, 4)).collect();
            for (t, token) in input.iter().enumerate() {
                d_table[*token].add_to_bias(&d_vectors.row(4, t));
            }
            for (sums, given) in d_table.iter().zip(&gradients.0.weight) {
                sums.bias().check("d table", given)?;
            }
            Ok(())
        })
    });
}

/// An `Rnn` of one layer leaves the records of its cell; of several, those of a tuple of cells.
#[test]
fn an_rnn_step_by_step_is_its_cells() {
    property(48, sequence(), |case| {
        let mut numbers = Numbers(case.seed);
        let mut rnn = Rnn::<3, 6, 2>::zeros();
        case.weights.fill(&mut numbers, 6, &mut rnn);
        let cells = (*rnn.first(), rnn.rest()[0]);
        let steps = case.steps.min(8);
        let input = case.data.rows::<3>(&mut numbers, steps);
        let d_outputs = case.gradient.rows::<6>(&mut numbers, steps);
        at_every_level(|level| {
            let (mut trace, mut of_cells) = (StepTrace::<_, 8>::new().at(level), StepTrace::<_, 8>::new().at(level));
            for x in &input {
                same_bits("the output", &trace.advance(&rnn, x)?, &of_cells.advance(&cells, x)?)?;
            }
            let (mut gradients, mut d_cells) = (rnn.zeros_like(), cells.zeros_like());
            let d_initial = trace.backward_add(&rnn, &d_outputs, &mut gradients)?;
            let d_initial_of_cells = of_cells.backward_add(&cells, &d_outputs, &mut d_cells)?;
            same_bits("gradients", &flat(&gradients), &flat(&d_cells))?;
            same_bits("d h0", &d_initial[0], &d_initial_of_cells.0)?;
            same_bits("d h0 above", &d_initial[1], &d_initial_of_cells.1)
        })
    });
}

/// A chunk of steps has the gradients of these steps alone, from the state where they began.
#[test]
fn a_cleared_step_trace_begins_at_its_state() {
    property(48, sequence(), |case| {
        let mut numbers = Numbers(case.seed);
        let mut model = (RnnCell::<3, 9>::zeros(), Linear::<9, 2>::zeros());
        case.weights.fill(&mut numbers, 9, &mut model);
        let input = case.data.rows::<3>(&mut numbers, 12);
        let d_outputs = case.gradient.rows::<2>(&mut numbers, 5);
        at_every_level(|level| {
            let (mut on, mut alone) = (StepTrace::<_, 7>::new().at(level), StepTrace::<_, 7>::new().at(level));
            for x in &input[..7] {
                on.advance(&model, x)?;
            }
            alone.reset_to(*on.state());
            on.clear();
            for x in &input[7..] {
                same_bits("a step", &on.advance(&model, x)?, &alone.advance(&model, x)?)?;
            }
            let (mut gradients, mut expected) = (model.zeros_like(), model.zeros_like());
            let d_initial = on.backward_add(&model, &d_outputs, &mut gradients)?;
            same_bits("d h0", &d_initial.0, &alone.backward_add(&model, &d_outputs, &mut expected)?.0)?;
            same_bits("gradients", &flat(&gradients), &flat(&expected))
        })
    });
}

/// What a trace of fixed length refuses, it leaves unchanged.
#[test]
fn a_step_trace_refuses_what_does_not_fit() -> Checked {
    let mut numbers = Numbers(7);
    let mut model = (Embedding::<4, 2>::zeros(), RnnCell::<2, 3>::zeros());
    Weights::Initial.fill(&mut numbers, 3, &mut model);
    let mut trace = StepTrace::<_, 2>::new();
    prop_assert!(trace.is_empty());
    trace.advance(&model, &3)?;
    let state = *trace.state();
    let error = trace.advance(&model, &4).unwrap_err();
    let expected = matches!(error, Error::TokenOutOfRange { token: 4, vocabulary: 4, .. });
    prop_assert!(expected, "{}", error);
    prop_assert_eq!((trace.len(), trace.state().1), (1, state.1));
    trace.advance(&model, &0)?;
    let state = *trace.state();
    let error = trace.advance(&model, &1).unwrap_err();
    let expected = matches!(error, Error::Length { expected: 2, given: 3, .. });
    prop_assert!(expected, "{}", error);
    prop_assert_eq!((trace.len(), trace.state().1), (2, state.1));
    let mut gradients = model.zeros_like();
    let error = trace.backward_add(&model, &[[1.0; 3]; 3], &mut gradients).unwrap_err();
    let expected = matches!(error, Error::Length { expected: 2, given: 3, .. });
    prop_assert!(expected, "{}", error);
    same_bits("the gradients", &flat(&gradients), &flat(&model.zeros_like()))?;
    // The sequence goes on in the next chunk; a reset begins another.
    trace.clear();
    prop_assert_eq!((trace.len(), trace.state().1), (0, state.1));
    trace.advance(&model, &1)?;
    trace.reset();
    prop_assert_eq!((trace.len(), trace.state().1), (0, [0.0; 3]));
    Ok(())
}

mod tables {
    use super::*;
    for_sizes!(folded:
        embedding_1_hid_1(1, 1), embedding_10_hid_8(10, 8), embedding_3_hid_17(3, 17), embedding_17_hid_33(17, 33),
        embedding_5_hid_64(5, 64),
    );
}

mod streams {
    use super::*;
    for_sizes!(side_by_side: hid_9(9), hid_64(64), hid_130(130));
}
