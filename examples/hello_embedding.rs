//! Teaches a model of three layers to answer `hello` with `ohlol`: an embedding, two recurrent layers (an RNN, or with `--cell` a
//! GRU or an LSTM), a linear layer.

mod common;

use common::{CellName, Options, TARGET, say, spell};
use elman::cells::{Gru, Lstm, Tanh};
use elman::{Adam, Cell, CrossEntropy, Embedding, Error, Generator, Linear, Model, Rnn};

fn main() -> Result<(), Error> {
    let options = Options::with_cell("hello");
    match options.cell {
        CellName::Rnn => train::<Tanh>(&options),
        CellName::Gru => train::<Gru>(&options),
        CellName::Lstm => train::<Lstm>(&options),
    }
}

fn train<C: Cell>(&Options { seed, epochs, word, .. }: &Options) -> Result<(), Error> {
    let generator = &mut Generator::seed(seed);
    let mut model =
        (Embedding::<4, 10>::new(generator), Rnn::<10, 8, 2, C>::new(generator), Linear::<8, 4>::new(generator));
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
