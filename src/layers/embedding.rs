//! A table of vectors, one a token: `Embedding`.

use crate::parameters::{Parameters, impl_parameters};
use crate::{Error, Generator};

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
#[derive(Clone, Copy, Debug, PartialEq, bytemuck::Zeroable)]
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
    /// [`Error::Length`] if the length does not fit.
    pub fn from_torch(weight: &[f32]) -> Result<Self, Error> {
        let mut embedding = Self::zeros();
        embedding.load_torch(weight)?;
        Ok(embedding)
    }

    /// Takes over PyTorch's weights: `weight` is `[V][E]`, row-major.
    ///
    /// # Errors
    ///
    /// [`Error::Length`] if the length does not fit; nothing has changed then.
    pub fn load_torch(&mut self, weight: &[f32]) -> Result<(), Error> {
        Error::check_length("weight", V * E, weight.len())?;
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

impl_parameters!(Embedding<V, E> { weight flattened });

#[cfg(feature = "alloc")]
mod over_sequences {
    use super::*;
    use crate::kernels::cascade::Cascade;
    use crate::kernels::recurrence::blocks_from_the_end;
    use crate::model::{Layer, Run, check_output_shape};
    use crate::sequences::{Sequences, SequencesBuf};

    /// What an [`Embedding`] keeps between forward and backward.
    #[derive(Debug, Default)]
    pub struct EmbeddingCache<const E: usize> {
        output: SequencesBuf<[f32; E]>,
        /// Of the gradients, a row a token.
        cascade: Cascade,
    }

    impl<const V: usize, const E: usize> Layer for Embedding<V, E> {
        type Input = usize;
        type Output = [f32; E];
        type InputGradient = ();
        type State = ();
        type Cache = EmbeddingCache<E>;

        fn check_initial(_: usize, (): &()) -> Result<(), Error> {
            Ok(())
        }

        fn forward_with(
            &self,
            _: Run,
            input: Sequences<'_, usize>,
            (): &(),
            cache: &mut Self::Cache,
        ) -> Result<(), Error> {
            input.check_steps()?;
            check_tokens::<V>(input)?;
            cache.output.reshape(input.shape());
            for (to, token) in cache.output.rows_mut().iter_mut().zip(input.iter()) {
                *to = self.weight[*token];
            }
            Ok(())
        }

        fn output(cache: &Self::Cache) -> Sequences<'_, [f32; E]> {
            cache.output.view()
        }

        fn final_state(_: &Self::Cache) -> &() {
            &()
        }

        fn check_backward(
            &self,
            input: Sequences<'_, usize>,
            cache: &Self::Cache,
            d_output: (usize, usize),
            (): &(),
        ) -> Result<(), Error> {
            let shape = cache.output.view().shape();
            input.check_shape("the input of the backward", shape)?;
            check_output_shape(shape, d_output)?;
            check_tokens::<V>(input)
        }

        /// Adds the gradient of each output to its token's row: block after block from the end of time, as in all layers,
        /// sample after sample within.
        fn backward_with(
            &self,
            run: Run,
            input: Sequences<'_, usize>,
            cache: &mut Self::Cache,
            d_output: Sequences<'_, [f32; E]>,
            (): &(),
            gradients: &mut Self,
        ) -> Result<(), Error> {
            self.check_backward(input, cache, d_output.shape(), &())?;
            if run.from_zero {
                gradients.fill_zero();
                cache.cascade.reset(V);
            }
            // Of no samples there may be more steps than can be counted to.
            if input.batch() == 0 {
                return Ok(());
            }
            for (start, end) in blocks_from_the_end(input.steps()) {
                for (token, d_row) in input.of_steps(start..end).iter().zip(d_output.of_steps(start..end).iter()) {
                    let row = &mut gradients.weight[*token];
                    for (to, d) in row.iter_mut().zip(d_row) {
                        *to += d;
                    }
                    cache.cascade.count(*token, row);
                }
            }
            if run.complete {
                cache.cascade.finish(gradients.weight.as_flattened_mut());
            }
            Ok(())
        }

        fn d_input(_: &Self::Cache) -> Sequences<'_, ()> {
            Sequences::one(&[])
        }

        fn d_initial(_: &Self::Cache) -> &() {
            &()
        }

        fn copy_state((): &(), (): &mut ()) {}
    }

    /// Refuses the first token that is out of range.
    fn check_tokens<const V: usize>(tokens: Sequences<'_, usize>) -> Result<(), Error> {
        match tokens.iter().position(|token| *token >= V) {
            None => Ok(()),
            Some(index) => {
                let (sample, step) = (index / tokens.steps(), index % tokens.steps());
                Err(Error::TokenOutOfRange { token: *tokens.row(sample, step), vocabulary: V, sample, step })
            }
        }
    }
}
