//! Measures the works of common.rs in the tree in which this file lies. What depends on the crate's API is in `api` and
//! nowhere else; when the API changes, `api` changes with it, but what is measured stays the same.

mod common;

fn main() {
    common::main();
}

mod api {
    use crate::common::Work;
    use elman::{
        Adam, Batch, CrossEntropy, Embedding, Generator, Linear, Parameters, Rnn, RnnCell, Sequences, SequencesBuf,
        StepTrace, Steps, Workspace,
    };
    use std::hint::black_box;

    pub use elman::Level;

    const STEPS: usize = 100;
    const BATCH: usize = 64;
    const HELLO: [usize; 5] = [1, 0, 2, 2, 3];
    const OHLOL: [usize; 5] = [3, 1, 2, 3, 2];

    pub fn levels() -> impl Iterator<Item = Level> {
        Level::available()
    }

    /// Uniform in `-1 .. 1`.
    fn rows<const N: usize>(generator: &mut Generator, count: usize) -> Vec<[f32; N]> {
        let mut rows = vec![[0.0; N]; count];
        generator.fill_uniform(rows.as_flattened_mut(), -1.0, 1.0);
        rows
    }

    /// The states of 64 sequences of 100 steps.
    pub fn forward<const H: usize>(level: Level) -> Work {
        let mut generator = Generator::seed(1);
        let cell = RnnCell::<H, H>::boxed(&mut generator);
        let x = rows::<H>(&mut generator, STEPS * BATCH);
        let mut workspace = Workspace::new().at(level);
        Work::new(1, move || {
            let input = Sequences::batch_first(&x, Batch(BATCH), Steps(STEPS)).unwrap();
            workspace.forward(&cell, input).unwrap();
        })
    }

    /// The same, and all gradients, that of the input too.
    pub fn training<const H: usize>(level: Level) -> Work {
        let mut generator = Generator::seed(1);
        let cell = RnnCell::<H, H>::boxed(&mut generator);
        let x = rows::<H>(&mut generator, STEPS * BATCH);
        let d = rows::<H>(&mut generator, STEPS * BATCH);
        let mut workspace = Workspace::new().at(level).with_d_input();
        let mut gradients = cell.zeros_like();
        Work::new(1, move || {
            let input = Sequences::batch_first(&x, Batch(BATCH), Steps(STEPS)).unwrap();
            let d_output = Sequences::batch_first(&d, Batch(BATCH), Steps(STEPS)).unwrap();
            let pass = workspace.forward(&cell, input).unwrap();
            pass.backward_into(d_output, &mut gradients).unwrap();
        })
    }

    /// One sequence of 10,000 steps; counts its steps.
    pub fn sequence<const H: usize>(level: Level) -> Work {
        let mut generator = Generator::seed(1);
        let cell = RnnCell::<H, H>::boxed(&mut generator);
        let input = rows::<H>(&mut generator, 10_000);
        let mut workspace = Workspace::new().at(level);
        Work::new(10_000, move || _ = workspace.forward(&cell, black_box(&input)).unwrap())
    }

    /// A call for each step of one sequence; counts them.
    pub fn step<const H: usize>(level: Level) -> Work {
        let mut generator = Generator::seed(1);
        let cell = RnnCell::<H, H>::boxed(&mut generator);
        let x = rows::<H>(&mut generator, 1)[0];
        let mut h = [0.0; H];
        Work::new(1000, move || (0..1000).for_each(|_| cell.at(level).step_in_place(black_box(&x), &mut h)))
    }

    /// Training step by step, a cell and a linear layer, 16 steps at a time; counts the steps.
    pub fn step_trace<const H: usize>(level: Level) -> Work {
        const CHUNK: usize = 16;
        const REPEATED: usize = 20;
        let mut generator = Generator::seed(1);
        let mut model = (RnnCell::<H, H>::new(&mut generator), Linear::<H, H>::new(&mut generator));
        let x = rows::<H>(&mut generator, CHUNK);
        let mut trace = Box::new(StepTrace::<(RnnCell<H, H>, Linear<H, H>), CHUNK>::new().at(level));
        let mut d_outputs = [[0.0; H]; CHUNK];
        let mut gradients = model.zeros_like();
        let (mut adam, loss) = (Adam::new(1e-3).at(level), CrossEntropy::mean_of(CHUNK).at(level));
        Work::new(CHUNK * REPEATED, move || {
            for _ in 0..REPEATED {
                trace.clear();
                for (step, (x, d_output)) in x.iter().zip(&mut d_outputs).enumerate() {
                    let logits = trace.advance(&model, black_box(x)).unwrap();
                    *d_output = loss.row(&logits, step % H).unwrap().1;
                }
                trace.backward_into(&model, &d_outputs, &mut gradients).unwrap();
                adam.step(&mut model, &gradients).unwrap();
            }
        })
    }

    /// One training step of a model of letters, 64 sequences of 100.
    pub fn character(level: Level) -> Work {
        let mut generator = Generator::seed(1);
        let mut model = (
            Embedding::<65, 32>::new(&mut generator),
            Rnn::<32, 128, 2>::new(&mut generator),
            Linear::<128, 65>::new(&mut generator),
        );
        let letters: Vec<usize> = (0..=STEPS * BATCH).map(|i| i * i % 65).collect();
        let (mut workspace, mut gradients) = (Workspace::new().at(level), model.zeros_like());
        let mut d_logits = SequencesBuf::default();
        let (mut adam, loss) = (Adam::new(1e-3).at(level), CrossEntropy::mean().at(level));
        Work::new(1, move || {
            let input = Sequences::batch_first(&letters[..STEPS * BATCH], Batch(BATCH), Steps(STEPS)).unwrap();
            let targets = Sequences::batch_first(&letters[1..], Batch(BATCH), Steps(STEPS)).unwrap();
            let pass = workspace.forward(&model, input).unwrap();
            loss.loss_into(pass.output(), targets, &mut d_logits).unwrap();
            pass.backward_into(&d_logits, &mut gradients).unwrap();
            adam.step(&mut model, &gradients).unwrap();
        })
    }

    /// The whole training of the tutorial's first program, 15 epochs; counts the trainings.
    pub fn tutorial_1(level: Level) -> Work {
        let one_hot = HELLO.map(|letter| core::array::from_fn::<f32, 4, _>(|i| f32::from(i == letter)));
        let cell = RnnCell::<4, 4>::new(&mut Generator::seed(42));
        let (mut workspace, mut gradients) = (Workspace::new().at(level), cell.zeros_like());
        let mut d_logits = SequencesBuf::default();
        let loss = CrossEntropy::sum().at(level);
        Work::new(10, move || {
            for _ in 0..10 {
                let mut cell = black_box(cell);
                let mut adam = Adam::with_moments(0.1, [0.0; 40], [0.0; 40]).at(level);
                for _ in 0..15 {
                    let pass = workspace.forward(&cell, &one_hot).unwrap();
                    loss.loss_into(pass.output(), &OHLOL, &mut d_logits).unwrap();
                    pass.backward_into(&d_logits, &mut gradients).unwrap();
                    adam.step(&mut cell, &gradients).unwrap();
                }
                black_box(cell);
            }
        })
    }

    /// The same of its third.
    pub fn tutorial_3(level: Level) -> Work {
        let mut generator = Generator::seed(42);
        let model = (
            Embedding::<4, 10>::new(&mut generator),
            Rnn::<10, 8, 2>::new(&mut generator),
            Linear::<8, 4>::new(&mut generator),
        );
        let mut trained = model.clone();
        let (mut workspace, mut gradients) = (Workspace::new().at(level), model.zeros_like());
        let mut d_logits = SequencesBuf::default();
        let loss = CrossEntropy::mean().at(level);
        Work::new(3, move || {
            for _ in 0..3 {
                trained.clone_from(&model);
                let mut adam = Adam::with_moments(0.05, [0.0; 380], [0.0; 380]).at(level);
                for _ in 0..15 {
                    let pass = workspace.forward(&trained, &HELLO).unwrap();
                    loss.loss_into(pass.output(), &OHLOL, &mut d_logits).unwrap();
                    pass.backward_into(&d_logits, &mut gradients).unwrap();
                    adam.step(&mut trained, &gradients).unwrap();
                }
            }
        })
    }
}
