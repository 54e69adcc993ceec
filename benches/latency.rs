//! What a single step takes: mean, distribution over a million calls, and whether tiny numbers slow it down.
//!
//! `cargo bench --bench latency`. Only the ratios within one run mean something; next to each time stands what bounds it
//! on this core, measured in the same run: the multiply-adds at the peak, the weights through the cache, and the latency of
//! the step's chain of multiply-adds and of tanh. The largest of them is the floor.

mod common;

use common::{LINK_COUNT, PEAK_OPERATIONS, multiply_add, multiply_add_chain, read, rows, shortest_in_turns};
use elman::cells::{Gru, Lstm};
use elman::{
    Adam, Cell, CrossEntropy, Embedding, Generator, Level, Linear, Parameters, Rnn, RnnCell, StepTrace, Stream,
    Workspace,
};
use std::hint::black_box;
use std::time::{Duration, Instant};

/// The shortest of some runs, in nanoseconds for each of `count`.
fn shortest(count: usize, mut run: impl FnMut()) -> f64 {
    shortest_in_turns(Duration::from_millis(200), &mut [&mut run])[0] * 1e9 / count as f64
}

/// Nanoseconds that a chain of a function of one vector takes, each of the one before, by way of memory as states go.
fn latency_of(function: fn(Level, &mut [f32]), level: Level) -> f64 {
    let mut numbers = [0.5; 16];
    shortest(1000, || (0..1000).for_each(|_| function(level, black_box(&mut numbers[..level.lanes()]))))
}

/// Nanoseconds that reading all of it takes, again and again.
fn reading(floats: &[f32]) -> f64 {
    shortest(100, || (0..100).for_each(|_| read(floats)))
}

/// What bounds a step on this core, in nanoseconds.
#[derive(Clone, Copy)]
struct Bounds {
    /// One floating-point operation at the peak.
    operation: f64,
    /// One multiply-add that waits for another.
    link: f64,
    /// One tanh that waits for another.
    tanh: f64,
}

/// Multiply-adds and additions behind each other from one state to the next: ARCHITECTURE.md, the order of summation.
const fn links(terms: usize, outputs: usize) -> usize {
    match (terms, outputs) {
        (_, 128..) => terms,
        (..8, _) | (_, 32..) => terms / 2 + 1,
        _ => terms / 4 + 2,
    }
}

fn steps<const H: usize>(level: Level, bounds: Bounds) {
    let mut generator = Generator::seed(1);
    let cell = RnnCell::<H, H>::boxed(&mut generator);
    let x = rows::<H>(&mut generator, 1)[0];
    let mut h = [0.0; H];
    let step = shortest(1000, || (0..1000).for_each(|_| cell.at(level).step_in_place(black_box(&x), &mut h)));
    let input = rows::<H>(&mut generator, 10_000);
    let mut workspace = Workspace::new().at(level);
    let sequence = shortest(10_000, || _ = workspace.forward(&cell, black_box(&input)).unwrap());
    // Hardly any input: the recurrence alone.
    let narrow = RnnCell::<1, H>::boxed(&mut generator);
    let input = rows::<1>(&mut generator, 10_000);
    let mut workspace = Workspace::new().at(level);
    let recurrence = shortest(10_000, || _ = workspace.forward(&narrow, black_box(&input)).unwrap());
    let weights = reading(cell.weight_ih.as_flattened()) + reading(cell.weight_hh.as_flattened());
    let multiply_adds = bounds.operation * (4 * H * H) as f64;
    let chain = bounds.link * links(H, H) as f64 + bounds.tanh;
    let floor = multiply_adds.max(weights).max(chain);
    println!(
        "{:>8} {H:>5} {step:>12.1} {sequence:>14.1} {recurrence:>11.1} {chain:>14.1} {multiply_adds:>10.1} {weights:>10.1} {floor:>8.1} {:>7.1}x",
        level.name(),
        step / floor
    );
}

/// What bounds a step of a cell of gates, beside [`Bounds`].
#[derive(Clone, Copy)]
struct GateBounds {
    bounds: Bounds,
    /// One sigmoid that waits for another.
    sigmoid: f64,
    /// One vector of many sigmoids, and of many tanhs.
    sigmoids: f64,
    tanhs: f64,
}

fn gated_steps<const H: usize, C: Cell>(
    name: &str,
    (gates, functions): (usize, [usize; 2]),
    level: Level,
    of: GateBounds,
) {
    let mut generator = Generator::seed(1);
    let cell = RnnCell::<H, H, C>::boxed(&mut generator);
    let x = rows::<H>(&mut generator, 1)[0];
    let mut stream = Stream::new(&*cell).at(level);
    let step = shortest(1000, || (0..1000).for_each(|_| _ = black_box(stream.advance(black_box(&x)))));
    let input = rows::<H>(&mut generator, 10_000);
    let mut workspace = Workspace::new().at(level);
    let sequence = shortest(10_000, || _ = workspace.forward(&*cell, black_box(&input)).unwrap());
    let mut weights = 0.0;
    cell.visit(&mut |tensor| weights += reading(tensor));
    // The products, and all sigmoids and tanhs of the neurons, as fast as many of them side by side.
    let vectors =
        (functions[0] as f64 * of.sigmoids + functions[1] as f64 * of.tanhs) * H.div_ceil(level.lanes()) as f64;
    let arithmetic = of.bounds.operation * (4 * gates * H * H) as f64 + vectors;
    // From state to state: a chain of the product, a sigmoid, and a tanh of what that makes.
    let chain = of.bounds.link * links(H, gates * H) as f64 + of.sigmoid + of.bounds.tanh;
    let floor = arithmetic.max(weights).max(chain);
    println!(
        "{:>8} {name:>5} {H:>5} {step:>12.1} {sequence:>14.1} {chain:>14.1} {arithmetic:>11.1} {weights:>10.1} {floor:>8.1} {:>7.1}x",
        level.name(),
        step / floor
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
        black_box(stream.advance(black_box(&x)));
    });
    println!("{H:>5} {:>8} {:>8} {:>10} {:>14} {:>8} {:>10}", step.0, step.1, step.2, clock.0, clock.1, clock.2);
}

/// A state that decays where there is no input ends among the denormal numbers, and so do the moments of Adam.
fn tiny_numbers() {
    const H: usize = 32;
    let mut cell = RnnCell::<H, H>::zeros();
    for i in 0..H {
        cell.weight_hh[i][i] = 0.99;
    }
    println!("\nA step with ordinary states, and with those that 1,000,000 steps without input have left; ns:");
    for level in Level::available() {
        let mut decayed = [0.5; H];
        (0..1_000_000).for_each(|_| cell.at(level).step_in_place(&[0.0; H], &mut decayed));
        // Each step starts from the same state: what is measured does not decay away.
        let steps = |from: [f32; H]| {
            (0..1000).for_each(|_| {
                let mut state = black_box(from);
                cell.at(level).step_in_place(black_box(&[0.0; H]), &mut state);
                black_box(state);
            });
        };
        let (mut ordinary, mut tiny) = (|| steps([0.5; H]), || steps(decayed));
        let times = shortest_in_turns(Duration::from_millis(400), &mut [&mut ordinary, &mut tiny]);
        let [ordinary, tiny] = [times[0] * 1e6, times[1] * 1e6];
        println!("{:>8}: {ordinary:.1}, {tiny:.1} (state {:e}): {:.2}x", level.name(), decayed[0], tiny / ordinary);
    }

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
                let logits = trace.advance(&cell, letter).unwrap();
                d_outputs[step] = CrossEntropy::sum().row(&logits, target).unwrap().1;
            }
            trace.backward_into(&cell, &d_outputs, &mut gradients).unwrap();
            adam.step(&mut cell, &gradients).unwrap();
        }
        black_box(cell);
    });
    let mut workspace = Workspace::new();
    let mut gradients = cell.zeros_like();
    let mut d_logits = Default::default();
    let sequences = shortest(1, || {
        let mut cell = black_box(cell);
        let mut adam = Adam::with_moments(0.1, [0.0; 40], [0.0; 40]);
        for _ in 0..15 {
            let pass = workspace.forward(&cell, &one_hot).unwrap();
            CrossEntropy::sum().loss_into(pass.output(), &OHLOL, &mut d_logits).unwrap();
            pass.backward_into(&d_logits, &mut gradients).unwrap();
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
    let mut workspace = Workspace::new();
    let mut gradients = model.zeros_like();
    let mut d_logits = Default::default();
    let sequences = shortest(1, || {
        trained.clone_from(&model);
        let mut adam = Adam::new(0.05);
        for _ in 0..15 {
            let pass = workspace.forward(&trained, &HELLO).unwrap();
            CrossEntropy::mean().loss_into(pass.output(), &OHLOL, &mut d_logits).unwrap();
            pass.backward_into(&d_logits, &mut gradients).unwrap();
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
        "what no step can be faster than on this core: the chain from state to state with its tanh, the multiply-adds at \
         the peak, reading the weights; the largest is the floor\n"
    );
    println!(
        "{:>8} {:>5} {:>12} {:>14} {:>11} {:>14} {:>10} {:>10} {:>8} {:>8}",
        "level",
        "H",
        "single step",
        "in a sequence",
        "of 1 input",
        "chain + tanh",
        "mul-adds",
        "weights",
        "floor",
        "step"
    );
    let (operation, link) = (shortest(PEAK_OPERATIONS, multiply_add), shortest(LINK_COUNT, multiply_add_chain));
    for level in Level::available() {
        let bounds = Bounds { operation, link, tanh: latency_of(Level::tanh, level) };
        steps::<4>(level, bounds);
        steps::<8>(level, bounds);
        steps::<16>(level, bounds);
        steps::<32>(level, bounds);
        steps::<64>(level, bounds);
        steps::<128>(level, bounds);
        steps::<256>(level, bounds);
    }
    println!(
        "\ncells of gates; arithmetic: the products at the peak, and all sigmoids and tanhs; chain: a sigmoid and a tanh behind it\n"
    );
    println!(
        "{:>8} {:>5} {:>5} {:>12} {:>14} {:>14} {:>11} {:>10} {:>8} {:>8}",
        "level", "cell", "H", "single step", "in a sequence", "chain", "arithmetic", "weights", "floor", "step"
    );
    for level in Level::available() {
        let bounds = Bounds { operation, link, tanh: latency_of(Level::tanh, level) };
        let mut numbers = [0.5; 1024];
        let vectors = 100 * numbers.len() / level.lanes();
        let mut many =
            |f: fn(Level, &mut [f32])| shortest(vectors, || (0..100).for_each(|_| f(level, black_box(&mut numbers))));
        let (sigmoids, tanhs) = (many(Level::sigmoid), many(Level::tanh));
        let bounds = GateBounds { bounds, sigmoid: latency_of(Level::sigmoid, level), sigmoids, tanhs };
        macro_rules! of_sizes {
            ($($size:literal)*) => {
                $(gated_steps::<$size, Gru>("gru", (3, [2, 1]), level, bounds);)*
                $(gated_steps::<$size, Lstm>("lstm", (4, [3, 2]), level, bounds);)*
            };
        }
        of_sizes!(8 16 32 64 128);
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
