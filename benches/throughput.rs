//! How much of the multiply-add peak batches of sequences reach, as a table for people.
//!
//! `cargo bench --bench throughput`. Everything is measured against the peak of this machine in the same run: only the
//! shares mean something. 64 sequences of 100 steps unless the table says otherwise; operations are counted as
//! `2 T B GATES HID (IN + HID)` for a forward and three times that for a training pass.

mod common;

use common::{PEAK_OPERATIONS, multiply_add, rows, shortest_in_turns};
use elman::cells::{Gru, Lstm};
use elman::{
    Adam, Batch, Cell, CrossEntropy, Embedding, Generator, Level, Linear, Parameters, Rnn, RnnCell, Sequences,
    SequencesBuf, Steps, Tanh, Workspace,
};
use std::time::Duration;

const STEPS: usize = 100;
const TIME: Duration = Duration::from_millis(1000);

/// Operations a second of the forward, of the training pass and of the peak.
fn measure<const IN: usize, const HID: usize>(level: Level, steps: usize, batch: usize) -> [f64; 3] {
    measure_cell::<IN, HID, Tanh>(level, 1, steps, batch)
}

/// The same of a cell of so many gates.
fn measure_cell<const IN: usize, const HID: usize, C: Cell>(
    level: Level,
    gates: usize,
    steps: usize,
    batch: usize,
) -> [f64; 3] {
    let mut generator = Generator::seed(1);
    let cell = RnnCell::<IN, HID, C>::boxed(&mut generator);
    let x = rows::<IN>(&mut generator, steps * batch);
    let d = rows::<HID>(&mut generator, steps * batch);
    let input = Sequences::batch_first(&x, Batch(batch), Steps(steps)).unwrap();
    let d_output = Sequences::batch_first(&d, Batch(batch), Steps(steps)).unwrap();
    let mut of_forward = Workspace::new().at(level);
    let mut of_training = Workspace::new().at(level).with_d_input();
    let mut gradients = RnnCell::zeros_boxed();
    let times = shortest_in_turns(
        TIME,
        &mut [
            &mut || _ = of_forward.forward(&*cell, input).unwrap(),
            &mut || {
                let pass = of_training.forward(&*cell, input).unwrap();
                pass.backward_into(d_output, &mut gradients).unwrap();
            },
            &mut multiply_add,
        ],
    );
    let operations = (2 * gates * steps * batch * HID * (IN + HID)) as f64;
    [operations / times[0], 3.0 * operations / times[1], PEAK_OPERATIONS as f64 / times[2]]
}

fn square<const H: usize>(level: Level) {
    square_of::<H, Tanh>(level, "tanh", 1);
    square_of::<H, Gru>(level, "gru", 3);
    square_of::<H, Lstm>(level, "lstm", 4);
}

fn square_of<const H: usize, C: Cell>(level: Level, cell: &str, gates: usize) {
    let mut line = format!("{:>8} {cell:>5} {H:>5}", level.name());
    let [forward_1, training_1, peak] = on_threads(1, || measure_cell::<H, H, C>(level, gates, STEPS, 64));
    line += &format!("{:>10.1} %{:>10.1} %", 100.0 * forward_1 / peak, 100.0 * training_1 / peak);
    for threads in 2..=std::thread::available_parallelism().map_or(1, usize::from).min(2) {
        let [forward, training, _] = on_threads(threads, || measure_cell::<H, H, C>(level, gates, STEPS, 64));
        line += &format!("{:>10.2} x{:>10.2} x", forward / forward_1, training / training_1);
    }
    println!("{line}{:>16.1}", peak / 1e9);
}

/// A batch whose rows lie in memory and not in a cache, beside one of 64 samples: shares of the peak.
fn from_memory<const H: usize>(level: Level) {
    let [near, far] = [64, 1024].map(|batch| {
        let [forward, training, peak] = measure::<H, H>(level, STEPS, batch);
        [100.0 * forward / peak, 100.0 * training / peak]
    });
    let name = level.name();
    println!("{name:>8} {H:>5} {:>10.1} %{:>10.1} %{:>10.1} %{:>10.1} %", near[0], near[1], far[0], far[1]);
}

/// A size that fills no whole vectors, beside the next multiple of 16: the share of its rate that is reached.
fn off_the_grid<const N: usize, const NEXT: usize>(level: Level) {
    for batch in [1, 3, 17, 65] {
        let [forward, training, _] = measure::<N, N>(level, STEPS, batch);
        let [next_forward, next_training, _] = measure::<NEXT, NEXT>(level, STEPS, batch);
        println!(
            "{:>8} {N:>5} {NEXT:>5} {batch:>5} {:>10.1} % {:>10.1} %",
            level.name(),
            100.0 * forward / next_forward,
            100.0 * training / next_training
        );
    }
}

/// What stands around the recurrent layers of a model of letters: their share of a training step, one thread.
fn around<const H: usize>(level: Level) {
    const BATCH: usize = 64;
    let mut generator = Generator::seed(1);
    let rnn = Rnn::<32, H, 1>::new(&mut generator);
    let mut model = (Embedding::<65, 32>::new(&mut generator), rnn.clone(), Linear::<H, 65>::new(&mut generator));
    let letters: Vec<usize> = (0..STEPS * BATCH).map(|i| i * i % 65).collect();
    let letters = Sequences::batch_first(&letters, Batch(BATCH), Steps(STEPS)).unwrap();
    let (x, d) = (rows::<32>(&mut generator, STEPS * BATCH), rows::<H>(&mut generator, STEPS * BATCH));
    let input = Sequences::batch_first(&x, Batch(BATCH), Steps(STEPS)).unwrap();
    let d_output = Sequences::batch_first(&d, Batch(BATCH), Steps(STEPS)).unwrap();
    let (mut of_rnn, mut d_rnn) = (Workspace::new().at(level).with_d_input(), rnn.zeros_like());
    let (mut of_whole, mut gradients) = (Workspace::new().at(level), model.zeros_like());
    let mut d_logits = SequencesBuf::default();
    let (mut adam, loss) = (Adam::new(1e-3).at(level), CrossEntropy::mean().at(level));
    let times = shortest_in_turns(
        TIME,
        &mut [
            &mut || {
                let pass = of_rnn.forward(&rnn, input).unwrap();
                pass.backward_into(d_output, &mut d_rnn).unwrap();
            },
            &mut || {
                let pass = of_whole.forward(&model, letters).unwrap();
                loss.loss_into(pass.output(), letters, &mut d_logits).unwrap();
                pass.backward_into(&d_logits, &mut gradients).unwrap();
                adam.step(&mut model, &gradients).unwrap();
            },
        ],
    );
    let (name, [rnn, whole]) = (level.name(), [times[0], times[1]].map(|time| time * 1e6));
    println!("{name:>8} {H:>5} {rnn:>12.0} {whole:>12.0} {:>10.0} %", 100.0 * rnn / whole);
}

/// How much faster two threads are than one, from work that stays on one thread to work that is shared.
fn crossover(level: Level) {
    const HIDDEN: usize = 32;
    const BATCH: usize = 32;
    println!("{:>8} {:>20} {:>12} {:>12}", "level", "million operations", "forward", "training");
    for steps in [2, 4, 8, 15, 16, 32, 64, 128, 256] {
        let rates = |threads| on_threads(threads, || measure::<HIDDEN, HIDDEN>(level, steps, BATCH));
        let ([forward_1, training_1, _], [forward, training, _]) = (rates(1), rates(2));
        let millions = (2 * steps * BATCH * HIDDEN * 2 * HIDDEN) as f64 / 1e6;
        let (name, forward, training) = (level.name(), forward / forward_1, training / training_1);
        println!("{name:>8} {millions:>20.2} {forward:>10.2} x {training:>10.2} x");
    }
}

fn on_threads<R: Send>(threads: usize, work: impl FnOnce() -> R + Send) -> R {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(work)
}

fn main() {
    // `cargo bench --bench throughput -- avx512 64` measures this level and this size alone.
    let arguments = || std::env::args().skip(1).filter(|argument| argument != "--bench");
    let sizes: Vec<usize> = arguments().filter_map(|argument| argument.parse().ok()).collect();
    let names: Vec<String> = arguments().filter(|argument| argument.parse::<usize>().is_err()).collect();
    let levels =
        || Level::available().filter(|level| names.is_empty() || names.iter().any(|name| name == level.name()));
    println!("share of the peak on one thread, and speed-up on two\n");
    println!(
        "{:>8} {:>5} {:>5} {:>12}{:>12}{:>12}{:>12}{:>16}",
        "level", "cell", "H", "forward", "training", "forward", "training", "peak, GFLOP/s"
    );
    for level in levels() {
        let works: [(usize, fn(Level)); 6] = [
            (16, square::<16>),
            (32, square::<32>),
            (64, square::<64>),
            (128, square::<128>),
            (256, square::<256>),
            (512, square::<512>),
        ];
        for (size, work) in works {
            if sizes.is_empty() || sizes.contains(&size) {
                work(level);
            }
        }
    }
    if !sizes.is_empty() {
        return;
    }
    println!("\ntwo threads against one, by the operations of a forward (H = 32, 32 sequences)\n");
    for level in levels() {
        crossover(level);
    }
    println!("\n64 samples and 1,024, whose rows lie in memory: shares of the peak, one thread\n");
    println!("{:>8} {:>5} {:>12}{:>12}{:>12}{:>12}", "level", "H", "forward", "training", "forward", "training");
    on_threads(1, || {
        for level in levels() {
            from_memory::<16>(level);
            from_memory::<32>(level);
            from_memory::<64>(level);
            from_memory::<128>(level);
        }
    });
    println!("\na training step of Embedding(65, 32), Rnn(32, H), Linear(H, 65), cross-entropy, Adam; one thread\n");
    println!("{:>8} {:>5} {:>12} {:>12} {:>12}", "level", "H", "Rnn, us", "all, us", "Rnn's share");
    on_threads(1, || {
        for level in levels() {
            around::<16>(level);
            around::<32>(level);
            around::<64>(level);
            around::<128>(level);
        }
    });
    println!("\nsizes off the grid, as a share of the rate of the next multiple of 16, one thread\n");
    println!("{:>8} {:>5} {:>5} {:>5} {:>12} {:>12}", "level", "H", "next", "B", "forward", "training");
    on_threads(1, || {
        for level in levels() {
            off_the_grid::<10, 16>(level);
            off_the_grid::<17, 32>(level);
            off_the_grid::<33, 48>(level);
            off_the_grid::<100, 112>(level);
            off_the_grid::<200, 208>(level);
        }
    });
}
