//! One recurrent layer, tanh or relu: `RnnCell`.

use super::at::At;
use super::tensor::Tensor;
use super::{draw_in_torch_order, torch_order};
use crate::cells::Tanh;
use crate::data::error::Error;
use crate::kernels::lanes::transpose::copy_transposed;
use crate::kernels::latency::cell::{Gradients, StepBackward, Weights};
use crate::kernels::tuning::{narrow, narrow_alone};
use crate::layers::nonlinearity::Nonlinearity;
use crate::model::parameters::{Parameters, impl_parameters};
use crate::simd::{Kernel, Level, Simd};
use crate::torch::generator::Generator;
use core::marker::PhantomData;

/// One layer of the Elman network (Elman 1990, "Finding structure in time"):
///
/// `h' = tanh(W_ih x + b_ih + W_hh h + b_hh)`, or with [`Relu`](crate::Relu) as `A`, `max(0, ...)`.
///
/// PyTorch's `nn.RNNCell(IN, HID, nonlinearity=...)`, with the same numbers for the same seed. It is plain data: its own gradient has
/// its type, it can be a `static`, it needs no heap.
///
/// The weights are stored **input-major**, the transpose of PyTorch's layout: `weight_ih[i][j]` is what input `i` gives
/// to neuron `j`. [`RnnCell::from_torch`] and [`RnnCell::weight_ih_torch`] convert.
///
/// States below the smallest normal number (1.2e-38) become zero, so that one that nothing feeds any longer does not slow the
/// steps to come, as such numbers do on many CPUs; so do gradients in front of tanh below 2^-110 (7.7e-34), which products with
/// weights and states would make as small. PyTorch keeps both, unless `torch.set_flush_denormal` is on.
///
/// A cell lies where it is put; one with `HID = 1024` takes 8 MB. Put such ones on the heap with `RnnCell::boxed`,
/// which never has them on the stack.
///
/// ```
/// use elman::{Generator, RnnCell};
/// let cell = RnnCell::<4, 2>::new(&mut Generator::seed(0));
/// let mut h = [0.0; 2];
/// for x in [[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0]] {
///     cell.step_in_place(&x, &mut h);
/// }
/// assert!(h.iter().all(|h| h.abs() < 1.0));
/// ```
#[derive(Copy, Debug, PartialEq, bytemuck::Zeroable)]
#[repr(C, align(64))]
pub struct RnnCell<const IN: usize, const HID: usize, A = Tanh> {
    /// What each input gives to each neuron.
    pub weight_ih: [[f32; HID]; IN],
    /// What each neuron gives to each neuron at the next step.
    pub weight_hh: [[f32; HID]; HID],
    /// Bias of the input.
    pub bias_ih: [f32; HID],
    /// Bias of the recurrence.
    pub bias_hh: [f32; HID],
    /// What the sums become.
    pub nonlinearity: A,
}

/// Not derived: of a type with type parameters that would copy field by field, over the stack.
impl<const IN: usize, const HID: usize, A: Copy> Clone for RnnCell<IN, HID, A> {
    fn clone(&self) -> Self {
        *self
    }
}

/// The weights of one recurrent layer as PyTorch keeps them, row-major `[out][in]`.
#[derive(Clone, Copy, Debug)]
pub struct RnnWeights<'a> {
    /// `[HID][IN]`
    pub weight_ih: Tensor<'a>,
    /// `[HID][HID]`
    pub weight_hh: Tensor<'a>,
    /// `[HID]`
    pub bias_ih: Tensor<'a>,
    /// `[HID]`
    pub bias_hh: Tensor<'a>,
}

impl<const IN: usize, const HID: usize, A: Nonlinearity> RnnCell<IN, HID, A> {
    /// The fields are public, so every way to compute with a cell checks this, not only the ways to make one.
    pub(super) const CHECK: () = assert!(IN > 0 && HID > 0, "an RnnCell needs at least one input and one neuron");

    /// All parameters zero: where gradients start.
    #[must_use]
    pub const fn zeros() -> Self {
        const { Self::CHECK };
        Self {
            weight_ih: [[0.0; HID]; IN],
            weight_hh: [[0.0; HID]; HID],
            bias_ih: [0.0; HID],
            bias_hh: [0.0; HID],
            nonlinearity: A::CELL,
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
        draw_in_torch_order(generator, bound, self.weight_ih.as_flattened_mut(), HID);
        draw_in_torch_order(generator, bound, self.weight_hh.as_flattened_mut(), HID);
        generator.fill_uniform(&mut self.bias_ih, -bound, bound);
        generator.fill_uniform(&mut self.bias_hh, -bound, bound);
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
        let weight_ih = weights.weight_ih.matrix("weight_ih", HID, IN)?;
        let weight_hh = weights.weight_hh.matrix("weight_hh", HID, HID)?;
        let bias_ih = weights.bias_ih.vector("bias_ih", HID)?;
        let bias_hh = weights.bias_hh.vector("bias_hh", HID)?;
        copy_transposed(weight_ih, IN, self.weight_ih.as_flattened_mut());
        copy_transposed(weight_hh, HID, self.weight_hh.as_flattened_mut());
        self.bias_ih.copy_from_slice(bias_ih);
        self.bias_hh.copy_from_slice(bias_hh);
        Ok(())
    }

    /// `weight_ih` in PyTorch's order: `[HID][IN]`, row after row.
    pub fn weight_ih_torch(&self) -> impl Iterator<Item = f32> + '_ {
        torch_order(&self.weight_ih)
    }

    /// `weight_hh` in PyTorch's order: `[HID][HID]`, row after row.
    pub fn weight_hh_torch(&self) -> impl Iterator<Item = f32> + '_ {
        torch_order(&self.weight_hh)
    }

    /// The next hidden state.
    #[must_use]
    #[inline]
    pub fn step(&self, x: &[f32; IN], h: &[f32; HID]) -> [f32; HID] {
        At::from(self).step(x, h)
    }

    /// Replaces the hidden state by the next one.
    #[inline]
    pub fn step_in_place(&self, x: &[f32; IN], h: &mut [f32; HID]) {
        At::from(self).step_in_place(x, h);
    }

    /// Replaces the hidden states of a batch by the next ones: row `n` of `x` drives row `n` of `h`. See
    /// [`Streams`](crate::Streams).
    ///
    /// # Errors
    ///
    /// [`Error::Length`] if there are not as many inputs as hidden states.
    pub fn step_batch_in_place(&self, x: &[[f32; IN]], h: &mut [[f32; HID]]) -> Result<(), Error> {
        At::from(self).step_batch_in_place(x, h)
    }

    /// The backward of one step `h_next = step(x, h)`, given the gradient of `h_next`: adds the gradients of the
    /// parameters to `gradients` and returns those of `x` and of `h`.
    ///
    /// `dz = d_h_next * f'`, `dx = W_ih^T dz`, `dh = W_hh^T dz`, `dW += dz (x, h)^T`, `db += dz`.
    ///
    /// This is the form for training without a heap, one sample at a time; it takes 64 bytes of stack for each neuron. Over
    /// sequences and batches `Model` does the same much faster.
    #[must_use]
    pub fn step_backward_add(
        &self,
        x: &[f32; IN],
        h: &[f32; HID],
        h_next: &[f32; HID],
        d_h_next: &[f32; HID],
        gradients: &mut Self,
    ) -> ([f32; IN], [f32; HID]) {
        At::from(self).step_backward_add(x, h, h_next, d_h_next, gradients)
    }

    /// The cell with a given instruction set instead of [`Level::detect`].
    #[must_use]
    pub fn at(&self, level: Level) -> At<'_, Self> {
        At { layer: self, level }
    }

    /// One step of each of as many samples as there are rows.
    #[inline]
    pub(crate) fn step_together(&self, level: Level, x: &[[f32; IN]], h: &mut [[f32; HID]]) {
        narrow(level, HID).run(StepTogether { cell: self, x, h });
    }

    /// The backward of a step from `x` and `h` to `h_next`, with the gradient of `x` if it is requested.
    #[inline]
    pub(crate) fn step_backward_into(
        &self,
        level: Level,
        step: (&[f32; IN], &[f32; HID], &[f32; HID]),
        d_h_next: &[f32; HID],
        d_x: Option<&mut [f32; IN]>,
        gradients: &mut Self,
    ) -> [f32; HID] {
        let Self { weight_ih, weight_hh, bias_ih, bias_hh, .. } = gradients;
        let gradients = Gradients { weight_ih, weight_hh, bias_ih, bias_hh };
        let (cell, weights) = (PhantomData::<A>, self.weights());
        narrow(level, HID).run(StepBackward { cell, weights, step, d_h_next, d_x, gradients })
    }
}

impl<const IN: usize, const HID: usize, A: Nonlinearity> At<'_, RnnCell<IN, HID, A>> {
    /// [`RnnCell::step`]
    #[must_use]
    #[inline]
    pub fn step(self, x: &[f32; IN], h: &[f32; HID]) -> [f32; HID] {
        let mut next = *h;
        self.step_in_place(x, &mut next);
        next
    }

    /// [`RnnCell::step_in_place`]
    #[inline]
    pub fn step_in_place(self, x: &[f32; IN], h: &mut [f32; HID]) {
        narrow_alone(self.level, HID).run(Step { cell: self.layer, x, h });
    }

    /// [`RnnCell::step_batch_in_place`]
    ///
    /// # Errors
    ///
    /// [`Error::Length`] if there are not as many inputs as hidden states.
    pub fn step_batch_in_place(self, x: &[[f32; IN]], h: &mut [[f32; HID]]) -> Result<(), Error> {
        Error::check_length("rows of x", h.len(), x.len())?;
        self.layer.step_together(self.level, x, h);
        Ok(())
    }

    /// [`RnnCell::step_backward_add`]
    #[must_use]
    pub fn step_backward_add(
        self,
        x: &[f32; IN],
        h: &[f32; HID],
        h_next: &[f32; HID],
        d_h_next: &[f32; HID],
        gradients: &mut RnnCell<IN, HID, A>,
    ) -> ([f32; IN], [f32; HID]) {
        let mut d_x = [0.0; IN];
        let d_h = self.layer.step_backward_into(self.level, (x, h, h_next), d_h_next, Some(&mut d_x), gradients);
        (d_x, d_h)
    }
}

impl<const IN: usize, const HID: usize, A: Nonlinearity> RnnCell<IN, HID, A> {
    #[inline(always)]
    pub(super) fn weights(&self) -> Weights<'_, IN, HID> {
        const { Self::CHECK };
        let Self { weight_ih, weight_hh, bias_ih, bias_hh, .. } = self;
        Weights { weight_ih, weight_hh, bias_ih, bias_hh }
    }
}

/// `1 / sqrt(size)`, as PyTorch computes it.
pub(super) fn uniform_bound(size: usize) -> f32 {
    (1.0 / libm::sqrt(size as f64)) as f32
}

struct Step<'a, const IN: usize, const HID: usize, A> {
    cell: &'a RnnCell<IN, HID, A>,
    x: &'a [f32; IN],
    h: &'a mut [f32; HID],
}

impl<const IN: usize, const HID: usize, A: Nonlinearity> Kernel for Step<'_, IN, HID, A> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Step { cell, x, h } = self;
        *h = cell.weights().step(s, A::CELL, x, h);
    }
}

struct StepTogether<'a, const IN: usize, const HID: usize, A> {
    cell: &'a RnnCell<IN, HID, A>,
    x: &'a [[f32; IN]],
    h: &'a mut [[f32; HID]],
}

impl<const IN: usize, const HID: usize, A: Nonlinearity> Kernel for StepTogether<'_, IN, HID, A> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        self.cell.weights().step_together(s, A::CELL, self.x, self.h);
    }
}

impl_parameters!([const IN: usize, const HID: usize, A: Nonlinearity] RnnCell<IN, HID, A> { weight_ih flattened, weight_hh flattened, bias_ih, bias_hh });
