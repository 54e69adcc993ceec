//! How to use `RnnCell`: a cell driven by hand over 3 steps, with 4 inputs, 2 hidden units and a batch of 1.

mod common;

use common::say;
use elman::{Error, Generator, RnnCell};

fn main() -> Result<(), Error> {
    common::no_options();
    let mut generator = Generator::seed(42); // the numbers of torch.manual_seed(42)
    let cell = RnnCell::<4, 2>::new(&mut generator);
    let mut inputs = [[[0.0; 4]; 1]; 3]; // (steps, batch, inputs)
    generator.fill_normal(inputs.as_flattened_mut().as_flattened_mut());

    let mut hidden = [[0.0; 2]; 1]; // (batch, hidden)
    for (step, input) in inputs.iter().enumerate() {
        cell.step_batch_in_place(input, &mut hidden)?;
        say!("==================== {step} ====================");
        say!("Input size:  [{}, {}]", input.len(), input[0].len());
        say!("Hidden size: [{}, {}]", hidden.len(), hidden[0].len());
        say!("Hidden: {hidden:.4?}");
    }
    Ok(())
}
