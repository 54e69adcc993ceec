//! burn, on its backend for processors, flex: the recurrence by hand over its tensors, as for candle. Its own module
//! `nn::Rnn` projects each step by itself and assigns into all outputs: 1.2 to 2 times as long (32 to 512 neurons). Its
//! older backend ndarray is deprecated; in a run with both, flex was the faster one in nine figures of ten.

use crate::candidate::{Candidate, Failure, Named, named};
use crate::layout::{batch_first, time_major, transposed};
use crate::work::{BATCH, COMPARED_LOSSES, Data, EMBEDDING, Kind, LEARNING_RATE, LETTERS, NEURONS, STEPS, Work};
use ::burn::module::{Module, Param};
use ::burn::nn::loss::{CrossEntropyLoss, CrossEntropyLossConfig};
use ::burn::optim::{AdamConfig, GradientsParams, ModuleOptimizer};
use ::burn::tensor::{Device, Int, Tensor, TensorData};

pub fn candidates(work: Work, data: &Data) -> Vec<Named> {
    let device = Device::flex();
    match work.kind {
        Kind::Forward => vec![named("burn", Ok(Forward::new(work.size, data, &device)))],
        Kind::Training => vec![named("burn", Ok(Training::new(work.size, data, &device.autodiff())))],
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

#[derive(Module, Debug)]
struct Layer {
    weight_ih: Param<Tensor<2>>,
    weight_hh: Param<Tensor<2>>,
    bias_ih: Param<Tensor<2>>,
    bias_hh: Param<Tensor<2>>,
}

impl Layer {
    fn new(data: &Data, layer: &str, inputs: usize, outputs: usize, device: &Device) -> Self {
        let weight_ih = transposed(data.get(&format!("weight_ih{layer}")), outputs, inputs);
        let weight_hh = transposed(data.get(&format!("weight_hh{layer}")), outputs, outputs);
        Self {
            weight_ih: Param::from_tensor(tensor(&weight_ih, [inputs, outputs], device)),
            weight_hh: Param::from_tensor(tensor(&weight_hh, [outputs, outputs], device)),
            bias_ih: Param::from_tensor(tensor(data.get(&format!("bias_ih{layer}")), [1, outputs], device)),
            bias_hh: Param::from_tensor(tensor(data.get(&format!("bias_hh{layer}")), [1, outputs], device)),
        }
    }

    fn bias(&self) -> Tensor<2> {
        self.bias_ih.val() + self.bias_hh.val()
    }

    fn step(&self, x: Tensor<2>, h: Tensor<2>, bias: &Tensor<2>) -> Tensor<2> {
        (x.matmul(self.weight_ih.val()) + bias.clone() + h.matmul(self.weight_hh.val())).tanh()
    }
}

/// All inputs in one product, then the recurrence.
struct Forward {
    size: usize,
    x: Tensor<2>,
    h0: Tensor<2>,
    layer: Layer,
    h: Vec<Tensor<2>>,
}

impl Forward {
    fn new(size: usize, data: &Data, device: &Device) -> Self {
        Self {
            size,
            x: tensor(&time_major(data.get("x"), size), [STEPS * BATCH, size], device),
            h0: Tensor::zeros([BATCH, size], device),
            layer: Layer::new(data, "", size, size, device),
            h: Vec::new(),
        }
    }
}

impl Candidate for Forward {
    fn run(&mut self) -> Result<(), Failure> {
        let projected = self.x.clone().matmul(self.layer.weight_ih.val()) + self.layer.bias();
        let mut h = self.h0.clone();
        self.h.clear();
        for step in 0..STEPS {
            let x = projected.clone().narrow(0, step * BATCH, BATCH);
            h = (h.matmul(self.layer.weight_hh.val()) + x).tanh();
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
    x: Vec<Tensor<2>>,
    h0: Tensor<2>,
    layer: Layer,
    d_output: Tensor<2>,
    h: Vec<Tensor<2>>,
    gradients: Vec<Tensor<2>>,
}

impl Training {
    fn new(size: usize, data: &Data, device: &Device) -> Self {
        let x = steps(&time_major(data.get("x"), size), size, device);
        Self {
            size,
            x: x.into_iter().map(Tensor::require_grad).collect(),
            h0: Tensor::zeros([BATCH, size], device).require_grad(),
            layer: Layer::new(data, "", size, size, device),
            d_output: tensor(&time_major(data.get("d_output"), size), [STEPS * BATCH, size], device),
            h: Vec::new(),
            gradients: Vec::new(),
        }
    }
}

impl Candidate for Training {
    /// The gradient of an output is given by way of a loss: the sum of all outputs times their gradients.
    fn run(&mut self) -> Result<(), Failure> {
        let mut h = self.h0.clone();
        self.h.clear();
        let bias = self.layer.bias();
        for x in &self.x {
            h = self.layer.step(x.clone(), h, &bias);
            self.h.push(h.clone());
        }
        let gradients = (Tensor::cat(self.h.clone(), 0) * self.d_output.clone()).sum().backward();
        let Layer { weight_ih, weight_hh, bias_ih, bias_hh } = &self.layer;
        let parameters = [weight_ih.val(), weight_hh.val(), bias_ih.val(), bias_hh.val()];
        let all = parameters.iter().chain(&self.x).chain([&self.h0]);
        let all: Option<Vec<_>> = all.map(|tensor| tensor.grad(&gradients)).collect();
        self.gradients = all.ok_or("burn gave no gradient")?;
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
                Layer::new(data, "", EMBEDDING, NEURONS, device),
                Layer::new(data, "_1", NEURONS, NEURONS, device),
            ],
            linear_weight: Param::from_tensor(tensor(&linear_weight, [NEURONS, LETTERS], device)),
            linear_bias: Param::from_tensor(tensor(data.get("linear_bias"), [1, LETTERS], device)),
        }
    }

    fn forward(&self, tokens: &[Tensor<1, Int>], h0: &Tensor<2>) -> Tensor<2> {
        let [mut lower, mut upper] = [h0.clone(), h0.clone()];
        let biases = [self.layers[0].bias(), self.layers[1].bias()];
        let mut outputs = Vec::with_capacity(STEPS);
        for tokens in tokens {
            lower = self.layers[0].step(self.embedding.val().select(0, tokens.clone()), lower, &biases[0]);
            upper = self.layers[1].step(lower.clone(), upper, &biases[1]);
            outputs.push(upper.clone());
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
