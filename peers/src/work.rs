//! What is compared: the pieces of work, and the random data that every candidate gets.

use elman::Generator;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// Steps of every sequence in a batch, and of one that is alone.
pub const STEPS: usize = 100;
pub const LONG_STEPS: usize = 10_000;
/// Sequences in a batch.
pub const BATCH: usize = 64;
/// Letters, numbers for each letter, and neurons of the character model.
pub const LETTERS: usize = 65;
pub const EMBEDDING: usize = 32;
pub const NEURONS: usize = 128;
/// Adam's learning rate for the character model.
pub const LEARNING_RATE: f64 = 1e-3;
/// Training steps of the character model whose losses are compared.
pub const COMPARED_LOSSES: usize = 3;
/// The tensors of a layer, and of the character model's second one.
const LAYER: [&str; 4] = ["weight_ih", "weight_hh", "bias_ih", "bias_hh"];
const UPPER_LAYER: [&str; 4] = ["weight_ih_1", "weight_hh_1", "bias_ih_1", "bias_hh_1"];
/// Single steps in one run, all with the same input, the first one from a zero state.
pub const SINGLE_STEPS: usize = 1000;

/// A kind of work: a section of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Forward,
    Training,
    Character,
    Sequence,
    Step,
}

impl Kind {
    pub const ALL: [Kind; 5] = [Kind::Forward, Kind::Training, Kind::Character, Kind::Sequence, Kind::Step];

    pub fn name(self) -> &'static str {
        match self {
            Kind::Forward => "forward",
            Kind::Training => "training",
            Kind::Character => "character",
            Kind::Sequence => "sequence",
            Kind::Step => "step",
        }
    }

    /// The works of this kind with a cell, one for each column of their section. The character model has tanh alone.
    pub fn works(self, cell: Cell, quick: bool) -> Vec<Work> {
        let sizes: &[usize] = match (self, cell, quick) {
            (Kind::Forward | Kind::Training, _, true) => &[32, 128],
            (Kind::Forward | Kind::Training, Cell::Tanh, false) => &[32, 64, 128, 256, 512],
            (Kind::Forward | Kind::Training, _, false) => &[16, 32, 64, 128, 256, 512],
            (Kind::Character, Cell::Tanh, _) => &[NEURONS],
            (Kind::Character, _, _) => &[],
            (Kind::Sequence | Kind::Step, _, true) => &[32],
            (Kind::Sequence, _, false) => &[16, 32, 64, 128, 256],
            (Kind::Step, Cell::Tanh, false) => &[4, 8, 16, 32, 64, 128],
            (Kind::Step, _, false) => &[8, 16, 32, 64, 128],
        };
        sizes.iter().map(|&size| Work { kind: self, cell, size }).collect()
    }
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let kind = Kind::ALL.into_iter().find(|kind| kind.name() == name);
        kind.ok_or_else(|| format!("`{name}` is not forward, training, character, sequence or step"))
    }
}

/// The cell of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cell {
    Tanh,
    Gru,
    Lstm,
}

impl Cell {
    pub const ALL: [Cell; 3] = [Cell::Tanh, Cell::Gru, Cell::Lstm];

    pub fn name(self) -> &'static str {
        match self {
            Cell::Tanh => "tanh",
            Cell::Gru => "gru",
            Cell::Lstm => "lstm",
        }
    }

    /// Sums that each neuron makes at a step, in PyTorch's order: r z n of a GRU, i f g o of an LSTM.
    pub fn gates(self) -> usize {
        match self {
            Cell::Tanh => 1,
            Cell::Gru => 3,
            Cell::Lstm => 4,
        }
    }

    /// Tensors of a state: h, and c of an LSTM.
    pub fn states(self) -> usize {
        if self == Cell::Lstm { 2 } else { 1 }
    }
}

impl FromStr for Cell {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let cell = Cell::ALL.into_iter().find(|cell| cell.name() == name);
        cell.ok_or_else(|| format!("`{name}` is not tanh, gru or lstm"))
    }
}

/// One piece of work: a kind, a cell, and the number of inputs and of neurons.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Work {
    pub kind: Kind,
    pub cell: Cell,
    pub size: usize,
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.kind.name(), self.cell.name(), self.size)
    }
}

impl FromStr for Work {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let [kind, cell, size] = name.split('-').collect::<Vec<_>>()[..] else {
            return Err(format!("`{name}` is not a work"));
        };
        let size = size.parse().map_err(|_| format!("`{name}` has no size"))?;
        Ok(Work { kind: kind.parse()?, cell: cell.parse()?, size })
    }
}

impl Work {
    /// Steps and sequences of one run.
    pub fn shape(self) -> (usize, usize) {
        match self.kind {
            Kind::Forward | Kind::Training | Kind::Character => (STEPS, BATCH),
            Kind::Sequence => (LONG_STEPS, 1),
            Kind::Step => (SINGLE_STEPS, 1),
        }
    }

    /// Steps of all sequences together.
    pub fn all_steps(self) -> usize {
        let (steps, batch) = self.shape();
        steps * batch
    }

    /// Floating-point operations of the matrix products of one run; nothing else is counted.
    pub fn operations(self) -> f64 {
        let layer = |inputs: usize, outputs: usize| (2 * self.all_steps() * inputs * outputs) as f64;
        let forward = layer(2 * self.size, self.cell.gates() * self.size);
        match self.kind {
            Kind::Forward | Kind::Sequence | Kind::Step => forward,
            // Each product of the forward has two in the backward: the gradients of its two factors.
            Kind::Training => 3.0 * forward,
            Kind::Character => {
                let first = layer(EMBEDDING + NEURONS, NEURONS);
                3.0 * (first + layer(2 * NEURONS, NEURONS) + layer(NEURONS, LETTERS))
            }
        }
    }

    /// The terms of the longest sum that a result of this work holds.
    pub fn longest_sum(self) -> usize {
        let preactivation = 2 * self.size + 2;
        match self.kind {
            Kind::Forward | Kind::Sequence | Kind::Step => preactivation,
            // The gradient of a state is a sum over gates and neurons, that of a weight one over all steps.
            Kind::Training | Kind::Character => {
                preactivation.max(self.cell.gates() * self.size + 1).max(self.all_steps())
            }
        }
    }

    /// The tensors of a result, in order, with their lengths. Sequences are batch-first, weights are `[gate and out][in]`.
    pub fn results(self) -> Vec<(&'static str, usize)> {
        let (h, rows, gates) = (self.size, self.all_steps(), self.cell.gates() * self.size);
        match self.kind {
            Kind::Forward | Kind::Sequence => vec![("h", rows * h)],
            Kind::Training => {
                let mut results =
                    vec![("h", rows * h), ("gradient of weight_ih", gates * h), ("gradient of weight_hh", gates * h)];
                results.extend(match self.cell {
                    // The two gradients differ.
                    Cell::Gru => vec![("gradient of bias_ih", gates), ("gradient of bias_hh", gates)],
                    Cell::Tanh | Cell::Lstm => vec![("gradient of the biases", gates)],
                });
                results.extend([("gradient of x", rows * h), ("gradient of h0", BATCH * h)]);
                if self.cell == Cell::Lstm {
                    results.push(("gradient of c0", BATCH * h));
                }
                results
            }
            Kind::Character => vec![("losses", COMPARED_LOSSES)],
            Kind::Step => [("h", h), ("c", h)][..self.cell.states()].to_vec(),
        }
    }

    /// The random data of this work, always the same.
    pub fn data(self) -> Data {
        let mut generator = Generator::seed(1990);
        let mut data = Data::default();
        match self.kind {
            Kind::Character => {
                data.fill(&mut generator, "embedding", LETTERS * EMBEDDING, 1.0);
                data.fill_layer(&mut generator, LAYER, EMBEDDING, NEURONS, 1);
                data.fill_layer(&mut generator, UPPER_LAYER, NEURONS, NEURONS, 1);
                let bound = 1.0 / (NEURONS as f32).sqrt();
                data.fill(&mut generator, "linear_weight", LETTERS * NEURONS, bound);
                data.fill(&mut generator, "linear_bias", LETTERS, bound);
                data.fill_letters(&mut generator, "tokens");
                data.fill_letters(&mut generator, "targets");
            }
            kind => {
                let rows = if kind == Kind::Step { 1 } else { self.all_steps() };
                data.fill_layer(&mut generator, LAYER, self.size, self.size, self.cell.gates());
                data.fill(&mut generator, "x", rows * self.size, 1.0);
                if kind == Kind::Training {
                    data.fill(&mut generator, "d_output", rows * self.size, 1.0);
                }
            }
        }
        data
    }
}

/// Named tensors. Sequences are batch-first, weights are PyTorch's `[gate and out][in]`; each candidate puts them into the
/// layout that suits it best, outside of what is measured.
#[derive(Clone, Debug, Default)]
pub struct Data {
    pub tensors: BTreeMap<&'static str, Vec<f32>>,
}

impl Data {
    pub fn get(&self, name: &str) -> &[f32] {
        self.tensors.get(name).map_or(&[], Vec::as_slice)
    }

    /// The tokens or the targets of the character model.
    pub fn letters(&self, name: &str) -> Vec<usize> {
        self.get(name).iter().map(|&letter| letter as usize).collect()
    }

    /// The two biases of a layer as one, for those who keep one.
    #[cfg(feature = "nalgebra")]
    pub fn bias(&self) -> Vec<f32> {
        self.get("bias_ih").iter().zip(self.get("bias_hh")).map(|(a, b)| a + b).collect()
    }

    fn fill(&mut self, generator: &mut Generator, name: &'static str, len: usize, bound: f32) {
        let mut values = vec![0.0; len];
        generator.fill_uniform(&mut values, -bound, bound);
        self.tensors.insert(name, values);
    }

    fn fill_layer(
        &mut self,
        generator: &mut Generator,
        names: [&'static str; 4],
        inputs: usize,
        neurons: usize,
        gates: usize,
    ) {
        let rows = gates * neurons;
        for (name, len) in names.into_iter().zip([rows * inputs, rows * neurons, rows, rows]) {
            self.fill(generator, name, len, 1.0 / (neurons as f32).sqrt());
        }
    }

    fn fill_letters(&mut self, generator: &mut Generator, name: &'static str) {
        let letters = (0..STEPS * BATCH).map(|_| (generator.random_u32() as usize % LETTERS) as f32).collect();
        self.tensors.insert(name, letters);
    }
}
