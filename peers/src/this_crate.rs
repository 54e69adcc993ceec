//! elman itself.

use crate::candidate::{Candidate, Failure, Named, named};
use crate::work::{
    BATCH, COMPARED_LOSSES, Data, EMBEDDING, Kind, LEARNING_RATE, LETTERS, NEURONS, SINGLE_STEPS, STEPS, Work,
};
use elman::{
    Adam, Batch, CrossEntropy, Embedding, Linear, Parameters, Pass, Passed, Rnn, RnnCell, RnnWeights, Sequences,
    SequencesBuf, Steps, Workspace,
};
use std::hint::black_box;

pub const NAME: &str = "elman";

pub fn candidates(work: Work, data: &Data) -> Vec<Named> {
    vec![match work.size {
        _ if work.kind == Kind::Character => named(NAME, Character::new(data)),
        4 => sized::<4>(work, data),
        8 => sized::<8>(work, data),
        16 => sized::<16>(work, data),
        32 => sized::<32>(work, data),
        64 => sized::<64>(work, data),
        128 => sized::<128>(work, data),
        256 => sized::<256>(work, data),
        512 => sized::<512>(work, data),
        size => (NAME.to_owned(), Err(format!("no layer of {size} neurons was compiled").into())),
    }]
}

fn sized<const H: usize>(work: Work, data: &Data) -> Named {
    match work.kind {
        Kind::Forward | Kind::Sequence => named(NAME, Forward::<H>::new(work, data)),
        Kind::Training => named(NAME, Training::<H>::new(data)),
        _ => named(NAME, Step::<H>::new(data)),
    }
}

fn rows<const N: usize>(values: &[f32]) -> Vec<[f32; N]> {
    values.as_chunks().0.to_vec()
}

fn flattened<'a, const N: usize>(rows: impl IntoIterator<Item = &'a [f32; N]>) -> impl Iterator<Item = f32> {
    rows.into_iter().flatten().copied()
}

fn cell<const H: usize>(data: &Data) -> Result<Box<RnnCell<H, H>>, Failure> {
    let mut cell = RnnCell::<H, H>::zeros_boxed();
    cell.load_torch(&weights(data, ""))?;
    Ok(cell)
}

fn weights<'a>(data: &'a Data, layer: &str) -> RnnWeights<'a> {
    let get = |name: &str| data.get(&format!("{name}{layer}")).into();
    RnnWeights {
        weight_ih: get("weight_ih"),
        weight_hh: get("weight_hh"),
        bias_ih: get("bias_ih"),
        bias_hh: get("bias_hh"),
    }
}

struct Forward<const H: usize> {
    shape: (usize, usize),
    cell: Box<RnnCell<H, H>>,
    x: Vec<[f32; H]>,
    workspace: Workspace<Box<RnnCell<H, H>>>,
}

impl<const H: usize> Forward<H> {
    fn new(work: Work, data: &Data) -> Result<Self, Failure> {
        Ok(Self { shape: work.shape(), cell: cell(data)?, x: rows(data.get("x")), workspace: Workspace::new() })
    }

    fn forward(&mut self) -> Result<Pass<'_, Box<RnnCell<H, H>>>, Failure> {
        let (steps, batch) = self.shape;
        let x = Sequences::batch_first(&self.x, Batch(batch), Steps(steps))?;
        Ok(self.workspace.forward(&self.cell, x)?)
    }
}

impl<const H: usize> Candidate for Forward<H> {
    fn run(&mut self) -> Result<(), Failure> {
        self.forward().map(drop)
    }

    fn result(&mut self) -> Result<Vec<f32>, Failure> {
        Ok(batch_first(self.forward()?.output()))
    }
}

/// The rows of sequences in batch-first order, whatever their order in memory.
fn batch_first<const N: usize>(sequences: Sequences<'_, [f32; N]>) -> Vec<f32> {
    let order = (0..sequences.batch()).flat_map(|sample| (0..sequences.steps()).map(move |step| (sample, step)));
    order.flat_map(|(sample, step)| *sequences.row(sample, step)).collect()
}

struct Training<const H: usize> {
    cell: Box<RnnCell<H, H>>,
    x: Vec<[f32; H]>,
    d_output: Vec<[f32; H]>,
    workspace: Workspace<Box<RnnCell<H, H>>>,
    gradients: Box<RnnCell<H, H>>,
}

impl<const H: usize> Training<H> {
    fn new(data: &Data) -> Result<Self, Failure> {
        Ok(Self {
            cell: cell(data)?,
            x: rows(data.get("x")),
            d_output: rows(data.get("d_output")),
            workspace: Workspace::new().with_d_input(),
            gradients: RnnCell::zeros_boxed(),
        })
    }

    fn train(&mut self) -> Result<(Passed<'_, Box<RnnCell<H, H>>>, &RnnCell<H, H>), Failure> {
        let x = Sequences::batch_first(&self.x, Batch(BATCH), Steps(STEPS))?;
        let d_output = Sequences::batch_first(&self.d_output, Batch(BATCH), Steps(STEPS))?;
        let passed = self.workspace.forward(&self.cell, x)?.backward_into(d_output, &mut self.gradients)?;
        Ok((passed, &self.gradients))
    }
}

impl<const H: usize> Candidate for Training<H> {
    fn run(&mut self) -> Result<(), Failure> {
        self.train().map(drop)
    }

    fn result(&mut self) -> Result<Vec<f32>, Failure> {
        let (passed, gradients) = self.train()?;
        let d_x = passed.d_input().ok_or("the gradient of the input was not asked for")?;
        let mut result = batch_first(passed.output());
        result.extend(gradients.weight_ih_torch());
        result.extend(gradients.weight_hh_torch());
        result.extend(gradients.bias_ih);
        result.extend(batch_first(d_x));
        result.extend(flattened(passed.d_initial()));
        Ok(result)
    }
}

type Model = (Box<Embedding<LETTERS, EMBEDDING>>, Rnn<EMBEDDING, NEURONS, 2>, Box<Linear<NEURONS, LETTERS>>);

struct Character {
    model: Model,
    gradients: Model,
    adam: Adam<Vec<f32>>,
    workspace: Workspace<Model>,
    d_logits: SequencesBuf<[f32; LETTERS]>,
    tokens: Vec<usize>,
    targets: Vec<usize>,
    loss: f32,
}

impl Character {
    fn new(data: &Data) -> Result<Self, Failure> {
        let mut embedding = Embedding::zeros_boxed();
        embedding.load_torch(data.get("embedding"))?;
        let mut linear = Linear::zeros_boxed();
        linear.load_torch(data.get("linear_weight"), data.get("linear_bias"))?;
        let model: Model = (embedding, Rnn::from_torch(&[weights(data, ""), weights(data, "_1")])?, linear);
        Ok(Self {
            gradients: model.zeros_like(),
            model,
            adam: Adam::new(LEARNING_RATE),
            workspace: Workspace::new(),
            d_logits: SequencesBuf::default(),
            tokens: data.letters("tokens"),
            targets: data.letters("targets"),
            loss: 0.0,
        })
    }
}

impl Candidate for Character {
    fn run(&mut self) -> Result<(), Failure> {
        let tokens = Sequences::batch_first(&self.tokens, Batch(BATCH), Steps(STEPS))?;
        let targets = Sequences::batch_first(&self.targets, Batch(BATCH), Steps(STEPS))?;
        let pass = self.workspace.forward(&self.model, tokens)?;
        self.loss = CrossEntropy::mean().loss_into(pass.output(), targets, &mut self.d_logits)?;
        pass.backward_into(&self.d_logits, &mut self.gradients)?;
        Ok(self.adam.step(&mut self.model, &self.gradients)?)
    }

    fn result(&mut self) -> Result<Vec<f32>, Failure> {
        (0..COMPARED_LOSSES).map(|_| self.run().map(|()| self.loss)).collect()
    }
}

struct Step<const H: usize> {
    cell: Box<RnnCell<H, H>>,
    x: [f32; H],
    h: [f32; H],
}

impl<const H: usize> Step<H> {
    fn new(data: &Data) -> Result<Self, Failure> {
        Ok(Self { cell: cell(data)?, x: data.get("x").try_into()?, h: [0.0; H] })
    }
}

impl<const H: usize> Candidate for Step<H> {
    fn run(&mut self) -> Result<(), Failure> {
        for _ in 0..SINGLE_STEPS {
            self.cell.step_in_place(black_box(&self.x), &mut self.h);
        }
        Ok(())
    }

    fn result(&mut self) -> Result<Vec<f32>, Failure> {
        self.run()?;
        Ok(self.h.to_vec())
    }
}
