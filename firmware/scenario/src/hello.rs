//! The tutorial: a cell that is to answer `hello` with `ohlol`. It reads one-hot letters; its hidden state is the logits.

use crate::hash::Hash;
use crate::print::Print;
use crate::weights;
use elman::{Adam, CrossEntropy, Error, Generator, Parameters, RnnCell, StepTrace, Stream};

/// A cell whose state is a logit for each letter.
pub type Hello = RnnCell<4, 4>;

const LETTERS: [&str; 4] = ["e", "h", "l", "o"];
/// The word, letter by letter.
pub const HELLO: [usize; 5] = [1, 0, 2, 2, 3];
/// The answer.
pub const OHLOL: [usize; 5] = [3, 1, 2, 3, 2];
/// How often the word is shown.
pub const EPOCHS: u32 = 15;

/// One for a letter, zero for the others.
#[must_use]
pub fn one_hot(letter: usize) -> [f32; 4] {
    core::array::from_fn(|i| if i == letter { 1.0 } else { 0.0 })
}

/// The letter with the greatest logit, the first of several.
fn best(logits: &[f32; 4]) -> &'static str {
    let mut best = 0;
    for letter in 1..4 {
        if logits[letter] > logits[best] {
            best = letter;
        }
    }
    LETTERS[best]
}

/// Runs the trained network of [`weights`] over `hello`, letter by letter.
pub fn spell_step_by_step(out: &mut impl Print) {
    let mut stream = Stream::new(&weights::HELLO);
    let mut states = Hash::EMPTY;
    for letter in HELLO {
        let logits = stream.advance(&one_hot(letter));
        states.add(stream.state());
        out.text(LETTERS[letter]);
        out.text(" -> ");
        out.text(best(&logits));
        out.text("\n");
    }
    out.hash("hello, states", states.value());
    out.hash("hello, weights", Hash::of_weights(&weights::HELLO));
}

/// Trains such a network from a seed for some epochs, and calls `log` after each with its number, what it answered and the loss.
fn train_for(epochs: u32, mut log: impl FnMut(u32, &[[f32; 4]; 5], f32)) -> Result<Hello, Error> {
    let mut cell = Hello::new(&mut Generator::seed(42));
    let mut adam = Adam::with_moments(0.1, [0.0; Hello::COUNT], [0.0; Hello::COUNT]);
    let (mut trace, mut gradients) = (StepTrace::<Hello, 5>::new(), cell.zeros_like());
    for epoch in 1..=epochs {
        trace.reset();
        let (mut loss, mut logits, mut d_logits) = (0.0, [[0.0; 4]; 5], [[0.0; 4]; 5]);
        for step in 0..5 {
            logits[step] = trace.advance(&cell, &one_hot(HELLO[step]))?;
            let row = CrossEntropy::sum().row(&logits[step], OHLOL[step])?;
            loss += row.0;
            d_logits[step] = row.1;
        }
        log(epoch, &logits, loss);
        trace.backward_into(&cell, &d_logits, &mut gradients)?;
        adam.step(&mut cell, &gradients)?;
    }
    Ok(cell)
}

/// A line of the tutorial's log.
pub fn log(out: &mut impl Print, epoch: u32, logits: &[[f32; 4]], loss: f32) {
    out.text("Predicted string: ");
    for row in logits {
        out.text(best(row));
    }
    out.text(", Epoch [");
    out.number(epoch);
    out.text("/");
    out.number(EPOCHS);
    out.text("] loss=");
    out.decimal(loss);
    out.text("\n");
}

/// Trains a network from a seed, and prints the tutorial's log.
pub fn train(out: &mut impl Print) {
    let mut states = Hash::EMPTY;
    let trained = train_for(EPOCHS, |epoch, logits, loss| {
        states.add(logits.as_flattened());
        log(out, epoch, logits, loss);
    });
    match trained {
        Ok(cell) => {
            out.hash("training, states", states.value());
            out.hash("training, weights", Hash::of_weights(&cell));
        }
        Err(_) => out.text("training: refused\n"),
    }
}

/// The network of [`weights`], for the program that writes them.
///
/// # Errors
///
/// None that are known.
pub fn pretrained() -> Result<Hello, Error> {
    train_for(40, |_, _, _| ())
}
