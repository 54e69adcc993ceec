//! Steps, sequences, batches and training steps at every level, against the naive reference.
//!
//! Criterion reports throughput in floating-point operations; only ratios within one run mean something.

mod common;

use common::naive::{self, Naive, flattened};
use common::rows;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use elman::{
    Adam, Batch, CrossEntropy, Embedding, Generator, Layer, Level, Linear, Parameters, Rnn, RnnCell, Sequences, Steps,
    Workspace,
};
use elman_reference as reference;
use std::hint::black_box;

/// One streaming step: x and h in, h out, dispatch included.
fn step<const H: usize>(c: &mut Criterion) {
    let mut generator = Generator::seed(1);
    let cell = RnnCell::<H, H>::boxed(&mut generator);
    let x = rows::<H>(&mut generator, 1)[0];
    let mut group = c.benchmark_group(format!("step/{H}"));
    group.throughput(Throughput::Elements((4 * H * H) as u64));
    for level in Level::available() {
        let mut h = [0.0; H];
        group.bench_function(level.name(), |b| b.iter(|| cell.at(level).step_in_place(black_box(&x), &mut h)));
    }
    let naive = naive::cell(&cell);
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
            b.iter(|| cell.at(level).step_backward_add(black_box(&x), &h, &next, &d, &mut gradients));
        });
    }
    let (naive, mut gradients) = (naive::cell(&cell), reference::Cell::zeros(H, H));
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
    group.bench_function("reference", |b| {
        b.iter(|| black_box(&numbers).iter().map(|x| reference::tanh(f64::from(*x))).sum::<f64>());
    });
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
        group.bench_function(level.name(), |b| b.iter(|| linear.at(level).apply(black_box(&x))));
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
        let mut workspace = Workspace::new().at(level);
        group.bench_function(level.name(), |b| b.iter(|| _ = workspace.forward(&cell, black_box(&x)).unwrap()));
    }
    let naive = naive::cell(&cell);
    let x = flattened(&x);
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
    let input = Sequences::batch_first(&x, Batch(BATCH), Steps(STEPS)).unwrap();
    let operations = (2 * STEPS * BATCH * H * 2 * H) as u64;
    for training in [false, true] {
        let name = if training { "batch-training" } else { "batch-forward" };
        let mut group = c.benchmark_group(format!("{name}/{H}"));
        group.sample_size(10);
        group.throughput(Throughput::Elements(if training { 3 * operations } else { operations }));
        for level in Level::available() {
            let mut workspace = Workspace::new().at(level);
            if training {
                workspace = workspace.with_d_input();
            }
            let mut gradients = cell.zeros_like();
            group.bench_function(BenchmarkId::from_parameter(level), |b| {
                b.iter(|| {
                    let pass = workspace.forward(&cell, input).unwrap();
                    if training {
                        pass.backward_into(input, &mut gradients).unwrap();
                    }
                });
            });
        }
        // One of the sequences: the others take it as long.
        group.throughput(Throughput::Elements(if training { 3 * operations } else { operations } / BATCH as u64));
        let (naive, x, h) = (naive::cell(&cell), flattened(&x[..STEPS]), vec![0.0; H]);
        group.bench_function("reference, one sequence", |b| {
            b.iter(|| {
                let output = reference::layer_forward(&naive, black_box(&x), &h);
                if training {
                    let mut gradients = reference::Cell::zeros(H, H);
                    black_box(reference::layer_backward(&naive, &x, &h, &output, &x, &h, &mut gradients));
                }
                output
            });
        });
        group.finish();
    }
}

/// One training step of a model at every level, and of the same model by the reference: forward, loss, backward, Adam; in
/// steps of sequences.
fn training_step<M: Layer<Output = [f32; C]> + Clone, const C: usize>(
    c: &mut Criterion,
    name: &str,
    (model, adam, loss): (&M, &Adam<Vec<f32>>, CrossEntropy),
    (input, targets): (Sequences<'_, M::Input>, Sequences<'_, usize>),
    (naive, letters): (&mut Naive, &[usize]),
) {
    let mut group = c.benchmark_group(format!("training-step/{name}"));
    group.sample_size(if targets.batch() > 1 { 10 } else { 100 });
    group.throughput(Throughput::Elements((targets.steps() * targets.batch()) as u64));
    for level in Level::available() {
        let (mut model, mut adam, loss) = (model.clone(), adam.clone().at(level), loss.at(level));
        let (mut workspace, mut gradients) = (Workspace::new().at(level), model.zeros_like());
        let mut d_logits = Default::default();
        group.bench_function(level.name(), |b| {
            b.iter(|| {
                let pass = workspace.forward(&model, input).unwrap();
                loss.loss_into(pass.output(), targets, &mut d_logits).unwrap();
                pass.backward_into(&d_logits, &mut gradients).unwrap();
                adam.step(&mut model, &gradients).unwrap();
            });
        });
    }
    group.throughput(Throughput::Elements(targets.steps() as u64));
    let targets: Vec<usize> = targets.iter().take(targets.steps()).copied().collect();
    group.bench_function("reference, one sequence", |b| b.iter(|| naive.train(black_box(letters), &targets)));
    group.finish();
}

/// The tutorial's three programs.
fn tutorial(c: &mut Criterion) {
    const OHLOL: [usize; 5] = [3, 1, 2, 3, 2];
    let (heloo, hello) = ([1, 0, 2, 3, 3], [1, 0, 2, 2, 3]);
    let one_hot: [[f32; 4]; 5] = heloo.map(|letter| std::array::from_fn(|i| f32::from(i == letter)));
    let mut generator = Generator::seed(42);
    let adam = Adam::new(0.1);

    let cell = RnnCell::<4, 4>::new(&mut generator);
    let mut naive = Naive::new(vec![naive::cell(&cell)], reference::Reduction::Sum, 0.1);
    let (program, data) = ((&cell, &adam, CrossEntropy::sum()), ((&one_hot).into(), (&OHLOL).into()));
    training_step(c, "hello-rnn-cell", program, data, (&mut naive, &heloo));

    let rnn = Rnn::<4, 4, 1>::new(&mut generator);
    let mut naive = Naive::new(vec![naive::cell(rnn.first())], reference::Reduction::Mean, 0.1);
    let (program, data) = ((&rnn, &adam, CrossEntropy::mean()), ((&one_hot).into(), (&OHLOL).into()));
    training_step(c, "hello-rnn", program, data, (&mut naive, &heloo));

    let model = (
        Embedding::<4, 10>::new(&mut generator),
        Rnn::<10, 8, 2>::new(&mut generator),
        Linear::<8, 4>::new(&mut generator),
    );
    let cells = vec![naive::cell(model.1.first()), naive::cell(&model.1.rest()[0])];
    let mut naive = Naive::new(cells, reference::Reduction::Mean, 0.05).between(&model.0, &model.2);
    let adam = Adam::new(0.05);
    let (program, data) = ((&model, &adam, CrossEntropy::mean()), ((&hello).into(), (&OHLOL).into()));
    training_step(c, "hello-embedding", program, data, (&mut naive, &hello));
}

/// A character model: 64 sequences of 100 letters.
fn character_model(c: &mut Criterion) {
    const STEPS: usize = 100;
    const BATCH: usize = 64;
    let letters: Vec<usize> = (0..STEPS * BATCH).map(|i| i * i % 65).collect();
    let data = Sequences::batch_first(&letters, Batch(BATCH), Steps(STEPS)).unwrap();
    let mut generator = Generator::seed(42);
    let model = (
        Embedding::<65, 32>::new(&mut generator),
        Rnn::<32, 128, 2>::new(&mut generator),
        Linear::<128, 65>::new(&mut generator),
    );
    let cells = vec![naive::cell(model.1.first()), naive::cell(&model.1.rest()[0])];
    let mut naive = Naive::new(cells, reference::Reduction::Mean, 1e-3).between(&model.0, &model.2);
    let program = (&model, &Adam::new(1e-3), CrossEntropy::mean());
    training_step(c, "character-model", program, (data, data), (&mut naive, &letters[..STEPS]));
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
    batch::<512>,
    tutorial,
    character_model,
);
criterion_main!(benches);
