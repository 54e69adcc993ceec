//! Teaches a model of three layers to answer `hello` with `ohlol`: an embedding, an RNN of two layers, a linear layer.

mod common;

use common::{Options, TARGET, say, spell};
use elman::{Adam, CrossEntropy, Embedding, Error, Generator, Linear, Model, Rnn};

fn main() -> Result<(), Error> {
    let Options { seed, epochs, word } = Options::from_args("hello");

    let generator = &mut Generator::seed(seed);
    let mut model =
        (Embedding::<4, 10>::new(generator), Rnn::<10, 8, 2>::new(generator), Linear::<8, 4>::new(generator));
    let mut adam = Adam::new(0.05);
    for epoch in 1..=epochs {
        let pass = model.forward(&word)?;
        let (loss, d_output) = CrossEntropy::mean().loss(pass.output(), &TARGET)?;
        say!("Predicted:  {}, Epoch [{epoch}/{epochs}] loss = {loss:.3}", spell(pass.output()));
        let gradients = pass.backward(&d_output)?;
        adam.step(&mut model, &gradients)?;
    }
    Ok(())
}
