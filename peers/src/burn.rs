//! burn, on its backend for processors, flex: the recurrence by hand over its tensors, as for candle. Its own module
//! `nn::Rnn` projects each step by itself and assigns into all outputs: 1.2 to 2 times as long (32 to 512 neurons).
//! `nn::Gru` and `nn::Lstm` have PyTorch's equations; forwards took 0.9 to 1.7 times as long, training 1.4 to 1.9 times. Its
//! older backend ndarray is deprecated; in a run with both, flex was the faster one in nine figures of ten.

use crate::candidate::{Candidate, Failure, Named, named};
use crate::layout::{batch_first, by_gate, gradients_by_gate, time_major, transposed};
use crate::work::{BATCH, COMPARED_LOSSES, Cell, Data, EMBEDDING, Kind, LEARNING_RATE, LETTERS, NEURONS, STEPS, Work};
use ::burn::module::{Module, Param};
use ::burn::nn::loss::{CrossEntropyLoss, CrossEntropyLossConfig};
use ::burn::optim::{AdamConfig, GradientsParams, ModuleOptimizer};
use ::burn::tensor::{Device, Int, Tensor, TensorData};

pub fn candidates(work: Work, data: &Data) -> Vec<Named> {
    let device = Device::flex();
    match work.kind {
        Kind::Forward => vec![named("burn", Ok(Forward::new(work, data, &device)))],
        Kind::Training => vec![named("burn", Ok(Training::new(work, data, &device.autodiff())))],
        Kind::Character => vec![named("burn", Ok(Character::new(data, &device.autodiff())))],
        Kind::Sequence | Kind::Step => vec![],
    }
}

fn tensor<const D: usize>(values: &[f32], shape: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::from_data(TensorData::new(values.to_vec(), shape), device)
}

/// The steps of time-major rows as tensors of their own.
fn steps(values: &[f32], size: usize, device: &Device) -> Vec<Tensor<2>> {
    values.chunks(BATCH * size).map(|step| tensor(step, [BATCH, size], device)).collect()
}

fn read<const D: usize>(tensor: &Tensor<D>) -> Result<Vec<f32>, Failure> {
    tensor.clone().into_data().try_to_vec::<f32>().map_err(|error| format!("{error:?}").into())
}

fn read_steps(steps: &[Tensor<2>], size: usize) -> Result<Vec<f32>, Failure> {
    Ok(batch_first(&read(&Tensor::cat(steps.to_vec(), 0))?, size))
}

/// A layer's weights, a tensor for each gate.
#[derive(Module, Debug)]
struct Layer {
    weight_ih: Vec<Param<Tensor<2>>>,
    weight_hh: Vec<Param<Tensor<2>>>,
    bias_ih: Vec<Param<Tensor<2>>>,
    bias_hh: Vec<Param<Tensor<2>>>,
}

/// h, and c of an LSTM.
type State = Vec<Tensor<2>>;

impl Layer {
    fn new(cell: Cell, data: &Data, layer: &str, inputs: usize, outputs: usize, device: &Device) -> Self {
        let weights = |name: &str, inputs: usize| {
            let gates = by_gate(data.get(&format!("{name}{layer}")), cell.gates());
            let gates = gates.map(|gate| tensor(&transposed(gate, outputs, inputs), [inputs, outputs], device));
            gates.map(Param::from_tensor).collect()
        };
        let biases = |name: &str| {
            let gates = by_gate(data.get(&format!("{name}{layer}")), cell.gates());
            gates.map(|gate| Param::from_tensor(tensor(gate, [1, outputs], device))).collect()
        };
        Self {
            weight_ih: weights("weight_ih", inputs),
            weight_hh: weights("weight_hh", outputs),
            bias_ih: biases("bias_ih"),
            bias_hh: biases("bias_hh"),
        }
    }

    /// What is added to the products of inputs.
    fn biases(&self, cell: Cell) -> Vec<Tensor<2>> {
        let both = self.bias_ih.iter().zip(&self.bias_hh);
        let mut sums: Vec<_> = both.map(|(a, b)| a.val() + b.val()).collect();
        if cell == Cell::Gru {
            // The other bias of n is added to the product of the state.
            sums[2] = self.bias_ih[2].val();
        }
        sums
    }

    /// What inputs give to each gate.
    fn project(&self, x: &Tensor<2>, biases: &[Tensor<2>]) -> Vec<Tensor<2>> {
        let gates = self.weight_ih.iter().zip(biases);
        gates.map(|(weights, bias)| x.clone().matmul(weights.val()) + bias.clone()).collect()
    }

    /// The next state.
    fn step(&self, cell: Cell, projected: &[Tensor<2>], state: State) -> State {
        let h = &state[0];
        let product = |gate: usize| h.clone().matmul(self.weight_hh[gate].val());
        let sum = |gate: usize| projected[gate].clone() + product(gate);
        match cell {
            Cell::Tanh => vec![sum(0).tanh()],
            Cell::Gru => {
                let (r, z) = (sigmoid(sum(0)), sigmoid(sum(1)));
                let n = (projected[2].clone() + r * (product(2) + self.bias_hh[2].val())).tanh();
                vec![n.clone() + z * (h.clone() - n)]
            }
            Cell::Lstm => {
                let (i, f, g, o) = (sigmoid(sum(0)), sigmoid(sum(1)), sum(2).tanh(), sigmoid(sum(3)));
                let c = f * state[1].clone() + i * g;
                vec![o * c.clone().tanh(), c]
            }
        }
    }
}

/// By hand: with burn's own, forwards took 10 % longer and training 5 %.
fn sigmoid(x: Tensor<2>) -> Tensor<2> {
    ((-x).exp() + 1.0).recip()
}

fn zeros(work: Work, device: &Device) -> State {
    (0..work.cell.states()).map(|_| Tensor::zeros([BATCH, work.size], device)).collect()
}

/// All inputs in one product for each gate, then the recurrence.
struct Forward {
    work: Work,
    x: Tensor<2>,
    state: State,
    layer: Layer,
    h: Vec<Tensor<2>>,
}

impl Forward {
    fn new(work: Work, data: &Data, device: &Device) -> Self {
        let size = work.size;
        Self {
            work,
            x: tensor(&time_major(data.get("x"), size), [STEPS * BATCH, size], device),
            state: zeros(work, device),
            layer: Layer::new(work.cell, data, "", size, size, device),
            h: Vec::new(),
        }
    }
}

impl Candidate for Forward {
    fn run(&mut self) -> Result<(), Failure> {
        let cell = self.work.cell;
        let projected = self.layer.project(&self.x, &self.layer.biases(cell));
        let mut state = self.state.clone();
        self.h.clear();
        for step in 0..STEPS {
            let x: Vec<_> = projected.iter().map(|gate| gate.clone().narrow(0, step * BATCH, BATCH)).collect();
            state = self.layer.step(cell, &x, state);
            self.h.push(state[0].clone());
        }
        Ok(())
    }

    fn result(&mut self) -> Result<Vec<f32>, Failure> {
        self.run()?;
        read_steps(&self.h, self.work.size)
    }
}

/// Inputs are projected step by step: the gradient of a part of one large product would be as large as the whole.
struct Training {
    work: Work,
    x: Vec<Tensor<2>>,
    state: State,
    layer: Layer,
    d_output: Tensor<2>,
    h: Vec<Tensor<2>>,
    gradients: Vec<Tensor<2>>,
}

impl Training {
    fn new(work: Work, data: &Data, device: &Device) -> Self {
        let size = work.size;
        let x = steps(&time_major(data.get("x"), size), size, device);
        Self {
            work,
            x: x.into_iter().map(Tensor::require_grad).collect(),
            state: zeros(work, device).into_iter().map(Tensor::require_grad).collect(),
            layer: Layer::new(work.cell, data, "", size, size, device),
            d_output: tensor(&time_major(data.get("d_output"), size), [STEPS * BATCH, size], device),
            h: Vec::new(),
            gradients: Vec::new(),
        }
    }
}

impl Candidate for Training {
    /// The gradient of an output is given by way of a loss: the sum of all outputs times their gradients.
    fn run(&mut self) -> Result<(), Failure> {
        let cell = self.work.cell;
        let mut state = self.state.clone();
        self.h.clear();
        let biases = self.layer.biases(cell);
        for x in &self.x {
            state = self.layer.step(cell, &self.layer.project(x, &biases), state);
            self.h.push(state[0].clone());
        }
        let gradients = (Tensor::cat(self.h.clone(), 0) * self.d_output.clone()).sum().backward();
        let Layer { weight_ih, weight_hh, bias_ih, bias_hh } = &self.layer;
        let weights: Vec<_> = [weight_ih, weight_hh, bias_ih, bias_hh].into_iter().flatten().map(Param::val).collect();
        let all = weights.iter().chain(&self.x).chain(&self.state);
        let all: Option<Vec<_>> = all.map(|tensor| tensor.grad(&gradients)).collect();
        self.gradients = all.ok_or("burn gave no gradient")?;
        Ok(())
    }

    fn result(&mut self) -> Result<Vec<f32>, Failure> {
        self.run()?;
        let Work { cell, size, .. } = self.work;
        let (weights, others) = self.gradients.split_at(4 * cell.gates());
        let (d_x, d_state) = others.split_at(STEPS);
        let mut result = read_steps(&self.h, size)?;
        result.extend(gradients_by_gate(cell, size, weights, read)?);
        result.extend(read_steps(d_x, size)?);
        for part in d_state {
            result.extend(read(part)?);
        }
        Ok(result)
    }
}

#[derive(Module, Debug)]
struct Model {
    embedding: Param<Tensor<2>>,
    layers: [Layer; 2],
    linear_weight: Param<Tensor<2>>,
    linear_bias: Param<Tensor<2>>,
}

impl Model {
    fn new(data: &Data, device: &Device) -> Self {
        let linear_weight = transposed(data.get("linear_weight"), LETTERS, NEURONS);
        Self {
            embedding: Param::from_tensor(tensor(data.get("embedding"), [LETTERS, EMBEDDING], device)),
            layers: [
                Layer::new(Cell::Tanh, data, "", EMBEDDING, NEURONS, device),
                Layer::new(Cell::Tanh, data, "_1", NEURONS, NEURONS, device),
            ],
            linear_weight: Param::from_tensor(tensor(&linear_weight, [NEURONS, LETTERS], device)),
            linear_bias: Param::from_tensor(tensor(data.get("linear_bias"), [1, LETTERS], device)),
        }
    }

    fn forward(&self, tokens: &[Tensor<1, Int>], h0: &Tensor<2>) -> Tensor<2> {
        let [mut lower, mut upper] = [vec![h0.clone()], vec![h0.clone()]];
        let [lower_layer, upper_layer] = &self.layers;
        let [lower_biases, upper_biases] = self.layers.each_ref().map(|layer| layer.biases(Cell::Tanh));
        let mut outputs = Vec::with_capacity(STEPS);
        for tokens in tokens {
            let x = self.embedding.val().select(0, tokens.clone());
            lower = lower_layer.step(Cell::Tanh, &lower_layer.project(&x, &lower_biases), lower);
            upper = upper_layer.step(Cell::Tanh, &upper_layer.project(&lower[0], &upper_biases), upper);
            outputs.push(upper[0].clone());
        }
        Tensor::cat(outputs, 0).matmul(self.linear_weight.val()) + self.linear_bias.val()
    }
}

struct Character {
    /// Taken out by each step of the optimizer, which gives back another one.
    model: Option<Model>,
    optimizer: ModuleOptimizer,
    cross_entropy: CrossEntropyLoss,
    tokens: Vec<Tensor<1, Int>>,
    targets: Tensor<1, Int>,
    h0: Tensor<2>,
    loss: Tensor<1>,
}

impl Character {
    fn new(data: &Data, device: &Device) -> Self {
        let letters =
            |name: &str| -> Vec<i64> { time_major(data.get(name), 1).iter().map(|&letter| letter as i64).collect() };
        let tokens = letters("tokens");
        Self {
            model: Some(Model::new(data, device)),
            optimizer: AdamConfig::new().with_epsilon(1e-8).init(),
            cross_entropy: CrossEntropyLossConfig::new().init(device),
            tokens: tokens.chunks(BATCH).map(|step| Tensor::from_ints(step, device)).collect(),
            targets: Tensor::from_ints(&letters("targets")[..], device),
            h0: Tensor::zeros([BATCH, NEURONS], device),
            loss: Tensor::zeros([1], device),
        }
    }
}

impl Candidate for Character {
    fn run(&mut self) -> Result<(), Failure> {
        let model = self.model.take().ok_or("an earlier step failed")?;
        let logits = model.forward(&self.tokens, &self.h0);
        self.loss = self.cross_entropy.forward(logits, self.targets.clone());
        let gradients = GradientsParams::from_grads(self.loss.backward(), &model);
        self.model = Some(self.optimizer.step(LEARNING_RATE, model, gradients));
        Ok(())
    }

    fn result(&mut self) -> Result<Vec<f32>, Failure> {
        (0..COMPARED_LOSSES).map(|_| self.run().and_then(|()| Ok(read(&self.loss)?[0]))).collect()
    }
}
