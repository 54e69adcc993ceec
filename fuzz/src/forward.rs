//! The forward of every layer and of a model, over sequences, in batches, in chunks and step by step.

use crate::network::{Case, Input, Network, Stage, check_forward, for_one_network, output_numbers};
use crate::source::Source;
use crate::support::{Checked, Order, Rows};
use crate::{OneAnswer, pool, same};
use elman::{Batch, Chunked, Error, Level, Pass, Sequences, Steps, Workspace};
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
    let mut workspace = Workspace::new().at(level);
    let (rows, initial) = (case.input(order), N::state(&case.initial));
    let pass = pool(threads).install(|| workspace.forward_from(&case.model, rows.view(), &initial))?;
    prop_assert_eq!((pass.output().steps(), pass.output().batch()), case.shape());
    Ok(answer(&pass))
}

fn answer<N: Network>(pass: &Pass<'_, N>) -> Answer {
    [output_numbers(pass.output()), N::state_numbers(pass.final_state())]
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
            let (mut chunked, mut state) = (Chunked::new(16)?.at(level), N::state(&case.initial));
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

/// One call that does not fit: a typed error, and the workspace goes on from the last forward that was not refused.
fn refuse<N: Network>(case: &Case<N>, level: Level, refusal: u8, whole: &Answer) -> Checked {
    let mut workspace = Workspace::new().at(level);
    let (rows, initial) = (case.input(case.orders.0), N::state(&case.initial));
    workspace.forward_from(&case.model, rows.view(), &initial)?;
    let by = 1 + usize::from(refusal >> 4);
    let mut input = case.input.clone();
    match refusal % 4 {
        0 => {
            let no_steps = Sequences::<Input<N>>::time_major(&[], Steps(0), Batch(case.batch))?;
            let given = workspace.forward_from(&case.model, no_steps, &initial).map(drop::<Pass<'_, N>>);
            prop_assert_eq!(given, Err(Error::NoSteps));
        }
        1 => {
            let expected = case.steps * case.batch;
            for (steps, batch) in [(case.steps + by, case.batch), (case.steps, case.batch + by), (usize::MAX - by, 2)] {
                let (in_steps, in_batch) = (Steps(steps), Batch(batch));
                for made in [
                    Sequences::time_major(&input, in_steps, in_batch),
                    Sequences::batch_first(&input, in_batch, in_steps),
                ] {
                    let fits = steps.checked_mul(batch) == Some(expected);
                    let is_typed = matches!(made, Err(Error::Length { given, .. }) if given == expected);
                    prop_assert!(fits || is_typed, "{} steps of {} samples", steps, batch);
                }
            }
        }
        2 if N::LAYERS > 0 => {
            let rows_of_state = N::LAYERS * case.batch;
            let state = N::state(&vec![0.5; (rows_of_state + by) * N::HIDDEN]);
            let given = workspace.forward_from(&case.model, rows.view(), &state).map(drop::<Pass<'_, N>>);
            let is_typed = matches!(given, Err(Error::Length { expected, given, .. })
                if (expected, given) == (rows_of_state, rows_of_state + by));
            prop_assert!(is_typed, "{:?}", given);
        }
        3 if N::VOCABULARY > 0 && !input.is_empty() => {
            let place = usize::from(refusal) % input.len();
            let Some(token) = N::bad_token(by, &mut input[place]) else { return Ok(()) };
            let bad = Rows::new(case.orders.0, case.shape(), input);
            let given = workspace.forward_from(&case.model, bad.view(), &initial).map(drop::<Pass<'_, N>>);
            let (sample, step) = (place / case.steps, place % case.steps);
            prop_assert_eq!(given, Err(Error::TokenOutOfRange { token, vocabulary: N::VOCABULARY, sample, step }));
            let bad = *bad.view().row(sample, step);
            let in_a_stream = case.model.check_input(&bad);
            prop_assert!(matches!(in_a_stream, Err(Error::TokenOutOfRange { .. })), "{:?}", in_a_stream);
        }
        _ => return Ok(()),
    }
    let continued = answer(&workspace.forward_continued(&case.model, rows.view())?);
    let mut another = Workspace::new().at(level);
    let expected = answer(&another.forward_from(&case.model, rows.view(), &N::state(&whole[1]))?);
    same("the output after a refusal", &continued[0], &expected[0])?;
    same("the state after a refusal", &continued[1], &expected[1])
}
