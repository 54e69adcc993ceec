//! Passes in memory that is used again: gradients that are added, chunks, work that stays on its thread, blocks of a stream.

use elman::{
    Batch, Chunked, CrossEntropy, Embedding, Error, Generator, Level, Linear, Model, Parameters, Relu, Rnn, RnnCell,
    Sequences, StepTrace, Steps, Stream, Workspace,
};
use rayon::prelude::*;
use std::cell::Cell;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

type Letters = (Embedding<7, 12>, Rnn<12, 40, 2>, Linear<40, 7>);

fn letters(seed: u64) -> Letters {
    let mut generator = Generator::seed(seed);
    (Embedding::new(&mut generator), Rnn::new(&mut generator), Linear::new(&mut generator))
}

fn flat(parameters: &impl Parameters) -> Vec<f32> {
    let mut all = Vec::new();
    parameters.visit(&mut |tensor| all.extend_from_slice(tensor));
    all
}

fn bits(parameters: &impl Parameters) -> Vec<u32> {
    flat(parameters).into_iter().map(f32::to_bits).collect()
}

/// Small whole numbers: sums of their products have no rounding as long as they are below 2^24, so that the bound for sums in
/// any order is zero. (`properties` has the derived bounds for other numbers.)
fn whole(seed: usize, parameters: &mut impl Parameters) {
    let mut next = seed;
    parameters.visit_mut(&mut |tensor| {
        tensor.fill_with(|| {
            next = (next * 1_103_515_245 + 12_345) % (1 << 31);
            [-1.0, 0.0, 1.0][next / 8 % 3]
        });
    });
}

/// `start` and the gradients of all batches, number by number.
fn is_the_sum(sum: &impl Parameters, terms: &[Vec<f32>]) {
    let sum = flat(sum);
    for (i, sum) in sum.iter().enumerate() {
        let exact: f64 = terms.iter().map(|term| f64::from(term[i])).sum();
        let magnitude: f64 = terms.iter().map(|term| f64::from(term[i].abs())).sum();
        assert!(magnitude < f64::from(1 << 24));
        assert_eq!(f64::from(*sum), exact, "number {i}");
    }
    assert!(terms.iter().all(|term| term.iter().filter(|d| **d != 0.0).count() > sum.len() / 4));
}

#[test]
fn gradients_of_batches_are_added() {
    type Whole = (Embedding<7, 4>, Rnn<4, 8, 2, Relu>, Linear<8, 3>);
    let mut model: Whole = (Embedding::zeros(), Rnn::zeros(), Linear::zeros());
    whole(1, &mut model);
    let mut start = model.clone();
    whole(2, &mut start);
    let tokens: Vec<usize> = (0..4 * 200).map(|i| i * i % 7).collect();
    let mut d: Linear<800, 3> = Linear::zeros();
    whole(3, &mut d);
    for level in Level::available() {
        let mut workspace = Workspace::new().at(level);
        let (mut sum, mut terms) = (start.clone(), vec![flat(&start)]);
        for (tokens, d) in tokens.chunks(400).zip(d.weight.chunks(400)) {
            let input = Sequences::time_major(tokens, Steps(2), Batch(200)).unwrap();
            let d = Sequences::time_major(d, Steps(2), Batch(200)).unwrap();
            terms.push(flat(&workspace.forward(&model, input).unwrap().backward(d).unwrap()));
            workspace.forward(&model, input).unwrap().backward_add(d, &mut sum).unwrap();
        }
        is_the_sum(&sum, &terms);
    }
}

/// From zeros, it is the same as overwriting, to the bit.
#[test]
fn gradients_added_to_nothing() {
    let model = letters(1);
    let tokens: Vec<usize> = (0..33 * 40).map(|i| i * i % 7).collect();
    let input = Sequences::time_major(&tokens, Steps(33), Batch(40)).unwrap();
    for level in Level::available() {
        let mut workspace = Workspace::new().at(level);
        let pass = workspace.forward(&model, input).unwrap();
        let d_logits = CrossEntropy::mean().at(level).loss(pass.output(), input).unwrap().1;
        let separate = pass.backward(&d_logits).unwrap();
        let mut from_zeros = model.zeros_like();
        workspace.forward(&model, input).unwrap().backward_add(&d_logits, &mut from_zeros).unwrap();
        assert_eq!(bits(&from_zeros), bits(&separate));
    }
}

/// Chunks that are added give the bits of the whole that is added, on this thread or not.
#[test]
fn gradients_of_chunks_are_added() {
    let model = letters(2);
    let start = letters(3);
    let tokens: Vec<usize> = (0..200 * 20).map(|i| i * i % 7).collect();
    let input = Sequences::batch_first(&tokens, Batch(20), Steps(200)).unwrap();
    for level in Level::available() {
        let loss = CrossEntropy::mean_of(200 * 20).at(level);
        let mut workspace = Workspace::new().at(level);
        let (mut whole, mut d_initial) = (start.clone(), Vec::new());
        for _ in 0..2 {
            let pass = workspace.forward(&model, input).unwrap();
            let d_logits = loss.loss(pass.output(), input).unwrap().1;
            d_initial = pass.backward_add(&d_logits, &mut whole).unwrap().d_initial().1.clone();
        }
        for mut chunked in [Chunked::new(32).unwrap().at(level), Chunked::new(32).unwrap().at(level).on_this_thread()] {
            let mut added = start.clone();
            for _ in 0..2 {
                let of_chunk = |steps: Range<usize>, logits: Sequences<'_, _>, d: &mut _| {
                    let targets: Vec<usize> =
                        tokens.chunks(200).flat_map(|sample| &sample[steps.clone()]).copied().collect();
                    loss.loss_into(logits, Sequences::batch_first(&targets, Batch(20), Steps(steps.len()))?, d)
                };
                chunked.train_add(&model, input, &Default::default(), &mut added, of_chunk).unwrap();
            }
            assert_eq!(bits(&added), bits(&whole), "{level}");
            assert_eq!(chunked.d_initial().1, d_initial, "{level}");
        }
    }
}

/// Steps of `StepTrace` overwrite or add, as the name says.
#[test]
fn gradients_of_steps_overwrite_or_add() {
    let mut cell = RnnCell::<3, 5, Relu>::zeros();
    whole(4, &mut cell);
    let mut start = cell;
    whole(5, &mut start);
    let mut trace = StepTrace::<_, 4>::new();
    for x in [[2.0, -1.0, 3.0], [1.0, 4.0, -2.0], [-1.0, 1.0, 2.0]] {
        trace.advance(&cell, &x).unwrap();
    }
    let d = [[1.0; 5], [2.0; 5], [-3.0; 5]];
    let (mut over, mut from_zeros, mut added) = (cell, cell.zeros_like(), start);
    trace.backward_into(&cell, &d, &mut over).unwrap();
    trace.backward_add(&cell, &d, &mut from_zeros).unwrap();
    assert_eq!(bits(&over), bits(&from_zeros));
    for _ in 0..2 {
        trace.backward_add(&cell, &d, &mut added).unwrap();
    }
    is_the_sum(&added, &[flat(&start), flat(&over), flat(&over)]);
    let before = bits(&over);
    assert!(trace.backward_into(&cell, &d[..1], &mut over).is_err());
    assert_eq!(bits(&over), before);
}

thread_local! {
    /// Whether this thread is within a pass.
    static IN_A_PASS: Cell<bool> = const { Cell::new(false) };
}

/// Does passes in a pool that other tasks are spawned into all the time, until one of these has run in the midst of a pass: on
/// a thread that waits for a part of its own. Whether one has, after so many passes.
fn a_task_is_taken_up(passes: usize, pass: impl Fn() + Sync) -> bool {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
    let (taken_up, done) = (Arc::new(AtomicBool::new(false)), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::SeqCst) {
                let taken_up = Arc::clone(&taken_up);
                pool.spawn(move || {
                    if IN_A_PASS.get() {
                        taken_up.store(true, Ordering::SeqCst);
                    }
                });
                std::thread::sleep(Duration::from_micros(20));
            }
        });
        pool.install(|| {
            for _ in 0..passes {
                IN_A_PASS.set(true);
                pass();
                IN_A_PASS.set(false);
                if taken_up.load(Ordering::SeqCst) {
                    break;
                }
            }
        });
        done.store(true, Ordering::SeqCst);
    });
    taken_up.load(Ordering::SeqCst)
}

/// The same bits, and no other task of the pool is taken up, which might wait for a lock that is held across the pass.
#[test]
fn work_stays_on_its_thread() {
    let model = letters(4);
    let tokens: Vec<usize> = (0..100 * 64).map(|i| i * i % 7).collect();
    let input = Sequences::batch_first(&tokens, Batch(64), Steps(100)).unwrap();
    let train = |mut workspace: Workspace<Letters>, loss: CrossEntropy| {
        let pass = workspace.forward(&model, input).unwrap();
        let d_logits = loss.loss(pass.output(), input).unwrap().1;
        pass.backward(&d_logits).unwrap()
    };
    let chunks = |mut chunked: Chunked<Letters>, loss: CrossEntropy| {
        let mut gradients = model.zeros_like();
        let of_chunk = |steps: Range<usize>, logits: Sequences<'_, _>, d: &mut _| {
            let targets: Vec<usize> = tokens.chunks(100).flat_map(|sample| &sample[steps.clone()]).copied().collect();
            loss.loss_into(logits, Sequences::batch_first(&targets, Batch(64), Steps(steps.len()))?, d)
        };
        chunked.train_into(&model, input, &Default::default(), &mut gradients, of_chunk).unwrap();
        gradients
    };
    let shared = bits(&train(Workspace::new(), CrossEntropy::mean()));
    let taken_up = a_task_is_taken_up(100, || {
        let alone = train(Workspace::new().on_this_thread(), CrossEntropy::mean().on_this_thread());
        assert_eq!(bits(&alone), shared);
    });
    assert!(!taken_up, "another task was taken up during a pass");
    let taken_up = a_task_is_taken_up(50, || {
        let loss = CrossEntropy::mean_of(100 * 64).on_this_thread();
        let alone = chunks(Chunked::new(48).unwrap().on_this_thread(), loss);
        assert_eq!(bits(&alone), shared);
    });
    assert!(!taken_up, "another task was taken up during a chunk");
    if cfg!(feature = "rayon") {
        // What the test would see.
        let taken_up = a_task_is_taken_up(10_000, || drop(train(Workspace::new(), CrossEntropy::mean())));
        assert!(taken_up, "passes that share their work take up no other task: this test tests nothing");
    }
}

/// A lock that is held across a pass, in a `par_iter` of the user's, is released again: no task waits for itself.
#[test]
fn a_lock_across_a_pass() {
    let model = letters(5);
    let tokens: Vec<usize> = (0..100 * 64).map(|i| i * i % 7).collect();
    let input = Sequences::batch_first(&tokens, Batch(64), Steps(100)).unwrap();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(4).build().unwrap();
    let lock = Mutex::new(Workspace::new().on_this_thread());
    let losses: Vec<u32> = pool.install(|| {
        (0..32)
            .into_par_iter()
            .map(|_| {
                assert!(!IN_A_PASS.get(), "another task was taken up during a pass");
                let mut workspace = lock.lock().unwrap();
                IN_A_PASS.set(true);
                let pass = workspace.forward(&model, input).unwrap();
                let (loss, d_logits) = CrossEntropy::mean().on_this_thread().loss(pass.output(), input).unwrap();
                pass.backward(&d_logits).unwrap();
                IN_A_PASS.set(false);
                loss.to_bits()
            })
            .collect()
    });
    assert!(losses.iter().all(|loss| *loss == losses[0]));
}

#[test]
fn blocks_of_a_stream() {
    let mut generator = Generator::seed(5);
    let model = (RnnCell::<2, 9>::new(&mut generator), Linear::<9, 3>::new(&mut generator));
    let mut inputs = vec![[0.0; 2]; 37];
    generator.fill_uniform(inputs.as_flattened_mut(), -1.0, 1.0);
    for level in Level::available() {
        let (mut by_blocks, mut by_steps) = (Stream::new(&model).at(level), Stream::new(&model).at(level));
        let mut outputs = vec![[0.0; 3]; 37];
        for (inputs, outputs) in inputs.chunks(16).zip(outputs.chunks_mut(16)) {
            by_blocks.process(inputs, outputs).unwrap();
        }
        let expected: Vec<[f32; 3]> = inputs.iter().map(|x| by_steps.advance(x)).collect();
        assert_eq!(outputs, expected);
        let state = by_blocks.state().0;
        let refused = by_blocks.process(&inputs[..2], &mut outputs[..3]).unwrap_err();
        assert_eq!(refused, Error::Length { what: "outputs of the block", expected: 2, given: 3 });
        assert_eq!((by_blocks.state().0, outputs), (state, expected));
    }
}

/// A pass of its own memory gives what one in a workspace gives.
#[test]
fn memory_of_the_pass() {
    let model = letters(6);
    let tokens = [0, 3, 6, 2, 1];
    let mut workspace = Workspace::new();
    let in_workspace = workspace.forward(&model, &tokens).unwrap();
    let own = model.forward(&tokens).unwrap();
    assert!(own.output().iter().eq(in_workspace.output().iter()));
    assert_eq!(own.final_state().1, in_workspace.final_state().1);
    let d = vec![[0.5; 7]; 5];
    assert_eq!(bits(&own.backward(&d).unwrap()), bits(&in_workspace.backward(&d).unwrap()));
}
