//! One answer: the same bits however a result is reached.
//!
//! Streaming step by step, one sequence, the sequence inside any batch at any position, in chunks, time-major or
//! batch-first, on any number of threads, at every level with fused multiply-add. Gradients: on any number of threads,
//! at every such level, run after run, with fresh and with used traces. Levels without fused multiply-add keep all of
//! this among themselves and differ from the others by a bounded rounding.
//!
//! `tests/answers.txt` holds hashes of some fixed runs, so that no release changes an answer unnoticed. To write it
//! anew after a change that is meant to:
//!
//! ```text
//! ELMAN_WRITE_ANSWERS=1 cargo test --release --test one_answer committed
//! ```

#[path = "properties/support.rs"]
#[allow(dead_code, reason = "shared with the property tests, which use all of it")]
mod support;

#[path = "properties/kept.rs"]
mod kept;

use elman::cells::{Gru, Lstm, State, States};
use elman::{
    Adam, Batch, Cell, Chunked, CrossEntropy, Embedding, Generator, Level, Linear, Parameters, Reduction, Relu, Rnn,
    RnnCell, Sequences, Steps, Tanh,
};
use kept::{Kept, Passes};
use proptest::prelude::*;
use rayon::ThreadPool;
use std::sync::OnceLock;
use support::*;

/// A pool of 1 to 8 threads.
fn pool(threads: usize) -> &'static ThreadPool {
    static POOLS: OnceLock<Vec<ThreadPool>> = OnceLock::new();
    let new = |threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    &POOLS.get_or_init(|| (1..=8).map(new).collect())[threads - 1]
}

fn fused_levels() -> Vec<Level> {
    Level::available().filter(|level| level.is_fused()).collect()
}

/// Holds the answer of every fused level to that of the first.
fn at_fused_levels(answer: impl Fn(Level) -> Result<Vec<Vec<f32>>, TestCaseError>) -> Checked {
    let levels = fused_levels();
    let Some((first, others)) = levels.split_first() else { return Ok(()) };
    let expected = answer(*first)?;
    for level in others {
        let given = answer(*level)?;
        prop_assert_eq!(expected.len(), given.len());
        for (i, (expected, given)) in expected.iter().zip(&given).enumerate() {
            same_bits(&format!("result {i} at levels {first} and {level}"), expected, given)?;
        }
    }
    Ok(())
}

/// Shapes of which about half are enough work for several threads.
fn large_case() -> impl Strategy<Value = Case> {
    (case(1), prop_oneof![1 => 0..=9usize, 3 => 10..=80usize]).prop_map(|(case, batch)| Case { batch, ..case })
}

/// The other order of memory.
fn other(order: Order) -> Order {
    match order {
        Order::TimeMajor => Order::BatchFirst,
        Order::BatchFirst => Order::TimeMajor,
    }
}

struct Run<const IN: usize, const HID: usize, const LAYERS: usize, A: Cell = Tanh> {
    case: Case,
    rnn: Rnn<IN, HID, LAYERS, A>,
    input: Vec<[f32; IN]>,
    d_output: Vec<[f32; HID]>,
    initial: A::States<HID>,
    d_final: A::States<HID>,
}

/// Output of every step, batch-first, and the final state.
type Forward<const HID: usize, A> = (Vec<[f32; HID]>, <A as elman::cells::Layout>::States<HID>);

/// States of rows that a function gives, of `h` and, where there is one, of `c`.
fn states_of<const HID: usize, S: States<HID>>(mut rows: impl FnMut() -> Vec<[f32; HID]>) -> S {
    let mut states = S::default();
    let (h, c) = states.both_mut();
    *h = rows();
    if let Some(c) = c {
        *c = rows();
    }
    states
}

/// Some rows of states, in this order.
fn rows_of<const HID: usize, S: States<HID>>(states: &S, rows: impl Iterator<Item = usize> + Clone) -> S {
    let mut parts = [Some(states.h()), states.c()].into_iter().flatten();
    states_of(|| {
        let part = parts.next().unwrap();
        if part.is_empty() { Vec::new() } else { rows.clone().map(|row| part[row]).collect() }
    })
}

/// All numbers of states.
fn flat_states<const HID: usize>(states: &impl States<HID>) -> Vec<f32> {
    [Some(states.h()), states.c()].into_iter().flatten().flat_map(|part| part.as_flattened().to_vec()).collect()
}

impl<const IN: usize, const HID: usize, const LAYERS: usize, A: Cell> Run<IN, HID, LAYERS, A> {
    fn new(case: Case) -> Self {
        let mut numbers = Numbers(case.seed);
        let mut rnn = Rnn::zeros();
        case.weights.fill(&mut numbers, HID, &mut rnn);
        let rows = case.steps * case.batch;
        Run {
            rnn,
            input: case.data.rows(&mut numbers, rows),
            d_output: case.gradient.rows(&mut numbers, rows),
            initial: states_of(|| case.state(case.initial, case.data, &mut numbers, LAYERS * case.batch)),
            d_final: states_of(|| case.state(case.d_final, case.gradient, &mut numbers, LAYERS * case.batch)),
            case,
        }
    }

    /// The same with only these samples, in this order.
    fn of_samples(&self, samples: &[usize]) -> Self {
        let (steps, batch) = self.case.shape();
        let rows = (0..LAYERS).flat_map(|layer| samples.iter().map(move |b| layer * batch + b));
        Run {
            rnn: self.rnn.clone(),
            input: of_samples(&self.input, steps, samples),
            d_output: of_samples(&self.d_output, steps, samples),
            initial: rows_of(&self.initial, rows.clone()),
            d_final: rows_of(&self.d_final, rows),
            case: Case { batch: samples.len(), ..self.case.clone() },
        }
    }

    fn forward(&self, level: Level, order: Order) -> Result<Forward<HID, A>, TestCaseError> {
        let mut trace = Kept::at(level);
        let input = Rows::new(order, self.case.shape(), self.input.clone());
        self.rnn.forward_from(input.view(), &self.initial, &mut trace)?;
        Ok((trace.output().iter().copied().collect(), trace.final_state().clone()))
    }

    /// Gradients of the parameters, of the input (if asked for) and of the initial state.
    fn backward(&self, trace: &mut Kept<Rnn<IN, HID, LAYERS, A>>, orders: (Order, Order)) -> Gradients {
        let input = Rows::new(orders.0, self.case.shape(), self.input.clone());
        let d_output = Rows::new(orders.1, self.case.shape(), self.d_output.clone());
        self.rnn.forward_from(input.view(), &self.initial, trace)?;
        let mut gradients = self.rnn.zeros_like();
        self.rnn.backward_from(input.view(), trace, d_output.view(), &self.d_final, &mut gradients)?;
        let d_input =
            trace.d_input().into_iter().flat_map(|d_input| d_input.iter().flatten().copied().collect::<Vec<_>>());
        Ok([flat(&gradients), d_input.collect(), flat_states(trace.d_initial().unwrap())])
    }

    /// One sample, one step at a time, through all layers.
    fn stream(&self, level: Level, sample: usize) -> Forward<HID, A> {
        let (steps, batch) = self.case.shape();
        let initial = rows_of(&self.initial, (0..LAYERS).map(|layer| layer * batch + sample));
        let mut states: Vec<A::State<HID>> = (0..LAYERS)
            .map(|layer| {
                let mut state: A::State<HID> = bytemuck::Zeroable::zeroed();
                let (h, c) = state.both_mut();
                *h = initial.h().get(layer).copied().unwrap_or([0.0; HID]);
                if let Some(row) = initial.c().and_then(|rows| rows.get(layer)) {
                    c.copy_from_slice(row);
                }
                state
            })
            .collect();
        let mut output = Vec::new();
        for x in &self.input[sample * steps..][..steps] {
            self.rnn.first().at(level).step_in_place(x, &mut states[0]);
            for (layer, cell) in self.rnn.rest().iter().enumerate() {
                let below = *states[layer].h();
                cell.at(level).step_in_place(&below, &mut states[layer + 1]);
            }
            output.push(*states[LAYERS - 1].h());
        }
        let mut of_c = false;
        let last = states_of(|| {
            let rows = states.iter().map(|state| if of_c { state.c().try_into().unwrap() } else { *state.h() });
            let rows = rows.collect();
            of_c = true;
            rows
        });
        (output, last)
    }
}

type Gradients = Result<[Vec<f32>; 3], TestCaseError>;

fn of_samples<R: Copy>(batch_first: &[R], steps: usize, samples: &[usize]) -> Vec<R> {
    samples.iter().flat_map(|b| &batch_first[b * steps..][..steps]).copied().collect()
}

fn same_forward<const HID: usize, S: States<HID>>(
    what: &str,
    a: &(Vec<[f32; HID]>, S),
    b: &(Vec<[f32; HID]>, S),
) -> Checked {
    same_bits(&format!("{what}: output"), a.0.as_flattened(), b.0.as_flattened())?;
    same_bits(&format!("{what}: final state"), &flat_states(&a.1), &flat_states(&b.1))
}

fn same_gradients(what: &str, a: &[Vec<f32>; 3], b: &[Vec<f32>; 3]) -> Checked {
    same_bits(&format!("{what}: gradients"), &a[0], &b[0])?;
    same_bits(&format!("{what}: d input"), &a[1], &b[1])?;
    same_bits(&format!("{what}: d h0"), &a[2], &b[2])
}

fn forward<const IN: usize, const HID: usize, const LAYERS: usize>() {
    forward_of::<IN, HID, LAYERS, Tanh>();
}

fn forward_relu<const IN: usize, const HID: usize, const LAYERS: usize>() {
    forward_of::<IN, HID, LAYERS, Relu>();
}

fn forward_gru<const IN: usize, const HID: usize, const LAYERS: usize>() {
    forward_of::<IN, HID, LAYERS, Gru>();
}

fn forward_lstm<const IN: usize, const HID: usize, const LAYERS: usize>() {
    forward_of::<IN, HID, LAYERS, Lstm>();
}

fn forward_of<const IN: usize, const HID: usize, const LAYERS: usize, A: Cell>() {
    property(16, large_case(), |case| {
        let run = Run::<IN, HID, LAYERS, A>::new(case);
        let (steps, batch) = run.case.shape();
        let order = run.case.orders.0;
        at_every_level(|level| {
            let whole = pool(1).install(|| run.forward(level, order))?;
            same_forward("the other order", &run.forward(level, other(order))?, &whole)?;
            for threads in 2..=8 {
                let given = pool(threads).install(|| run.forward(level, order))?;
                same_forward(&format!("{threads} threads"), &given, &whole)?;
            }
            // Single samples, streamed and as a sequence; any samples as a batch of any size, in any order.
            let mut numbers = Numbers(run.case.seed);
            let chosen = |samples: &[usize]| {
                let state = (0..LAYERS).flat_map(|layer| samples.iter().map(move |b| layer * batch + b));
                (of_samples(&whole.0, steps, samples), rows_of(&whole.1, state))
            };
            for _ in 0..if batch == 0 { 0 } else { 4 } {
                let sample = numbers.below(batch);
                same_forward("a stream", &run.stream(level, sample), &chosen(&[sample]))?;
                let alone = run.of_samples(&[sample]).forward(level, order)?;
                same_forward("a sequence", &alone, &chosen(&[sample]))?;
                let samples: Vec<usize> = (0..1 + numbers.below(20)).map(|_| numbers.below(batch)).collect();
                let elsewhere = run.of_samples(&samples).forward(level, order)?;
                same_forward("another batch", &elsewhere, &chosen(&samples))?;
            }
            // In two chunks, the second from where the first ended.
            if steps > 1 {
                let cut = 1 + numbers.below(steps - 1);
                let rows = |from: usize, to: usize| -> Vec<[f32; IN]> {
                    (0..batch).flat_map(|b| &run.input[b * steps..][from..to]).copied().collect()
                };
                let (mut first, mut second) = (Kept::at(level), Kept::at(level));
                let input = Rows::new(order, (cut, batch), rows(0, cut));
                run.rnn.forward_from(input.view(), &run.initial, &mut first)?;
                let input = Rows::new(order, (steps - cut, batch), rows(cut, steps));
                run.rnn.forward_from(input.view(), first.final_state(), &mut second)?;
                for b in 0..batch {
                    for t in 0..steps {
                        let (trace, t_in_chunk) = if t < cut { (&first, t) } else { (&second, t - cut) };
                        same_bits("chunks", trace.output().row(b, t_in_chunk), &whole.0[b * steps + t])?;
                    }
                }
                same_bits("chunks: final state", &flat_states(second.final_state()), &flat_states(&whole.1))?;
            }
            Ok(())
        })?;
        at_fused_levels(|level| {
            let (output, last) = run.forward(level, order)?;
            Ok(vec![output.into_flattened(), flat_states(&last)])
        })
    });
}

fn backward<const IN: usize, const HID: usize, const LAYERS: usize>() {
    backward_of::<IN, HID, LAYERS, Tanh>();
}

fn backward_relu<const IN: usize, const HID: usize, const LAYERS: usize>() {
    backward_of::<IN, HID, LAYERS, Relu>();
}

fn backward_gru<const IN: usize, const HID: usize, const LAYERS: usize>() {
    backward_of::<IN, HID, LAYERS, Gru>();
}

fn backward_lstm<const IN: usize, const HID: usize, const LAYERS: usize>() {
    backward_of::<IN, HID, LAYERS, Lstm>();
}

fn backward_of<const IN: usize, const HID: usize, const LAYERS: usize, A: Cell>() {
    property(16, large_case(), |case| {
        let run = Run::<IN, HID, LAYERS, A>::new(case);
        let orders = run.case.orders;
        // What a used trace was used for before.
        let before = Run::<IN, HID, LAYERS, A>::new(Case {
            seed: !run.case.seed,
            steps: 1 + run.case.seed as usize % 40,
            batch: (run.case.seed >> 8) as usize % 40,
            weights: Weights::Initial,
            data: Values::Large,
            ..run.case.clone()
        });
        let fresh = |level: Level| Kept::at(level).with_d_input();
        at_every_level(|level| {
            let whole = pool(1).install(|| run.backward(&mut fresh(level), orders))?;
            for threads in 2..=8 {
                let given = pool(threads).install(|| run.backward(&mut fresh(level), orders))?;
                same_gradients(&format!("{threads} threads"), &given, &whole)?;
            }
            let mut used = fresh(level);
            before.backward(&mut used, orders)?;
            same_gradients("a used trace", &run.backward(&mut used, orders)?, &whole)?;
            same_gradients("the used trace again", &run.backward(&mut used, orders)?, &whole)?;
            let other_orders = (other(orders.0), other(orders.1));
            same_gradients("the other orders", &run.backward(&mut fresh(level), other_orders)?, &whole)?;
            let without = run.backward(&mut Kept::at(level), orders)?;
            same_bits("without d input: gradients", &without[0], &whole[0])?;
            same_bits("without d input: d h0", &without[2], &whole[2])?;
            // Those of the input and of the initial state are a matter of one sample alone.
            if run.case.batch > 0 {
                let sample = Numbers(run.case.seed).below(run.case.batch);
                let alone = run.of_samples(&[sample]).backward(&mut fresh(level), orders)?;
                let width = run.case.steps * IN;
                same_bits("a sample alone: d input", &alone[1], &whole[1][sample * width..][..width])?;
                // Of all layers those of h, and then those of c.
                for (i, d_h0) in alone[2].chunks_exact(HID).enumerate() {
                    let row = i * run.case.batch + sample;
                    same_bits("a sample alone: d h0", d_h0, &whole[2][row * HID..][..HID])?;
                }
            }
            Ok(())
        })?;
        at_fused_levels(|level| Ok(run.backward(&mut fresh(level), orders)?.to_vec()))
    });
}

mod forwards {
    use super::*;
    for_sizes!(forward:
        in_2_hid_3_layers_1(2, 3, 1), in_10_hid_8_layers_2(10, 8, 2), in_7_hid_16_layers_1(7, 16, 1),
        in_17_hid_33_layers_2(17, 33, 2), in_33_hid_17_layers_3(33, 17, 3), in_64_hid_64_layers_1(64, 64, 1),
        in_5_hid_130_layers_1(5, 130, 1), in_7_hid_42_layers_1(7, 42, 1), in_40_hid_66_layers_1(40, 66, 1),
    );
    for_sizes!(forward_relu:
        relu_in_2_hid_3_layers_1(2, 3, 1), relu_in_10_hid_8_layers_2(10, 8, 2), relu_in_17_hid_33_layers_2(17, 33, 2),
        relu_in_64_hid_64_layers_1(64, 64, 1),
    );
    for_sizes!(forward_gru:
        gru_in_3_hid_8_layers_2(3, 8, 2), gru_in_9_hid_33_layers_2(9, 33, 2), gru_in_40_hid_48_layers_1(40, 48, 1),
    );
    for_sizes!(forward_lstm:
        lstm_in_2_hid_3_layers_1(2, 3, 1), lstm_in_17_hid_16_layers_2(17, 16, 2), lstm_in_5_hid_70_layers_1(5, 70, 1),
    );
}

mod backwards {
    use super::*;
    for_sizes!(backward:
        in_2_hid_3_layers_1(2, 3, 1), in_10_hid_8_layers_2(10, 8, 2), in_7_hid_16_layers_1(7, 16, 1),
        in_17_hid_33_layers_2(17, 33, 2), in_33_hid_17_layers_3(33, 17, 3), in_64_hid_64_layers_1(64, 64, 1),
        in_5_hid_130_layers_1(5, 130, 1), in_7_hid_42_layers_1(7, 42, 1), in_40_hid_66_layers_1(40, 66, 1),
    );
    for_sizes!(backward_relu:
        relu_in_2_hid_3_layers_1(2, 3, 1), relu_in_10_hid_8_layers_2(10, 8, 2), relu_in_17_hid_33_layers_2(17, 33, 2),
        relu_in_64_hid_64_layers_1(64, 64, 1),
    );
    for_sizes!(backward_gru:
        gru_in_3_hid_8_layers_2(3, 8, 2), gru_in_9_hid_33_layers_2(9, 33, 2), gru_in_40_hid_48_layers_1(40, 48, 1),
    );
    for_sizes!(backward_lstm:
        lstm_in_2_hid_3_layers_1(2, 3, 1), lstm_in_17_hid_16_layers_2(17, 16, 2), lstm_in_5_hid_70_layers_1(5, 70, 1),
    );
}

/// Rows so many that they are asked for before they are needed give what their groups of 16 samples give alone, and
/// those are near. The gradients of the parameters are the sum of those of the groups, in their order (of up to 512 samples,
/// above which several groups share a sum).
#[test]
fn many_rows_are_their_groups() -> Checked {
    let case = Case {
        seed: 7,
        steps: 17,
        batch: 512,
        weights: Weights::Initial,
        data: Values::Ordinary,
        gradient: Values::Ordinary,
        orders: (Order::TimeMajor, Order::BatchFirst),
        initial: true,
        d_final: true,
        d_input: true,
    };
    let run = Run::<50, 32, 2>::new(case);
    let (steps, batch) = run.case.shape();
    at_every_level(|level| {
        let backward = |run: &Run<50, 32, 2>| {
            let mut trace = Kept::at(level).with_d_input();
            let gradients = run.backward(&mut trace, run.case.orders)?;
            let output: Vec<_> = trace.output().iter().copied().collect();
            Ok::<_, TestCaseError>((output, gradients))
        };
        let (output, [gradients, d_input, _]) = backward(&run)?;
        let mut sum = vec![0.0; gradients.len()];
        for first in (0..batch).step_by(16) {
            let samples: Vec<usize> = (first..batch.min(first + 16)).collect();
            let rows = first * steps..(first + samples.len()) * steps;
            let (group_output, [group_gradients, group_d_input, _]) = backward(&run.of_samples(&samples))?;
            same_bits("the output", group_output.as_flattened(), output[rows.clone()].as_flattened())?;
            same_bits("d input", &group_d_input, &d_input[rows.start * 50..rows.end * 50])?;
            sum.iter_mut().zip(group_gradients).for_each(|(sum, d)| *sum += d);
        }
        same_bits("the gradients", &sum, &gradients)
    })
}

/// `Linear`: every row alone, in any batch, on any number of threads.
#[test]
fn linear() {
    property(32, large_case(), |case| {
        let mut numbers = Numbers(case.seed);
        let mut linear = Linear::<40, 70>::zeros_boxed();
        case.weights.fill(&mut numbers, 40, &mut linear);
        let rows = case.steps * case.batch;
        let rows_x = case.data.rows::<40>(&mut numbers, rows);
        let rows_d = case.gradient.rows::<70>(&mut numbers, rows);
        let answer = |level: Level, threads: usize, orders: (Order, Order)| -> Result<Vec<Vec<f32>>, TestCaseError> {
            pool(threads).install(|| {
                let mut trace = Kept::at(level).with_d_input();
                let x = Rows::new(orders.0, case.shape(), rows_x.clone());
                let d_y = Rows::new(orders.1, case.shape(), rows_d.clone());
                linear.forward_into(x.view(), &mut trace)?;
                let gradients = linear.backward(x.view(), &mut trace, d_y.view())?;
                let output: Vec<f32> = trace.output().iter().flatten().copied().collect();
                let d_input: Vec<f32> = trace.d_input().unwrap().iter().flatten().copied().collect();
                Ok(vec![output, flat(&gradients), d_input])
            })
        };
        at_every_level(|level| {
            let whole = answer(level, 1, case.orders)?;
            for (row, x) in whole[0].chunks_exact(70).zip(&rows_x) {
                same_bits("a row alone", &linear.at(level).apply(x), row)?;
            }
            for threads in 2..=8 {
                let orders = (other(case.orders.0), case.orders.1);
                for (given, whole) in answer(level, threads, orders)?.iter().zip(&whole) {
                    same_bits(&format!("{threads} threads"), given, whole)?;
                }
            }
            Ok(())
        })?;
        at_fused_levels(|level| answer(level, 3, case.orders))
    });
}

/// The parts that train a cell without a heap, and a batch of single steps.
#[test]
fn single_steps() {
    single_steps_of::<37, 29, Tanh>();
    single_steps_of::<3, 8, Gru>();
    single_steps_of::<37, 29, Gru>();
    single_steps_of::<3, 8, Lstm>();
    single_steps_of::<37, 29, Lstm>();
}

fn single_steps_of<const IN: usize, const HID: usize, A: Cell>() {
    property(64, (any::<u64>(), weights(), values(), values()), |(seed, weights, data, gradient)| {
        let mut numbers = Numbers(seed);
        let mut cell = RnnCell::<IN, HID, A>::zeros();
        weights.fill(&mut numbers, HID, &mut cell);
        let x = data.rows::<IN>(&mut numbers, 5);
        let mut states = |values: Values| -> Vec<A::State<HID>> {
            let state = |_| {
                let mut state: A::State<HID> = bytemuck::Zeroable::zeroed();
                let (h, c) = state.both_mut();
                *h = values.rows(&mut numbers, 1)[0];
                c.copy_from_slice(&values.rows::<HID>(&mut numbers, 1)[0][..c.len()]);
                state
            };
            (0..5).map(state).collect()
        };
        let (before, d) = (states(data), states(gradient));
        let parts = |state: &A::State<HID>| [state.h(), state.c()].concat();
        at_fused_levels(|level| {
            let (mut after, mut gradients) = (before.clone(), RnnCell::zeros());
            cell.at(level).step_batch_in_place(&x, &mut after)?;
            let mut results: Vec<Vec<f32>> = after.iter().map(parts).collect();
            for b in 0..5 {
                same_bits("a step", &parts(&cell.at(level).step(&x[b], &before[b])), &results[b])?;
                let (d_x, d_before) =
                    cell.at(level).step_backward_add(&x[b], &before[b], &after[b], &d[b], &mut gradients);
                results.extend([d_x.to_vec(), parts(&d_before)]);
            }
            results.push(flat(&gradients));
            Ok(results)
        })
    });
}

fn loss<const C: usize>() {
    property(32, (case(C), any::<bool>(), 0.1f32..5e3), |(case, mean, size)| {
        let mut numbers = Numbers(case.seed);
        let rows = 1 + case.steps * case.batch;
        let logits: Vec<[f32; C]> =
            case.data.rows::<C>(&mut numbers, rows).into_iter().map(|row| row.map(|z| z * size)).collect();
        let targets: Vec<usize> = (0..rows).map(|_| numbers.below(C)).collect();
        let reduction = if mean { Reduction::Mean } else { Reduction::Sum };
        at_fused_levels(|level| {
            let (loss, d_logits) = CrossEntropy::new(reduction).at(level).loss(&logits, &targets)?;
            Ok(vec![vec![loss], d_logits.rows().as_flattened().to_vec()])
        })
    });
}

for_sizes!(loss: loss_of_1(1), loss_of_4(4), loss_of_15(15), loss_of_16(16), loss_of_37(37), loss_of_70(70));

type Model = (Embedding<30, 16>, Rnn<16, 32, 2>, Linear<32, 30>);

/// Trains a model for some steps; every loss, and the parameters it ends with.
fn train(model: &mut Model, level: Level, case: &Case, steps: usize) -> Result<Vec<Vec<f32>>, TestCaseError> {
    let mut numbers = Numbers(case.seed);
    let rows = case.steps * case.batch;
    let mut draw = |order| Rows::new(order, case.shape(), (0..rows).map(|_| numbers.below(30)).collect());
    let (tokens, targets) = (draw(case.orders.0), draw(case.orders.1));
    let mut adam = Adam::new(0.01).at(level);
    let (mut trace, mut gradients, mut losses) = (Kept::at(level), model.zeros_like(), Vec::new());
    for _ in 0..steps {
        model.forward_into(tokens.view(), &mut trace)?;
        let (loss, d_logits) = CrossEntropy::mean().at(level).loss(trace.output(), targets.view())?;
        model.backward_into(tokens.view(), &mut trace, &d_logits, &mut gradients)?;
        adam.step(model, &gradients)?;
        losses.push(loss);
    }
    Ok(vec![losses, flat(model)])
}

/// A whole training is one answer.
#[test]
fn training() {
    property(12, large_case(), |mut case| {
        case.batch += 1;
        let mut model: Model = (Embedding::zeros(), Rnn::zeros(), Linear::zeros());
        Weights::Initial.fill(&mut Numbers(case.seed), 32, &mut model);
        let answer = |level, threads| pool(threads).install(|| train(&mut model.clone(), level, &case, 3));
        at_every_level(|level| {
            let alone = answer(level, 1)?;
            for threads in [1, 2, 3, 5, 8] {
                for (alone, given) in alone.iter().zip(answer(level, threads)?) {
                    same_bits(&format!("{threads} threads"), alone, &given)?;
                }
            }
            Ok(())
        })?;
        at_fused_levels(|level| answer(level, 4))
    });
}

/// The order that every product is summed in, in scalars: a sum over `k` is cut into 1, 2 or 4 chains (by the number of
/// terms and of outputs), each ascending, the first from `init`; then `(c0 + c1) + (c2 + c3)`.
fn canonical<const N: usize>(weight: &[[f32; N]], x: &[f32], init: [f32; N]) -> [f32; N] {
    let k = x.len();
    let chains = if k < 4 || N >= 128 {
        1
    } else if k < 8 || N >= 32 {
        2
    } else {
        4
    };
    core::array::from_fn(|n| {
        let mut sums = [init[n], 0.0, 0.0, 0.0];
        for (chain, sum) in sums.iter_mut().enumerate().take(chains) {
            for i in chain * k / chains..(chain + 1) * k / chains {
                *sum = x[i].mul_add(weight[i][n], *sum);
            }
        }
        match chains {
            1 => sums[0],
            2 => sums[0] + sums[1],
            _ => (sums[0] + sums[1]) + (sums[2] + sums[3]),
        }
    })
}

fn written_order<const IN: usize, const HID: usize>() {
    // tanh alone: a cell of one neuron that takes its input as it is.
    let mut identity = RnnCell::<1, 1>::zeros();
    identity.weight_ih[0][0] = 1.0;
    property(32, (any::<u64>(), weights(), values()), |(seed, weights, data)| {
        let mut numbers = Numbers(seed);
        let (mut cell, mut linear) = (RnnCell::<IN, HID>::zeros_boxed(), Linear::<IN, HID>::zeros_boxed());
        weights.fill(&mut numbers, HID, &mut cell);
        weights.fill(&mut numbers, IN, &mut linear);
        let x = data.rows::<IN>(&mut numbers, 1)[0];
        let h = data.rows::<HID>(&mut numbers, 1)[0];
        for level in fused_levels() {
            same_bits("linear", &linear.at(level).apply(&x), &canonical(&linear.weight, &x, linear.bias))?;
            let bias = core::array::from_fn(|n| cell.bias_ih[n] + cell.bias_hh[n]);
            let z = canonical(&cell.weight_hh, &h, canonical(&cell.weight_ih, &x, bias));
            let expected = z.map(|z| {
                let mut y = [0.0];
                identity.at(level).step_in_place(&[z], &mut y);
                y[0] + 0.0
            });
            let mut given = h;
            cell.at(level).step_in_place(&x, &mut given);
            // The neuron that stands for tanh adds zeros, which turns -0 into 0, but for what tanh makes of denormal numbers.
            same_bits("a step", &given.map(|y| y + 0.0), &expected)?;
        }
        Ok(())
    });
}

mod order_of_sums {
    use super::*;
    for_sizes!(written_order:
        in_3_hid_2(3, 2), in_4_hid_8(4, 8), in_7_hid_9(7, 9), in_8_hid_32(8, 32), in_9_hid_33(9, 33),
        in_45_hid_31(45, 31), in_66_hid_130(66, 130),
    );
}

/// In chunks with checkpoints: outputs, states and gradients are those of the whole sequences.
#[test]
fn chunks_are_the_whole() {
    let strategy = (case(1), 1..=90usize, 0..=40usize, 1..=3usize);
    property(48, strategy, |(case, steps, batch, blocks)| {
        let case = Case { steps, batch, ..case };
        let mut numbers = Numbers(case.seed);
        let mut model: Model = (Embedding::zeros(), Rnn::zeros(), Linear::zeros());
        case.weights.fill(&mut numbers, 32, &mut model);
        let tokens = (0..steps * batch).map(|_| numbers.below(30)).collect();
        let input = Rows::new(case.orders.0, case.shape(), tokens);
        let d_output = Rows::new(case.orders.1, case.shape(), case.gradient.rows(&mut numbers, steps * batch));
        let initial = ((), case.state(case.initial, case.data, &mut numbers, 2 * batch), ());
        for level in Level::available() {
            let mut trace = Kept::at(level);
            model.forward_from(input.view(), &initial, &mut trace)?;
            let gradients = model.backward(input.view(), &mut trace, d_output.view())?;
            let mut chunked = Chunked::new(16 * blocks)?.at(level);
            let (mut state, mut done) = (initial.clone(), 0);
            let mut outputs: Vec<(usize, Vec<_>)> = Vec::new();
            chunked.forward(&model, input.view(), &mut state, |steps, output| {
                outputs.push((done, output.iter().copied().collect()));
                done = steps.end;
            })?;
            prop_assert_eq!(done, steps);
            for (start, rows) in &outputs {
                let end = steps.min(start + 16 * blocks);
                let whole: Vec<_> = trace.output().of_steps(*start..end).iter().copied().collect();
                same_bits("the outputs of a chunk", whole.as_flattened(), rows.as_flattened())?;
            }
            same_bits("the state", trace.final_state().1.as_flattened(), state.1.as_flattened())?;
            // Twice, the second time with used memory.
            for _ in 0..2 {
                let mut given = model.clone();
                let loss =
                    chunked.train_into(&model, input.view(), &initial, &mut given, |steps, output, d_chunk| {
                        assert_eq!((output.steps(), output.batch()), (steps.len(), batch));
                        d_chunk.reshape((steps.len(), batch));
                        for (to, d) in d_chunk.rows_mut().iter_mut().zip(d_output.view().of_steps(steps).iter()) {
                            *to = *d;
                        }
                        Ok(1.0)
                    })?;
                prop_assert_eq!(loss, steps.div_ceil(16 * blocks) as f32);
                same_bits("the gradients", &flat(&gradients), &flat(&given))?;
                let d_initial = chunked.d_initial();
                same_bits("d h0", trace.d_initial().unwrap().1.as_flattened(), d_initial.1.as_flattened())?;
            }
        }
        Ok(())
    });
}

/// A batch of so many samples that several groups of them share a gradient: whoever computes it, it is the sum over the
/// samples, each of which gives a single product to every weight.
#[test]
fn a_large_batch() {
    for batch in [512, 513, 1100] {
        let mut generator = Generator::seed(batch as u64);
        let model = (RnnCell::<3, 5>::new(&mut generator), Linear::<5, 2>::new(&mut generator));
        let mut rows = vec![[0.0; 3]; batch];
        generator.fill_uniform(rows.as_flattened_mut(), -1.0, 1.0);
        let d_rows: Vec<[f32; 2]> = rows.iter().map(|row| [row[1], 1.0 - row[2]]).collect();
        let backward = |level: Level, samples: std::ops::Range<usize>| {
            let input = Sequences::batch_first(&rows[samples.clone()], Batch(samples.len()), Steps(1)).unwrap();
            let d_output = Sequences::batch_first(&d_rows[samples.clone()], Batch(samples.len()), Steps(1)).unwrap();
            let mut trace = Kept::at(level).with_d_input();
            model.forward_into(input, &mut trace).unwrap();
            let gradients = model.backward(input, &mut trace, d_output).unwrap();
            (flat(&gradients), trace.d_input().unwrap().iter().flatten().copied().collect::<Vec<f32>>())
        };
        for level in Level::available() {
            let whole = pool(1).install(|| backward(level, 0..batch));
            for threads in [2, 3] {
                assert!(pool(threads).install(|| backward(level, 0..batch)) == whole, "{batch} on {threads} threads");
            }
            let (mut sums, mut sizes) = (vec![0.0f64; whole.0.len()], vec![0.0f64; whole.0.len()]);
            for sample in 0..batch {
                let (gradients, d_input) = backward(level, sample..sample + 1);
                assert_eq!(d_input, whole.1[3 * sample..][..3], "the gradient of the input of sample {sample}");
                for ((sum, size), g) in sums.iter_mut().zip(&mut sizes).zip(gradients) {
                    *sum += f64::from(g);
                    *size += f64::from(g.abs());
                }
            }
            for ((given, sum), size) in whole.0.iter().zip(sums).zip(sizes) {
                let error = (f64::from(*given) - sum).abs();
                assert!(error <= (batch + 2) as f64 * f64::from(f32::EPSILON / 2.0) * size, "{given} is not {sum}");
            }
        }
    }
}

/// Truncated backpropagation: the states are those of the whole sequences, a chunk's gradients those of the chunk alone from
/// the state before it, whatever came before or after. With the gradient that truncation drops, they chain to the whole.
#[test]
fn truncation_drops_one_gradient_and_nothing_else() {
    let strategy = (case(1), 1..=3usize, 1..=40usize, 0..=20usize);
    property(48, strategy, |(case, blocks, rest, batch)| {
        let (cut, steps) = (16 * blocks, 16 * blocks + rest);
        let run = Run::<5, 17, 2>::new(Case { steps, batch, ..case });
        let of_steps = |from: usize, to: usize| {
            let shape = (to - from, batch);
            let rows = (0..batch).flat_map(|b| &run.input[b * steps..][from..to]).copied().collect();
            let d_rows = (0..batch).flat_map(|b| &run.d_output[b * steps..][from..to]).copied().collect();
            (Rows::new(run.case.orders.0, shape, rows), Rows::new(run.case.orders.1, shape, d_rows))
        };
        let ((first, d_first), (second, d_second)) = (of_steps(0, cut), of_steps(cut, steps));
        for level in Level::available() {
            let mut whole = Kept::at(level);
            run.backward(&mut whole, run.case.orders)?;
            let backward = |trace: &mut Kept<_>, input: &Rows<_>, d_output: &Rows<_>, d_final: &Vec<[f32; 17]>| {
                let mut gradients = run.rnn.zeros_like();
                run.rnn.backward_from(input.view(), trace, d_output.view(), d_final, &mut gradients)?;
                Ok::<_, elman::Error>(flat(&gradients))
            };
            // One trace goes through the chunks; others see one of them alone.
            let (mut on, mut alone) = (Kept::at(level), Kept::at(level));
            run.rnn.forward_from(first.view(), &run.initial, &mut on)?;
            let d_of_first = backward(&mut on, &first, &d_first, &Vec::new())?;
            let state = on.final_state().clone();
            run.rnn.forward_continued(second.view(), &mut on)?;
            same_bits("the final state", on.final_state().as_flattened(), whole.final_state().as_flattened())?;
            let d_of_second = backward(&mut on, &second, &d_second, &run.d_final)?;
            run.rnn.forward_from(second.view(), &state, &mut alone)?;
            same_bits("the second chunk", &d_of_second, &backward(&mut alone, &second, &d_second, &run.d_final)?)?;
            run.rnn.forward_from(first.view(), &run.initial, &mut alone)?;
            same_bits("the first chunk", &d_of_first, &backward(&mut alone, &first, &d_first, &Vec::new())?)?;
            // What truncation drops.
            backward(&mut alone, &first, &d_first, on.d_initial().unwrap())?;
            same_bits("d h0", alone.d_initial().unwrap().as_flattened(), whole.d_initial().unwrap().as_flattened())?;
        }
        Ok(())
    });
}

/// Without fused multiply-add the answer is another, by a bounded rounding. With weights whose sums of absolute values
/// are at most `m` (recurrent: at most 1) and data in -1 .. 1, a step adds at most `n U m` for its `n` roundings and one
/// unit in the last place for tanh to what the step before left, on each side.
#[test]
fn levels_without_fma_are_close() {
    const U: f64 = 1.0 / (1u64 << 24) as f64;
    property(64, (case(1), any::<u64>()), |(case, seed)| {
        let case = Case { seed, weights: Weights::Contracting, data: Values::Ordinary, ..case };
        let run = Run::<17, 33, 1>::new(case);
        let answers: Vec<Forward<33, Tanh>> =
            Level::available().map(|level| run.forward(level, run.case.orders.0)).collect::<Result<_, _>>()?;
        let (roundings, m) = ((17 + 33 + 9) as f64, (17.0 + 33.0 + 2.0) / 33.0);
        let a_step = roundings * U * m * 1.001 + 2.0 * U;
        for (a, b) in answers.iter().zip(&answers[1..]) {
            for (i, (a, b)) in a.0.iter().zip(&b.0).enumerate() {
                let t = i % run.case.steps;
                for (a, b) in a.iter().zip(b) {
                    let bound = 2.0 * (t + 1) as f64 * a_step;
                    prop_assert!((f64::from(*a) - f64::from(*b)).abs() <= bound, "{} and {} at step {}", a, b, t);
                }
            }
        }
        Ok(())
    });
}

// ---- Committed answers ---------------------------------------------------------------------------------------------

/// The 64-bit hash of Fowler, Noll and Vo (FNV-1a) over the bits, lowest byte first.
fn hash(numbers: impl IntoIterator<Item = f32>) -> u64 {
    let bytes = numbers.into_iter().flat_map(|x| x.to_bits().to_le_bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}

fn draw<const N: usize>(generator: &mut Generator, rows: usize) -> Vec<[f32; N]> {
    (0..rows).map(|_| core::array::from_fn(|_| generator.uniform(-2.0, 2.0))).collect()
}

/// The fixed runs: name, and hash of the result.
fn fixed_runs(level: Level) -> Result<Vec<(&'static str, u64)>, TestCaseError> {
    let mut runs = Vec::new();

    let mut identity = RnnCell::<1, 1>::zeros();
    identity.weight_ih[0][0] = 1.0;
    let tanh = |bits: u32| {
        let mut y = [0.0];
        identity.at(level).step_in_place(&[f32::from_bits(bits)], &mut y);
        y[0]
    };
    // Every finite magnitude, 1001 units in the last place apart.
    let swept: Vec<f32> = (0..0x7f80_0000).step_by(1001).map(tanh).collect();
    runs.push(("tanh", hash(swept)));

    let mut generator = Generator::seed(1);
    let cell = RnnCell::<10, 17>::new(&mut generator);
    let mut h = [0.0; 17];
    let mut states = Vec::new();
    for x in draw::<10>(&mut generator, 1000) {
        cell.at(level).step_in_place(&x, &mut h);
        states.extend(h);
    }
    runs.push(("rnn_cell_stream", hash(states)));

    let rnn = Rnn::<24, 40, 2>::new(&mut generator);
    let (input, d_output) = (draw::<24>(&mut generator, 35 * 37), draw::<40>(&mut generator, 35 * 37));
    let (initial, d_final) = (draw::<40>(&mut generator, 2 * 37), draw::<40>(&mut generator, 2 * 37));
    let input = Rows::new(Order::TimeMajor, (35, 37), input);
    let d_output = Rows::new(Order::BatchFirst, (35, 37), d_output);
    let mut trace = Kept::at(level).with_d_input();
    rnn.forward_from(input.view(), &initial, &mut trace)?;
    let mut gradients = rnn.zeros_like();
    rnn.backward_from(input.view(), &mut trace, d_output.view(), &d_final, &mut gradients)?;
    runs.push(("rnn_output", hash(trace.output().iter().flatten().copied())));
    runs.push(("rnn_final_state", hash(trace.final_state().iter().flatten().copied())));
    runs.push(("rnn_gradients", hash(flat(&gradients))));
    runs.push(("rnn_d_input", hash(trace.d_input().unwrap().iter().flatten().copied())));
    runs.push(("rnn_d_initial", hash(trace.d_initial().unwrap().iter().flatten().copied())));

    let linear = Linear::<70, 33>::new(&mut generator);
    let (x, d_y) = (draw::<70>(&mut generator, 50), draw::<33>(&mut generator, 50));
    let mut trace = Kept::at(level).with_d_input();
    linear.forward_into(&x, &mut trace)?;
    let gradients = linear.backward(&x, &mut trace, &d_y)?;
    runs.push(("linear_output", hash(trace.output().iter().flatten().copied())));
    runs.push(("linear_gradients", hash(flat(&gradients))));
    runs.push(("linear_d_input", hash(trace.d_input().unwrap().iter().flatten().copied())));

    let logits: Vec<[f32; 37]> = draw::<37>(&mut generator, 99).into_iter().map(|row| row.map(|z| 10.0 * z)).collect();
    let targets: Vec<usize> = (0..99).map(|i| i * i % 37).collect();
    let (loss, d_logits) = CrossEntropy::mean().at(level).loss(&logits, &targets)?;
    runs.push(("cross_entropy", hash(d_logits.rows().iter().flatten().copied().chain([loss]))));

    let mut model: Model = (Embedding::new(&mut generator), Rnn::new(&mut generator), Linear::new(&mut generator));
    let case = Case {
        seed: 7,
        steps: 21,
        batch: 19,
        weights: Weights::Initial,
        data: Values::Ordinary,
        gradient: Values::Ordinary,
        orders: (Order::TimeMajor, Order::BatchFirst),
        initial: false,
        d_final: false,
        d_input: false,
    };
    runs.push(("training", hash(train(&mut model, level, &case, 20)?.concat())));

    let rnn = Rnn::<24, 40, 2, Relu>::new(&mut generator);
    let (input, d_output) = (draw::<24>(&mut generator, 35 * 37), draw::<40>(&mut generator, 35 * 37));
    let input = Rows::new(Order::TimeMajor, (35, 37), input);
    let d_output = Rows::new(Order::BatchFirst, (35, 37), d_output);
    let mut kept = Kept::at(level);
    rnn.forward_into(input.view(), &mut kept)?;
    let gradients = rnn.backward(input.view(), &mut kept, d_output.view())?;
    runs.push(("relu_output", hash(kept.output().iter().flatten().copied())));
    runs.push(("relu_gradients", hash(flat(&gradients))));

    let mut generator = Generator::seed(2);
    runs.extend(of_gates::<Gru>(level, &mut generator)?.into_iter().zip(GRU).map(|(hash, name)| (name, hash)));
    runs.extend(of_gates::<Lstm>(level, &mut generator)?.into_iter().zip(LSTM).map(|(hash, name)| (name, hash)));
    Ok(runs)
}

const GRU: [&str; 7] =
    ["gru_stream", "gru_output", "gru_final_state", "gru_gradients", "gru_d_input", "gru_d_initial", "gru_steps_back"];
const LSTM: [&str; 7] = [
    "lstm_stream",
    "lstm_output",
    "lstm_final_state",
    "lstm_gradients",
    "lstm_d_input",
    "lstm_d_initial",
    "lstm_steps_back",
];

/// A stream, a batch through two layers and back, and single steps back, of a cell of gates.
fn of_gates<A: Cell>(level: Level, generator: &mut Generator) -> Result<Vec<u64>, TestCaseError> {
    let mut hashes = Vec::new();
    let cell = RnnCell::<10, 17, A>::new(generator);
    let mut state: A::State<17> = bytemuck::Zeroable::zeroed();
    let (mut states, mut all) = (Vec::new(), vec![state]);
    let inputs = draw::<10>(generator, 1000);
    for x in &inputs {
        cell.at(level).step_in_place(x, &mut state);
        states.extend(state.h().iter().chain(state.c()));
        all.push(state);
    }
    hashes.push(hash(states));

    let rnn = Rnn::<24, 40, 2, A>::new(generator);
    let (input, d_output) = (draw::<24>(generator, 35 * 37), draw::<40>(generator, 35 * 37));
    let initial = states_of(|| draw::<40>(generator, 2 * 37));
    let d_final = states_of(|| draw::<40>(generator, 2 * 37));
    let input = Rows::new(Order::TimeMajor, (35, 37), input);
    let d_output = Rows::new(Order::BatchFirst, (35, 37), d_output);
    let mut kept = Kept::at(level).with_d_input();
    rnn.forward_from(input.view(), &initial, &mut kept)?;
    let mut gradients = rnn.zeros_like();
    rnn.backward_from(input.view(), &mut kept, d_output.view(), &d_final, &mut gradients)?;
    hashes.push(hash(kept.output().iter().flatten().copied()));
    hashes.push(hash(flat_states(kept.final_state())));
    hashes.push(hash(flat(&gradients)));
    hashes.push(hash(kept.d_input().unwrap().iter().flatten().copied()));
    hashes.push(hash(flat_states(kept.d_initial().unwrap())));

    let (mut d_state, mut gradients, mut numbers) = (all[0], RnnCell::<10, 17, A>::zeros(), Vec::new());
    for (step, x) in inputs.iter().enumerate().take(100).rev() {
        let (h, _) = d_state.both_mut();
        h.iter_mut().zip(&draw::<17>(generator, 1)[0]).for_each(|(h, d)| *h += d);
        let d_x;
        (d_x, d_state) = cell.at(level).step_backward_add(x, &all[step], &all[step + 1], &d_state, &mut gradients);
        numbers.extend(d_x);
    }
    numbers.extend(d_state.h().iter().chain(d_state.c()));
    numbers.extend(flat(&gradients));
    hashes.push(hash(numbers));
    Ok(hashes)
}

#[test]
fn committed_answers_are_reproduced() -> Checked {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/answers.txt");
    let levels = fused_levels();
    if levels.is_empty() {
        eprintln!("no level with fused multiply-add here: nothing to compare");
        return Ok(());
    }
    let lines = |level: Level| -> Result<String, TestCaseError> {
        Ok(fixed_runs(level)?.into_iter().map(|(name, hash)| format!("{name} {hash:016x}\n")).collect())
    };
    if std::env::var_os("ELMAN_WRITE_ANSWERS").is_some() {
        std::fs::write(path, lines(levels[0])?).unwrap();
    }
    let committed = std::fs::read_to_string(path).unwrap_or_else(|error| {
        panic!("{path}: {error}; ELMAN_WRITE_ANSWERS=1 cargo test --release --test one_answer committed writes it")
    });
    for level in levels {
        let given = lines(level)?;
        for (committed, given) in committed.lines().zip(given.lines()) {
            prop_assert_eq!(committed, given, "another answer than the committed one at level {}", level);
        }
        prop_assert_eq!(committed.lines().count(), given.lines().count());
    }
    Ok(())
}
