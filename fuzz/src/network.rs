//! The layers and models that are fuzzed, what the reference needs to know of them, and runs over drawn sequences.

use crate::bounds::{self, AffineSums, CellSums, Near, Passed};
use crate::same;
use crate::source::{Kind, Source};
use crate::support::{CELL_PARAMETERS, Checked, Order, Rows, reference_cell, torch_parameters};
use elman::{Embedding, Layer, Level, Linear, Rnn, RnnCell, Sequences, SequencesBuf, Step, StepBackward};
use elman_reference::Cell;
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

/// Calls a check for one of a table of networks: sizes are types.
macro_rules! for_one_network {
    ($check:ident($source:expr)) => {{
        use elman::{Embedding, Linear, Rnn, RnnCell};
        let source: &mut $crate::source::Source<'_> = $source;
        type Check = fn(&mut $crate::source::Source<'_>) -> $crate::support::Checked;
        let checks: [Check; 27] = [
            $check::<RnnCell<1, 1>>,
            $check::<RnnCell<2, 3>>,
            $check::<RnnCell<3, 5>>,
            $check::<RnnCell<10, 8>>,
            $check::<RnnCell<16, 17>>,
            $check::<RnnCell<33, 10>>,
            $check::<RnnCell<1, 33>>,
            $check::<RnnCell<40, 40>>,
            $check::<Rnn<1, 1, 3>>,
            $check::<Rnn<3, 2, 2>>,
            $check::<Rnn<5, 16, 3>>,
            $check::<Rnn<17, 33, 2>>,
            $check::<Rnn<33, 17, 3>>,
            $check::<Rnn<8, 40, 1>>,
            $check::<Linear<1, 1>>,
            $check::<Linear<2, 3>>,
            $check::<Linear<8, 5>>,
            $check::<Linear<17, 16>>,
            $check::<Linear<33, 40>>,
            $check::<Linear<40, 1>>,
            $check::<Embedding<1, 1>>,
            $check::<Embedding<5, 3>>,
            $check::<Embedding<40, 17>>,
            $check::<(Embedding<4, 10>, Rnn<10, 8, 2>, Linear<8, 4>)>,
            $check::<(Embedding<5, 3>, Rnn<3, 17, 1>, Linear<17, 2>)>,
            $check::<(Embedding<33, 16>, Rnn<16, 33, 3>, Linear<33, 10>)>,
            $check::<(Embedding<1, 1>, Rnn<1, 1, 1>, Linear<1, 1>)>,
        ];
        source.choose(&checks)(source)
    }};
}
pub(crate) use for_one_network;

/// What one step takes or gives.
pub trait Row {
    /// The numbers of a vector; none for a token.
    fn numbers(&self) -> &[f32];
    /// The token, for those that are.
    fn token(&self) -> Option<usize> {
        None
    }
}

impl<const N: usize> Row for [f32; N] {
    fn numbers(&self) -> &[f32] {
        self
    }
}

impl Row for usize {
    fn numbers(&self) -> &[f32] {
        &[]
    }
    fn token(&self) -> Option<usize> {
        Some(*self)
    }
}

/// A row of numbers that can be made.
pub trait Vector: Row + Sized {
    const WIDTH: usize;
    fn from_numbers(numbers: &[f32]) -> Self;
    fn reshape(rows: &mut SequencesBuf<Self>, shape: (usize, usize));
}

impl<const N: usize> Vector for [f32; N] {
    const WIDTH: usize = N;
    fn from_numbers(numbers: &[f32]) -> Self {
        numbers.try_into().unwrap()
    }
    fn reshape(rows: &mut SequencesBuf<Self>, shape: (usize, usize)) {
        rows.reshape(shape);
    }
}

pub type Input<N> = <N as Layer>::Input;
pub type Output<N> = <N as Layer>::Output;
pub type State<N> = <N as Layer>::State;

/// A layer or a model, with its numbers as flat slices.
///
/// A state is `[layers][batch][hidden]`, of a single sample `[layers][hidden]`; no numbers at all stand for zeros.
pub trait Network:
    Layer<Input: Row + Copy, Output: Vector + Copy>
    + StepBackward
    + Step<Input = <Self as Layer>::Input, Output = <Self as Layer>::Output>
    + Clone
{
    /// Multiplications in one step of one sample.
    const WORK: usize;
    /// What the size of the weights is relative to.
    const SIZE: usize;
    /// Recurrent layers and their width.
    const LAYERS: usize;
    const HIDDEN: usize;
    /// Tokens are below it; 0 where vectors are taken.
    const VOCABULARY: usize;

    fn zeros() -> Self;
    fn draw_input(source: &mut Source<'_>, kind: Kind) -> Input<Self>;
    /// Replaces a token by one that is out of range, and gives it; vectors are left alone.
    fn bad_token(by: usize, input: &mut Input<Self>) -> Option<usize>;
    /// The network for the reference.
    fn stages(&self) -> Vec<Stage>;
    /// The parameters of every stage in PyTorch's order.
    fn tensors(&self) -> Vec<Vec<Vec<f32>>>;
    fn state(numbers: &[f32]) -> State<Self>;
    fn state_numbers(state: &State<Self>) -> Vec<f32>;
    fn step_state(numbers: &[f32]) -> <Self as Step>::State;
    fn step_state_numbers(state: &<Self as Step>::State) -> Vec<f32>;
    /// Batch-first; nothing for tokens.
    fn d_input_numbers(d_input: Sequences<'_, <Self as Layer>::InputGradient>) -> Vec<f32>;
}

fn draw_vector<const N: usize>(source: &mut Source<'_>, kind: Kind) -> [f32; N] {
    core::array::from_fn(|_| source.number(kind))
}

fn state_rows<const HID: usize>(numbers: &[f32]) -> Vec<[f32; HID]> {
    numbers.as_chunks().0.to_vec()
}

fn numbers_of<R: Row>(rows: Sequences<'_, R>) -> Vec<f32> {
    rows.iter().flat_map(|row| row.numbers()).copied().collect()
}

fn wide(numbers: impl Iterator<Item = f32>) -> Vec<f64> {
    numbers.map(f64::from).collect()
}

impl<const IN: usize, const HID: usize> Network for RnnCell<IN, HID> {
    const WORK: usize = HID * (IN + HID);
    const SIZE: usize = HID;
    const LAYERS: usize = 1;
    const HIDDEN: usize = HID;
    const VOCABULARY: usize = 0;

    fn zeros() -> Self {
        RnnCell::zeros()
    }
    fn draw_input(source: &mut Source<'_>, kind: Kind) -> [f32; IN] {
        draw_vector(source, kind)
    }
    fn bad_token(_: usize, _: &mut [f32; IN]) -> Option<usize> {
        None
    }
    fn stages(&self) -> Vec<Stage> {
        vec![Stage::Cell(reference_cell(self))]
    }
    fn tensors(&self) -> Vec<Vec<Vec<f32>>> {
        vec![torch_parameters(self).to_vec()]
    }
    fn state(numbers: &[f32]) -> Vec<[f32; HID]> {
        state_rows(numbers)
    }
    fn state_numbers(state: &Vec<[f32; HID]>) -> Vec<f32> {
        state.as_flattened().to_vec()
    }
    fn step_state(numbers: &[f32]) -> [f32; HID] {
        state_rows(numbers).first().copied().unwrap_or([0.0; HID])
    }
    fn step_state_numbers(state: &[f32; HID]) -> Vec<f32> {
        state.to_vec()
    }
    fn d_input_numbers(d_input: Sequences<'_, [f32; IN]>) -> Vec<f32> {
        numbers_of(d_input)
    }
}

impl<const IN: usize, const HID: usize, const LAYERS: usize> Network for Rnn<IN, HID, LAYERS> {
    const WORK: usize = HID * (IN + HID) + (LAYERS - 1) * 2 * HID * HID;
    const SIZE: usize = HID;
    const LAYERS: usize = LAYERS;
    const HIDDEN: usize = HID;
    const VOCABULARY: usize = 0;

    fn zeros() -> Self {
        Rnn::zeros()
    }
    fn draw_input(source: &mut Source<'_>, kind: Kind) -> [f32; IN] {
        draw_vector(source, kind)
    }
    fn bad_token(_: usize, _: &mut [f32; IN]) -> Option<usize> {
        None
    }
    fn stages(&self) -> Vec<Stage> {
        let first = Stage::Cell(reference_cell(self.first()));
        core::iter::once(first).chain(self.rest().iter().map(|cell| Stage::Cell(reference_cell(cell)))).collect()
    }
    fn tensors(&self) -> Vec<Vec<Vec<f32>>> {
        let first = torch_parameters(self.first()).to_vec();
        core::iter::once(first).chain(self.rest().iter().map(|cell| torch_parameters(cell).to_vec())).collect()
    }
    fn state(numbers: &[f32]) -> Vec<[f32; HID]> {
        state_rows(numbers)
    }
    fn state_numbers(state: &Vec<[f32; HID]>) -> Vec<f32> {
        state.as_flattened().to_vec()
    }
    fn step_state(numbers: &[f32]) -> [[f32; HID]; LAYERS] {
        state_rows(numbers).try_into().unwrap_or([[0.0; HID]; LAYERS])
    }
    fn step_state_numbers(state: &[[f32; HID]; LAYERS]) -> Vec<f32> {
        state.as_flattened().to_vec()
    }
    fn d_input_numbers(d_input: Sequences<'_, [f32; IN]>) -> Vec<f32> {
        numbers_of(d_input)
    }
}

impl<const IN: usize, const OUT: usize> Network for Linear<IN, OUT> {
    const WORK: usize = IN * OUT;
    const SIZE: usize = IN;
    const LAYERS: usize = 0;
    const HIDDEN: usize = 0;
    const VOCABULARY: usize = 0;

    fn zeros() -> Self {
        Linear::zeros()
    }
    fn draw_input(source: &mut Source<'_>, kind: Kind) -> [f32; IN] {
        draw_vector(source, kind)
    }
    fn bad_token(_: usize, _: &mut [f32; IN]) -> Option<usize> {
        None
    }
    fn stages(&self) -> Vec<Stage> {
        vec![Stage::Affine { weight: wide(self.weight_torch()), bias: wide(self.bias.into_iter()) }]
    }
    fn tensors(&self) -> Vec<Vec<Vec<f32>>> {
        vec![vec![self.weight_torch().collect(), self.bias.to_vec()]]
    }
    fn state(_: &[f32]) {}
    fn state_numbers((): &()) -> Vec<f32> {
        Vec::new()
    }
    fn step_state(_: &[f32]) {}
    fn step_state_numbers((): &()) -> Vec<f32> {
        Vec::new()
    }
    fn d_input_numbers(d_input: Sequences<'_, [f32; IN]>) -> Vec<f32> {
        numbers_of(d_input)
    }
}

impl<const V: usize, const E: usize> Network for Embedding<V, E> {
    const WORK: usize = E;
    const SIZE: usize = E;
    const LAYERS: usize = 0;
    const HIDDEN: usize = 0;
    const VOCABULARY: usize = V;

    fn zeros() -> Self {
        Embedding::zeros()
    }
    fn draw_input(source: &mut Source<'_>, _: Kind) -> usize {
        source.below(V)
    }
    fn bad_token(by: usize, input: &mut usize) -> Option<usize> {
        // Just out of range, far out, and what a cast of -1 would give.
        *input = [V, V + by, usize::MAX][by % 3];
        Some(*input)
    }
    fn stages(&self) -> Vec<Stage> {
        vec![Stage::Table { weight: self.weight_torch().collect(), width: E }]
    }
    fn tensors(&self) -> Vec<Vec<Vec<f32>>> {
        vec![vec![self.weight_torch().collect()]]
    }
    fn state(_: &[f32]) {}
    fn state_numbers((): &()) -> Vec<f32> {
        Vec::new()
    }
    fn step_state(_: &[f32]) {}
    fn step_state_numbers((): &()) -> Vec<f32> {
        Vec::new()
    }
    fn d_input_numbers(_: Sequences<'_, ()>) -> Vec<f32> {
        Vec::new()
    }
}

impl<const V: usize, const E: usize, const HID: usize, const LAYERS: usize, const OUT: usize> Network
    for (Embedding<V, E>, Rnn<E, HID, LAYERS>, Linear<HID, OUT>)
{
    const WORK: usize = E + Rnn::<E, HID, LAYERS>::WORK + HID * OUT;
    const SIZE: usize = HID;
    const LAYERS: usize = LAYERS;
    const HIDDEN: usize = HID;
    const VOCABULARY: usize = V;

    fn zeros() -> Self {
        (Embedding::zeros(), Rnn::zeros(), Linear::zeros())
    }
    fn draw_input(source: &mut Source<'_>, kind: Kind) -> usize {
        Embedding::<V, E>::draw_input(source, kind)
    }
    fn bad_token(by: usize, input: &mut usize) -> Option<usize> {
        Embedding::<V, E>::bad_token(by, input)
    }
    fn stages(&self) -> Vec<Stage> {
        [self.0.stages(), self.1.stages(), self.2.stages()].into_iter().flatten().collect()
    }
    fn tensors(&self) -> Vec<Vec<Vec<f32>>> {
        [self.0.tensors(), self.1.tensors(), self.2.tensors()].concat()
    }
    fn state(numbers: &[f32]) -> State<Self> {
        ((), state_rows(numbers), ())
    }
    fn state_numbers(state: &State<Self>) -> Vec<f32> {
        state.1.as_flattened().to_vec()
    }
    fn step_state(numbers: &[f32]) -> <Self as Step>::State {
        ((), Rnn::<E, HID, LAYERS>::step_state(numbers), ())
    }
    fn step_state_numbers(state: &<Self as Step>::State) -> Vec<f32> {
        state.1.as_flattened().to_vec()
    }
    fn d_input_numbers(_: Sequences<'_, ()>) -> Vec<f32> {
        Vec::new()
    }
}

// ---- A drawn run ---------------------------------------------------------------------------------------------------

/// Numbers for a run, batch-first.
#[derive(Clone)]
pub struct Case<N: Network> {
    pub steps: usize,
    pub batch: usize,
    pub orders: (Order, Order),
    pub model: N,
    pub input: Vec<Input<N>>,
    pub initial: Vec<f32>,
    pub d_output: Vec<Output<N>>,
    pub d_final: Vec<f32>,
    /// Enough work for two threads; too much for the reference.
    pub large: bool,
}

impl<N: Network> Case<N> {
    pub fn draw(source: &mut Source<'_>) -> Self {
        // Multiplications: mostly few, for the speed of the fuzzer, sometimes as many as make a forward use two threads.
        const LARGE: usize = 1_000_000;
        let small = match source.byte() % 32 {
            0 => 160_000,
            1..6 => 16_000,
            6..16 => 4_000,
            _ => 1_000,
        };
        let (steps, batch) = (1 + source.below(40), source.below(41));
        let large = source.once_in(32) && 40 * 40 * N::WORK >= LARGE;
        let (steps, batch) = if large {
            // At least two groups of 16 samples.
            let steps = steps.max(LARGE.div_ceil(40 * N::WORK));
            (steps, batch.clamp(17, 40).max(LARGE.div_ceil(steps * N::WORK)))
        } else {
            let steps = steps.min((small / (2 * N::WORK)).max(1));
            (steps, batch.min((small / (steps * N::WORK)).max(2)))
        };
        let rows = steps * batch;
        let orders = [Order::TimeMajor, Order::BatchFirst];
        let orders = (source.choose(&orders), source.choose(&orders));
        let (weights, data, gradient) = (source.kind(), source.kind(), source.kind());
        // Sums of absolute values below 1, PyTorch's initial values, saturated states, and whatever comes.
        let size = N::SIZE as f32;
        let scale = source.choose(&[1.0 / size, 1.0 / size.sqrt(), 30.0 / size.sqrt(), 1.0]);
        let (initial, d_final) = (source.flag(), source.flag());

        let mut model = N::zeros();
        model.visit_mut(&mut |tensor| tensor.fill_with(|| scale * source.number(weights)));
        let state = N::LAYERS * batch * N::HIDDEN;
        Case {
            steps,
            batch,
            orders,
            model,
            input: (0..rows).map(|_| N::draw_input(source, data)).collect(),
            initial: if initial { source.many(data, state) } else { Vec::new() },
            d_output: (0..rows)
                .map(|_| Output::<N>::from_numbers(&source.many(gradient, Output::<N>::WIDTH)))
                .collect(),
            d_final: if d_final { source.many(gradient, state) } else { Vec::new() },
            large,
        }
    }

    pub fn shape(&self) -> (usize, usize) {
        (self.steps, self.batch)
    }

    /// Whether no number of it is NaN or infinite.
    pub fn is_finite(&self) -> bool {
        let mut finite = true;
        self.model.visit(&mut |tensor| finite &= tensor.iter().all(|x| x.is_finite()));
        let mut rows = self.input.iter().map(Row::numbers).chain(self.d_output.iter().map(Row::numbers));
        let mut states = self.initial.iter().chain(&self.d_final);
        finite && rows.all(|row| row.iter().all(|x| x.is_finite())) && states.all(|x| x.is_finite())
    }

    pub fn input(&self, order: Order) -> Rows<Input<N>> {
        Rows::new(order, self.shape(), self.input.clone())
    }

    pub fn d_output(&self, order: Order) -> Rows<Output<N>> {
        Rows::new(order, self.shape(), self.d_output.clone())
    }

    pub fn of_sample<'a, R>(&self, rows: &'a [R], sample: usize) -> &'a [R] {
        &rows[sample * self.steps..][..self.steps]
    }

    /// The state of one sample, `[layers][hidden]`, or none.
    pub fn state_of_sample(&self, state: &[f32], sample: usize) -> Vec<f32> {
        let layers = if state.is_empty() { 0 } else { N::LAYERS };
        (0..layers)
            .flat_map(|layer| &state[(layer * self.batch + sample) * N::HIDDEN..][..N::HIDDEN])
            .copied()
            .collect()
    }

    /// The same with only these samples, in this order.
    pub fn of_samples(&self, samples: &[usize]) -> Self {
        let state = |state: &[f32]| -> Vec<f32> {
            let layers = if state.is_empty() { 0 } else { N::LAYERS };
            let rows = (0..layers).flat_map(|layer| samples.iter().map(move |sample| layer * self.batch + sample));
            rows.flat_map(|row| &state[row * N::HIDDEN..][..N::HIDDEN]).copied().collect()
        };
        Case {
            batch: samples.len(),
            input: samples.iter().flat_map(|sample| self.of_sample(&self.input, *sample)).copied().collect(),
            initial: state(&self.initial),
            d_output: samples.iter().flat_map(|sample| self.of_sample(&self.d_output, *sample)).copied().collect(),
            d_final: state(&self.d_final),
            ..self.clone()
        }
    }

    /// One sample, one step at a time: the outputs `[steps][width]` of every stage, and the final state.
    pub fn stream(&self, level: Level, stages: &[Stage], sample: usize) -> Result<Streamed, TestCaseError> {
        let mut state = N::step_state(&self.state_of_sample(&self.initial, sample));
        let mut outputs = vec![Vec::new(); stages.len()];
        for input in self.of_sample(&self.input, sample) {
            let output = self.model.forward_step(level, input, &mut state);
            let hidden = N::step_state_numbers(&state);
            let mut layers = hidden.chunks(N::HIDDEN.max(1));
            for (i, (stage, outputs)) in stages.iter().zip(&mut outputs).enumerate() {
                let row = match stage {
                    Stage::Table { weight, width } => &weight[input.token().unwrap() * width..][..*width],
                    Stage::Cell(_) => layers.next().unwrap(),
                    Stage::Affine { .. } => output.numbers(),
                };
                outputs.extend_from_slice(row);
                if i + 1 == stages.len() {
                    same("the output of the last stage", row, output.numbers())?;
                }
            }
        }
        Ok(Streamed { outputs, state: N::step_state_numbers(&state) })
    }
}

/// One sample, one step at a time.
pub struct Streamed {
    /// `[steps][width]` of every stage.
    pub outputs: Vec<Vec<f32>>,
    /// `[layers][hidden]`
    pub state: Vec<f32>,
}

impl Streamed {
    /// The output of the network.
    pub fn output(&self) -> &[f32] {
        self.outputs.last().unwrap()
    }
}

/// All numbers of rows, batch-first.
pub fn output_numbers<R: Row>(rows: Sequences<'_, R>) -> Vec<f32> {
    numbers_of(rows)
}

// ---- The reference -------------------------------------------------------------------------------------------------

/// A layer for the reference, in PyTorch's layout.
#[derive(Clone)]
pub enum Stage {
    Table { weight: Vec<f32>, width: usize },
    Cell(Cell),
    Affine { weight: Vec<f64>, bias: Vec<f64> },
}

impl Stage {
    pub fn width(&self) -> usize {
        match self {
            Stage::Table { width, .. } => *width,
            Stage::Cell(cell) => cell.hidden_size,
            Stage::Affine { bias, .. } => bias.len(),
        }
    }
}

/// What the terms of a sum make of it, NaN and infinities first.
#[derive(Default)]
struct Terms {
    nan: bool,
    plus: bool,
    minus: bool,
    /// The absolute sum of those that are finite.
    size: f64,
}

impl Terms {
    /// A term; in `f64` no product of `f32` numbers overflows.
    fn add(&mut self, term: f64) {
        match term {
            _ if term.is_nan() => self.nan = true,
            f64::INFINITY => self.plus = true,
            f64::NEG_INFINITY => self.minus = true,
            _ => self.size += term.abs(),
        }
    }

    fn add_products(&mut self, weight: &[f64], x: &[f32]) {
        weight.iter().zip(x).for_each(|(w, x)| self.add(w * f64::from(*x)));
    }

    /// NaN and infinity are neither hidden nor made up: `y` is the sum, or its tanh. Finite sums are for the bounds.
    fn check(&self, what: &str, y: f32, is_tanh: bool) -> Checked {
        let infinite = if is_tanh { 1.0 } else { f32::INFINITY };
        if is_tanh {
            prop_assert!(y.is_nan() || y.abs() <= 1.0, "{} is {:e}", what, y);
        }
        if self.nan || (self.plus && self.minus) {
            prop_assert!(y.is_nan(), "{} is {:e}, should be NaN", what, y);
        } else if self.size > 0.99 * f64::from(f32::MAX) {
            // A sum that may overflow on the way may become anything.
        } else if self.plus || self.minus {
            let expected = if self.plus { infinite } else { -infinite };
            prop_assert!(y == expected, "{} is {:e}, should be {:e}", what, y, expected);
        } else {
            prop_assert!(y.is_finite(), "{} is {:e}, should be finite", what, y);
        }
        Ok(())
    }
}

/// Every step of every stage against the reference's step from the numbers that the crate itself went on from.
pub fn check_forward<I: Row>(stages: &[Stage], input: &[I], initial: &[f32], streamed: &Streamed) -> Checked {
    let mut layer = 0;
    for (i, stage) in stages.iter().enumerate() {
        let width = stage.width();
        let row =
            |stage: usize, t: usize| &streamed.outputs[stage][t * stages[stage].width()..][..stages[stage].width()];
        let zeros = vec![0.0; width];
        let start = if let Stage::Cell(_) = stage { initial.get(layer * width..(layer + 1) * width) } else { None };
        for (t, input) in input.iter().enumerate() {
            let x = if i == 0 { input.numbers() } else { row(i - 1, t) };
            let y = row(i, t);
            match stage {
                Stage::Table { weight, .. } => same("a row", y, &weight[input.token().unwrap() * width..][..width])?,
                Stage::Cell(cell) => {
                    let h = if t == 0 { start.unwrap_or(&zeros) } else { row(i, t - 1) };
                    bounds::cell_step(cell, &Near::exact(x), &Near::exact(h)).check("h", y)?;
                    for (j, y) in y.iter().enumerate() {
                        let mut terms = Terms::default();
                        terms.add(cell.bias_ih[j]);
                        terms.add(cell.bias_hh[j]);
                        terms.add_products(&cell.weight_ih[j * x.len()..], x);
                        terms.add_products(&cell.weight_hh[j * width..], h);
                        terms.check("h", *y, true)?;
                    }
                }
                Stage::Affine { weight, bias } => {
                    bounds::affine(weight, bias, &Near::exact(x)).check("y", y)?;
                    for (j, y) in y.iter().enumerate() {
                        let mut terms = Terms::default();
                        terms.add(bias[j]);
                        terms.add_products(&weight[j * x.len()..], x);
                        terms.check("y", *y, false)?;
                    }
                }
            }
        }
        layer += usize::from(matches!(stage, Stage::Cell(_)));
    }
    Ok(())
}

/// Gradients of the parameters of a stage, with their errors.
pub enum StageSums {
    /// One for each token.
    Table(Vec<AffineSums>),
    Cell(CellSums),
    Affine(AffineSums),
}

impl StageSums {
    pub fn zeros(stages: &[Stage]) -> Vec<Self> {
        let zeros = |stage: &Stage| match stage {
            Stage::Table { weight, width } => {
                StageSums::Table(vec![AffineSums::zeros(0, *width); weight.len() / width])
            }
            Stage::Cell(cell) => StageSums::Cell(CellSums::zeros(cell)),
            Stage::Affine { weight, bias } => StageSums::Affine(AffineSums::zeros(weight.len(), bias.len())),
        };
        stages.iter().map(zeros).collect()
    }

    /// By name, in PyTorch's order.
    pub fn tensors(&self) -> Vec<(&'static str, Near)> {
        match self {
            StageSums::Table(rows) => {
                let mut all = Near::default();
                rows.iter().for_each(|row| all.extend(&row.bias()));
                vec![("d table", all)]
            }
            StageSums::Cell(sums) => CELL_PARAMETERS.into_iter().zip(sums.parameters()).collect(),
            StageSums::Affine(sums) => vec![("d weight", sums.weight()), ("d bias", sums.bias())],
        }
    }
}

/// Says which numbers are bad.
pub type Bad = fn(f32) -> bool;

/// What a backward over one sample needs.
pub struct BackwardOfSample<'a, I> {
    pub stages: &'a [Stage],
    pub input: &'a [I],
    /// `[layers][hidden]`, or none for zeros.
    pub initial: Vec<f32>,
    /// `[steps][width]` of every stage.
    pub outputs: Vec<Vec<f32>>,
    pub d_output: Vec<f32>,
    pub d_final: Vec<f32>,
    pub fused: bool,
}

impl<I: Row> BackwardOfSample<'_, I> {
    /// Adds to `sums`; the gradients of the input (nothing for tokens) and of the initial state.
    pub fn run(&self, sums: &mut [StageSums]) -> (Near, Near) {
        let steps = self.input.len();
        let mut d_rows = Near::exact(&self.d_output);
        let mut d_initial = Vec::new();
        let mut layer = self.stages.iter().filter(|stage| matches!(stage, Stage::Cell(_))).count();
        for (i, (stage, sums)) in self.stages.iter().zip(sums).enumerate().rev() {
            let x = match i {
                0 => Near::exact(self.input.iter().flat_map(|row| row.numbers())),
                _ => Near::exact(&self.outputs[i - 1]),
            };
            match (stage, sums) {
                (Stage::Table { width, .. }, StageSums::Table(sums)) => {
                    for (t, input) in self.input.iter().enumerate() {
                        sums[input.token().unwrap()].add_to_bias(&d_rows.row(*width, t));
                    }
                    d_rows = Near::default();
                }
                (Stage::Cell(cell), StageSums::Cell(sums)) => {
                    layer -= 1;
                    let width = cell.hidden_size;
                    let zeros = vec![0.0; width];
                    let state = |state: &[f32]| {
                        Near::exact(state.get(layer * width..(layer + 1) * width).unwrap_or(zeros.as_slice()))
                    };
                    let (h0, output) = (state(&self.initial), Near::exact(&self.outputs[i]));
                    let passed = Passed { x: &x, h0: &h0, output: &output };
                    let (d_x, d_h0) =
                        bounds::layer_backward(cell, &passed, &d_rows, &state(&self.d_final), self.fused, sums);
                    d_initial.push(d_h0);
                    d_rows = d_x;
                }
                (Stage::Affine { weight, bias }, StageSums::Affine(sums)) => {
                    let width = x.value.len() / steps;
                    let mut d_x = Near::default();
                    for t in 0..steps {
                        let (x, d_y) = (x.row(width, t), d_rows.row(bias.len(), t));
                        d_x.extend(&bounds::affine_backward(weight, &x, &d_y, sums));
                    }
                    d_rows = d_x;
                }
                _ => unreachable!("sums are made from the stages"),
            }
        }
        let mut state = Near::default();
        d_initial.iter().rev().for_each(|d_h0| state.extend(d_h0));
        (d_rows, state)
    }

    /// The same dependencies with 1 in the place of every good number and NaN in that of every bad one, `stages` being
    /// their image already: what comes out NaN depends on a bad number.
    pub fn run_image(&self, bad: Bad, stages: &[Stage], sums: &mut [StageSums]) -> (Near, Near) {
        let image =
            |numbers: &[f32]| -> Vec<f32> { numbers.iter().map(|x| if bad(*x) { f32::NAN } else { 1.0 }).collect() };
        let input: Vec<RowImage> =
            self.input.iter().map(|row| RowImage { numbers: image(row.numbers()), token: row.token() }).collect();
        let of_image = BackwardOfSample {
            stages,
            input: &input,
            initial: image(&self.initial),
            outputs: self.outputs.iter().map(|rows| image(rows)).collect(),
            d_output: image(&self.d_output),
            d_final: image(&self.d_final),
            fused: self.fused,
        };
        of_image.run(sums)
    }
}

/// An input of [`BackwardOfSample::run_image`].
struct RowImage {
    numbers: Vec<f32>,
    token: Option<usize>,
}

impl Row for RowImage {
    fn numbers(&self) -> &[f32] {
        &self.numbers
    }
    fn token(&self) -> Option<usize> {
        self.token
    }
}

/// The stages of [`BackwardOfSample::run_image`].
pub fn image_of_stages(bad: Bad, stages: &[Stage]) -> Vec<Stage> {
    let image = |numbers: &[f64]| -> Vec<f64> {
        // Weights are `f32` numbers.
        numbers.iter().map(|x| if bad(*x as f32) { f64::NAN } else { 1.0 }).collect()
    };
    let stage = |stage: &Stage| match stage {
        Stage::Table { .. } => stage.clone(),
        Stage::Affine { weight, bias } => Stage::Affine { weight: image(weight), bias: image(bias) },
        Stage::Cell(cell) => Stage::Cell(Cell {
            weight_ih: image(&cell.weight_ih),
            weight_hh: image(&cell.weight_hh),
            bias_ih: image(&cell.bias_ih),
            bias_hh: image(&cell.bias_hh),
            ..*cell
        }),
    };
    stages.iter().map(stage).collect()
}
