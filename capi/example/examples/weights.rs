//! Trains the speller, and prints the weights of a model as Rust source: `cargo run --release --example weights speller`.
//! The detector has the initial values of a seed, in the place of a training.

use elman::{Adam, CrossEntropy, Embedding, Generator, Linear, LstmCell, Model, RnnCell, Source, TokenLstmCell};
use models::{Detector, Speller};

fn main() -> Result<(), elman::Error> {
    match std::env::args().nth(1).as_deref() {
        Some("detector") => print!("{}", detector().rust_static("DETECTOR")),
        Some("speller") => print!("{}", speller()?.rust_static("SPELLER")),
        _ => eprintln!("usage: weights detector|speller"),
    }
    Ok(())
}

fn detector() -> Detector {
    let mut generator = Generator::seed(42);
    (RnnCell::new(&mut generator), Linear::new(&mut generator))
}

fn speller() -> Result<Speller, elman::Error> {
    let mut generator = Generator::seed(42);
    let mut model = (
        Embedding::<4, 10>::new(&mut generator),
        LstmCell::<10, 8>::new(&mut generator),
        Linear::<8, 4>::new(&mut generator),
    );
    let mut adam = Adam::new(0.05);
    for _ in 0..60 {
        let pass = model.forward(&[1, 0, 2, 2, 3])?;
        let (_, d_logits) = CrossEntropy::mean().loss(pass.output(), &[3, 1, 2, 3, 2])?;
        let gradients = pass.backward(&d_logits)?;
        adam.step(&mut model, &gradients)?;
    }
    Ok((TokenLstmCell::new(&model.0, &model.1), model.2))
}
