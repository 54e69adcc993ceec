//! Long sequences in bounded memory: a chunk of steps at a time.

use crate::data::error::Error;
use crate::data::sequences::{Sequences, SequencesBuf};
use crate::kernels::order::STEPS_PER_BLOCK;
use crate::model::layer::{Layer, Trace};
use crate::simd::Level;
use alloc::vec::Vec;
use core::fmt;
use core::ops::Range;

/// Runs a model over long sequences a chunk of steps at a time, in little more memory than a chunk takes.
///
/// - [`Chunked::forward`] is for inference: nothing is kept but the chunk at hand.
/// - [`Chunked::train`] is backpropagation through the *whole* sequences: the state before every chunk (4 bytes for each
///   layer, sample and neuron) is kept and the chunk computed again when the backward comes to it (checkpointing:
///   Chen et al. 2016, "Training deep nets with sublinear memory cost"; through time:
///   Gruslys et al. 2016). The gradients have the bits of [`Layer::backward_into`]; a training step takes about a third longer.
///
/// Made once and used again, it allocates nothing from the second call with the same shapes on.
///
/// (*Truncated* backpropagation through time needs nothing of this: see [`Layer::forward_continued`].)
///
/// ```
/// use elman::{Chunked, CrossEntropy, Embedding, Generator, Layer, Linear, Parameters, Rnn};
/// let mut generator = Generator::seed(0);
/// let model =
///     (Embedding::<4, 3>::new(&mut generator), Rnn::<3, 8, 1>::new(&mut generator), Linear::<8, 4>::new(&mut generator));
/// let tokens: Vec<usize> = (0..1000).map(|i| i * i % 4).collect();
/// let (inputs, targets) = (&tokens[..999], &tokens[1..]);
///
/// let mut chunked = Chunked::new(64)?;
/// let (mean, mut gradients) = (CrossEntropy::mean_of(999), model.zeros_like());
/// let loss = chunked.train(&model, inputs, &Default::default(), &mut gradients, |steps, logits, d_logits| {
///     mean.loss_into(logits, &targets[steps], d_logits)
/// })?;
///
/// let mut trace = model.forward(inputs)?;
/// let (loss_at_once, d_logits) = CrossEntropy::mean().loss(trace.output(), targets)?;
/// assert!((loss - loss_at_once).abs() < 1e-6);
/// assert_eq!(gradients, model.backward(inputs, &mut trace, &d_logits)?);
/// # Ok::<(), elman::Error>(())
/// ```
pub struct Chunked<M: Layer> {
    chunk_steps: usize,
    trace: Trace<M>,
    /// The state before every chunk.
    states: Vec<M::State>,
    /// The gradient of the state behind a chunk.
    d_final: M::State,
    d_output: SequencesBuf<M::Output>,
}

impl<M: Layer> Chunked<M> {
    /// Chunks of `chunk_steps` steps, at [`Level::detect`].
    ///
    /// # Errors
    ///
    /// [`Error::Setting`] unless `chunk_steps` is a positive multiple of 16, the length of the blocks in which gradients
    /// are summed.
    pub fn new(chunk_steps: usize) -> Result<Self, Error> {
        Self::at(Level::detect(), chunk_steps)
    }

    /// Chunks of `chunk_steps` steps, at a given level.
    ///
    /// # Errors
    ///
    /// Like [`Chunked::new`].
    pub fn at(level: Level, chunk_steps: usize) -> Result<Self, Error> {
        if chunk_steps == 0 || !chunk_steps.is_multiple_of(STEPS_PER_BLOCK) {
            return Err(Error::Setting { what: "the length of a chunk", expected: "a positive multiple of 16" });
        }
        Ok(Self {
            chunk_steps,
            trace: Trace::at(level),
            states: Vec::new(),
            d_final: M::State::default(),
            d_output: SequencesBuf::default(),
        })
    }

    /// The forward alone: `output` is given the steps and the outputs of each chunk in turn. `state` is where the
    /// sequences start and becomes where they end.
    ///
    /// # Errors
    ///
    /// If the shapes do not fit, or a token is out of range in the chunk at hand; those before it are done then.
    pub fn forward<'a>(
        &mut self,
        model: &M,
        input: impl Into<Sequences<'a, M::Input>>,
        state: &mut M::State,
        mut output: impl FnMut(Range<usize>, Sequences<'_, M::Output>),
    ) -> Result<(), Error>
    where
        M::Input: 'a,
    {
        let input = input.into();
        input.check_steps()?;
        for start in (0..input.steps()).step_by(self.chunk_steps) {
            let steps = start..input.steps().min(start + self.chunk_steps);
            model.forward_from(input.of_steps(steps.clone()), state, &mut self.trace)?;
            M::copy_state(self.trace.final_state(), state);
            output(steps, self.trace.output());
        }
        Ok(())
    }

    /// Forward, loss and backward over the whole sequences; gives the sum of the losses of all chunks. `gradients` is
    /// overwritten.
    ///
    /// `loss` is called once for every chunk, the last one first, with its steps and its outputs. It gives the loss of the
    /// chunk and leaves the gradient of the outputs in its third argument, as [`CrossEntropy::loss_into`] does; it is empty
    /// before.
    ///
    /// # Errors
    ///
    /// If the shapes do not fit, a token is out of range, or `loss` gives an error. The gradients are not to be used then.
    ///
    /// [`CrossEntropy::loss_into`]: crate::CrossEntropy::loss_into
    pub fn train<'a>(
        &mut self,
        model: &M,
        input: impl Into<Sequences<'a, M::Input>>,
        initial: &M::State,
        gradients: &mut M,
        mut loss: impl FnMut(Range<usize>, Sequences<'_, M::Output>, &mut SequencesBuf<M::Output>) -> Result<f32, Error>,
    ) -> Result<f32, Error>
    where
        M::Input: 'a,
    {
        let input = input.into();
        input.check_steps()?;
        let chunk = |i: usize| i * self.chunk_steps..input.steps().min((i + 1) * self.chunk_steps);
        let last = input.steps().div_ceil(self.chunk_steps) - 1;
        self.states.resize_with(self.states.len().max(last + 1), M::State::default);
        M::copy_state(initial, &mut self.states[0]);
        for i in 0..last {
            model.forward_from(input.of_steps(chunk(i)), &self.states[i], &mut self.trace)?;
            M::copy_state(self.trace.final_state(), &mut self.states[i + 1]);
        }
        let mut total = 0.0;
        let none = M::State::default();
        for i in (0..=last).rev() {
            let input = input.of_steps(chunk(i));
            model.forward_from(input, &self.states[i], &mut self.trace)?;
            // Lest the gradient of another chunk is taken for this one's, where `loss` leaves none.
            self.d_output.clear();
            total += f64::from(loss(chunk(i), self.trace.output(), &mut self.d_output)?);
            (self.trace.run.from_zero, self.trace.run.complete) = (i == last, i == 0);
            let d_final = if i == last { &none } else { &self.d_final };
            let result = model.backward_from(input, &mut self.trace, &self.d_output, d_final, gradients);
            (self.trace.run.from_zero, self.trace.run.complete) = (true, true);
            result?;
            if let Some(d_initial) = self.trace.d_initial() {
                M::copy_state(d_initial, &mut self.d_final);
            }
        }
        Ok(total as f32)
    }

    /// The gradient of the initial state after [`Chunked::train`], `None` where nothing has been trained since a forward.
    #[must_use]
    pub fn d_initial(&self) -> Option<&M::State> {
        self.trace.d_initial()
    }
}

impl<M: Layer> fmt::Debug for Chunked<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chunked").field("chunk_steps", &self.chunk_steps).finish_non_exhaustive()
    }
}
