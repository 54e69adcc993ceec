//! Stacked recurrent layers of any cell: `Rnn`.

use super::cell::Cell;
use super::recurrent::{RnnCellCache, check_rows, check_state};
use super::{RnnCell, RnnWeights};
use crate::cells::{States, Tanh};
use crate::data::error::Error;
use crate::data::sequences::{Sequences, SequencesBuf};
use crate::model::layer::{Gradients, Layer, Run, sealed};
use crate::model::names::{Name, debug_by_names};
use crate::model::parameters::{Describe, Parameters};
use crate::torch::generator::Generator;
use alloc::boxed::Box;
use alloc::vec::Vec;

/// `LAYERS` recurrent layers, each driven by the hidden states of the one before: PyTorch's
/// `nn.RNN(IN, HID, LAYERS)`, with the same numbers for the same seed. [`Gru`] and [`Lstm`] are the same of their cells.
///
/// `h_t = tanh(W_ih x_t + b_ih + W_hh h_{t-1} + b_hh)` in every layer (Elman 1990). The parameters are on the heap, so
/// that no size overflows a stack.
///
/// The state ([`Layer::State`]) has `LAYERS * batch` rows, layer after layer, like PyTorch's `h0`; an LSTM's are two such.
///
/// ```
/// use elman::{Generator, Model, Rnn};
/// let rnn = Rnn::<4, 2, 1>::new(&mut Generator::seed(0));
/// let pass = rnn.forward(&[[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]])?;
/// println!("hidden states of the last layer: {:?}", pass.output());
/// println!("last hidden state of every layer: {:?}", pass.final_state());
/// # Ok::<(), elman::Error>(())
/// ```
#[derive(Clone, PartialEq)]
pub struct Rnn<const IN: usize, const HID: usize, const LAYERS: usize, C: Cell = Tanh> {
    first: Box<RnnCell<IN, HID, C>>,
    /// `LAYERS - 1` cells.
    rest: Box<[RnnCell<HID, HID, C>]>,
}

/// `LAYERS` layers of [`GruCell`](crate::GruCell): PyTorch's `nn.GRU(IN, HID, LAYERS)`.
///
/// ```
/// use elman::{Generator, Gru, Model};
/// let gru = Gru::<4, 8, 2>::new(&mut Generator::seed(0));
/// let pass = gru.forward(&[[0.5; 4], [0.25; 4]])?;
/// assert_eq!(pass.final_state().len(), 2); // a row for each layer
/// # Ok::<(), elman::Error>(())
/// ```
pub type Gru<const IN: usize, const HID: usize, const LAYERS: usize> = Rnn<IN, HID, LAYERS, crate::cells::Gru>;

/// `LAYERS` layers of [`LstmCell`](crate::LstmCell): PyTorch's `nn.LSTM(IN, HID, LAYERS)`. The state is `(h, c)`, each with
/// `LAYERS * batch` rows.
///
/// ```
/// use elman::{Generator, Lstm, Model};
/// let lstm = Lstm::<4, 8, 2>::new(&mut Generator::seed(0));
/// let pass = lstm.forward(&[[0.5; 4], [0.25; 4]])?;
/// let (h, c) = pass.final_state();
/// assert_eq!((h.len(), c.len()), (2, 2)); // a row for each layer
/// # Ok::<(), elman::Error>(())
/// ```
pub type Lstm<const IN: usize, const HID: usize, const LAYERS: usize> = Rnn<IN, HID, LAYERS, crate::cells::Lstm>;

impl<const IN: usize, const HID: usize, const LAYERS: usize, C: Cell> Rnn<IN, HID, LAYERS, C> {
    /// All parameters zero: where gradients start.
    #[must_use]
    pub fn zeros() -> Self {
        const { assert!(LAYERS > 0, "an Rnn needs at least one layer") };
        Self { first: RnnCell::zeros_boxed(), rest: bytemuck::zeroed_slice_box(LAYERS - 1) }
    }

    /// PyTorch's initial values: all parameters uniform in `-1/sqrt(HID) .. 1/sqrt(HID)`, layer after layer.
    #[must_use]
    pub fn new(generator: &mut Generator) -> Self {
        let mut rnn = Self::zeros();
        rnn.first.reset_parameters(generator);
        for cell in &mut rnn.rest {
            cell.reset_parameters(generator);
        }
        rnn
    }

    /// An `Rnn` with PyTorch's weights, one set a layer (`weight_ih_l0` ..., `weight_ih_l1` ...).
    ///
    /// # Errors
    ///
    /// [`Error::Tensor`] naming the tensor whose shape or length does not fit, as `weight_hh_l1`.
    pub fn from_torch(layers: &[RnnWeights<'_>; LAYERS]) -> Result<Self, Error> {
        let mut rnn = Self::zeros();
        rnn.first.load_torch(&layers[0]).map_err(|error| error.in_layer(0))?;
        for (layer, (cell, weights)) in (1..).zip(rnn.rest.iter_mut().zip(&layers[1..])) {
            cell.load_torch(weights).map_err(|error| error.in_layer(layer))?;
        }
        Ok(rnn)
    }

    /// The first layer, which takes the input.
    #[must_use]
    pub fn first(&self) -> &RnnCell<IN, HID, C> {
        &self.first
    }

    /// The first layer, which takes the input.
    #[must_use]
    pub fn first_mut(&mut self) -> &mut RnnCell<IN, HID, C> {
        &mut self.first
    }

    /// The layers above the first.
    #[must_use]
    pub fn rest(&self) -> &[RnnCell<HID, HID, C>] {
        &self.rest
    }

    /// The layers above the first.
    #[must_use]
    pub fn rest_mut(&mut self) -> &mut [RnnCell<HID, HID, C>] {
        &mut self.rest
    }
}

impl<const IN: usize, const HID: usize, const LAYERS: usize, C: Cell> Parameters for Rnn<IN, HID, LAYERS, C> {
    const COUNT: usize = RnnCell::<IN, HID, C>::COUNT + (LAYERS - 1) * RnnCell::<HID, HID, C>::COUNT;

    fn describe(within: &Name<'_>, visitor: Describe<'_>) {
        RnnCell::<IN, HID, C>::describe_layer(within, Some(0), visitor);
        for layer in 1..LAYERS {
            RnnCell::<HID, HID, C>::describe_layer(within, Some(layer), visitor);
        }
    }
    fn visit(&self, visitor: &mut dyn FnMut(&[f32])) {
        self.first.visit(visitor);
        for cell in &self.rest {
            cell.visit(visitor);
        }
    }
    fn visit_mut(&mut self, visitor: &mut dyn FnMut(&mut [f32])) {
        self.first.visit_mut(visitor);
        for cell in &mut self.rest {
            cell.visit_mut(visitor);
        }
    }
    fn visit_with(&mut self, other: &Self, visitor: &mut dyn FnMut(&mut [f32], &[f32])) {
        self.first.visit_with(&other.first, visitor);
        for (cell, other) in self.rest.iter_mut().zip(&other.rest) {
            cell.visit_with(other, visitor);
        }
    }
    fn zeros_like(&self) -> Self {
        Self::zeros()
    }
}

debug_by_names!(
    [const IN: usize, const HID: usize, const LAYERS: usize, C: Cell] Rnn<IN, HID, LAYERS, C>,
    "Rnn<{IN}, {HID}, {LAYERS}, {:?}>", C::CELL
);

/// What an [`Rnn`] keeps between forward and backward, and its memory for both.
#[derive(Debug)]
pub struct RnnCache<const IN: usize, const HID: usize, C: Cell> {
    first: RnnCellCache<IN, HID, C>,
    rest: Vec<RnnCellCache<HID, HID, C>>,
    /// The gradient of the input of each layer above the first: of even ones, and of odd ones, as the one above is no longer
    /// needed when the one below is written.
    d_between: [SequencesBuf<[f32; HID]>; 2],
    last: C::States<HID>,
    d_initial: C::States<HID>,
}

impl<const IN: usize, const HID: usize, C: Cell> Default for RnnCache<IN, HID, C> {
    fn default() -> Self {
        Self {
            first: RnnCellCache::default(),
            rest: Vec::new(),
            d_between: Default::default(),
            last: C::States::default(),
            d_initial: C::States::default(),
        }
    }
}

/// Appends the rows of one layer to those of the layers below it.
fn append<const HID: usize, S: States<HID>>(to: &mut S, from: &S) {
    let (h, c) = to.both_mut();
    h.extend_from_slice(from.h());
    if let (Some(to), Some(from)) = (c, from.c()) {
        to.extend_from_slice(from);
    }
}

/// Puts the rows of one layer at their place among those of all.
fn put<const HID: usize, S: States<HID>>(to: &mut S, from: &S, layer: usize, layers: usize) {
    let put = |to: &mut Vec<[f32; HID]>, from: &[[f32; HID]]| {
        to.resize(layers * from.len(), [0.0; HID]);
        to[layer * from.len()..][..from.len()].copy_from_slice(from);
    };
    let (h, c) = to.both_mut();
    put(h, from.h());
    if let (Some(to), Some(from)) = (c, from.c()) {
        put(to, from);
    }
}

impl<const IN: usize, const HID: usize, const LAYERS: usize, C: Cell> sealed::Sealed for Rnn<IN, HID, LAYERS, C> {}

impl<const IN: usize, const HID: usize, const LAYERS: usize, C: Cell> Layer for Rnn<IN, HID, LAYERS, C> {
    type Input = [f32; IN];
    type Output = [f32; HID];
    type InputGradient = [f32; IN];
    type State = C::States<HID>;
    type Cache = RnnCache<IN, HID, C>;

    fn check_initial(batch: usize, initial: &Self::State) -> Result<(), Error> {
        check_state(LAYERS, batch, initial)
    }

    fn forward_with(
        &self,
        run: Run,
        input: Sequences<'_, [f32; IN]>,
        initial: &Self::State,
        cache: &mut Self::Cache,
    ) -> Result<(), Error> {
        input.check_steps()?;
        Self::check_initial(input.batch(), initial)?;
        cache.rest.resize_with(LAYERS - 1, RnnCellCache::default);
        self.first.forward_rows(run, input, (initial, 0), &mut cache.first);
        cache.last.copy_from(cache.first.last());
        let mut below = cache.first.output();
        for ((layer, cell), cell_cache) in (1..).zip(&self.rest).zip(&mut cache.rest) {
            cell.forward_rows(run, below, (initial, layer), cell_cache);
            append(&mut cache.last, cell_cache.last());
            below = cell_cache.output();
        }
        Ok(())
    }

    fn output(cache: &Self::Cache) -> Sequences<'_, [f32; HID]> {
        cache.rest.last().map_or(cache.first.output(), RnnCellCache::output)
    }

    fn final_state(cache: &Self::Cache) -> &Self::State {
        &cache.last
    }

    fn check_backward(
        &self,
        input: Sequences<'_, [f32; IN]>,
        cache: &Self::Cache,
        d_output: (usize, usize),
        d_final: &Self::State,
    ) -> Result<(), Error> {
        check_rows(input, Self::output(cache).shape(), d_output, LAYERS, d_final)
    }

    fn backward_with(
        &self,
        run: Run,
        input: Sequences<'_, [f32; IN]>,
        cache: &mut Self::Cache,
        d_output: Sequences<'_, [f32; HID]>,
        d_final: &Self::State,
        (gradients, how): (&mut Self, Gradients),
    ) -> Result<(), Error> {
        self.check_backward(input, cache, d_output.shape(), d_final)?;
        // From the top down; every layer but the first owes its input a gradient.
        let mut rest = cache.rest.as_mut_slice();
        for (i, (cell, d_cell)) in self.rest.iter().zip(&mut gradients.rest).enumerate().rev() {
            let Some((cell_cache, lower)) = rest.split_last_mut() else { unreachable!("a cache for every layer") };
            let below = lower.last().map_or(cache.first.output(), |cache| cache.output());
            let run_inner = Run { d_input: true, ..run };
            let [even, odd] = &mut cache.d_between;
            let (d_below, d_above) = if i % 2 == 0 { (even, &*odd) } else { (odd, &*even) };
            let d_above = if i + 2 == LAYERS { d_output } else { d_above.view() };
            cell.backward_rows(run_inner, below, cell_cache, (d_above, d_below), (d_final, i + 1), (d_cell, how));
            put(&mut cache.d_initial, cell_cache.d_initial(), i + 1, LAYERS);
            rest = lower;
        }
        let d_above = if LAYERS == 1 { d_output } else { cache.d_between[0].view() };
        cache.first.beside_d_input(|first, d_input| {
            let gradients = (&mut *gradients.first, how);
            self.first.backward_rows(run, input, first, (d_above, d_input), (d_final, 0), gradients);
        });
        put(&mut cache.d_initial, cache.first.d_initial(), 0, LAYERS);
        Ok(())
    }

    fn d_input(cache: &Self::Cache) -> Sequences<'_, [f32; IN]> {
        cache.first.d_input()
    }

    fn d_initial(cache: &Self::Cache) -> &Self::State {
        &cache.d_initial
    }

    fn copy_state(from: &Self::State, to: &mut Self::State) {
        to.copy_from(from);
    }
}
