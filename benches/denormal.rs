//! What numbers at the edge of zero cost: each work as a multiple of the time of the same work on ordinary numbers.
//!
//! `cargo bench --bench denormal`. Gradients that die on their way back, states that fade, saturated losses and weights
//! that have shrunk to nothing end among the denormal numbers (below 1.2e-38), with which many CPUs are tens of times
//! slower. The crate makes them zero where they arise; every line should be near 1.0.

mod common;

use common::{rows, seconds, shortest_in_turns, shortest_parts_in_turns};
use elman::{
    Adam, Batch, Chunked, CrossEntropy, Generator, Level, Linear, Parameters, RnnCell, Sequences, SequencesBuf,
    StepTrace, Steps, Workspace,
};
use std::time::Duration;

const TIME: Duration = Duration::from_millis(300);
const BATCH: usize = 32;

fn report(level: Level, what: &str, times: &[f64]) {
    println!("{:>8} {what:<58} {:>10.1} us {:>7.2} x", level.name(), times[0] * 1e6, times[0] / times[1]);
}

/// Backward with a gradient on the last step only, against gradients on all steps.
fn dying_gradients(level: Level, cell: &RnnCell<8, 64>, steps: usize, what: &str) {
    let mut generator = Generator::seed(2);
    let x = rows::<8>(&mut generator, steps * BATCH);
    let input = Sequences::batch_first(&x, Batch(BATCH), Steps(steps)).unwrap();
    let all = vec![[0.1; 64]; steps * BATCH];
    let mut last = vec![[0.0; 64]; steps * BATCH];
    last.iter_mut().skip(steps - 1).step_by(steps).for_each(|row| *row = [0.1; 64]);
    let [mut of_last, mut of_all] = [(); 2].map(|()| Workspace::new().at(level).with_d_input());
    let [mut d_cell, mut others] = [RnnCell::zeros(); 2];
    let d = |rows| Sequences::batch_first(rows, Batch(BATCH), Steps(steps)).unwrap();
    let times = shortest_parts_in_turns(
        TIME,
        &mut [
            &mut || {
                let pass = of_last.forward(cell, input).unwrap();
                seconds(|| _ = pass.backward_into(d(&last), &mut d_cell).unwrap())
            },
            &mut || {
                let pass = of_all.forward(cell, input).unwrap();
                seconds(|| _ = pass.backward_into(d(&all), &mut others).unwrap())
            },
        ],
    );
    report(level, &format!("backward, {what}, T = {steps}, last step only"), &times);

    let chunked = |d: &[[f32; 64]]| {
        let mut chunked = Chunked::new(64).unwrap().at(level);
        let mut gradients = RnnCell::zeros();
        let d = d.to_vec();
        move || {
            let d = Sequences::batch_first(&d, Batch(BATCH), Steps(steps)).unwrap();
            let loss =
                |range: std::ops::Range<usize>, _: Sequences<'_, [f32; 64]>, to: &mut SequencesBuf<[f32; 64]>| {
                    to.reshape((range.len(), BATCH));
                    for (to, d) in to.rows_mut().iter_mut().zip(d.of_steps(range).iter()) {
                        *to = *d;
                    }
                    Ok(0.0)
                };
            chunked.train_into(cell, input, &Vec::new(), &mut gradients, loss).unwrap();
        }
    };
    let times = shortest_in_turns(TIME, &mut [&mut chunked(&last), &mut chunked(&all)]);
    report(level, &format!("Chunked, {what}, T = {steps}, last step only"), &times);
}

/// The same step by step.
fn dying_steps(level: Level, cell: &RnnCell<8, 64>, what: &str) {
    const STEPS: usize = 200;
    let x = rows::<8>(&mut Generator::seed(2), STEPS);
    let mut trace = Box::new(StepTrace::<RnnCell<8, 64>, STEPS>::new().at(level));
    for x in &x {
        trace.advance(cell, x).unwrap();
    }
    let (mut last, all) = (vec![[0.0; 64]; STEPS], vec![[0.1; 64]; STEPS]);
    last[STEPS - 1] = [0.1; 64];
    let mut gradients = [RnnCell::zeros(); 2];
    let [of_last, of_all] = &mut gradients;
    let times = shortest_in_turns(
        TIME,
        &mut [&mut || _ = trace.backward_add(cell, &last, of_last).unwrap(), &mut || {
            _ = trace.backward_add(cell, &all, of_all).unwrap()
        }],
    );
    report(level, &format!("StepTrace, {what}, T = {STEPS}, last step only"), &times);
}

/// Logits a number apart: the loss, and the backward of the layer in front of it.
fn saturated_logits(level: Level, apart: f32) {
    const ROWS: usize = 6400;
    let logits = |apart: f32| -> Vec<[f32; 65]> {
        (0..ROWS).map(|row| std::array::from_fn(|class| if class == row % 65 { apart } else { 0.0 })).collect()
    };
    let targets: Vec<usize> = (0..ROWS).map(|row| row % 65).collect();
    let (saturated, ordinary) = (logits(apart), logits(1.0));
    let loss = CrossEntropy::mean().at(level);
    let (mut d_saturated, mut d_ordinary) = (SequencesBuf::default(), SequencesBuf::default());
    let times = shortest_in_turns(
        TIME,
        &mut [&mut || _ = loss.loss_into(&saturated, &targets, &mut d_saturated).unwrap(), &mut || {
            _ = loss.loss_into(&ordinary, &targets, &mut d_ordinary).unwrap()
        }],
    );
    report(level, &format!("cross-entropy, logits {apart} apart"), &times);

    let mut generator = Generator::seed(3);
    let linear = Linear::<32, 65>::new(&mut generator);
    let x = rows::<32>(&mut generator, ROWS);
    let [mut of_saturated, mut of_ordinary] = [(); 2].map(|()| Workspace::new().at(level).with_d_input());
    let mut gradients = [Linear::zeros(); 2];
    let [g_saturated, g_ordinary] = &mut gradients;
    let times = shortest_parts_in_turns(
        TIME,
        &mut [
            &mut || {
                let pass = of_saturated.forward(&linear, &x).unwrap();
                seconds(|| _ = pass.backward_into(&d_saturated, g_saturated).unwrap())
            },
            &mut || {
                let pass = of_ordinary.forward(&linear, &x).unwrap();
                seconds(|| _ = pass.backward_into(&d_ordinary, g_ordinary).unwrap())
            },
        ],
    );
    report(level, &format!("Linear's backward, logits {apart} apart"), &times);
}

/// Adam and the norm on gradients of one size.
fn small_gradients(level: Level, size: f32) {
    let of_size = |size: f32| {
        let mut linear = Linear::<256, 256>::zeros_boxed();
        linear.visit_mut(&mut |tensor| tensor.fill(size));
        linear
    };
    let (small, ordinary) = (of_size(size), of_size(1e-3));
    let mut models = [of_size(0.5), of_size(0.5)];
    let [of_small, of_ordinary] = &mut models;
    let mut adams = [(); 2].map(|()| Adam::new(1e-3).at(level));
    let [adam_small, adam_ordinary] = &mut adams;
    let times = shortest_in_turns(
        TIME,
        &mut [&mut || adam_small.step(of_small, &small).unwrap(), &mut || {
            adam_ordinary.step(of_ordinary, &ordinary).unwrap()
        }],
    );
    report(level, &format!("Adam, gradients of {size:e}"), &times);
    let (mut small, mut ordinary) = (small, ordinary);
    let times = shortest_in_turns(TIME, &mut [&mut || _ = small.clip_norm(1e9), &mut || _ = ordinary.clip_norm(1e9)]);
    report(level, &format!("clip_norm, gradients of {size:e}"), &times);
}

fn main() {
    for level in Level::available() {
        let cell = RnnCell::<8, 64>::new(&mut Generator::seed(1));
        dying_gradients(level, &cell, 200, "PyTorch's initial weights");
        dying_gradients(level, &cell, 1000, "PyTorch's initial weights");
        dying_steps(level, &cell, "PyTorch's initial weights");
        let mut leaky = cell;
        leaky.weight_hh = std::array::from_fn(|i| std::array::from_fn(|j| if i == j { 0.8 } else { 0.0 }));
        dying_gradients(level, &leaky, 1500, "weight_hh = 0.8 x identity");
        dying_steps(level, &leaky, "weight_hh = 0.8 x identity");
        for apart in [70.0, 80.0, 86.0, 90.0, 95.0, 100.0] {
            saturated_logits(level, apart);
        }
        for size in [1e-18, 1e-19, 1e-20, 1e-21, 1e-39] {
            small_gradients(level, size);
        }
    }
}
