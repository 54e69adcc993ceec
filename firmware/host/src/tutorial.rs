//! The tutorial's training with batches and passes, on the heap: its log is that of the device.

use elman::{Adam, CrossEntropy, Error, Generator, Model};
use scenario::hello::{EPOCHS, HELLO, Hello, OHLOL, log, one_hot};
use scenario::print::Print;

/// Trains the tutorial's network from the same seed, and prints its log.
pub fn train(out: &mut impl Print) -> Result<(), Error> {
    let mut cell = Hello::new(&mut Generator::seed(42));
    let mut adam = Adam::new(0.1);
    for epoch in 1..=EPOCHS {
        let inputs = HELLO.map(one_hot);
        let pass = cell.forward(&inputs)?;
        let (loss, d_logits) = CrossEntropy::sum().loss(pass.output(), &OHLOL)?;
        let logits: Vec<[f32; 4]> = pass.output().iter().copied().collect();
        log(out, epoch, &logits, loss);
        let gradients = pass.backward(&d_logits)?;
        adam.step(&mut cell, &gradients)?;
    }
    Ok(())
}
