//! Passes in memory that is used again: gradients that are added, chunks, work that stays on its thread, blocks of a stream.

use elman::{
    Batch, Chunked, CrossEntropy, Embedding, Error, Generator, Level, Linear, Model, Parameters, Relu, Rnn, RnnCell,
    Sequences, StepTrace, Steps, Stream, Workspace,
};
use rayon::prelude::*;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

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

/// Each number of the sum is one of both, or their sum in some order: a few roundings of the largest of all.
fn is_the_sum(sum: &impl Parameters, terms: [&[f32]; 2]) {
    for ((sum, a), b) in flat(sum).into_iter().zip(terms[0]).zip(terms[1]) {
        let exact = f64::from(*a) + f64::from(*b);
        // The second term is added block by block to the first: as many roundings as it has blocks, groups and levels.
        let bound = 64.0 * f64::from(f32::EPSILON) * (f64::from(a.abs()) + f64::from(b.abs())) + 1e-6;
        assert!((f64::from(sum) - exact).abs() <= bound, "{sum} is not {a} + {b}");
    }
}

#[test]
fn gradients_of_batches_are_added() {
    let model = letters(1);
    let tokens: Vec<usize> = (0..3000).map(|i| i * i % 7).collect();
    let batches = [&tokens[..33 * 40], &tokens[33 * 40..][..33 * 40]];
    for level in Level::available() {
        let mut workspace = Workspace::new().at(level);
        let loss = CrossEntropy::mean().at(level);
        let mut separate = Vec::new();
        let mut sum = model.zeros_like();
        for tokens in batches {
            let input = Sequences::time_major(tokens, Steps(33), Batch(40)).unwrap();
            let pass = workspace.forward(&model, input).unwrap();
            let d_logits = loss.loss(pass.output(), input).unwrap().1;
            separate.push(flat(&pass.backward(&d_logits).unwrap()));
            workspace.forward(&model, input).unwrap().backward_add(&d_logits, &mut sum).unwrap();
        }
        is_the_sum(&sum, [&separate[0], &separate[1]]);
        // From zeros, it is the same as overwriting, to the bit.
        let input = Sequences::time_major(batches[0], Steps(33), Batch(40)).unwrap();
        let d_logits = loss.loss(workspace.forward(&model, input).unwrap().output(), input).unwrap().1;
        let mut from_zeros = model.zeros_like();
        workspace.forward(&model, input).unwrap().backward_add(&d_logits, &mut from_zeros).unwrap();
        assert_eq!(bits(&from_zeros), separate[0].iter().map(|d| d.to_bits()).collect::<Vec<_>>());
    }
}

#[test]
fn gradients_of_chunks_are_added() {
    let model = letters(2);
    let tokens: Vec<usize> = (0..200).map(|i| i * i % 7).collect();
    let loss = CrossEntropy::mean_of(200);
    let mut chunked = Chunked::new(32).unwrap();
    let (mut once, mut twice) = (model.zeros_like(), model.zeros_like());
    let initial = Default::default();
    chunked
        .train_into(&model, &tokens, &initial, &mut once, |steps, logits, d| loss.loss_into(logits, &tokens[steps], d))
        .unwrap();
    for _ in 0..2 {
        chunked
            .train_add(&model, &tokens, &initial, &mut twice, |steps, logits, d| {
                loss.loss_into(logits, &tokens[steps], d)
            })
            .unwrap();
    }
    is_the_sum(&twice, [&flat(&once), &flat(&once)]);
}

/// Steps of `StepTrace` overwrite or add, as the name says.
#[test]
fn gradients_of_steps_overwrite_or_add() {
    let cell = RnnCell::<3, 5, Relu>::new(&mut Generator::seed(3));
    let mut trace = StepTrace::<_, 4>::new();
    for x in [[0.5, -0.25, 1.0], [0.0, 1.0, -1.0]] {
        trace.advance(&cell, &x).unwrap();
    }
    let d = [[1.0; 5], [0.5; 5]];
    let (mut over, mut added) = (cell, cell.zeros_like());
    trace.backward_into(&cell, &d, &mut over).unwrap();
    trace.backward_add(&cell, &d, &mut added).unwrap();
    assert_eq!(bits(&over), bits(&added));
    trace.backward_add(&cell, &d, &mut added).unwrap();
    is_the_sum(&added, [&flat(&over), &flat(&over)]);
    let before = bits(&over);
    assert!(trace.backward_into(&cell, &d[..1], &mut over).is_err());
    assert_eq!(bits(&over), before);
}

/// The same bits, and no other task of the pool is taken up: a lock that is held across a pass does not wait for itself.
#[test]
fn work_stays_on_its_thread() {
    let model = letters(4);
    let tokens: Vec<usize> = (0..100 * 64).map(|i| i * i % 7).collect();
    let input = Sequences::batch_first(&tokens, Batch(64), Steps(100)).unwrap();
    let train = |workspace: &mut Workspace<Letters>, loss: CrossEntropy| {
        let pass = workspace.forward(&model, input).unwrap();
        let d_logits = loss.loss(pass.output(), input).unwrap().1;
        pass.backward(&d_logits).unwrap()
    };
    let shared = train(&mut Workspace::new(), CrossEntropy::mean());
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
    let (lock, entered) = (Mutex::new(()), AtomicBool::new(false));
    pool.install(|| {
        (0..8).into_par_iter().for_each(|_| {
            // A task that was taken up while another holds the lock on the same thread would wait for itself.
            let _held = match lock.try_lock() {
                Ok(held) => held,
                Err(_) => {
                    assert!(!HOLDS.get(), "another task was taken up during a pass");
                    lock.lock().unwrap()
                }
            };
            HOLDS.set(true);
            let alone = train(&mut Workspace::new().on_this_thread(), CrossEntropy::mean().on_this_thread());
            HOLDS.set(false);
            entered.store(true, Ordering::SeqCst);
            assert_eq!(bits(&alone), bits(&shared));
        });
    });
    assert!(entered.load(Ordering::SeqCst));
}

thread_local! {
    /// Whether this thread is within a pass that holds the lock.
    static HOLDS: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
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
