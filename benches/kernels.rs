//! Steps, sequences, batches and training steps at every level, against the naive reference.
//!
//! Criterion reports throughput in floating-point operations; only ratios within one run mean something.

mod common;

use common::rows;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use elman::reference;
use elman::{
    Adam, CrossEntropy, Embedding, Generator, Layer, Level, Linear, Parameters, Rnn, RnnCell, Sequences, Trace,
};
use std::hint::black_box;

fn reference_cell<const IN: usize, const HID: usize>(cell: &RnnCell<IN, HID>) -> reference::Cell {
    reference::Cell {
        input_size: IN,
        hidden_size: HID,
        weight_ih: cell.weight_ih_torch().map(f64::from).collect(),
        weight_hh: cell.weight_hh_torch().map(f64::from).collect(),
        bias_ih: cell.bias_ih.map(f64::from).to_vec(),
        bias_hh: cell.bias_hh.map(f64::from).to_vec(),
    }
}

/// One streaming step: x and h in, h out, dispatch included.
fn step<const H: usize>(c: &mut Criterion) {
    let mut generator = Generator::seed(1);
    let cell = RnnCell::<H, H>::boxed(&mut generator);
    let x = rows::<H>(&mut generator, 1)[0];
    let mut group = c.benchmark_group(format!("step/{H}"));
    group.throughput(Throughput::Elements((4 * H * H) as u64));
    for level in Level::available() {
        let mut h = [0.0; H];
        group.bench_function(level.name(), |b| b.iter(|| cell.step_at(level, black_box(&x), &mut h)));
    }
    let naive = reference_cell(&cell);
    let x = x.map(f64::from);
    let mut h = vec![0.0; H];
    group.bench_function("reference", |b| b.iter(|| h = reference::cell_step(&naive, black_box(&x), &h)));
    group.finish();
}

/// The way back through one step, gradients of everything: training without a heap.
fn step_backward<const H: usize>(c: &mut Criterion) {
    let mut generator = Generator::seed(1);
    let cell = RnnCell::<H, H>::boxed(&mut generator);
    let [x, h, d] = [0, 1, 2].map(|_| rows::<H>(&mut generator, 1)[0]);
    let next = cell.step(&x, &h);
    let mut gradients = RnnCell::<H, H>::zeros_boxed();
    let mut group = c.benchmark_group(format!("step-backward/{H}"));
    group.throughput(Throughput::Elements((8 * H * H) as u64));
    for level in Level::available() {
        group.bench_function(level.name(), |b| {
            b.iter(|| cell.step_backward_at(level, black_box(&x), &h, &next, &d, &mut gradients));
        });
    }
    let (naive, mut gradients) = (reference_cell(&cell), reference::Cell::zeros(H, H));
    let [x, h, next, d] = [x, h, next, d].map(|row| row.map(f64::from));
    group.bench_function("reference", |b| {
        b.iter(|| reference::cell_step_backward(&naive, black_box(&x), &h, &next, &d, &mut gradients));
    });
    group.finish();
}

/// tanh of an array, in numbers a second.
fn tanh(c: &mut Criterion) {
    const NUMBERS: usize = 4096;
    let numbers = rows::<NUMBERS>(&mut Generator::seed(1), 1)[0].map(|x| 4.0 * x);
    let mut group = c.benchmark_group("tanh");
    group.throughput(Throughput::Elements(NUMBERS as u64));
    let mut values = numbers;
    for level in Level::available() {
        group.bench_function(level.name(), |b| {
            b.iter(|| {
                values.copy_from_slice(black_box(&numbers));
                level.tanh(&mut values);
            });
        });
    }
    group.bench_function("std, single precision", |b| {
        b.iter(|| {
            for (value, x) in values.iter_mut().zip(black_box(&numbers)) {
                *value = x.tanh();
            }
        });
    });
    group.finish();
}

/// One matrix-vector product with its bias.
fn matvec<const H: usize>(c: &mut Criterion) {
    let mut generator = Generator::seed(1);
    let linear = Linear::<H, H>::boxed(&mut generator);
    let x = rows::<H>(&mut generator, 1)[0];
    let mut group = c.benchmark_group(format!("matvec/{H}"));
    group.throughput(Throughput::Elements((2 * H * H) as u64));
    for level in Level::available() {
        group.bench_function(level.name(), |b| b.iter(|| linear.apply_at(level, black_box(&x))));
    }
    let weight: Vec<f64> = linear.weight_torch().map(f64::from).collect();
    let (bias, x) = (linear.bias.map(f64::from), x.map(f64::from));
    group.bench_function("reference", |b| b.iter(|| reference::affine(&weight, &bias, black_box(&x))));
    group.finish();
}

/// One sequence of 1,000 steps in one call.
fn sequence<const H: usize>(c: &mut Criterion) {
    const STEPS: usize = 1000;
    let mut generator = Generator::seed(1);
    let cell = RnnCell::<H, H>::boxed(&mut generator);
    let x = rows::<H>(&mut generator, STEPS);
    let mut group = c.benchmark_group(format!("sequence/{H}"));
    group.throughput(Throughput::Elements((STEPS * 4 * H * H) as u64));
    for level in Level::available() {
        let mut trace = Trace::<Box<RnnCell<H, H>>>::at(level);
        group.bench_function(level.name(), |b| b.iter(|| cell.forward_into(black_box(&x), &mut trace).unwrap()));
    }
    let naive = reference_cell(&cell);
    let x: Vec<f64> = x.as_flattened().iter().map(|x| f64::from(*x)).collect();
    let h0 = vec![0.0; H];
    group.bench_function("reference", |b| b.iter(|| reference::layer_forward(&naive, black_box(&x), &h0)));
    group.finish();
}

/// 64 sequences of 100 steps: forward, and forward with full backpropagation through time.
fn batch<const H: usize>(c: &mut Criterion) {
    const STEPS: usize = 100;
    const BATCH: usize = 64;
    let mut generator = Generator::seed(1);
    let cell = RnnCell::<H, H>::boxed(&mut generator);
    let x = rows::<H>(&mut generator, STEPS * BATCH);
    let input = Sequences::batch_first(&x, STEPS, BATCH).unwrap();
    let operations = (2 * STEPS * BATCH * H * 2 * H) as u64;
    for training in [false, true] {
        let name = if training { "batch-training" } else { "batch-forward" };
        let mut group = c.benchmark_group(format!("{name}/{H}"));
        group.sample_size(10);
        group.throughput(Throughput::Elements(if training { 3 * operations } else { operations }));
        for level in Level::available() {
            let mut trace = Trace::<Box<RnnCell<H, H>>>::at(level).with_d_input();
            let mut gradients = cell.zeros_like();
            group.bench_function(BenchmarkId::from_parameter(level), |b| {
                b.iter(|| {
                    cell.forward_into(input, &mut trace).unwrap();
                    if training {
                        cell.backward_into(input, &mut trace, input, &mut gradients).unwrap();
                    }
                });
            });
        }
        group.finish();
    }
}

/// One training step of the tutorial's embedding model: forward, loss, backward, Adam.
fn tutorial(c: &mut Criterion) {
    let mut group = c.benchmark_group("training-step/embedding-model");
    let (hello, ohlol) = ([1, 0, 2, 2, 3], [3, 1, 2, 3, 2]);
    for level in Level::available() {
        let mut generator = Generator::seed(42);
        let mut model = (
            Embedding::<4, 10>::new(&mut generator),
            Rnn::<10, 8, 2>::new(&mut generator),
            Linear::<8, 4>::new(&mut generator),
        );
        let mut adam = Adam::new(0.05).with_level(level);
        let loss = CrossEntropy::mean().with_level(level);
        let (mut trace, mut gradients, mut d_logits) = (Trace::at(level), model.zeros_like(), Default::default());
        group.bench_function(level.name(), |b| {
            b.iter(|| {
                model.forward_into(&hello, &mut trace).unwrap();
                loss.loss_into(trace.output(), &ohlol, &mut d_logits).unwrap();
                model.backward_into(&hello, &mut trace, &d_logits, &mut gradients).unwrap();
                adam.step(&mut model, &gradients).unwrap();
            });
        });
    }
    let cells = {
        let rnn = Rnn::<10, 8, 2>::new(&mut Generator::seed(42));
        [reference_cell(rnn.first()), reference_cell(&rnn.rest()[0])]
    };
    let (table, head) = (vec![0.1; 40], vec![0.1; 32]);
    group.bench_function("reference", |b| {
        b.iter(|| {
            // Without the optimizer, which would only add to its time.
            let (bias, h0) = ([0.0; 4], [0.0; 16]);
            let x = reference::embedding(black_box(&table), 10, &hello);
            let outputs = reference::rnn_forward(&cells, &x, &h0);
            let logits: Vec<f64> = outputs[1].chunks(8).flat_map(|h| reference::affine(&head, &bias, h)).collect();
            let options = reference::Loss::default();
            let d_logits = reference::cross_entropy_rows_backward(&options, 4, &logits, &ohlol);
            let (mut d_head, mut d_bias, mut d_table) = ([0.0; 32], [0.0; 4], [0.0; 40]);
            let d_output: Vec<f64> = d_logits
                .chunks(4)
                .zip(outputs[1].chunks(8))
                .flat_map(|(d, h)| reference::affine_backward(&head, h, d, &mut d_head, &mut d_bias))
                .collect();
            let mut d_cells = [reference::Cell::zeros(10, 8), reference::Cell::zeros(8, 8)];
            let (d_x, _) = reference::rnn_backward(&cells, &x, &h0, &outputs, &d_output, &[0.0; 16], &mut d_cells);
            reference::embedding_backward(10, &hello, None, &d_x, &mut d_table);
            black_box((d_head, d_bias, d_table, d_cells))
        });
    });
    group.finish();
}

/// One training step of a character model: 64 sequences of 100 letters, mean cross-entropy, Adam; in letters.
fn character_model(c: &mut Criterion) {
    const STEPS: usize = 100;
    const BATCH: usize = 64;
    let letters: Vec<usize> = (0..STEPS * BATCH).map(|i| i * i % 65).collect();
    let letters = Sequences::batch_first(&letters, STEPS, BATCH).unwrap();
    let mut group = c.benchmark_group("training-step/character-model");
    group.sample_size(10);
    group.throughput(Throughput::Elements((STEPS * BATCH) as u64));
    for level in Level::available() {
        let mut generator = Generator::seed(42);
        let mut model = (
            Embedding::<65, 32>::new(&mut generator),
            Rnn::<32, 128, 2>::new(&mut generator),
            Linear::<128, 65>::new(&mut generator),
        );
        let mut adam = Adam::new(1e-3).with_level(level);
        let loss = CrossEntropy::mean().with_level(level);
        let (mut trace, mut gradients, mut d_logits) = (Trace::at(level), model.zeros_like(), Default::default());
        group.bench_function(level.name(), |b| {
            b.iter(|| {
                model.forward_into(letters, &mut trace).unwrap();
                loss.loss_into(trace.output(), letters, &mut d_logits).unwrap();
                model.backward_into(letters, &mut trace, &d_logits, &mut gradients).unwrap();
                adam.step(&mut model, &gradients).unwrap();
            });
        });
    }
    group.finish();
}

criterion_group!(
    benches,
    tanh,
    matvec::<16>,
    matvec::<64>,
    matvec::<256>,
    step::<4>,
    step::<8>,
    step::<16>,
    step::<32>,
    step::<64>,
    step::<128>,
    step_backward::<8>,
    step_backward::<16>,
    step_backward::<32>,
    step_backward::<64>,
    sequence::<16>,
    sequence::<32>,
    sequence::<64>,
    sequence::<128>,
    batch::<32>,
    batch::<64>,
    batch::<128>,
    batch::<256>,
    tutorial,
    character_model,
);
criterion_main!(benches);
