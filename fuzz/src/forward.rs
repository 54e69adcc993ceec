//! The forward of every layer and of a model, over sequences, in batches, in chunks and step by step.

use crate::network::{Case, Input, Network, Stage, check_forward, for_one_network, output_numbers};
use crate::source::Source;
use crate::support::{Checked, Order, Rows};
use crate::{OneAnswer, pool, same};
use elman::{Chunked, Error, Level, Sequences, Trace};
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

/// Drawn numbers through a drawn network: every step within the bounds of the reference, NaN and infinities where they
/// belong, one answer however it is reached, and refusals that change nothing.
pub fn forward(data: &[u8]) -> Checked {
    for_one_network!(check(&mut Source::new(data)))
}

/// Outputs batch-first, and the final state.
type Answer = [Vec<f32>; 2];

fn run<N: Network>(case: &Case<N>, level: Level, order: Order, threads: usize) -> Result<Answer, TestCaseError> {
    let mut trace = Trace::at(level);
    let rows = case.input(order);
    pool(threads).install(|| case.model.forward_from(rows.view(), &N::state(&case.initial), &mut trace))?;
    prop_assert_eq!((trace.output().steps(), trace.output().batch()), case.shape());
    Ok(answer(&trace))
}

fn answer<N: Network>(trace: &Trace<N>) -> Answer {
    [output_numbers(trace.output()), N::state_numbers(trace.final_state())]
}

fn other(order: Order) -> Order {
    match order {
        Order::TimeMajor => Order::BatchFirst,
        Order::BatchFirst => Order::TimeMajor,
    }
}

fn check<N: Network>(source: &mut Source<'_>) -> Checked {
    let refusal = source.byte();
    let [other_order, two_threads, another_batch, chunks] = [(); 4].map(|()| source.once_in(3));
    let picked: Vec<usize> = (0..source.below(24)).map(|_| source.below(41)).collect();
    let case = Case::<N>::draw(source);
    let stages = case.model.stages();
    let width = stages.last().map_or(0, Stage::width) * case.steps;
    let mut one_answer = OneAnswer::default();
    for level in Level::available() {
        let whole = run(&case, level, case.orders.0, 1)?;
        if other_order {
            let given = run(&case, level, other(case.orders.0), 1)?;
            same("the other order: output", &given[0], &whole[0])?;
            same("the other order: state", &given[1], &whole[1])?;
        }
        if two_threads || case.large {
            let given = run(&case, level, case.orders.0, 2)?;
            same("two threads: output", &given[0], &whole[0])?;
            same("two threads: state", &given[1], &whole[1])?;
        }
        // Each sample alone, step by step: so samples do not meet.
        for sample in (0..case.batch).step_by(if case.large { 13 } else { 1 }) {
            let streamed = case.stream(level, &stages, sample)?;
            same("a stream: output", streamed.output(), &whole[0][sample * width..][..width])?;
            same("a stream: state", &streamed.state, &case.state_of_sample(&whole[1], sample))?;
            let input = case.of_sample(&case.input, sample);
            check_forward(&stages, input, &case.state_of_sample(&case.initial, sample), &streamed)?;
        }
        if another_batch && case.batch > 0 {
            let picked: Vec<usize> = picked.iter().map(|sample| sample % case.batch).collect();
            let given = run(&case.of_samples(&picked), level, case.orders.1, 1)?;
            for (i, sample) in picked.iter().enumerate() {
                let expected = &whole[0][sample * width..][..width];
                same("another batch: output", &given[0][i * width..][..width], expected)?;
            }
        }
        if chunks {
            let (mut chunked, mut state) = (Chunked::at(level, 16)?, N::state(&case.initial));
            let mut output = whole[0].clone();
            output.fill(0.0);
            let rows = case.input(case.orders.0);
            chunked.forward(&case.model, rows.view(), &mut state, |steps, rows| {
                let width = width / case.steps;
                for sample in 0..rows.batch() {
                    for (step, row) in steps.clone().zip(0..) {
                        let to = &mut output[(sample * case.steps + step) * width..][..width];
                        to.copy_from_slice(crate::network::Row::numbers(rows.row(sample, row)));
                    }
                }
            })?;
            same("chunks: output", &output, &whole[0])?;
            // No samples have no state, however it is written.
            same("chunks: state", &N::state_numbers(&state), &whole[1])?;
        }
        refuse(&case, level, refusal, &whole)?;
        one_answer.hold(level, whole.into())?;
    }
    Ok(())
}

/// One call that does not fit: a typed error, and the trace of the last forward as it was.
fn refuse<N: Network>(case: &Case<N>, level: Level, refusal: u8, whole: &Answer) -> Checked {
    let mut trace = Trace::at(level);
    let rows = case.input(case.orders.0);
    case.model.forward_from(rows.view(), &N::state(&case.initial), &mut trace)?;
    let by = 1 + usize::from(refusal >> 4);
    let mut input = case.input.clone();
    match refusal % 4 {
        0 => {
            let no_steps = Sequences::<Input<N>>::time_major(&[], 0, case.batch)?;
            let given = case.model.forward_from(no_steps, &N::state(&case.initial), &mut trace);
            prop_assert_eq!(given, Err(Error::NoSteps));
        }
        1 => {
            let expected = case.steps * case.batch;
            for (steps, batch) in [(case.steps + by, case.batch), (case.steps, case.batch + by), (usize::MAX - by, 2)] {
                for made in [Sequences::time_major(&input, steps, batch), Sequences::batch_first(&input, steps, batch)]
                {
                    let fits = steps.checked_mul(batch) == Some(expected);
                    let is_typed = matches!(made, Err(Error::Length { given, .. }) if given == expected);
                    prop_assert!(fits || is_typed, "{} steps of {} samples", steps, batch);
                }
            }
        }
        2 if N::LAYERS > 0 => {
            let rows_of_state = N::LAYERS * case.batch;
            let state = N::state(&vec![0.5; (rows_of_state + by) * N::HIDDEN]);
            let given = case.model.forward_from(rows.view(), &state, &mut trace);
            let is_typed = matches!(given, Err(Error::Length { expected, given, .. })
                if (expected, given) == (rows_of_state, rows_of_state + by));
            prop_assert!(is_typed, "{:?}", given);
        }
        3 if N::VOCABULARY > 0 && !input.is_empty() => {
            let place = usize::from(refusal) % input.len();
            let Some(token) = N::bad_token(by, &mut input[place]) else { return Ok(()) };
            let bad = Rows::new(case.orders.0, case.shape(), input);
            let given = case.model.forward_from(bad.view(), &N::state(&case.initial), &mut trace);
            let (sample, step) = (place / case.steps, place % case.steps);
            prop_assert_eq!(given, Err(Error::TokenOutOfRange { token, vocabulary: N::VOCABULARY, sample, step }));
            let bad = *bad.view().row(sample, step);
            let in_a_stream = case.model.check_input(&bad);
            prop_assert!(matches!(in_a_stream, Err(Error::TokenOutOfRange { .. })), "{:?}", in_a_stream);
        }
        _ => return Ok(()),
    }
    let kept = answer(&trace);
    same("the output after a refusal", &kept[0], &whole[0])?;
    same("the state after a refusal", &kept[1], &whole[1])
}
