//! Long sequences in bounded memory: a chunk of steps at a time.

use crate::data::error::Error;
use crate::data::sequences::{Sequences, SequencesBuf};
use crate::kernels::order::STEPS_PER_BLOCK;
use crate::model::layer::{Gradients, Layer, Start};
use crate::model::pass::Workspace;
use crate::simd::Level;
use alloc::vec::Vec;
use core::fmt;
use core::ops::Range;

/// Runs a model over long sequences a chunk of steps at a time, in little more memory than a chunk takes.
///
/// - [`Chunked::forward`] is for inference: nothing is kept but the chunk at hand.
/// - [`Chunked::train_into`] is backpropagation through the *whole* sequences: the state before every chunk (4 bytes for each
///   layer, sample and neuron) is kept and the chunk computed again when the backward comes to it (checkpointing:
///   Chen et al. 2016, "Training deep nets with sublinear memory cost"; through time:
///   Gruslys et al. 2016). The gradients have the bits of [`Pass::backward_into`](crate::Pass::backward_into); a training step takes about a third longer.
///
/// Made once and used again, it allocates nothing from the second call with the same shapes on.
///
/// (*Truncated* backpropagation through time needs nothing of this: see [`Workspace::forward_continued`].)
///
/// ```
/// use elman::{Chunked, CrossEntropy, Embedding, Generator, Linear, Model, Parameters, Rnn};
/// let mut generator = Generator::seed(0);
/// let model =
///     (Embedding::<4, 3>::new(&mut generator), Rnn::<3, 8, 1>::new(&mut generator), Linear::<8, 4>::new(&mut generator));
/// let tokens: Vec<usize> = (0..1000).map(|i| i * i % 4).collect();
/// let (inputs, targets) = (&tokens[..999], &tokens[1..]);
///
/// let mut chunked = Chunked::new(64)?;
/// let (mean, mut gradients) = (CrossEntropy::mean_of(999), model.zeros_like());
/// let loss = chunked.train_into(&model, inputs, &Default::default(), &mut gradients, |steps, logits, d_logits| {
///     mean.loss_into(logits, &targets[steps], d_logits)
/// })?;
///
/// let pass = model.forward(inputs)?;
/// let (loss_at_once, d_logits) = CrossEntropy::mean().loss(pass.output(), targets)?;
/// assert!((loss - loss_at_once).abs() < 1e-6);
/// assert_eq!(gradients, pass.backward(&d_logits)?);
/// # Ok::<(), elman::Error>(())
/// ```
pub struct Chunked<M: Layer> {
    chunk_steps: usize,
    workspace: Workspace<M>,
    /// The state before every chunk.
    states: Vec<M::State>,
    /// The gradient of the state behind a chunk.
    d_final: M::State,
    d_output: SequencesBuf<M::Output>,
}

impl<M: Layer> Chunked<M> {
    /// Chunks of `chunk_steps` steps.
    ///
    /// # Errors
    ///
    /// [`Error::Setting`] unless `chunk_steps` is a positive multiple of 16, the length of the blocks in which gradients
    /// are summed.
    pub fn new(chunk_steps: usize) -> Result<Self, Error> {
        if chunk_steps == 0 || !chunk_steps.is_multiple_of(STEPS_PER_BLOCK) {
            return Err(Error::Setting { what: "the length of a chunk", expected: "a positive multiple of 16" });
        }
        Ok(Self {
            chunk_steps,
            workspace: Workspace::new(),
            states: Vec::new(),
            d_final: M::State::default(),
            d_output: SequencesBuf::default(),
        })
    }

    /// The instruction set, instead of [`Level::detect`].
    #[must_use]
    pub fn at(mut self, level: Level) -> Self {
        self.workspace = self.workspace.at(level);
        self
    }

    /// Keeps all work on the calling thread, as [`Workspace::on_this_thread`] does.
    #[must_use]
    pub fn on_this_thread(mut self) -> Self {
        self.workspace = self.workspace.on_this_thread();
        self
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
            self.workspace.run_forward(model, input.of_steps(steps.clone()), state)?;
            M::copy_state(self.workspace.final_state(), state);
            output(steps, self.workspace.output());
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
    pub fn train_into<'a>(
        &mut self,
        model: &M,
        input: impl Into<Sequences<'a, M::Input>>,
        initial: &M::State,
        gradients: &mut M,
        loss: impl FnMut(Range<usize>, Sequences<'_, M::Output>, &mut SequencesBuf<M::Output>) -> Result<f32, Error>,
    ) -> Result<f32, Error>
    where
        M::Input: 'a,
    {
        self.train(model, input.into(), initial, (gradients, Start::Zero), loss)
    }

    /// [`Chunked::train_into`], but the gradients are added to those that are there.
    ///
    /// # Errors
    ///
    /// Like [`Chunked::train_into`].
    pub fn train_add<'a>(
        &mut self,
        model: &M,
        input: impl Into<Sequences<'a, M::Input>>,
        initial: &M::State,
        gradients: &mut M,
        loss: impl FnMut(Range<usize>, Sequences<'_, M::Output>, &mut SequencesBuf<M::Output>) -> Result<f32, Error>,
    ) -> Result<f32, Error>
    where
        M::Input: 'a,
    {
        self.train(model, input.into(), initial, (gradients, Start::Add), loss)
    }

    fn train(
        &mut self,
        model: &M,
        input: Sequences<'_, M::Input>,
        initial: &M::State,
        (gradients, start): (&mut M, Start),
        mut loss: impl FnMut(Range<usize>, Sequences<'_, M::Output>, &mut SequencesBuf<M::Output>) -> Result<f32, Error>,
    ) -> Result<f32, Error> {
        input.check_steps()?;
        let Self { chunk_steps, workspace, states, d_final, d_output } = self;
        let chunk = |i: usize| i * *chunk_steps..input.steps().min((i + 1) * *chunk_steps);
        let last = input.steps().div_ceil(*chunk_steps) - 1;
        states.resize_with(states.len().max(last + 1), M::State::default);
        M::copy_state(initial, &mut states[0]);
        for i in 0..last {
            workspace.run_forward(model, input.of_steps(chunk(i)), &states[i])?;
            M::copy_state(workspace.final_state(), &mut states[i + 1]);
        }
        let mut total = 0.0;
        M::copy_state(&M::State::default(), d_final);
        for i in (0..=last).rev() {
            let input = input.of_steps(chunk(i));
            workspace.run_forward(model, input, &states[i])?;
            // Lest the gradient of another chunk is taken for this one's, where `loss` leaves none.
            d_output.clear();
            total += f64::from(loss(chunk(i), workspace.output(), d_output)?);
            let how = Gradients { start: if i == last { start } else { Start::Continue }, complete: i == 0 };
            workspace.run_backward(model, input, d_output.view(), d_final, (&mut *gradients, how))?;
            M::copy_state(workspace.d_initial(), d_final);
        }
        Ok(total as f32)
    }

    /// The gradient of the initial state after [`Chunked::train_into`] or [`Chunked::train_add`]; zero before.
    #[must_use]
    pub fn d_initial(&self) -> &M::State {
        &self.d_final
    }
}

impl<M: Layer> fmt::Debug for Chunked<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chunked").field("chunk_steps", &self.chunk_steps).finish_non_exhaustive()
    }
}
