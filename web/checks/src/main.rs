//! Prints hashes of fixed runs, one a line: a browser has to give those of the host, bit for bit.
//!
//! All kernels are run: steps, whole sequences and batches, forward and back, of every cell; and the programs of the page.
//! Only levels without fused multiply-add agree with each other, so this refuses to run with one that has it.

mod batches;
mod steps;

use elman::cells::{Gru, Lstm};
use elman::{Error, Generator, Level, Relu, Tanh};
use programs::hash::Hash;
use programs::hello::Hello;
use programs::pointer::{Pointer, recorded};

fn main() -> Result<(), Error> {
    let level = Level::detect();
    assert!(level == Level::PORTABLE && !level.is_fused(), "to be compiled without fused multiply-add");

    say("tanh", steps::tanh());
    of_cell::<Tanh>("rnn")?;
    of_cell::<Relu>("relu")?;
    of_cell::<Gru>("gru")?;
    of_cell::<Lstm>("lstm")?;
    let generator = &mut Generator::seed(3);
    say("linear", batches::linear(generator)?);
    say("cross_entropy", batches::cross_entropy(generator)?);
    say("training", batches::training(generator)?);

    let mut hello = Hello::new(42);
    for _ in 0..15 {
        hello.epoch()?;
    }
    say("page_hello", hello.hash());
    // The same training by passes over the whole word, which add the gradients of the steps in another order.
    say("hello_by_passes", batches::hello(42)?);
    say("page_pointer", pointer()?);
    Ok(())
}

fn say(name: &str, hash: u64) {
    println!("{name} {hash:016x}");
}

fn of_cell<C: elman::Cell>(name: &str) -> Result<(), Error> {
    let generator = &mut Generator::seed(1);
    say(&format!("{name}_stream"), steps::stream::<C>(generator));
    say(&format!("{name}_trace"), steps::trace::<C>(generator)?);
    for (what, hash) in batches::stack::<C>(generator)? {
        say(&format!("{name}_{what}"), hash);
    }
    Ok(())
}

/// The page's pointer over ten seconds of the recorded path, learning all the while.
fn pointer() -> Result<u64, Error> {
    let (mut pointer, mut hash) = (Pointer::new(1), Hash::new());
    for frame in 0..600 {
        hash.add(pointer.advance(recorded(frame)).as_flattened());
        hash.add(&[pointer.train()?]);
    }
    hash.add(pointer.neurons());
    Ok(hash.finish() ^ pointer.hash())
}

/// Random rows in -2 .. 2.
fn draw<const N: usize>(generator: &mut Generator, rows: usize) -> Vec<[f32; N]> {
    (0..rows).map(|_| core::array::from_fn(|_| generator.uniform(-2.0, 2.0))).collect()
}
