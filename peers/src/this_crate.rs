//! elman itself.

use crate::candidate::{Candidate, Failure, Named, named};
use crate::work::{
    self, BATCH, COMPARED_LOSSES, Data, EMBEDDING, Kind, LEARNING_RATE, LETTERS, NEURONS, SINGLE_STEPS, STEPS, Work,
};
use elman::cells::{Gru, Lstm, State, States};
use elman::{
    Adam, Batch, Cell, CrossEntropy, Embedding, Linear, Parameters, Pass, Passed, Rnn, RnnCell, RnnWeights, Sequences,
    SequencesBuf, Steps, Stream, Tanh, Workspace,
};
use std::hint::black_box;

pub const NAME: &str = "elman";

pub fn candidates(work: Work, data: &Data) -> Vec<Named> {
    vec![match work.cell {
        _ if work.kind == Kind::Character => named(NAME, Character::new(data)),
        work::Cell::Tanh => of_cell::<Tanh>(work, data),
        work::Cell::Gru => of_cell::<Gru>(work, data),
        work::Cell::Lstm => of_cell::<Lstm>(work, data),
    }]
}

fn of_cell<C: Cell>(work: Work, data: &Data) -> Named {
    match work.size {
        4 => sized::<C, 4>(work, data),
        8 => sized::<C, 8>(work, data),
        16 => sized::<C, 16>(work, data),
        32 => sized::<C, 32>(work, data),
        64 => sized::<C, 64>(work, data),
        128 => sized::<C, 128>(work, data),
        256 => sized::<C, 256>(work, data),
        512 => sized::<C, 512>(work, data),
        size => (NAME.to_owned(), Err(format!("no layer of {size} neurons was compiled").into())),
    }
}

fn sized<C: Cell, const H: usize>(work: Work, data: &Data) -> Named {
    match work.kind {
        Kind::Forward | Kind::Sequence => named(NAME, Forward::<C, H>::new(work, data)),
        Kind::Training => named(NAME, Training::<C, H>::new(work, data)),
        _ => named(NAME, Step::<C, H>::new(data)),
    }
}

fn rows<const N: usize>(values: &[f32]) -> Vec<[f32; N]> {
    values.as_chunks().0.to_vec()
}

fn flattened<'a, const N: usize>(rows: impl IntoIterator<Item = &'a [f32; N]>) -> impl Iterator<Item = f32> {
    rows.into_iter().flatten().copied()
}

type Layer<C, const H: usize> = Box<RnnCell<H, H, C>>;

fn layer<C: Cell, const H: usize>(data: &Data) -> Result<Layer<C, H>, Failure> {
    let mut cell = RnnCell::zeros_boxed();
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

struct Forward<C: Cell, const H: usize> {
    shape: (usize, usize),
    layer: Layer<C, H>,
    x: Vec<[f32; H]>,
    workspace: Workspace<Layer<C, H>>,
}

impl<C: Cell, const H: usize> Forward<C, H> {
    fn new(work: Work, data: &Data) -> Result<Self, Failure> {
        Ok(Self { shape: work.shape(), layer: layer(data)?, x: rows(data.get("x")), workspace: Workspace::new() })
    }

    fn forward(&mut self) -> Result<Pass<'_, Layer<C, H>>, Failure> {
        let (steps, batch) = self.shape;
        let x = Sequences::batch_first(&self.x, Batch(batch), Steps(steps))?;
        Ok(self.workspace.forward(&self.layer, x)?)
    }
}

impl<C: Cell, const H: usize> Candidate for Forward<C, H> {
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

struct Training<C: Cell, const H: usize> {
    cell: work::Cell,
    layer: Layer<C, H>,
    x: Vec<[f32; H]>,
    d_output: Vec<[f32; H]>,
    workspace: Workspace<Layer<C, H>>,
    gradients: Layer<C, H>,
}

impl<C: Cell, const H: usize> Training<C, H> {
    fn new(work: Work, data: &Data) -> Result<Self, Failure> {
        Ok(Self {
            cell: work.cell,
            layer: layer(data)?,
            x: rows(data.get("x")),
            d_output: rows(data.get("d_output")),
            workspace: Workspace::new().with_d_input(),
            gradients: RnnCell::zeros_boxed(),
        })
    }

    fn train(&mut self) -> Result<(Passed<'_, Layer<C, H>>, &RnnCell<H, H, C>), Failure> {
        let x = Sequences::batch_first(&self.x, Batch(BATCH), Steps(STEPS))?;
        let d_output = Sequences::batch_first(&self.d_output, Batch(BATCH), Steps(STEPS))?;
        let passed = self.workspace.forward(&self.layer, x)?.backward_into(d_output, &mut self.gradients)?;
        Ok((passed, &self.gradients))
    }
}

impl<C: Cell, const H: usize> Candidate for Training<C, H> {
    fn run(&mut self) -> Result<(), Failure> {
        self.train().map(drop)
    }

    fn result(&mut self) -> Result<Vec<f32>, Failure> {
        let both_biases = self.cell == work::Cell::Gru;
        let (passed, gradients) = self.train()?;
        let d_x = passed.d_input().ok_or("the gradient of the input was not asked for")?;
        let mut result = batch_first(passed.output());
        result.extend(gradients.weight_ih_torch());
        result.extend(gradients.weight_hh_torch());
        result.extend(gradients.bias_ih_torch());
        if both_biases {
            result.extend(gradients.bias_hh_torch());
        }
        result.extend(batch_first(d_x));
        let d_initial = passed.d_initial();
        result.extend(flattened(d_initial.h()));
        result.extend(flattened(d_initial.c().into_iter().flatten()));
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

struct Step<C: Cell, const H: usize> {
    layer: Layer<C, H>,
    x: [f32; H],
    state: C::State<H>,
}

impl<C: Cell, const H: usize> Step<C, H> {
    fn new(data: &Data) -> Result<Self, Failure> {
        let layer = layer(data)?;
        // A stream begins at zero, whatever the cell's state is.
        let state = *Stream::new(&*layer).state();
        Ok(Self { layer, x: data.get("x").try_into()?, state })
    }
}

impl<C: Cell, const H: usize> Candidate for Step<C, H> {
    fn run(&mut self) -> Result<(), Failure> {
        for _ in 0..SINGLE_STEPS {
            self.layer.step_in_place(black_box(&self.x), &mut self.state);
        }
        Ok(())
    }

    fn result(&mut self) -> Result<Vec<f32>, Failure> {
        self.run()?;
        Ok([self.state.h(), self.state.c()].concat())
    }
}
