//! Layers and tuples of layers one step at a time, on one sample, without a heap.

use super::parameters::Parameters;
use crate::data::error::Error;
use crate::data::zero::Zero;
use crate::simd::Level;
#[cfg(feature = "alloc")]
use alloc::boxed::Box;

/// A layer, or a tuple of layers each of which takes what the one before gives, one step at a time.
///
/// [`Stream`](crate::Stream) keeps a model and its state together; this trait is what it is made of. Implemented by the layers
/// of this crate. The bits are those of
/// the same steps in a sequence or a batch.
pub trait Step {
    /// What one step takes: a token (`usize`) or a vector (`[f32; N]`).
    type Input;
    /// What one step gives.
    type Output: Zero;
    /// What is carried from step to step; zeros at the start. `()` for layers without a state, a tuple for a tuple.
    type State: Zero;

    /// Whether the input can be taken.
    ///
    /// # Errors
    ///
    /// [`Error::TokenOutOfRange`]; a vector can always be taken.
    fn check_input(&self, input: &Self::Input) -> Result<(), Error>;

    /// One step at a given level. It does not allocate.
    ///
    /// # Panics
    ///
    /// If the input cannot be taken ([`Step::check_input`]).
    fn forward_step(&self, level: Level, input: &Self::Input, state: &mut Self::State) -> Self::Output;

    /// One step of `B` independent samples, each with a state of its own.
    ///
    /// # Panics
    ///
    /// Like [`Step::forward_step`].
    #[inline]
    fn forward_steps<const B: usize>(
        &self,
        level: Level,
        inputs: &[Self::Input; B],
        states: &mut [Self::State; B],
    ) -> [Self::Output; B] {
        let mut outputs = [Self::Output::ZERO; B];
        for ((output, input), state) in outputs.iter_mut().zip(inputs).zip(states) {
            *output = self.forward_step(level, input, state);
        }
        outputs
    }
}

/// The backward of [`Step`]: training in memory of the caller.
///
/// [`StepTrace`](crate::StepTrace) keeps the records of several steps; this trait is what it is made of.
pub trait StepBackward: Step + Parameters {
    /// What one step leaves for its backward, beside the states before and after it: the inputs of its layers.
    type Record: Zero;
    /// The gradient of an input: of its type, or `()` for tokens.
    type InputGradient;

    /// [`Step::forward_step`], leaving a record.
    ///
    /// # Panics
    ///
    /// Like [`Step::forward_step`].
    fn recorded_forward_step(
        &self,
        level: Level,
        input: &Self::Input,
        state: &mut Self::State,
        record: &mut Self::Record,
    ) -> Self::Output;

    /// The backward of the step that left `record` and led from the first of the states to the second: adds to `gradients`
    /// and gives the gradient of the input.
    ///
    /// `d_state` is the gradient of the state after the step and becomes that of the state before it.
    ///
    /// # Panics
    ///
    /// If the record is of another model, and holds a token that is out of range in this one.
    fn backward_step(
        &self,
        level: Level,
        record: &Self::Record,
        states: (&Self::State, &Self::State),
        d_output: &Self::Output,
        d_state: &mut Self::State,
        gradients: &mut Self,
    ) -> Self::InputGradient;

    /// [`StepBackward::backward_step`] without the gradient of the input, which takes a product of its own in most layers.
    ///
    /// # Panics
    ///
    /// Like [`StepBackward::backward_step`].
    #[inline]
    fn backward_step_without_d_input(
        &self,
        level: Level,
        record: &Self::Record,
        states: (&Self::State, &Self::State),
        d_output: &Self::Output,
        d_state: &mut Self::State,
        gradients: &mut Self,
    ) {
        self.backward_step(level, record, states, d_output, d_state, gradients);
    }
}

/// Refuses a token that is not in the vocabulary.
#[inline]
pub(crate) fn check_token(token: usize, vocabulary: usize) -> Result<(), Error> {
    if token < vocabulary { Ok(()) } else { Err(Error::TokenOutOfRange { token, vocabulary, sample: 0, step: 0 }) }
}

#[cfg(feature = "alloc")]
impl<M: Step> Step for Box<M> {
    type Input = M::Input;
    type Output = M::Output;
    type State = M::State;

    #[inline]
    fn check_input(&self, input: &M::Input) -> Result<(), Error> {
        (**self).check_input(input)
    }
    #[inline]
    fn forward_step(&self, level: Level, input: &M::Input, state: &mut M::State) -> M::Output {
        (**self).forward_step(level, input, state)
    }
    #[inline]
    fn forward_steps<const B: usize>(
        &self,
        level: Level,
        inputs: &[M::Input; B],
        states: &mut [M::State; B],
    ) -> [M::Output; B] {
        (**self).forward_steps(level, inputs, states)
    }
}

#[cfg(feature = "alloc")]
impl<M: StepBackward + bytemuck::Zeroable> StepBackward for Box<M> {
    type Record = M::Record;
    type InputGradient = M::InputGradient;

    #[inline]
    fn recorded_forward_step(
        &self,
        level: Level,
        input: &M::Input,
        state: &mut M::State,
        record: &mut M::Record,
    ) -> M::Output {
        (**self).recorded_forward_step(level, input, state, record)
    }
    #[inline]
    fn backward_step(
        &self,
        level: Level,
        record: &M::Record,
        states: (&M::State, &M::State),
        d_output: &M::Output,
        d_state: &mut M::State,
        gradients: &mut Self,
    ) -> M::InputGradient {
        (**self).backward_step(level, record, states, d_output, d_state, gradients)
    }
    #[inline]
    fn backward_step_without_d_input(
        &self,
        level: Level,
        record: &M::Record,
        states: (&M::State, &M::State),
        d_output: &M::Output,
        d_state: &mut M::State,
        gradients: &mut Self,
    ) {
        (**self).backward_step_without_d_input(level, record, states, d_output, d_state, gradients);
    }
}

/// A borrowed model: several streams may share one.
impl<M: Step> Step for &M {
    type Input = M::Input;
    type Output = M::Output;
    type State = M::State;

    #[inline]
    fn check_input(&self, input: &M::Input) -> Result<(), Error> {
        (**self).check_input(input)
    }
    #[inline]
    fn forward_step(&self, level: Level, input: &M::Input, state: &mut M::State) -> M::Output {
        (**self).forward_step(level, input, state)
    }
    #[inline]
    fn forward_steps<const B: usize>(
        &self,
        level: Level,
        inputs: &[M::Input; B],
        states: &mut [M::State; B],
    ) -> [M::Output; B] {
        (**self).forward_steps(level, inputs, states)
    }
}
