//! Sequences and batches, forward and back.

use crate::draw;
use elman::cells::States;
use elman::{
    Adam, Batch, Cell, CrossEntropy, Embedding, Error, Generator, Linear, Model, Parameters, Rnn, RnnCell, Sequences,
    Steps, Workspace,
};
use programs::hash::{Hash, of_parameters};
use programs::hello::{HELLO, OHLOL};

fn of_rows<'a, const N: usize>(rows: impl IntoIterator<Item = &'a [f32; N]>) -> u64 {
    let mut hash = Hash::new();
    rows.into_iter().for_each(|row| hash.add(row));
    hash.finish()
}

fn of_states<const HID: usize>(states: &impl States<HID>) -> u64 {
    let mut hash = Hash::new();
    hash.add(states.h().as_flattened());
    if let Some(c) = states.c() {
        hash.add(c.as_flattened());
    }
    hash.finish()
}

/// Two layers: 37 samples of 35 steps time-major, and one sample alone, from a state of zero.
pub fn stack<C: Cell>(generator: &mut Generator) -> Result<[(&'static str, u64); 6], Error> {
    let rnn = Rnn::<24, 40, 2, C>::new(generator);
    let (input, d_output) = (draw::<24>(generator, 35 * 37), draw::<40>(generator, 35 * 37));
    let input = Sequences::time_major(&input, Steps(35), Batch(37))?;
    let d_output = Sequences::batch_first(&d_output, Batch(37), Steps(35))?;
    let (mut workspace, mut gradients) = (Workspace::new().with_d_input(), rnn.zeros_like());

    let pass = workspace.forward(&rnn, input)?;
    let (output, last) = (of_rows(pass.output().iter()), of_states(pass.final_state()));
    let passed = pass.backward_into(d_output, &mut gradients)?;
    let d_input = passed.d_input().map_or(0, |d_input| of_rows(d_input.iter()));
    let d_initial = of_states(passed.d_initial());

    let (alone, d_alone) = (draw::<24>(generator, 100), draw::<40>(generator, 100));
    let of_alone = of_parameters(&rnn.forward(&alone)?.backward(&d_alone)?);
    Ok([
        ("output", output),
        ("final_state", last),
        ("gradients", of_parameters(&gradients)),
        ("d_input", d_input),
        ("d_initial", d_initial),
        ("alone", of_alone),
    ])
}

/// Output and gradients of a linear layer.
pub fn linear(generator: &mut Generator) -> Result<u64, Error> {
    let linear = Linear::<70, 33>::new(generator);
    let (x, d_y) = (draw::<70>(generator, 50), draw::<33>(generator, 50));
    let pass = linear.forward(&x)?;
    let output = of_rows(pass.output().iter());
    Ok(output ^ of_parameters(&pass.backward(&d_y)?))
}

/// Loss and gradient.
pub fn cross_entropy(generator: &mut Generator) -> Result<u64, Error> {
    let logits: Vec<[f32; 37]> = draw::<37>(generator, 99).into_iter().map(|row| row.map(|z| 10.0 * z)).collect();
    let targets: Vec<usize> = (0..99).map(|i| i * i % 37).collect();
    let (loss, d_logits) = CrossEntropy::mean().loss(&logits, &targets)?;
    Ok(of_rows(d_logits.rows()) ^ u64::from(loss.to_bits()))
}

/// The weights after 20 epochs of an embedding, two layers and a linear one over a batch of words.
pub fn training(generator: &mut Generator) -> Result<u64, Error> {
    let mut model =
        (Embedding::<4, 10>::new(generator), Rnn::<10, 8, 2>::new(generator), Linear::<8, 4>::new(generator));
    let words: Vec<usize> = (0..19 * 21).map(|i| i * i % 4).collect();
    let targets: Vec<usize> = words.iter().map(|letter| (letter * letter + 1) % 4).collect();
    let words = Sequences::batch_first(&words, Batch(19), Steps(21))?;
    let targets = Sequences::batch_first(&targets, Batch(19), Steps(21))?;
    let (mut adam, mut workspace, mut gradients) = (Adam::new(0.05), Workspace::new(), model.zeros_like());
    for _ in 0..20 {
        let pass = workspace.forward(&model, words)?;
        let (_, d_logits) = CrossEntropy::mean().loss(pass.output(), targets)?;
        pass.backward_into(&d_logits, &mut gradients)?;
        gradients.clip_norm(1.0);
        adam.step(&mut model, &gradients)?;
    }
    Ok(of_parameters(&model))
}

/// The page's training, as `examples/hello_rnn_cell.rs` has it.
pub fn hello(seed: u64) -> Result<u64, Error> {
    let inputs = HELLO.map(|letter| core::array::from_fn(|i| if i == letter { 1.0 } else { 0.0 }));
    let mut cell = RnnCell::<4, 4>::new(&mut Generator::seed(seed));
    let mut adam = Adam::new(0.1);
    for _ in 0..15 {
        let pass = cell.forward(&inputs)?;
        let (_, d_output) = CrossEntropy::sum().loss(pass.output(), &OHLOL)?;
        let gradients = pass.backward(&d_output)?;
        adam.step(&mut cell, &gradients)?;
    }
    Ok(of_parameters(&cell))
}
