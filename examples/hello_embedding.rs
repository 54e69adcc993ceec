//! Teaches a model of three layers to answer `hello` with `ohlol`: an embedding, an RNN of two layers, a linear layer.

mod common;

use common::{Options, TARGET, say, spell};
use elman::{Adam, CrossEntropy, Embedding, Error, Generator, Layer, Linear, Rnn};

fn main() -> Result<(), Error> {
    let Options { seed, epochs, word } = Options::from_args("hello");

    let generator = &mut Generator::seed(seed);
    let mut model =
        (Embedding::<4, 10>::new(generator), Rnn::<10, 8, 2>::new(generator), Linear::<8, 4>::new(generator));
    let mut adam = Adam::new(0.05);
    for epoch in 1..=epochs {
        let mut trace = model.forward(&word)?;
        let (loss, d_output) = CrossEntropy::mean().loss(trace.output(), &TARGET)?;
        let gradients = model.backward(&word, &mut trace, &d_output)?;
        adam.step(&mut model, &gradients)?;
        say!("Predicted:  {}, Epoch [{epoch}/{epochs}] loss = {loss:.3}", spell(trace.output()));
    }
    Ok(())
}
