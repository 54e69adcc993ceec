//! The backward of every layer and of a model: over sequences, in chunks, and step by step.

use crate::bounds::Near;
use crate::network::{
    BackwardOfSample, Bad, Case, Input, Network, Output, Row, Stage, StageSums, Vector, for_one_network,
    image_of_stages,
};
use crate::source::Source;
use crate::support::{Checked, Order, flat};
use crate::{OneAnswer, pool, same};
use bytemuck::Zeroable;
use elman::{Batch, Chunked, Error, Level, Passed, Sequences, StepBackward, Steps, Workspace};
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

/// Drawn gradients back through a drawn network: all results within the bounds of the reference, NaN and infinities where
/// they belong, one answer however it is reached, and refusals that change nothing.
pub fn backward(data: &[u8]) -> Checked {
    for_one_network!(check(&mut Source::new(data)))
}

/// The gradients of the parameters, of the input batch-first, and of the initial state.
struct Answer<N> {
    gradients: N,
    d_input: Vec<f32>,
    d_initial: Vec<f32>,
}

fn run<N: Network>(
    case: &Case<N>,
    workspace: &mut Workspace<N>,
    orders: (Order, Order),
    threads: usize,
) -> Result<Answer<N>, TestCaseError> {
    let (input, d_output) = (case.input(orders.0), case.d_output(orders.1));
    // Overwritten, whatever was there.
    let mut gradients = case.model.clone();
    let (initial, d_final) = (N::state(&case.initial), N::state(&case.d_final));
    let passed = pool(threads).install(|| {
        let pass = workspace.forward_from(&case.model, input.view(), &initial)?;
        pass.with_d_final(&d_final).backward_into(d_output.view(), &mut gradients)
    })?;
    let d_input = passed.d_input().map_or(Vec::new(), N::d_input_numbers);
    let d_initial = N::state_numbers(passed.d_initial());
    Ok(Answer { gradients, d_input, d_initial })
}

fn same_answer<N: Network>(what: &str, a: &Answer<N>, b: &Answer<N>) -> Checked {
    same(&format!("{what}: gradients"), &flat(&a.gradients), &flat(&b.gradients))?;
    same(&format!("{what}: d input"), &a.d_input, &b.d_input)?;
    same(&format!("{what}: d h0"), &a.d_initial, &b.d_initial)
}

fn check<N: Network>(source: &mut Source<'_>) -> Checked {
    let refusal = source.byte();
    let [other_order, two_threads, used_workspace, without_d_input] = [(); 4].map(|()| source.once_in(4));
    let [chunks, one_sample, step_by_step] = [(); 3].map(|()| source.once_in(3));
    let (picked, before) = (source.below(41), (1 + source.below(40), source.below(20)));
    let case = Case::<N>::draw(source);
    let stages = case.model.stages();
    let fresh = |level: Level| Workspace::<N>::new().at(level).with_d_input();
    let mut one_answer = OneAnswer::default();
    for level in Level::available() {
        let mut workspace = fresh(level);
        let whole = run(&case, &mut workspace, case.orders, 1)?;
        if other_order {
            let swapped = (case.orders.1, case.orders.0);
            same_answer("other orders", &run(&case, &mut fresh(level), swapped, 1)?, &whole)?;
        }
        if two_threads || case.large {
            same_answer("two threads", &run(&case, &mut fresh(level), case.orders, 2)?, &whole)?;
        }
        if used_workspace {
            // Used for another length and another batch.
            let (steps, batch) = (before.0.min(case.steps * case.batch), before.1);
            if steps * batch > 0 && steps * batch <= case.input.len() {
                let earlier = Case {
                    steps,
                    batch,
                    input: case.input[..steps * batch].to_vec(),
                    d_output: case.d_output[..steps * batch].to_vec(),
                    initial: Vec::new(),
                    d_final: Vec::new(),
                    ..case.clone()
                };
                run(&earlier, &mut workspace, case.orders, 1)?;
            }
            same_answer("a used workspace", &run(&case, &mut workspace, case.orders, 1)?, &whole)?;
        }
        if without_d_input {
            let given = run(&case, &mut Workspace::new().at(level), case.orders, 1)?;
            same("without d input: gradients", &flat(&given.gradients), &flat(&whole.gradients))?;
            same("without d input: d h0", &given.d_initial, &whole.d_initial)?;
            prop_assert!(given.d_input.is_empty());
        }
        if one_sample && case.batch > 0 {
            let sample = picked % case.batch;
            let alone = run(&case.of_samples(&[sample]), &mut fresh(level), case.orders, 1)?;
            let width = whole.d_input.len() / case.batch;
            same("a sample alone: d input", &alone.d_input, &whole.d_input[sample * width..][..width])?;
            same("a sample alone: d h0", &alone.d_initial, &case.state_of_sample(&whole.d_initial, sample))?;
        }
        if chunks && case.d_final.is_empty() {
            in_chunks(&case, level, &whole)?;
        }
        if !case.large {
            against_the_reference(&case, level, &stages, &whole, step_by_step.then_some(picked))?;
        }
        refuse(&case, level, refusal, &whole)?;
        one_answer.hold(level, vec![flat(&whole.gradients), whole.d_input, whole.d_initial])?;
    }
    Ok(())
}

/// Chunk after chunk from the end of time, each computed again: the bits of the whole.
fn in_chunks<N: Network>(case: &Case<N>, level: Level, whole: &Answer<N>) -> Checked {
    let mut chunked = Chunked::new(16)?.at(level);
    let mut gradients = case.model.clone();
    let (input, d_output) = (case.input(case.orders.0), case.d_output(case.orders.1));
    let initial = N::state(&case.initial);
    chunked.train_into(&case.model, input.view(), &initial, &mut gradients, |steps, output, d_rows| {
        Output::<N>::reshape(d_rows, (output.steps(), output.batch()));
        for (to, row) in d_rows.rows_mut().iter_mut().zip(d_output.view().of_steps(steps).iter()) {
            *to = *row;
        }
        Ok(0.0)
    })?;
    same("chunks: gradients", &flat(&gradients), &flat(&whole.gradients))?;
    same("chunks: d h0", &N::state_numbers(chunked.d_initial()), &whole.d_initial)
}

/// All gradients against the reference's, sample by sample.
fn against_the_reference<N: Network>(
    case: &Case<N>,
    level: Level,
    stages: &[Stage],
    whole: &Answer<N>,
    step_by_step: Option<usize>,
) -> Checked {
    let (is_nan, is_bad): (Bad, Bad) = (f32::is_nan, |x| !x.is_finite());
    // Of a sum that overflows without a bad number this says nothing, as the bounds do.
    let images = if case.is_finite() { vec![] } else { vec![is_nan, is_bad] };
    let images: Vec<_> = images.into_iter().map(|bad| (bad, image_of_stages(bad, stages))).collect();
    let mut sums = StageSums::zeros(stages);
    let mut sums_of_images = [StageSums::zeros(stages), StageSums::zeros(stages)];
    let d_input_width = whole.d_input.len() / case.batch.max(1);
    for sample in 0..case.batch {
        let streamed = case.stream(level, stages, sample)?;
        let of_sample = BackwardOfSample {
            stages,
            input: case.of_sample(&case.input, sample),
            initial: case.state_of_sample(&case.initial, sample),
            outputs: streamed.outputs,
            d_output: numbers(case.of_sample(&case.d_output, sample)),
            d_final: case.state_of_sample(&case.d_final, sample),
            fused: level.is_fused(),
        };
        let d_input = &whole.d_input[sample * d_input_width..][..d_input_width];
        let d_initial = case.state_of_sample(&whole.d_initial, sample);
        let (near_input, near_initial) = of_sample.run(&mut sums);
        near_input.check("d input", d_input)?;
        near_initial.check("d h0", &d_initial)?;
        for ((bad, stages), sums) in images.iter().zip(&mut sums_of_images) {
            let (image_of_input, image_of_initial) = of_sample.run_image(*bad, stages, sums);
            not_hidden("d input", *bad, &image_of_input, d_input)?;
            not_hidden("d h0", *bad, &image_of_initial, &d_initial)?;
        }
        if step_by_step.is_some_and(|picked| picked % case.batch == sample) {
            one_step_at_a_time(case, level, &of_sample, sample)?;
        }
    }
    check_sums(&whole.gradients, &sums)?;
    for ((bad, _), sums) in images.iter().zip(&sums_of_images) {
        for (sums, tensors) in sums.iter().zip(whole.gradients.tensors()) {
            for ((name, image), given) in sums.tensors().iter().zip(tensors) {
                not_hidden(name, *bad, image, &given)?;
            }
        }
    }
    Ok(())
}

/// What depends on a bad number is bad.
fn not_hidden(what: &str, bad: Bad, image: &Near, given: &[f32]) -> Checked {
    prop_assert_eq!(image.value.len(), given.len(), "{}: lengths", what);
    for (i, (image, given)) in image.value.iter().zip(given).enumerate() {
        prop_assert!(!image.is_nan() || bad(*given), "{}[{}] hides a bad number: {:e}", what, i, given);
    }
    Ok(())
}

fn check_sums<N: Network>(gradients: &N, sums: &[StageSums]) -> Checked {
    for (stage, (sums, tensors)) in sums.iter().zip(gradients.tensors()).enumerate() {
        for ((name, near), given) in sums.tensors().into_iter().zip(&tensors) {
            near.check(&format!("{name} of stage {stage}"), given)?;
        }
    }
    Ok(())
}

fn numbers<R: Row>(rows: &[R]) -> Vec<f32> {
    rows.iter().flat_map(|row| row.numbers()).copied().collect()
}

/// The backward without a heap: the same gradients, summed in another order.
fn one_step_at_a_time<N: Network>(
    case: &Case<N>,
    level: Level,
    of_sample: &BackwardOfSample<'_, Input<N>>,
    sample: usize,
) -> Checked {
    let mut state = N::step_state(&of_sample.initial);
    let mut records = vec![<N as StepBackward>::Record::zeroed(); case.steps];
    let mut states = vec![state];
    for (input, record) in of_sample.input.iter().zip(&mut records) {
        case.model.recorded_forward_step(level, input, &mut state, record);
        states.push(state);
    }
    let mut d_state = N::step_state(&of_sample.d_final);
    let mut gradients = case.model.zeros_like();
    let steps = records.iter().zip(states.windows(2)).zip(case.of_sample(&case.d_output, sample));
    for ((record, states), d_output) in steps.rev() {
        let states = (&states[0], &states[1]);
        case.model.backward_step(level, record, states, d_output, &mut d_state, &mut gradients);
    }
    let mut sums = StageSums::zeros(of_sample.stages);
    let (_, near_initial) = of_sample.run(&mut sums);
    near_initial.check("d h0 of single steps", &N::step_state_numbers(&d_state))?;
    check_sums(&gradients, &sums)
}

/// One call that does not fit: a typed error, gradients as they were, and the right call in the same memory is right.
fn refuse<N: Network>(case: &Case<N>, level: Level, refusal: u8, whole: &Answer<N>) -> Checked {
    let mut workspace = Workspace::<N>::new().at(level).with_d_input();
    let (input, d_output) = (case.input(case.orders.0), case.d_output(case.orders.1));
    let initial = N::state(&case.initial);
    let pass = workspace.forward_from(&case.model, input.view(), &initial)?;
    // What must not be touched.
    let (mut gradients, kept) = (case.model.clone(), flat(&case.model));
    let by = 1 + usize::from(refusal >> 4);
    match refusal % 4 {
        of_output @ (0 | 1) => {
            let (steps, batch) =
                if refusal & 4 == 0 { (case.steps + by, case.batch) } else { (case.steps, case.batch + by) };
            let row = Output::<N>::from_numbers(&vec![1.0; Output::<N>::WIDTH]);
            let rows = vec![row; steps * batch];
            let given = match of_output {
                0 => pass.backward_add(Sequences::time_major(&rows, Steps(steps), Batch(batch))?, &mut gradients),
                _ => pass.backward_into(Sequences::batch_first(&rows, Batch(batch), Steps(steps))?, &mut gradients),
            };
            let given = given.map(drop::<Passed<'_, N>>);
            let is_typed = matches!(given, Err(Error::Shape { expected, given, .. })
                if (expected, given) == (case.shape(), (steps, batch)));
            prop_assert!(is_typed, "{:?}", given);
        }
        of_state if N::LAYERS > 0 => {
            let rows = N::LAYERS * case.batch;
            let state = N::state(&vec![0.5; (rows + by) * N::HIDDEN]);
            let pass = pass.with_d_final(&state);
            let given = match of_state {
                2 => pass.backward_into(d_output.view(), &mut gradients),
                _ => pass.backward_add(d_output.view(), &mut gradients),
            };
            let given = given.map(drop::<Passed<'_, N>>);
            let is_typed = matches!(given, Err(Error::Length { expected, given, .. })
                if (expected, given) == (rows, rows + by));
            prop_assert!(is_typed, "{:?}", given);
        }
        _ => return Ok(()),
    }
    same("gradients after a refusal", &flat(&gradients), &kept)?;
    same_answer("the right call after a refusal", &run(case, &mut workspace, case.orders, 1)?, whole)
}
