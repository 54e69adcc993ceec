//! A table of vectors, one a token: `Embedding`.

use super::tensor::Tensor;
use crate::data::error::Error;
use crate::model::names::{TensorLayout, debug_by_names};
use crate::model::parameters::{Parameters, impl_parameters};
use crate::torch::generator::Generator;

/// A learned vector for each of `V` tokens: PyTorch's `nn.Embedding(V, E)`, with the same numbers for the same seed.
///
/// Stored as PyTorch does: `weight[token]` is the token's vector.
///
/// ```
/// use elman::{Embedding, Generator};
/// let embedding = Embedding::<4, 10>::new(&mut Generator::seed(0));
/// assert_eq!(embedding.get(2), Some(&embedding.weight[2]));
/// assert_eq!(embedding.get(4), None);
/// ```
#[derive(Clone, Copy, PartialEq, bytemuck::Zeroable)]
#[repr(C, align(64))]
pub struct Embedding<const V: usize, const E: usize> {
    /// The vectors.
    pub weight: [[f32; E]; V],
}

impl<const V: usize, const E: usize> Embedding<V, E> {
    /// All parameters zero: where gradients start.
    #[must_use]
    pub const fn zeros() -> Self {
        const { assert!(V > 0 && E > 0, "an Embedding needs at least one token and one number a token") };
        Self { weight: [[0.0; E]; V] }
    }

    /// PyTorch's initial values: normal with mean 0 and variance 1.
    #[must_use]
    pub fn new(generator: &mut Generator) -> Self {
        let mut embedding = Self::zeros();
        embedding.reset_parameters(generator);
        embedding
    }

    /// [`Embedding::new`], made on the heap and never on the stack.
    #[cfg(feature = "alloc")]
    #[must_use]
    pub fn boxed(generator: &mut Generator) -> alloc::boxed::Box<Self> {
        let mut embedding = Self::zeros_boxed();
        embedding.reset_parameters(generator);
        embedding
    }

    /// [`Embedding::zeros`], made on the heap and never on the stack.
    #[cfg(feature = "alloc")]
    #[must_use]
    pub fn zeros_boxed() -> alloc::boxed::Box<Self> {
        const { assert!(V > 0 && E > 0, "an Embedding needs at least one token and one number a token") };
        bytemuck::zeroed_box()
    }

    /// Draws all parameters anew, as [`Embedding::new`] does.
    pub fn reset_parameters(&mut self, generator: &mut Generator) {
        generator.fill_normal_rows(&mut self.weight);
    }

    /// A table with PyTorch's weights: `weight` is `[V][E]`, row-major.
    ///
    /// # Errors
    ///
    /// [`Error::Tensor`] if the shape or length does not fit.
    pub fn from_torch<'a>(weight: impl Into<Tensor<'a>>) -> Result<Self, Error> {
        let mut embedding = Self::zeros();
        embedding.load_torch(weight)?;
        Ok(embedding)
    }

    /// Takes over PyTorch's weights: `weight` is `[V][E]`, row-major.
    ///
    /// # Errors
    ///
    /// [`Error::Tensor`] if the shape or length does not fit; nothing has changed then.
    pub fn load_torch<'a>(&mut self, weight: impl Into<Tensor<'a>>) -> Result<(), Error> {
        let weight = weight.into().matrix("weight", V, E)?;
        self.weight.as_flattened_mut().copy_from_slice(weight);
        Ok(())
    }

    /// The weights in PyTorch's order: `[V][E]`, row after row.
    pub fn weight_torch(&self) -> impl Iterator<Item = f32> + '_ {
        self.weight.as_flattened().iter().copied()
    }

    /// The vector of a token, or `None` if the token is not in the vocabulary.
    #[must_use]
    #[inline]
    pub fn get(&self, token: usize) -> Option<&[f32; E]> {
        self.weight.get(token)
    }
}

impl_parameters!([const V: usize, const E: usize] Embedding<V, E>, V * E, {
    weight flattened: TensorLayout::matrix(V, E)
});
debug_by_names!([const V: usize, const E: usize] Embedding<V, E>, "Embedding<{V}, {E}>");
