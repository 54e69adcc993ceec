//! How to use `Rnn`: a whole sequence of 3 steps in one call, with 4 inputs, 2 hidden units, 1 layer and a batch of 1.

mod common;

use common::say;
use elman::{Batch, Error, Generator, Model, Rnn, Sequences, Steps};

fn main() -> Result<(), Error> {
    common::no_options();
    let mut generator = Generator::seed(42); // the numbers of torch.manual_seed(42)
    let rnn = Rnn::<4, 2, 1>::new(&mut generator);
    let mut inputs = [[0.0; 4]; 3]; // steps * batch rows of inputs
    generator.fill_normal_rows(&mut inputs);

    let pass = rnn.forward(Sequences::time_major(&inputs, Steps(3), Batch(1))?)?;
    let (output, hidden) = (pass.output(), pass.final_state());
    say!("Output size: [{}, {}, {}]", output.steps(), output.batch(), output.row(0, 0).len());
    for step in 0..output.steps() {
        say!("Output of step {step}: {:.4?}", output.row(0, step));
    }
    say!("Hidden size: [1, {}, {}]", hidden.len(), hidden[0].len());
    say!("Hidden: {hidden:.4?}");
    Ok(())
}
