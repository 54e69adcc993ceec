//! candle: the recurrence by hand over its tensors, for it has no tanh RNN. Sequences are time-major, one tensor a step;
//! weights are input-major, so that no product has a transposed factor. The two biases of a layer are added once a run.

use crate::candidate::{Candidate, Failure, Named, named};
use crate::layout::{batch_first, time_major, transposed};
use crate::work::{BATCH, COMPARED_LOSSES, Data, EMBEDDING, Kind, LEARNING_RATE, LETTERS, NEURONS, STEPS, Work};
use candle_core::{Device, Tensor, Var};
use candle_nn::optim::{AdamW, Optimizer, ParamsAdamW};

const DEVICE: Device = Device::Cpu;

pub fn candidates(work: Work, data: &Data) -> Vec<Named> {
    match work.kind {
        Kind::Forward => vec![named("candle", Forward::new(work.size, data))],
        Kind::Training => vec![named("candle", Training::new(work.size, data))],
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

/// A layer's weights.
struct Layer<T> {
    weight_ih: T,
    weight_hh: T,
    bias_ih: T,
    bias_hh: T,
}

impl Layer<Tensor> {
    fn new(data: &Data, layer: &str, inputs: usize, outputs: usize) -> candle_core::Result<Self> {
        let weight_ih = transposed(data.get(&format!("weight_ih{layer}")), outputs, inputs);
        let weight_hh = transposed(data.get(&format!("weight_hh{layer}")), outputs, outputs);
        Ok(Self {
            weight_ih: tensor(&weight_ih, &[inputs, outputs])?,
            weight_hh: tensor(&weight_hh, &[outputs, outputs])?,
            bias_ih: tensor(data.get(&format!("bias_ih{layer}")), &[outputs])?,
            bias_hh: tensor(data.get(&format!("bias_hh{layer}")), &[outputs])?,
        })
    }

    fn variables(&self) -> candle_core::Result<Layer<Var>> {
        Ok(Layer {
            weight_ih: Var::from_tensor(&self.weight_ih)?,
            weight_hh: Var::from_tensor(&self.weight_hh)?,
            bias_ih: Var::from_tensor(&self.bias_ih)?,
            bias_hh: Var::from_tensor(&self.bias_hh)?,
        })
    }
}

impl Layer<Var> {
    fn bias(&self) -> candle_core::Result<Tensor> {
        self.bias_ih.add(&self.bias_hh)
    }

    fn step(&self, x: &Tensor, h: &Tensor, bias: &Tensor) -> candle_core::Result<Tensor> {
        (x.matmul(&self.weight_ih)?.broadcast_add(bias)? + h.matmul(&self.weight_hh)?)?.tanh()
    }

    fn parameters(&self) -> [&Var; 4] {
        [&self.weight_ih, &self.weight_hh, &self.bias_ih, &self.bias_hh]
    }
}

/// All inputs in one product, then the recurrence.
struct Forward {
    size: usize,
    x: Tensor,
    h0: Tensor,
    layer: Layer<Tensor>,
    h: Vec<Tensor>,
}

impl Forward {
    fn new(size: usize, data: &Data) -> Result<Self, Failure> {
        Ok(Self {
            size,
            x: tensor(&time_major(data.get("x"), size), &[STEPS * BATCH, size])?,
            h0: Tensor::zeros((BATCH, size), candle_core::DType::F32, &DEVICE)?,
            layer: Layer::new(data, "", size, size)?,
            h: Vec::new(),
        })
    }
}

impl Candidate for Forward {
    fn run(&mut self) -> Result<(), Failure> {
        let bias = (&self.layer.bias_ih + &self.layer.bias_hh)?;
        let projected = self.x.matmul(&self.layer.weight_ih)?.broadcast_add(&bias)?;
        let mut h = self.h0.clone();
        self.h.clear();
        for step in 0..STEPS {
            h = (h.matmul(&self.layer.weight_hh)? + projected.narrow(0, step * BATCH, BATCH)?)?.tanh()?;
            self.h.push(h.clone());
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
    size: usize,
    x: Vec<Var>,
    h0: Var,
    layer: Layer<Var>,
    d_output: Tensor,
    h: Vec<Tensor>,
    gradients: Vec<Tensor>,
}

impl Training {
    fn new(size: usize, data: &Data) -> Result<Self, Failure> {
        let x = steps(&time_major(data.get("x"), size), size)?;
        let d_output = time_major(data.get("d_output"), size);
        Ok(Self {
            size,
            x: x.iter().map(|x| Ok(Var::from_tensor(x)?)).collect::<Result<_, Failure>>()?,
            h0: Var::zeros((BATCH, size), candle_core::DType::F32, &DEVICE)?,
            layer: Layer::new(data, "", size, size)?.variables()?,
            d_output: tensor(&d_output, &[STEPS * BATCH, size])?,
            h: Vec::new(),
            gradients: Vec::new(),
        })
    }
}

impl Candidate for Training {
    /// The gradient of an output is given by way of a loss: the sum of all outputs times their gradients.
    fn run(&mut self) -> Result<(), Failure> {
        let mut h = self.h0.as_tensor().clone();
        self.h.clear();
        let bias = self.layer.bias()?;
        for x in &self.x {
            h = self.layer.step(x, &h, &bias)?;
            self.h.push(h.clone());
        }
        let gradients = (Tensor::cat(&self.h, 0)? * &self.d_output)?.sum_all()?.backward()?;
        let get = |variable: &Var| gradients.get(variable).cloned().ok_or("candle gave no gradient");
        let all = self.layer.parameters().into_iter().chain(&self.x).chain([&self.h0]);
        self.gradients = all.map(get).collect::<Result<_, _>>()?;
        Ok(())
    }

    fn result(&mut self) -> Result<Vec<f32>, Failure> {
        self.run()?;
        let [weight_ih, weight_hh, bias_ih, _, d_x @ .., d_h0] = &self.gradients[..] else {
            return Err("no gradients".into());
        };
        let mut result = read_steps(&self.h, self.size)?;
        result.extend(transposed(&read(weight_ih)?, self.size, self.size));
        result.extend(transposed(&read(weight_hh)?, self.size, self.size));
        result.extend(read(bias_ih)?);
        result.extend(read_steps(d_x, self.size)?);
        result.extend(read(d_h0)?);
        Ok(result)
    }
}

struct Character {
    embedding: Var,
    layers: [Layer<Var>; 2],
    linear_weight: Var,
    linear_bias: Var,
    optimizer: AdamW,
    tokens: Vec<Tensor>,
    targets: Tensor,
    h0: Tensor,
    loss: f32,
}

impl Character {
    fn new(data: &Data) -> Result<Self, Failure> {
        let variable = |values: &[f32], shape: &[usize]| Var::from_tensor(&tensor(values, shape)?);
        let embedding = variable(data.get("embedding"), &[LETTERS, EMBEDDING])?;
        let layers = [
            Layer::new(data, "", EMBEDDING, NEURONS)?.variables()?,
            Layer::new(data, "_1", NEURONS, NEURONS)?.variables()?,
        ];
        let linear_weight = variable(&transposed(data.get("linear_weight"), LETTERS, NEURONS), &[NEURONS, LETTERS])?;
        let linear_bias = variable(data.get("linear_bias"), &[LETTERS])?;
        let mut variables = vec![embedding.clone(), linear_weight.clone(), linear_bias.clone()];
        variables.extend(layers.iter().flat_map(Layer::parameters).cloned());
        let settings = ParamsAdamW { lr: LEARNING_RATE, beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.0 };
        let letters = |name: &str| {
            let letters: Vec<u32> = time_major(data.get(name), 1).iter().map(|&letter| letter as u32).collect();
            Tensor::from_vec(letters, STEPS * BATCH, &DEVICE)
        };
        let tokens = letters("tokens")?.chunk(STEPS, 0)?;
        Ok(Self {
            embedding,
            layers,
            linear_weight,
            linear_bias,
            optimizer: AdamW::new(variables, settings)?,
            tokens,
            targets: letters("targets")?,
            h0: Tensor::zeros((BATCH, NEURONS), candle_core::DType::F32, &DEVICE)?,
            loss: 0.0,
        })
    }
}

impl Candidate for Character {
    fn run(&mut self) -> Result<(), Failure> {
        let [mut lower, mut upper] = [self.h0.clone(), self.h0.clone()];
        let biases = [self.layers[0].bias()?, self.layers[1].bias()?];
        let mut outputs = Vec::with_capacity(STEPS);
        for tokens in &self.tokens {
            lower = self.layers[0].step(&self.embedding.index_select(tokens, 0)?, &lower, &biases[0])?;
            upper = self.layers[1].step(&lower, &upper, &biases[1])?;
            outputs.push(upper.clone());
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
