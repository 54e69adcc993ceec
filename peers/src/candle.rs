//! candle: the recurrence by hand over its tensors. It has no tanh RNN; its GRU and LSTM have PyTorch's equations, but
//! took as long or longer. Sequences are time-major, one tensor a step; weights are input-major, so that no product has a
//! transposed factor. The two biases of a layer are added once a run.

use crate::candidate::{Candidate, Failure, Named, named};
use crate::layout::{batch_first, by_gate, gradients_by_gate, time_major, transposed};
use crate::work::{BATCH, COMPARED_LOSSES, Cell, Data, EMBEDDING, Kind, LEARNING_RATE, LETTERS, NEURONS, STEPS, Work};
use candle_core::{Device, Tensor, Var};
use candle_nn::ops::sigmoid;
use candle_nn::optim::{AdamW, Optimizer, ParamsAdamW};

const DEVICE: Device = Device::Cpu;

pub fn candidates(work: Work, data: &Data) -> Vec<Named> {
    match work.kind {
        Kind::Forward => vec![named("candle", Forward::new(work, data))],
        Kind::Training => vec![named("candle", Training::new(work, data))],
        Kind::Character => vec![named("candle", Character::new(data))],
        Kind::Sequence | Kind::Step => vec![],
    }
}

fn tensor(values: &[f32], shape: &[usize]) -> candle_core::Result<Tensor> {
    Tensor::from_slice(values, shape, &DEVICE)
}

/// The steps of time-major rows as tensors of their own.
fn steps(values: &[f32], size: usize) -> Result<Vec<Tensor>, Failure> {
    values.chunks(BATCH * size).map(|step| Ok(tensor(step, &[BATCH, size])?)).collect()
}

fn read(tensor: &Tensor) -> Result<Vec<f32>, Failure> {
    Ok(tensor.flatten_all()?.to_vec1()?)
}

fn read_steps(steps: &[Tensor], size: usize) -> Result<Vec<f32>, Failure> {
    Ok(batch_first(&read(&Tensor::cat(steps, 0)?)?, size))
}

/// A layer's weights, a tensor for each gate: a product for all gates has to be cut, which took as long or longer.
struct Layer {
    cell: Cell,
    weight_ih: Vec<Tensor>,
    weight_hh: Vec<Tensor>,
    bias_ih: Vec<Tensor>,
    bias_hh: Vec<Tensor>,
}

/// h, and c of an LSTM.
type State = Vec<Tensor>;

impl Layer {
    fn new(cell: Cell, data: &Data, layer: &str, inputs: usize, outputs: usize) -> candle_core::Result<Self> {
        let weights = |name: &str, inputs: usize| -> candle_core::Result<Vec<Tensor>> {
            let gates = by_gate(data.get(&format!("{name}{layer}")), cell.gates());
            gates.map(|gate| tensor(&transposed(gate, outputs, inputs), &[inputs, outputs])).collect()
        };
        let biases = |name: &str| -> candle_core::Result<Vec<Tensor>> {
            let gates = by_gate(data.get(&format!("{name}{layer}")), cell.gates());
            gates.map(|gate| tensor(gate, &[outputs])).collect()
        };
        Ok(Self {
            cell,
            weight_ih: weights("weight_ih", inputs)?,
            weight_hh: weights("weight_hh", outputs)?,
            bias_ih: biases("bias_ih")?,
            bias_hh: biases("bias_hh")?,
        })
    }

    /// The same layer of variables, and these in the order of the fields.
    fn variables(self) -> candle_core::Result<(Self, Vec<Var>)> {
        let mut variables = Vec::new();
        let mut all = |tensors: Vec<Tensor>| -> candle_core::Result<Vec<Tensor>> {
            let made = tensors.iter().map(Var::from_tensor).collect::<candle_core::Result<Vec<_>>>()?;
            variables.extend(made.iter().cloned());
            Ok(made.into_iter().map(Var::into_inner).collect())
        };
        let layer = Self {
            cell: self.cell,
            weight_ih: all(self.weight_ih)?,
            weight_hh: all(self.weight_hh)?,
            bias_ih: all(self.bias_ih)?,
            bias_hh: all(self.bias_hh)?,
        };
        Ok((layer, variables))
    }

    /// What is added to the products of inputs.
    fn biases(&self) -> candle_core::Result<Vec<Tensor>> {
        let both = self.bias_ih.iter().zip(&self.bias_hh);
        let mut sums = both.map(|(a, b)| a + b).collect::<candle_core::Result<Vec<_>>>()?;
        if self.cell == Cell::Gru {
            // The other bias of n is added to the product of the state.
            sums[2] = self.bias_ih[2].clone();
        }
        Ok(sums)
    }

    /// What inputs give to each gate.
    fn project(&self, x: &Tensor, biases: &[Tensor]) -> candle_core::Result<Vec<Tensor>> {
        self.weight_ih.iter().zip(biases).map(|(weights, bias)| x.matmul(weights)?.broadcast_add(bias)).collect()
    }

    /// The next state.
    fn step(&self, projected: &[Tensor], state: &State) -> candle_core::Result<State> {
        let h = &state[0];
        let product = |gate: usize| h.matmul(&self.weight_hh[gate]);
        let sum = |gate: usize| product(gate)? + &projected[gate];
        match self.cell {
            Cell::Tanh => Ok(vec![sum(0)?.tanh()?]),
            Cell::Gru => {
                let (r, z) = (sigmoid(&sum(0)?)?, sigmoid(&sum(1)?)?);
                let n = (&projected[2] + (r * product(2)?.broadcast_add(&self.bias_hh[2])?)?)?.tanh()?;
                Ok(vec![(&n + (z * (h - &n)?)?)?])
            }
            Cell::Lstm => {
                let (i, f) = (sigmoid(&sum(0)?)?, sigmoid(&sum(1)?)?);
                let (g, o) = (sum(2)?.tanh()?, sigmoid(&sum(3)?)?);
                let c = ((f * &state[1])? + (i * g)?)?;
                Ok(vec![(o * c.tanh()?)?, c])
            }
        }
    }
}

fn zeros(size: usize) -> candle_core::Result<Tensor> {
    Tensor::zeros((BATCH, size), candle_core::DType::F32, &DEVICE)
}

/// All inputs in one product for each gate, then the recurrence.
struct Forward {
    size: usize,
    x: Tensor,
    state: State,
    layer: Layer,
    h: Vec<Tensor>,
}

impl Forward {
    fn new(work: Work, data: &Data) -> Result<Self, Failure> {
        let size = work.size;
        Ok(Self {
            size,
            x: tensor(&time_major(data.get("x"), size), &[STEPS * BATCH, size])?,
            state: vec![zeros(size)?; work.cell.states()],
            layer: Layer::new(work.cell, data, "", size, size)?,
            h: Vec::new(),
        })
    }
}

impl Candidate for Forward {
    fn run(&mut self) -> Result<(), Failure> {
        let projected = self.layer.project(&self.x, &self.layer.biases()?)?;
        let mut state = self.state.clone();
        self.h.clear();
        for step in 0..STEPS {
            let x = projected.iter().map(|gate| gate.narrow(0, step * BATCH, BATCH));
            state = self.layer.step(&x.collect::<candle_core::Result<Vec<_>>>()?, &state)?;
            self.h.push(state[0].clone());
        }
        Ok(())
    }

    fn result(&mut self) -> Result<Vec<f32>, Failure> {
        self.run()?;
        read_steps(&self.h, self.size)
    }
}

/// Inputs are projected step by step: the gradient of a part of one large product would be as large as the whole.
struct Training {
    work: Work,
    x: Vec<Var>,
    state: Vec<Var>,
    layer: Layer,
    weights: Vec<Var>,
    d_output: Tensor,
    h: Vec<Tensor>,
    gradients: Vec<Tensor>,
}

impl Training {
    fn new(work: Work, data: &Data) -> Result<Self, Failure> {
        let size = work.size;
        let (layer, weights) = Layer::new(work.cell, data, "", size, size)?.variables()?;
        let x = steps(&time_major(data.get("x"), size), size)?;
        let variable = |tensor: &Tensor| Ok(Var::from_tensor(tensor)?);
        Ok(Self {
            work,
            x: x.iter().map(variable).collect::<Result<_, Failure>>()?,
            state: vec![zeros(size)?; work.cell.states()].iter().map(variable).collect::<Result<_, Failure>>()?,
            layer,
            weights,
            d_output: tensor(&time_major(data.get("d_output"), size), &[STEPS * BATCH, size])?,
            h: Vec::new(),
            gradients: Vec::new(),
        })
    }
}

impl Candidate for Training {
    /// The gradient of an output is given by way of a loss: the sum of all outputs times their gradients.
    fn run(&mut self) -> Result<(), Failure> {
        let mut state: State = self.state.iter().map(|part| part.as_tensor().clone()).collect();
        self.h.clear();
        let biases = self.layer.biases()?;
        for x in &self.x {
            state = self.layer.step(&self.layer.project(x, &biases)?, &state)?;
            self.h.push(state[0].clone());
        }
        let gradients = (Tensor::cat(&self.h, 0)? * &self.d_output)?.sum_all()?.backward()?;
        let get = |variable: &Var| gradients.get(variable).cloned().ok_or("candle gave no gradient");
        let all = self.weights.iter().chain(&self.x).chain(&self.state);
        self.gradients = all.map(get).collect::<Result<_, _>>()?;
        Ok(())
    }

    fn result(&mut self) -> Result<Vec<f32>, Failure> {
        self.run()?;
        let Work { cell, size, .. } = self.work;
        let (weights, others) = self.gradients.split_at(self.weights.len());
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

struct Character {
    embedding: Var,
    layers: [Layer; 2],
    linear_weight: Var,
    linear_bias: Var,
    optimizer: AdamW,
    tokens: Vec<Tensor>,
    targets: Tensor,
    state: State,
    loss: f32,
}

impl Character {
    fn new(data: &Data) -> Result<Self, Failure> {
        let variable = |values: &[f32], shape: &[usize]| Var::from_tensor(&tensor(values, shape)?);
        let embedding = variable(data.get("embedding"), &[LETTERS, EMBEDDING])?;
        let (lower, lower_variables) = Layer::new(Cell::Tanh, data, "", EMBEDDING, NEURONS)?.variables()?;
        let (upper, upper_variables) = Layer::new(Cell::Tanh, data, "_1", NEURONS, NEURONS)?.variables()?;
        let linear_weight = variable(&transposed(data.get("linear_weight"), LETTERS, NEURONS), &[NEURONS, LETTERS])?;
        let linear_bias = variable(data.get("linear_bias"), &[LETTERS])?;
        let mut variables = vec![embedding.clone(), linear_weight.clone(), linear_bias.clone()];
        variables.extend([lower_variables, upper_variables].concat());
        let settings = ParamsAdamW { lr: LEARNING_RATE, beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.0 };
        let letters = |name: &str| {
            let letters: Vec<u32> = time_major(data.get(name), 1).iter().map(|&letter| letter as u32).collect();
            Tensor::from_vec(letters, STEPS * BATCH, &DEVICE)
        };
        let tokens = letters("tokens")?.chunk(STEPS, 0)?;
        Ok(Self {
            embedding,
            layers: [lower, upper],
            linear_weight,
            linear_bias,
            optimizer: AdamW::new(variables, settings)?,
            tokens,
            targets: letters("targets")?,
            state: vec![zeros(NEURONS)?],
            loss: 0.0,
        })
    }
}

impl Candidate for Character {
    fn run(&mut self) -> Result<(), Failure> {
        let [mut lower, mut upper] = [self.state.clone(), self.state.clone()];
        let [lower_layer, upper_layer] = &self.layers;
        let [lower_biases, upper_biases] = [lower_layer.biases()?, upper_layer.biases()?];
        let mut outputs = Vec::with_capacity(STEPS);
        for tokens in &self.tokens {
            let x = self.embedding.index_select(tokens, 0)?;
            lower = lower_layer.step(&lower_layer.project(&x, &lower_biases)?, &lower)?;
            upper = upper_layer.step(&upper_layer.project(&lower[0], &upper_biases)?, &upper)?;
            outputs.push(upper[0].clone());
        }
        let logits = Tensor::cat(&outputs, 0)?.matmul(&self.linear_weight)?.broadcast_add(&self.linear_bias)?;
        let loss = candle_nn::loss::cross_entropy(&logits, &self.targets)?;
        self.optimizer.backward_step(&loss)?;
        self.loss = loss.to_scalar()?;
        Ok(())
    }

    fn result(&mut self) -> Result<Vec<f32>, Failure> {
        (0..COMPARED_LOSSES).map(|_| self.run().map(|()| self.loss)).collect()
    }
}
