//! What layers implement for passes over sequences.

use super::parameters::Parameters;
use crate::data::error::Error;
use crate::data::sequences::Sequences;
use crate::simd::Level;
use alloc::boxed::Box;
use core::fmt;

/// How a pass runs.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    /// The instruction set.
    pub(crate) level: Level,
    /// Whether the backward computes the gradient of the input.
    pub(crate) d_input: bool,
    /// Whether large work is shared among threads.
    pub(crate) threads: bool,
}

/// What a backward does with the gradients that it is given.
#[derive(Clone, Copy, Debug)]
pub struct Gradients {
    /// What it begins with.
    pub(crate) start: Start,
    /// Whether they are complete after it; if not, the steps before these in time are still to come.
    pub(crate) complete: bool,
}

/// What a backward begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// Zeros.
    Zero,
    /// What is there.
    Add,
    /// What the backward of the steps that follow in time has left, in the same cache and the same gradients.
    Continue,
}

impl Gradients {
    pub(crate) const OVERWRITE: Self = Self { start: Start::Zero, complete: true };
    pub(crate) const ADD: Self = Self { start: Start::Add, complete: true };
}

pub(crate) mod sealed {
    /// Layers are made in this crate: a pass keeps promises (one answer, no allocation, refusals that change nothing) that
    /// only layers on its kernels and its memory can keep.
    pub trait Sealed {}
}

/// What a model is made of: [`RnnCell`](crate::RnnCell), [`Rnn`](crate::Rnn), [`Embedding`](crate::Embedding),
/// [`Linear`](crate::Linear), boxes and tuples of them. [`Model`](crate::Model) has what can be done with one.
///
/// Sealed: no other crate can implement it.
pub trait Layer: sealed::Sealed + Parameters + Sized + Send + Sync {
    /// What the layer takes at one step: a token (`usize`) or a vector (`[f32; N]`).
    type Input: Sync;
    /// What the layer gives at one step.
    type Output: Sync;
    /// The gradient of an input: of its type, or `()` for tokens.
    type InputGradient;
    /// What the layer carries from step to step, for all samples; the default is zero everywhere.
    ///
    /// For [`RnnCell`](crate::RnnCell) and [`Rnn`](crate::Rnn), rows of the hidden state, PyTorch's `(layers, batch,
    /// hidden)`, or no rows at all for zeros; for layers without a state, `()`; for a tuple, a tuple.
    type State: Default + Clone + fmt::Debug + Send + Sync;
    /// What the layer keeps from the forward for the backward, and its memory for both.
    #[doc(hidden)]
    type Cache: Default + fmt::Debug + Send;

    /// Whether a forward of `batch` samples can start from a state.
    ///
    /// # Errors
    ///
    /// [`Error::Length`] if the state has rows, but not one for each layer and sample.
    #[doc(hidden)]
    fn check_initial(batch: usize, initial: &Self::State) -> Result<(), Error>;

    /// The forward pass.
    ///
    /// # Errors
    ///
    /// If the shapes do not fit, or a token is out of range; `cache` is then as it was.
    #[doc(hidden)]
    fn forward_with(
        &self,
        run: Run,
        input: Sequences<'_, Self::Input>,
        initial: &Self::State,
        cache: &mut Self::Cache,
    ) -> Result<(), Error>;

    /// The outputs of the last forward, of every step.
    #[doc(hidden)]
    fn output(cache: &Self::Cache) -> Sequences<'_, Self::Output>;

    /// The state after the last step of the last forward.
    #[doc(hidden)]
    fn final_state(cache: &Self::Cache) -> &Self::State;

    /// Whether a backward fits the forward that filled `cache`, so that a refused one changes nothing. `d_output` is the
    /// shape of the gradient of the output: steps, samples.
    ///
    /// # Errors
    ///
    /// If the shapes do not fit, or a token is out of range.
    #[doc(hidden)]
    fn check_backward(
        &self,
        input: Sequences<'_, Self::Input>,
        cache: &Self::Cache,
        d_output: (usize, usize),
        d_final: &Self::State,
    ) -> Result<(), Error>;

    /// The backward pass.
    ///
    /// # Errors
    ///
    /// If the shapes do not fit.
    #[doc(hidden)]
    fn backward_with(
        &self,
        run: Run,
        input: Sequences<'_, Self::Input>,
        cache: &mut Self::Cache,
        d_output: Sequences<'_, Self::Output>,
        d_final: &Self::State,
        gradients: (&mut Self, Gradients),
    ) -> Result<(), Error>;

    /// The gradient of the input, as the last backward left it, if it was requested.
    #[doc(hidden)]
    fn d_input(cache: &Self::Cache) -> Sequences<'_, Self::InputGradient>;

    /// The gradient of the initial state, as the last backward left it.
    #[doc(hidden)]
    fn d_initial(cache: &Self::Cache) -> &Self::State;

    /// Overwrites a state by another in the memory that is there, unlike `Clone::clone_from` of a tuple.
    #[doc(hidden)]
    fn copy_state(from: &Self::State, to: &mut Self::State);
}

impl<L: sealed::Sealed> sealed::Sealed for Box<L> {}

/// A layer on the heap is a layer.
impl<L: Layer + bytemuck::Zeroable> Layer for Box<L> {
    type Input = L::Input;
    type Output = L::Output;
    type InputGradient = L::InputGradient;
    type State = L::State;
    type Cache = L::Cache;

    fn check_initial(batch: usize, initial: &L::State) -> Result<(), Error> {
        L::check_initial(batch, initial)
    }
    fn forward_with(
        &self,
        run: Run,
        input: Sequences<'_, L::Input>,
        initial: &L::State,
        cache: &mut L::Cache,
    ) -> Result<(), Error> {
        (**self).forward_with(run, input, initial, cache)
    }
    fn output(cache: &L::Cache) -> Sequences<'_, L::Output> {
        L::output(cache)
    }
    fn final_state(cache: &L::Cache) -> &L::State {
        L::final_state(cache)
    }
    fn check_backward(
        &self,
        input: Sequences<'_, L::Input>,
        cache: &L::Cache,
        d_output: (usize, usize),
        d_final: &L::State,
    ) -> Result<(), Error> {
        (**self).check_backward(input, cache, d_output, d_final)
    }
    fn backward_with(
        &self,
        run: Run,
        input: Sequences<'_, L::Input>,
        cache: &mut L::Cache,
        d_output: Sequences<'_, L::Output>,
        d_final: &L::State,
        (gradients, how): (&mut Self, Gradients),
    ) -> Result<(), Error> {
        (**self).backward_with(run, input, cache, d_output, d_final, (&mut **gradients, how))
    }
    fn d_input(cache: &L::Cache) -> Sequences<'_, L::InputGradient> {
        L::d_input(cache)
    }
    fn d_initial(cache: &L::Cache) -> &L::State {
        L::d_initial(cache)
    }
    fn copy_state(from: &L::State, to: &mut L::State) {
        L::copy_state(from, to);
    }
}

/// Refuses a gradient of the output that has not the shape of the output.
pub(crate) fn check_output_shape(expected: (usize, usize), given: (usize, usize)) -> Result<(), Error> {
    if expected == given { Ok(()) } else { Err(Error::Shape { what: "the gradient of the output", expected, given }) }
}

/// What a tuple of layers keeps: what its layers keep, and their states side by side.
#[derive(Debug, Default)]
pub struct TupleCache<C, S> {
    pub(super) layers: C,
    pub(super) last: S,
    pub(super) d_initial: S,
}
