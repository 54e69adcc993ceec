//! One recurrent layer of any cell: `RnnCell`, and its names for cells of gates.
#![allow(clippy::multiple_bound_locations, reason = "derived implementations repeat the bound")]

use super::at::At;
use super::cell::{Cell, OneStep, OneStepBack};
use super::tensor::Tensor;
use super::{draw_in_torch_order, torch_order};
use crate::cells::{Gru, Lstm, Tanh};
use crate::data::error::Error;
use crate::data::zero::Zero;
use crate::kernels::lanes::transpose::copy_transposed;
use crate::kernels::latency::cell::{Gradients, Weights};
use crate::kernels::slice::{flat, flat_mut};
use crate::kernels::tuning::narrow;
use crate::model::names::{Name, TensorLayout, debug_by_names};
use crate::model::parameters::{Describe, Parameters};
use crate::simd::{Kernel, Level, Simd};
use crate::torch::generator::Generator;
use core::slice::{from_mut, from_ref};

/// One recurrent layer. Which one, says `C`: [`Tanh`] (the default) and [`Relu`](crate::Relu) make the network of Elman 1990
/// ("Finding structure in time"),
///
/// `h' = tanh(W_ih x + b_ih + W_hh h + b_hh)`, or `max(0, ...)`;
///
/// [`GruCell`](crate::GruCell) and [`LstmCell`](crate::LstmCell) have gates.
///
/// PyTorch's `nn.RNNCell(IN, HID, nonlinearity=...)`, `nn.GRUCell` and `nn.LSTMCell`, with the same numbers for the same seed.
/// It is plain data: its own gradient has its type, it can be a `static`, it needs no heap.
///
/// The weights are stored **input-major**, the transpose of PyTorch's layout: `weight_ih[i][j]` is what input `i` gives
/// to neuron `j`, and of several gates `weight_ih[i][g][j]` what it gives to its gate `g`. [`RnnCell::from_torch`] and
/// [`RnnCell::weight_ih_torch`] convert.
///
/// The state is `[f32; HID]`, of an LSTM `(h, c)`, two of them.
///
/// States below the smallest normal number (1.2e-38) become zero, so that one that nothing feeds any longer does not slow the
/// steps to come, as such numbers do on many CPUs. So do what would make such numbers in products: gates below 2^-48 (3.6e-15),
/// an LSTM's `c` below 2^-60 (8.7e-19), gradients in front of tanh and of gates below 2^-110 (7.7e-34). PyTorch keeps them.
///
/// A cell lies where it is put; one with `HID = 1024` takes 8 MB. Put such ones on the heap with `RnnCell::boxed`,
/// which never has them on the stack.
///
/// ```
/// use elman::{Generator, LstmCell, RnnCell};
/// let mut generator = Generator::seed(0);
/// let cell = RnnCell::<4, 2>::new(&mut generator);
/// let mut h = [0.0; 2];
/// for x in [[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0]] {
///     cell.step_in_place(&x, &mut h);
/// }
/// assert!(h.iter().all(|h| h.abs() < 1.0));
///
/// let lstm = LstmCell::<4, 2>::new(&mut generator);
/// let (h, c) = lstm.step(&[0.0, 0.0, 1.0, 0.0], &(h, [0.0; 2]));
/// ```
#[derive(Copy, PartialEq, bytemuck::Zeroable)]
#[repr(C, align(64))]
pub struct RnnCell<const IN: usize, const HID: usize, C: Cell = Tanh> {
    /// What each input gives to each neuron.
    pub weight_ih: [C::Row<HID>; IN],
    /// What each neuron gives to each neuron at the next step.
    pub weight_hh: [C::Row<HID>; HID],
    /// Bias of the input.
    pub bias_ih: C::Row<HID>,
    /// Bias of the recurrence.
    pub bias_hh: C::Row<HID>,
    /// What the sums become.
    pub cell: C,
}

/// The gated recurrent unit (Cho et al. 2014), PyTorch's `nn.GRUCell(IN, HID)`: gates `r`, `z`, `n`, a state `h`.
///
/// ```text
/// r = sigmoid(W_ir x + b_ir + W_hr h + b_hr)
/// z = sigmoid(W_iz x + b_iz + W_hz h + b_hz)
/// n = tanh(W_in x + b_in + r (W_hn h + b_hn))
/// h' = (1 - z) n + z h
/// ```
///
/// ```
/// use elman::{Generator, GruCell};
/// let cell = GruCell::<4, 8>::new(&mut Generator::seed(0));
/// let h = cell.step(&[1.0, 0.0, 0.0, 0.0], &[0.0; 8]);
/// assert!(h.iter().all(|h| h.abs() < 1.0));
/// ```
pub type GruCell<const IN: usize, const HID: usize> = RnnCell<IN, HID, Gru>;

/// Long short-term memory (Hochreiter & Schmidhuber 1997), PyTorch's `nn.LSTMCell(IN, HID)`: gates `i`, `f`, `g`, `o`, states
/// `(h, c)`.
///
/// ```text
/// i = sigmoid(W_ii x + b_ii + W_hi h + b_hi)
/// f = sigmoid(W_if x + b_if + W_hf h + b_hf)
/// g = tanh(W_ig x + b_ig + W_hg h + b_hg)
/// o = sigmoid(W_io x + b_io + W_ho h + b_ho)
/// c' = f c + i g
/// h' = o tanh(c')
/// ```
///
/// ```
/// use elman::{Generator, LstmCell};
/// let cell = LstmCell::<4, 8>::new(&mut Generator::seed(0));
/// let (h, c) = cell.step(&[1.0, 0.0, 0.0, 0.0], &([0.0; 8], [0.0; 8]));
/// assert!(h.iter().all(|h| h.abs() < 1.0));
/// ```
pub type LstmCell<const IN: usize, const HID: usize> = RnnCell<IN, HID, Lstm>;

/// Not derived: of a type with type parameters that would copy field by field, over the stack.
impl<const IN: usize, const HID: usize, C: Cell> Clone for RnnCell<IN, HID, C> {
    fn clone(&self) -> Self {
        *self
    }
}

/// The weights of one recurrent layer as PyTorch keeps them, row-major `[out][in]`.
#[derive(Clone, Copy, Debug)]
pub struct RnnWeights<'a> {
    /// `[HID][IN]`; of a GRU `[3 * HID][IN]`, of an LSTM `[4 * HID][IN]`, gate after gate.
    pub weight_ih: Tensor<'a>,
    /// `[HID][HID]`, and so on.
    pub weight_hh: Tensor<'a>,
    /// `[HID]`, and so on.
    pub bias_ih: Tensor<'a>,
    /// `[HID]`, and so on.
    pub bias_hh: Tensor<'a>,
}

impl<const IN: usize, const HID: usize, C: Cell> RnnCell<IN, HID, C> {
    /// The fields are public, so every way to compute with a cell checks this, not only the ways to make one.
    pub(super) const CHECK: () = assert!(IN > 0 && HID > 0, "an RnnCell needs at least one input and one neuron");

    /// Numbers of a row: a number for each gate of each neuron.
    pub(super) const ROW: usize = C::FEEDS.gates * HID;

    /// All parameters zero: where gradients start.
    #[must_use]
    pub const fn zeros() -> Self {
        const { Self::CHECK };
        Self {
            weight_ih: [C::Row::<HID>::ZERO; IN],
            weight_hh: [C::Row::<HID>::ZERO; HID],
            bias_ih: C::Row::<HID>::ZERO,
            bias_hh: C::Row::<HID>::ZERO,
            cell: C::CELL,
        }
    }

    /// PyTorch's initial values: all parameters uniform in `-1/sqrt(HID) .. 1/sqrt(HID)`, in the order `weight_ih`,
    /// `weight_hh`, `bias_ih`, `bias_hh`.
    #[must_use]
    pub fn new(generator: &mut Generator) -> Self {
        let mut cell = Self::zeros();
        cell.reset_parameters(generator);
        cell
    }

    /// [`RnnCell::new`], made on the heap and never on the stack.
    #[cfg(feature = "alloc")]
    #[must_use]
    pub fn boxed(generator: &mut Generator) -> alloc::boxed::Box<Self> {
        let mut cell = Self::zeros_boxed();
        cell.reset_parameters(generator);
        cell
    }

    /// [`RnnCell::zeros`], made on the heap and never on the stack.
    #[cfg(feature = "alloc")]
    #[must_use]
    pub fn zeros_boxed() -> alloc::boxed::Box<Self> {
        const { Self::CHECK };
        bytemuck::zeroed_box()
    }

    /// Draws all parameters anew, as [`RnnCell::new`] does.
    pub fn reset_parameters(&mut self, generator: &mut Generator) {
        let bound = uniform_bound(HID);
        draw_in_torch_order(generator, bound, flat_mut(&mut self.weight_ih), Self::ROW);
        draw_in_torch_order(generator, bound, flat_mut(&mut self.weight_hh), Self::ROW);
        generator.fill_uniform(flat_mut(from_mut(&mut self.bias_ih)), -bound, bound);
        generator.fill_uniform(flat_mut(from_mut(&mut self.bias_hh)), -bound, bound);
    }

    /// A cell with PyTorch's weights.
    ///
    /// # Errors
    ///
    /// [`Error::Tensor`] naming the tensor whose shape or length does not fit.
    pub fn from_torch(weights: &RnnWeights<'_>) -> Result<Self, Error> {
        let mut cell = Self::zeros();
        cell.load_torch(weights)?;
        Ok(cell)
    }

    /// Takes over PyTorch's weights, as they are: [`Parameters::flush_denormals`] is for denormal ones, which are slow.
    ///
    /// # Errors
    ///
    /// [`Error::Tensor`] naming the tensor whose shape or length does not fit; nothing has changed then.
    pub fn load_torch(&mut self, weights: &RnnWeights<'_>) -> Result<(), Error> {
        const { Self::CHECK };
        let weight_ih = weights.weight_ih.matrix("weight_ih", Self::ROW, IN)?;
        let weight_hh = weights.weight_hh.matrix("weight_hh", Self::ROW, HID)?;
        let bias_ih = weights.bias_ih.vector("bias_ih", Self::ROW)?;
        let bias_hh = weights.bias_hh.vector("bias_hh", Self::ROW)?;
        copy_transposed(weight_ih, IN, flat_mut(&mut self.weight_ih));
        copy_transposed(weight_hh, HID, flat_mut(&mut self.weight_hh));
        flat_mut(from_mut(&mut self.bias_ih)).copy_from_slice(bias_ih);
        flat_mut(from_mut(&mut self.bias_hh)).copy_from_slice(bias_hh);
        Ok(())
    }

    /// `weight_ih` in PyTorch's order: `[HID][IN]`, row after row; of several gates, gate after gate.
    pub fn weight_ih_torch(&self) -> impl Iterator<Item = f32> + '_ {
        torch_order(flat(&self.weight_ih), Self::ROW)
    }

    /// `weight_hh` in PyTorch's order: `[HID][HID]`, row after row; of several gates, gate after gate.
    pub fn weight_hh_torch(&self) -> impl Iterator<Item = f32> + '_ {
        torch_order(flat(&self.weight_hh), Self::ROW)
    }

    /// `bias_ih` in PyTorch's order: `[HID]`; of several gates, gate after gate.
    pub fn bias_ih_torch(&self) -> impl Iterator<Item = f32> + '_ {
        flat(from_ref(&self.bias_ih)).iter().copied()
    }

    /// `bias_hh` in PyTorch's order: `[HID]`; of several gates, gate after gate.
    pub fn bias_hh_torch(&self) -> impl Iterator<Item = f32> + '_ {
        flat(from_ref(&self.bias_hh)).iter().copied()
    }

    /// The next state.
    #[must_use]
    #[inline]
    pub fn step(&self, x: &[f32; IN], state: &C::State<HID>) -> C::State<HID> {
        At::from(self).step(x, state)
    }

    /// Replaces the state by the next one.
    #[inline]
    pub fn step_in_place(&self, x: &[f32; IN], state: &mut C::State<HID>) {
        At::from(self).step_in_place(x, state);
    }

    /// Replaces the states of a batch by the next ones: row `n` of `x` drives row `n` of `states`. See
    /// [`Streams`](crate::Streams).
    ///
    /// # Errors
    ///
    /// [`Error::Length`] if there are not as many inputs as states.
    pub fn step_batch_in_place(&self, x: &[[f32; IN]], states: &mut [C::State<HID>]) -> Result<(), Error> {
        At::from(self).step_batch_in_place(x, states)
    }

    /// The backward of one step `after = step(x, before)`, given the gradient of `after`: adds the gradients of the
    /// parameters to `gradients` and returns those of `x` and of `before`.
    ///
    /// Of one sum: `dz = d_after * f'`, `dx = W_ih^T dz`, `dh = W_hh^T dz`, `dW += dz (x, h)^T`, `db += dz`. Gates are computed
    /// once more, out of `x` and `before`.
    ///
    /// This is the form for training without a heap, one sample at a time; it takes 64 bytes of stack for each neuron, with
    /// gates 200. Over sequences and batches `Model` does the same much faster.
    #[must_use]
    pub fn step_backward_add(
        &self,
        x: &[f32; IN],
        before: &C::State<HID>,
        after: &C::State<HID>,
        d_after: &C::State<HID>,
        gradients: &mut Self,
    ) -> ([f32; IN], C::State<HID>) {
        At::from(self).step_backward_add(x, before, after, d_after, gradients)
    }

    /// The cell with a given instruction set instead of [`Level::detect`].
    #[must_use]
    pub fn at(&self, level: Level) -> At<'_, Self> {
        At { layer: self, level }
    }

    /// One step of each of as many samples as there are rows.
    #[inline]
    pub(crate) fn step_together(&self, level: Level, x: &[[f32; IN]], states: &mut [C::State<HID>]) {
        narrow(level, HID).run(StepTogether { cell: self, x, states });
    }

    /// One step that leaves what its backward needs.
    #[inline]
    pub(crate) fn kept_step(&self, level: Level, x: &[f32; IN], state: &mut C::State<HID>, kept: &mut C::Kept<HID>) {
        C::alone(level, HID).run(Step { cell: self, x, state, kept: Some(kept) });
    }

    /// The backward of a step from `x` and `before` to `after`, with the gradient of `x` if it is requested; that of the state
    /// after it becomes that of the state before it.
    #[inline]
    pub(crate) fn step_backward_into(
        &self,
        level: Level,
        (x, kept): (&[f32; IN], &C::Kept<HID>),
        (before, after): (&C::State<HID>, &C::State<HID>),
        d_state: &mut C::State<HID>,
        d_x: Option<&mut [f32; IN]>,
        gradients: &mut Self,
    ) {
        let Self { weight_ih, weight_hh, bias_ih, bias_hh, .. } = gradients;
        let gradients = Gradients { weight_ih, weight_hh, bias_ih, bias_hh };
        let weights = self.weights();
        let step = OneStepBack { weights, x, before, after, kept, d_state, d_x, gradients };
        narrow(level, HID).run(StepBack::<C, IN, HID>(step));
    }

    /// Names and shapes, those of a layer of a stack if it is one.
    pub(super) fn describe_layer(within: &Name<'_>, layer: Option<usize>, visitor: Describe<'_>) {
        visitor(&within.parameter("weight_ih", layer), TensorLayout::transposed(Self::ROW, IN));
        visitor(&within.parameter("weight_hh", layer), TensorLayout::transposed(Self::ROW, HID));
        visitor(&within.parameter("bias_ih", layer), TensorLayout::vector(Self::ROW));
        visitor(&within.parameter("bias_hh", layer), TensorLayout::vector(Self::ROW));
    }

    #[inline(always)]
    pub(super) fn weights(&self) -> Weights<'_, C::Row<HID>, IN, HID> {
        const { Self::CHECK };
        let Self { weight_ih, weight_hh, bias_ih, bias_hh, .. } = self;
        Weights { weight_ih, weight_hh, bias_ih, bias_hh }
    }
}

impl<const IN: usize, const HID: usize, C: Cell> At<'_, RnnCell<IN, HID, C>> {
    /// [`RnnCell::step`]
    #[must_use]
    #[inline]
    pub fn step(self, x: &[f32; IN], state: &C::State<HID>) -> C::State<HID> {
        let mut next = *state;
        self.step_in_place(x, &mut next);
        next
    }

    /// [`RnnCell::step_in_place`]
    #[inline]
    pub fn step_in_place(self, x: &[f32; IN], state: &mut C::State<HID>) {
        C::alone(self.level, HID).run(Step { cell: self.layer, x, state, kept: None });
    }

    /// [`RnnCell::step_batch_in_place`]
    ///
    /// # Errors
    ///
    /// [`Error::Length`] if there are not as many inputs as states.
    pub fn step_batch_in_place(self, x: &[[f32; IN]], states: &mut [C::State<HID>]) -> Result<(), Error> {
        Error::check_length("rows of x", states.len(), x.len())?;
        self.layer.step_together(self.level, x, states);
        Ok(())
    }

    /// [`RnnCell::step_backward_add`]
    #[must_use]
    pub fn step_backward_add(
        self,
        x: &[f32; IN],
        before: &C::State<HID>,
        after: &C::State<HID>,
        d_after: &C::State<HID>,
        gradients: &mut RnnCell<IN, HID, C>,
    ) -> ([f32; IN], C::State<HID>) {
        let mut kept = C::Kept::<HID>::ZERO;
        if C::KEPT > 0 {
            self.layer.kept_step(self.level, x, &mut { *before }, &mut kept);
        }
        let (mut d_x, mut d_state) = ([0.0; IN], *d_after);
        let states = (before, after);
        self.layer.step_backward_into(self.level, (x, &kept), states, &mut d_state, Some(&mut d_x), gradients);
        (d_x, d_state)
    }
}

/// `1 / sqrt(size)`, as PyTorch computes it.
pub(super) fn uniform_bound(size: usize) -> f32 {
    (1.0 / libm::sqrt(size as f64)) as f32
}

struct Step<'a, const IN: usize, const HID: usize, C: Cell> {
    cell: &'a RnnCell<IN, HID, C>,
    x: &'a [f32; IN],
    state: &'a mut C::State<HID>,
    kept: Option<&'a mut C::Kept<HID>>,
}

impl<const IN: usize, const HID: usize, C: Cell> Kernel for Step<'_, IN, HID, C> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Step { cell, x, state, kept } = self;
        C::step(s, OneStep { weights: cell.weights(), x, state, kept });
    }
}

struct StepTogether<'a, const IN: usize, const HID: usize, C: Cell> {
    cell: &'a RnnCell<IN, HID, C>,
    x: &'a [[f32; IN]],
    states: &'a mut [C::State<HID>],
}

impl<const IN: usize, const HID: usize, C: Cell> Kernel for StepTogether<'_, IN, HID, C> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        C::step_together(s, &self.cell.weights(), self.x, self.states);
    }
}

struct StepBack<'a, C: Cell, const IN: usize, const HID: usize>(OneStepBack<'a, C, IN, HID>);

impl<C: Cell, const IN: usize, const HID: usize> Kernel for StepBack<'_, C, IN, HID> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        C::step_back(s, self.0);
    }
}

impl<const IN: usize, const HID: usize, C: Cell> Parameters for RnnCell<IN, HID, C> {
    const COUNT: usize = (IN + HID + 2) * Self::ROW;

    fn describe(within: &Name<'_>, visitor: Describe<'_>) {
        Self::describe_layer(within, None, visitor);
    }
    fn visit(&self, visitor: &mut dyn FnMut(&[f32])) {
        visitor(flat(&self.weight_ih));
        visitor(flat(&self.weight_hh));
        visitor(flat(from_ref(&self.bias_ih)));
        visitor(flat(from_ref(&self.bias_hh)));
    }
    fn visit_mut(&mut self, visitor: &mut dyn FnMut(&mut [f32])) {
        visitor(flat_mut(&mut self.weight_ih));
        visitor(flat_mut(&mut self.weight_hh));
        visitor(flat_mut(from_mut(&mut self.bias_ih)));
        visitor(flat_mut(from_mut(&mut self.bias_hh)));
    }
    fn visit_with(&mut self, other: &Self, visitor: &mut dyn FnMut(&mut [f32], &[f32])) {
        visitor(flat_mut(&mut self.weight_ih), flat(&other.weight_ih));
        visitor(flat_mut(&mut self.weight_hh), flat(&other.weight_hh));
        visitor(flat_mut(from_mut(&mut self.bias_ih)), flat(from_ref(&other.bias_ih)));
        visitor(flat_mut(from_mut(&mut self.bias_hh)), flat(from_ref(&other.bias_hh)));
    }
    fn zeros_like(&self) -> Self {
        Self::zeros()
    }
}

debug_by_names!(
    [const IN: usize, const HID: usize, C: Cell] RnnCell<IN, HID, C>,
    "RnnCell<{IN}, {HID}, {:?}>", C::CELL
);
