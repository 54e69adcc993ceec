//! What a single step takes: mean, distribution over a million calls, and whether tiny numbers slow it down.
//!
//! `cargo bench --bench latency`. Only the ratios within one run mean something; next to each time stands what bounds it
//! on this core, measured in the same run: the weights through the cache, and the latency of the step's chains of
//! multiply-adds and of tanh.

mod common;

use common::{PEAK_OPERATIONS, multiply_add, read, rows, shortest_in_turns};
use elman::{
    Adam, CrossEntropy, Embedding, Generator, Layer, Level, Linear, Parameters, Rnn, RnnCell, StepTrace, Stream, Trace,
};
use std::hint::black_box;
use std::time::{Duration, Instant};

/// The shortest of some runs, in nanoseconds for each of `count`.
fn shortest(count: usize, mut run: impl FnMut()) -> f64 {
    shortest_in_turns(Duration::from_millis(200), &mut [&mut run])[0] * 1e9 / count as f64
}

/// Nanoseconds that a chain of tanh of 16 numbers takes, each of the one before, by way of memory as states go.
fn tanh_latency(level: Level) -> f64 {
    let mut numbers = [0.5; 16];
    shortest(1000, || (0..1000).for_each(|_| level.tanh(black_box(&mut numbers))))
}

/// Nanoseconds that reading all of it takes, again and again.
fn reading(floats: &[f32]) -> f64 {
    shortest(100, || (0..100).for_each(|_| read(floats)))
}

/// `tanh`: nanoseconds of [`tanh_latency`]; `operation`: of one floating-point operation at the peak of this CPU.
fn steps<const H: usize>(level: Level, tanh: f64, operation: f64) {
    let mut generator = Generator::seed(1);
    let cell = RnnCell::<H, H>::boxed(&mut generator);
    let x = rows::<H>(&mut generator, 1)[0];
    let mut h = [0.0; H];
    let step = shortest(1000, || (0..1000).for_each(|_| cell.step_at(level, black_box(&x), &mut h)));
    let input = rows::<H>(&mut generator, 10_000);
    let mut trace = Trace::<Box<RnnCell<H, H>>>::at(level);
    let sequence = shortest(10_000, || cell.forward_into(black_box(&input), &mut trace).unwrap());
    let weights = reading(cell.weight_ih.as_flattened()) + reading(cell.weight_hh.as_flattened());
    let multiply_adds = operation * (4 * H * H) as f64;
    println!(
        "{:>8} {H:>5} {step:>12.1} {sequence:>16.1} {tanh:>10.1} {multiply_adds:>10.1} {weights:>10.1}",
        level.name()
    );
}

fn distribution<const H: usize>() {
    const CALLS: usize = 1_000_000;
    let mut generator = Generator::seed(1);
    let model = (RnnCell::<H, H>::boxed(&mut generator), Linear::<H, 1>::boxed(&mut generator));
    let mut stream = Stream::new(model);
    let x = rows::<H>(&mut generator, 1)[0];
    let measure = |step: &mut dyn FnMut()| {
        let mut times: Vec<u32> = Vec::with_capacity(CALLS);
        for _ in 0..CALLS {
            let start = Instant::now();
            step();
            times.push(start.elapsed().as_nanos().min(u128::from(u32::MAX)) as u32);
        }
        times.sort_unstable();
        (times[CALLS / 2], times[CALLS / 100 * 99], times[CALLS - 1])
    };
    let clock = measure(&mut || ());
    let step = measure(&mut || {
        black_box(stream.step(black_box(&x)));
    });
    println!("{H:>5} {:>8} {:>8} {:>10} {:>14} {:>8} {:>10}", step.0, step.1, step.2, clock.0, clock.1, clock.2);
}

/// A state that decays where there is no input ends among the denormal numbers, and so do the moments of Adam.
fn tiny_numbers() {
    const H: usize = 32;
    let level = Level::detect();
    let mut cell = RnnCell::<H, H>::zeros();
    for i in 0..H {
        cell.weight_hh[i][i] = 0.99;
    }
    let time = |h: [f32; H]| {
        let mut state = h;
        shortest(1000, || {
            for _ in 0..1000 {
                // Each step starts from the same state: what is measured does not decay away.
                state = h;
                cell.step_at(level, black_box(&[0.0; H]), black_box(&mut state));
            }
        })
    };
    let mut decayed = [0.5; H];
    (0..1_000_000).for_each(|_| cell.step_at(level, &[0.0; H], &mut decayed));
    println!("\nA step with ordinary states, and after 1,000,000 steps without input (state {:e}):", decayed[0]);
    println!("{:.1} ns, {:.1} ns", time([0.5; H]), time(decayed));

    let mut model = RnnCell::<H, H>::zeros();
    let mut gradients = model.zeros_like();
    gradients.visit_mut(&mut |tensor| tensor.fill(1.0));
    let mut adam = Adam::new(1e-3);
    let mut step = |gradients: &RnnCell<H, H>, count: usize| {
        let start = Instant::now();
        (0..count).for_each(|_| adam.step(&mut model, gradients).unwrap());
        start.elapsed().as_secs_f64() * 1e9 / count as f64
    };
    let ordinary = step(&gradients, 1000).min(step(&gradients, 1000));
    gradients.fill_zero();
    // The first moments are denormal from about step 830 on, the second from about 87,000 to 103,000.
    step(&gradients, 1000);
    let first = step(&gradients, 1000).min(step(&gradients, 1000));
    step(&gradients, 87_000);
    let both = step(&gradients, 1000).min(step(&gradients, 1000));
    println!("A step of Adam: ordinary {ordinary:.0} ns, first moments denormal {first:.0} ns, both {both:.0} ns");
}

/// The whole trainings of the tutorial's first and third program, 15 epochs of 5 steps, step by step on the stack and as
/// sequences.
fn tutorial() {
    const HELLO: [usize; 5] = [1, 0, 2, 2, 3];
    const OHLOL: [usize; 5] = [3, 1, 2, 3, 2];
    let one_hot = HELLO.map(|letter| core::array::from_fn::<f32, 4, _>(|i| if i == letter { 1.0 } else { 0.0 }));
    let cell = RnnCell::<4, 4>::new(&mut Generator::seed(42));
    let stepwise = shortest(1, || {
        let mut cell = black_box(cell);
        let mut adam = Adam::with_moments(0.1, [0.0; 40], [0.0; 40]);
        let mut trace = StepTrace::<RnnCell<4, 4>, 5>::new();
        let mut gradients = cell;
        for _ in 0..15 {
            trace.reset();
            let mut d_outputs = [[0.0; 4]; 5];
            for (step, (letter, target)) in one_hot.iter().zip(OHLOL).enumerate() {
                let logits = trace.step(&cell, letter).unwrap();
                d_outputs[step] = CrossEntropy::sum().row(&logits, target).unwrap().1;
            }
            gradients.fill_zero();
            trace.backward(&cell, &d_outputs, &mut gradients).unwrap();
            adam.step(&mut cell, &gradients).unwrap();
        }
        black_box(cell);
    });
    let mut trace = Trace::default();
    let mut gradients = cell.zeros_like();
    let mut d_logits = Default::default();
    let sequences = shortest(1, || {
        let mut cell = black_box(cell);
        let mut adam = Adam::with_moments(0.1, [0.0; 40], [0.0; 40]);
        for _ in 0..15 {
            cell.forward_into(&one_hot, &mut trace).unwrap();
            CrossEntropy::sum().loss_into(trace.output(), &OHLOL, &mut d_logits).unwrap();
            cell.backward_into(&one_hot, &mut trace, &d_logits, &mut gradients).unwrap();
            adam.step(&mut cell, &gradients).unwrap();
        }
        black_box(cell);
    });
    println!("\nA whole training of the tutorial, 15 epochs of 5 steps:");
    println!("RnnCell: {:.1} us step by step, {:.1} us as a sequence", stepwise / 1e3, sequences / 1e3);

    let mut generator = Generator::seed(42);
    let model = (
        Embedding::<4, 10>::new(&mut generator),
        Rnn::<10, 8, 2>::new(&mut generator),
        Linear::<8, 4>::new(&mut generator),
    );
    let mut trained = model.clone();
    let mut trace = Trace::default();
    let mut gradients = model.zeros_like();
    let mut d_logits = Default::default();
    let sequences = shortest(1, || {
        trained.clone_from(&model);
        let mut adam = Adam::new(0.05);
        for _ in 0..15 {
            trained.forward_into(&HELLO, &mut trace).unwrap();
            CrossEntropy::mean().loss_into(trace.output(), &OHLOL, &mut d_logits).unwrap();
            trained.backward_into(&HELLO, &mut trace, &d_logits, &mut gradients).unwrap();
            adam.step(&mut trained, &gradients).unwrap();
        }
    });
    println!("Embedding: {:.1} us as a sequence", sequences / 1e3);
}

fn main() {
    println!(
        "ns a step, IN = HID = H; the sequence has 10,000 steps (above 24 KB of weights its inputs are projected in bulk)\n"
    );
    println!(
        "what no step can be faster than on this core: tanh of 16 numbers, the multiply-adds, reading the weights\n"
    );
    println!(
        "{:>8} {:>5} {:>12} {:>16} {:>10} {:>10} {:>10}",
        "level", "H", "single step", "in a sequence", "tanh", "mul-adds", "weights"
    );
    let operation = shortest(PEAK_OPERATIONS, multiply_add);
    for level in Level::available() {
        let tanh = tanh_latency(level);
        steps::<4>(level, tanh, operation);
        steps::<8>(level, tanh, operation);
        steps::<16>(level, tanh, operation);
        steps::<32>(level, tanh, operation);
        steps::<64>(level, tanh, operation);
        steps::<128>(level, tanh, operation);
        steps::<256>(level, tanh, operation);
    }
    println!("\n1,000,000 calls of a stream of a cell and a linear layer, ns a call, the clock included\n");
    println!(
        "{:>5} {:>8} {:>8} {:>10} {:>14} {:>8} {:>10}",
        "H", "p50", "p99", "max", "clock alone: p50", "p99", "max"
    );
    distribution::<8>();
    distribution::<32>();
    distribution::<64>();
    tiny_numbers();
    tutorial();
}
