//! The affine layer: `Linear`.

use super::at::At;
use super::rnn_cell::uniform_bound;
use super::tensor::Tensor;
use super::{draw_in_torch_order, torch_order};
use crate::data::error::Error;
use crate::kernels::gradient::{add_outer_product, add_row};
use crate::kernels::lanes::transpose::copy_transposed;
use crate::kernels::latency::matvec::{Identity, evaluate, product};
use crate::kernels::latency::transposed::matvec_transposed;
use crate::kernels::slice::flat_mut;
use crate::kernels::tuning::{narrow, narrow_alone};
use crate::model::names::{TensorLayout, debug_by_names};
use crate::model::parameters::{Parameters, impl_parameters};
use crate::simd::{Kernel, Level, Simd};
use crate::torch::generator::Generator;

/// `y = W x + b`, PyTorch's `nn.Linear(IN, OUT)`, with the same numbers for the same seed.
///
/// Stored input-major, the transpose of PyTorch's layout: `weight[i][o]` is what input `i` gives to output `o`.
///
/// ```
/// use elman::{Generator, Linear};
/// let linear = Linear::<8, 4>::new(&mut Generator::seed(0));
/// let y: [f32; 4] = linear.apply(&[0.5; 8]);
/// # assert!(y.iter().all(|y| y.is_finite()));
/// ```
#[derive(Clone, Copy, PartialEq, bytemuck::Zeroable)]
#[repr(C, align(64))]
pub struct Linear<const IN: usize, const OUT: usize> {
    /// What each input gives to each output.
    pub weight: [[f32; OUT]; IN],
    /// What each output starts from.
    pub bias: [f32; OUT],
}

impl<const IN: usize, const OUT: usize> Linear<IN, OUT> {
    /// The fields are public, so every way to compute with a layer checks this, not only the ways to make one.
    pub(super) const CHECK: () = assert!(IN > 0 && OUT > 0, "a Linear needs at least one input and one output");

    /// All parameters zero: where gradients start.
    #[must_use]
    pub const fn zeros() -> Self {
        const { Self::CHECK };
        Self { weight: [[0.0; OUT]; IN], bias: [0.0; OUT] }
    }

    /// PyTorch's initial values: all parameters uniform in `-1/sqrt(IN) .. 1/sqrt(IN)`, `weight` and then `bias`.
    #[must_use]
    pub fn new(generator: &mut Generator) -> Self {
        let mut linear = Self::zeros();
        linear.reset_parameters(generator);
        linear
    }

    /// [`Linear::new`], made on the heap and never on the stack.
    #[cfg(feature = "alloc")]
    #[must_use]
    pub fn boxed(generator: &mut Generator) -> alloc::boxed::Box<Self> {
        let mut linear = Self::zeros_boxed();
        linear.reset_parameters(generator);
        linear
    }

    /// [`Linear::zeros`], made on the heap and never on the stack.
    #[cfg(feature = "alloc")]
    #[must_use]
    pub fn zeros_boxed() -> alloc::boxed::Box<Self> {
        const { Self::CHECK };
        bytemuck::zeroed_box()
    }

    /// Draws all parameters anew, as [`Linear::new`] does.
    pub fn reset_parameters(&mut self, generator: &mut Generator) {
        let bound = uniform_bound(IN);
        draw_in_torch_order(generator, bound, self.weight.as_flattened_mut(), OUT);
        generator.fill_uniform(&mut self.bias, -bound, bound);
    }

    /// A layer with PyTorch's weights: `weight` is `[OUT][IN]`, row-major.
    ///
    /// # Errors
    ///
    /// [`Error::Tensor`] naming the tensor whose shape or length does not fit.
    pub fn from_torch<'a>(weight: impl Into<Tensor<'a>>, bias: impl Into<Tensor<'a>>) -> Result<Self, Error> {
        let mut linear = Self::zeros();
        linear.load_torch(weight, bias)?;
        Ok(linear)
    }

    /// Takes over PyTorch's weights: `weight` is `[OUT][IN]`, row-major.
    ///
    /// # Errors
    ///
    /// [`Error::Tensor`] naming the tensor whose shape or length does not fit; nothing has changed then.
    pub fn load_torch<'a>(&mut self, weight: impl Into<Tensor<'a>>, bias: impl Into<Tensor<'a>>) -> Result<(), Error> {
        const { Self::CHECK };
        let weight = weight.into().matrix("weight", OUT, IN)?;
        let bias = bias.into().vector("bias", OUT)?;
        copy_transposed(weight, IN, self.weight.as_flattened_mut());
        self.bias.copy_from_slice(bias);
        Ok(())
    }

    /// `weight` in PyTorch's order: `[OUT][IN]`, row after row.
    pub fn weight_torch(&self) -> impl Iterator<Item = f32> + '_ {
        torch_order(self.weight.as_flattened(), OUT)
    }

    /// `W x + b`
    #[must_use]
    pub fn apply(&self, x: &[f32; IN]) -> [f32; OUT] {
        At::from(self).apply(x)
    }

    /// The backward of one `apply`, given the gradient of its result: adds `dW = dy x^T` and `db = dy` to `gradients` and
    /// returns `dx = W^T dy`.
    #[must_use]
    pub fn apply_backward_add(&self, x: &[f32; IN], d_y: &[f32; OUT], gradients: &mut Self) -> [f32; IN] {
        At::from(self).apply_backward_add(x, d_y, gradients)
    }

    /// The layer with a given instruction set instead of [`Level::detect`].
    #[must_use]
    pub fn at(&self, level: Level) -> At<'_, Self> {
        At { layer: self, level }
    }
}

impl<const IN: usize, const OUT: usize> At<'_, Linear<IN, OUT>> {
    /// [`Linear::apply`]
    #[must_use]
    pub fn apply(self, x: &[f32; IN]) -> [f32; OUT] {
        const { Linear::<IN, OUT>::CHECK };
        narrow_alone(self.level, OUT).run(Apply { linear: self.layer, x })
    }

    /// [`Linear::apply_backward_add`]
    #[must_use]
    pub fn apply_backward_add(self, x: &[f32; IN], d_y: &[f32; OUT], gradients: &mut Linear<IN, OUT>) -> [f32; IN] {
        narrow(self.level, OUT).run(ApplyBackward { linear: self.layer, x, d_y, gradients })
    }
}

struct Apply<'a, const IN: usize, const OUT: usize> {
    linear: &'a Linear<IN, OUT>,
    x: &'a [f32; IN],
}

impl<const IN: usize, const OUT: usize> Kernel for Apply<'_, IN, OUT> {
    type Output = [f32; OUT];

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> [f32; OUT] {
        evaluate(s, &product(&self.linear.bias, &self.linear.weight, self.x), Identity)
    }
}

struct ApplyBackward<'a, const IN: usize, const OUT: usize> {
    linear: &'a Linear<IN, OUT>,
    x: &'a [f32; IN],
    d_y: &'a [f32; OUT],
    gradients: &'a mut Linear<IN, OUT>,
}

impl<const IN: usize, const OUT: usize> Kernel for ApplyBackward<'_, IN, OUT> {
    type Output = [f32; IN];

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> [f32; IN] {
        let ApplyBackward { linear, x, d_y, gradients } = self;
        add_outer_product(s, x, d_y, flat_mut(&mut gradients.weight));
        add_row(s, d_y, &mut gradients.bias);
        matvec_transposed(s, &linear.weight, d_y)
    }
}

impl_parameters!([const IN: usize, const OUT: usize] Linear<IN, OUT>, (IN + 1) * OUT, {
    weight flattened: TensorLayout::transposed(OUT, IN),
    bias: TensorLayout::vector(OUT)
});
debug_by_names!([const IN: usize, const OUT: usize] Linear<IN, OUT>, "Linear<{IN}, {OUT}>");
