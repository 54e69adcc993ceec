//! Prints what `c/models.c` has to print, by streams of Rust and without anything of `elman_c`. With `time`, how long a step of
//! the detector takes.

use elman::{GruCell, Linear, RnnWeights, Step, Stream};
use models::{Adaptive, DETECTOR, SPELLER};
use std::hint::black_box;
use std::time::Instant;

const STEPS: usize = 48;

/// The numbers of `c/numbers.h`.
fn numbers(mut seed: u32) -> impl FnMut() -> f32 {
    move || {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 8) as f32 / 8_388_608.0 - 1.0
    }
}

fn print(name: &str, numbers: impl IntoIterator<Item = f32>) {
    let words: String = numbers.into_iter().map(|x| format!(" {:08x}", x.to_bits())).collect();
    println!("{name}{words}");
}

/// `STEPS` steps of a model that takes vectors.
fn run<const IN: usize, const OUT: usize, M: Step<Input = [f32; IN], Output = [f32; OUT]>>(
    name: &str,
    seed: u32,
    stream: &mut Stream<M>,
) {
    let mut next = numbers(seed);
    for _ in 0..STEPS {
        print(name, stream.advance(&std::array::from_fn(|_| next())));
    }
}

fn adaptive() -> Result<Adaptive, elman::Error> {
    let mut next = numbers(2);
    let mut tensors = |lengths: [usize; 4]| lengths.map(|len| (0..len).map(|_| next()).collect::<Vec<_>>());
    let first = tensors([24 * 2, 24 * 8, 24, 24]);
    let second = tensors([15 * 8, 15 * 5, 15, 15]);
    let [weight, bias, ..] = tensors([5, 1, 0, 0]);
    fn of([weight_ih, weight_hh, bias_ih, bias_hh]: &[Vec<f32>; 4]) -> RnnWeights<'_> {
        RnnWeights {
            weight_ih: weight_ih.into(),
            weight_hh: weight_hh.into(),
            bias_ih: bias_ih.into(),
            bias_hh: bias_hh.into(),
        }
    }
    Ok((GruCell::from_torch(&of(&first))?, GruCell::from_torch(&of(&second))?, Linear::from_torch(&weight, &bias)?))
}

fn main() -> Result<(), elman::Error> {
    if std::env::args().nth(1).as_deref() == Some("time") {
        time();
        return Ok(());
    }
    let mut detector = Stream::new(&DETECTOR);
    run("detector", 1, &mut detector);
    print("detector state", detector.state().0);

    let mut speller = Stream::new(&SPELLER);
    let mut word = String::new();
    for token in [1, 0, 2, 2, 3] {
        let logits = speller.advance_token(token)?;
        print("speller", logits);
        let best = (0..4).max_by(|&i, &j| logits[i].total_cmp(&logits[j]));
        word.extend(best.map(|best| ['e', 'h', 'l', 'o'][best]));
    }
    let (h, c) = speller.state().0;
    print("speller state", h.into_iter().chain(c));
    println!("{word}");

    let mut adaptive = Stream::new(adaptive()?);
    run("adaptive", 3, &mut adaptive);
    let (first, second, ()) = *adaptive.state();
    print("adaptive state", first.into_iter().chain(second));
    Ok(())
}

/// The least of several runs, step by step and in blocks, with the same input: what `c/time.c` does.
fn time() {
    const CALLS: usize = 1_000_000;
    const BLOCK: usize = 100;
    let mut detector = Stream::new(&DETECTOR);
    let (inputs, mut outputs) = ([[0.5, -0.25, 0.125]; BLOCK], [[0.0; 2]; BLOCK]);
    let (mut step, mut block) = (f64::INFINITY, f64::INFINITY);
    for _ in 0..20 {
        let start = Instant::now();
        for _ in 0..CALLS {
            outputs[0] = black_box(detector.advance(black_box(&inputs[0])));
        }
        step = step.min(start.elapsed().as_secs_f64() * 1e9 / CALLS as f64);
        let start = Instant::now();
        for _ in 0..CALLS / BLOCK {
            let done = detector.process(black_box(&inputs), black_box(&mut outputs));
            assert!(done.is_ok());
        }
        block = block.min(start.elapsed().as_secs_f64() * 1e9 / CALLS as f64);
    }
    println!("Rust  {step:6.2} ns a step, {block:6.2} in blocks of {BLOCK}");
}
