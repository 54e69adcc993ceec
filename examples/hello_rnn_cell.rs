//! Teaches a tanh cell to answer `heloo` with `ohlol`. It reads one-hot letters; its hidden state is the logits.

mod common;

use common::{Options, TARGET, say, spell};
use elman::{Adam, CrossEntropy, Error, Generator, Model, RnnCell};

fn main() -> Result<(), Error> {
    let Options { seed, epochs, word, .. } = Options::from_args("heloo");
    let inputs = word.map(|letter| std::array::from_fn(|i| f32::from(i == letter))); // one-hot

    let mut cell = RnnCell::<4, 4>::new(&mut Generator::seed(seed));
    let mut adam = Adam::new(0.1);
    for epoch in 1..=epochs {
        let pass = cell.forward(&inputs)?;
        let (loss, d_output) = CrossEntropy::sum().loss(pass.output(), &TARGET)?;
        say!("Predicted string: {}, Epoch [{epoch}/{epochs}] loss={loss:.4}", spell(pass.output()));
        let gradients = pass.backward(&d_output)?;
        adam.step(&mut cell, &gradients)?;
    }
    Ok(())
}
