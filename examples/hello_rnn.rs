//! Teaches an RNN of one layer to answer `heloo` with `ohlol`. It reads one-hot letters; its outputs are the logits.

mod common;

use common::{Options, TARGET, say, spell};
use elman::{Adam, CrossEntropy, Error, Generator, Model, Rnn};

fn main() -> Result<(), Error> {
    let Options { seed, epochs, word, .. } = Options::from_args("heloo");
    let inputs = word.map(|letter| std::array::from_fn(|i| f32::from(i == letter))); // one-hot

    let mut rnn = Rnn::<4, 4, 1>::new(&mut Generator::seed(seed));
    let mut adam = Adam::new(0.1);
    for epoch in 1..=epochs {
        let pass = rnn.forward(&inputs)?;
        let (loss, d_output) = CrossEntropy::mean().loss(pass.output(), &TARGET)?;
        say!("Predicted:  {}, Epoch [{epoch}/{epochs}] loss = {loss:.3}", spell(pass.output()));
        let gradients = pass.backward(&d_output)?;
        adam.step(&mut rnn, &gradients)?;
    }
    Ok(())
}
