//! The table of vectors over sequences.

use super::Embedding;
use crate::data::error::Error;
use crate::data::sequences::{Sequences, SequencesBuf};
use crate::kernels::gradient::RowCascade;
use crate::kernels::order::blocks_from_the_end;
use crate::model::layer::{Gradients, Layer, Run, Start, check_output_shape, sealed};
use crate::model::parameters::Parameters;

/// What an [`Embedding`] keeps between forward and backward.
#[derive(Debug, Default)]
pub struct EmbeddingCache<const E: usize> {
    output: SequencesBuf<[f32; E]>,
    /// Of the gradients, a row a token.
    cascade: RowCascade,
}

impl<const V: usize, const E: usize> sealed::Sealed for Embedding<V, E> {}

impl<const V: usize, const E: usize> Layer for Embedding<V, E> {
    type Input = usize;
    type Output = [f32; E];
    type InputGradient = ();
    type State = ();
    type Cache = EmbeddingCache<E>;

    fn check_initial(_: usize, (): &()) -> Result<(), Error> {
        Ok(())
    }

    fn forward_with(&self, _: Run, input: Sequences<'_, usize>, (): &(), cache: &mut Self::Cache) -> Result<(), Error> {
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
        _: Run,
        input: Sequences<'_, usize>,
        cache: &mut Self::Cache,
        d_output: Sequences<'_, [f32; E]>,
        (): &(),
        (gradients, how): (&mut Self, Gradients),
    ) -> Result<(), Error> {
        self.check_backward(input, cache, d_output.shape(), &())?;
        if how.start != Start::Continue {
            if how.start == Start::Zero {
                gradients.fill_zero();
            }
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
        if how.complete {
            cache.cascade.finish(&mut gradients.weight);
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
