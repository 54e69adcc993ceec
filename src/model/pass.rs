//! Passes of a model over sequences: forward into a [`Pass`], backward out of it.

use super::layer::{Gradients, Layer, Run};
use crate::data::error::Error;
use crate::data::sequences::Sequences;
use crate::simd::Level;
use alloc::boxed::Box;
use core::fmt;

/// What every layer and every tuple of layers can do: a forward pass, and the backward that belongs to it.
///
/// A model is a layer, or a tuple of up to six layers (which may be tuples) each of which takes what the one before gives.
///
/// ```
/// use elman::{Adam, CrossEntropy, Embedding, Generator, Linear, Model, Rnn};
/// let mut generator = Generator::seed(0); // the numbers of torch.manual_seed(0)
/// let mut model = (
///     Embedding::<4, 10>::new(&mut generator),
///     Rnn::<10, 8, 2>::new(&mut generator),
///     Linear::<8, 4>::new(&mut generator),
/// );
/// let mut adam = Adam::new(0.05);
/// let (hello, ohlol) = ([1, 0, 2, 2, 3], [3, 1, 2, 3, 2]);
/// for epoch in 1..=15 {
///     let pass = model.forward(&hello)?;
///     let (loss, d_logits) = CrossEntropy::mean().loss(pass.output(), &ohlol)?;
///     let gradients = pass.backward(&d_logits)?;
///     adam.step(&mut model, &gradients)?;
/// }
/// # Ok::<(), elman::Error>(())
/// ```
///
/// A pass borrows the model and the input until its backward has run. Weights that are stepped in between, which would make
/// the gradients wrong, do not compile:
///
/// ```compile_fail,E0502
/// # use elman::{Adam, Generator, Linear, Model};
/// # let mut model = Linear::<2, 2>::new(&mut Generator::seed(0));
/// # let (mut adam, input, d_output, others) = (Adam::new(0.1), [[0.0; 2]], [[1.0; 2]], model);
/// let pass = model.forward(&input)?;
/// adam.step(&mut model, &others)?; // error: cannot borrow `model` as mutable
/// let gradients = pass.backward(&d_output)?;
/// # Ok::<(), elman::Error>(())
/// ```
///
/// Nor does an input that has changed:
///
/// ```compile_fail,E0506
/// # use elman::{Generator, Linear, Model};
/// # let model = Linear::<2, 2>::new(&mut Generator::seed(0));
/// # let (mut input, d_output) = ([[0.0; 2]], [[1.0; 2]]);
/// let pass = model.forward(&input)?;
/// input[0] = [1.0; 2]; // error: cannot assign to `input[_]`
/// let gradients = pass.backward(&d_output)?;
/// # Ok::<(), elman::Error>(())
/// ```
///
/// To use memory again, to choose a [`Level`], or to start from a state, run the model in a [`Workspace`].
pub trait Model: Layer {
    /// Runs the model over sequences, starting from a zero state, in memory of the pass.
    ///
    /// # Errors
    ///
    /// [`Error::NoSteps`], [`Error::TokenOutOfRange`].
    fn forward<'a>(&'a self, input: impl Into<Sequences<'a, Self::Input>>) -> Result<Pass<'a, Self>, Error>
    where
        Self::Input: 'a,
    {
        let mut workspace = Box::new(Workspace::new());
        let input = input.into();
        workspace.run_forward(self, input, &Self::State::default())?;
        Ok(Pass { model: self, input, memory: Memory::Own(workspace), d_final: None })
    }
}

impl<M: Layer> Model for M {}

/// Memory for the passes of a model, used again and again, and how they run.
///
/// With the same shapes nothing is allocated from the second pass on, apart from what rayon's queue takes where a thread that
/// is not of its pool calls (a block every 63 times; inside `ThreadPool::install` nothing).
///
/// ```
/// use elman::{Adam, CrossEntropy, Generator, Linear, Parameters, Rnn, SequencesBuf, Workspace};
/// let mut generator = Generator::seed(0);
/// let mut model = (Rnn::<4, 8, 1>::new(&mut generator), Linear::<8, 4>::new(&mut generator));
/// let (mut workspace, mut gradients) = (Workspace::new(), model.zeros_like());
/// let (mut adam, mut d_logits) = (Adam::new(0.01), SequencesBuf::default());
/// for epoch in 0..10 {
///     let pass = workspace.forward(&model, &[[0.5; 4], [0.25; 4]])?;
///     CrossEntropy::mean().loss_into(pass.output(), &[0, 1], &mut d_logits)?;
///     pass.backward_into(&d_logits, &mut gradients)?;
///     adam.step(&mut model, &gradients)?;
/// }
/// # Ok::<(), elman::Error>(())
/// ```
pub struct Workspace<M: Layer> {
    pub(crate) run: Run,
    cache: M::Cache,
    /// Where [`Workspace::forward_continued`] starts.
    initial: M::State,
}

impl<M: Layer> Default for Workspace<M> {
    /// [`Workspace::new`].
    fn default() -> Self {
        Self::new()
    }
}

impl<M: Layer> Workspace<M> {
    /// An empty workspace at [`Level::detect`] that shares large work among the threads of the current rayon pool and does not
    /// compute the gradient of the input.
    #[must_use]
    pub fn new() -> Self {
        let run = Run { level: Level::detect(), d_input: false, threads: true };
        Self { run, cache: M::Cache::default(), initial: M::State::default() }
    }

    /// The instruction set, instead of [`Level::detect`].
    #[must_use]
    pub fn at(mut self, level: Level) -> Self {
        self.run.level = level;
        self
    }

    /// Lets the backward compute the gradient of the input too.
    #[must_use]
    pub fn with_d_input(mut self) -> Self {
        self.run.d_input = true;
        self
    }

    /// Keeps all work on the calling thread, whatever its size. The bits are the same.
    ///
    /// Where many models run in a `par_iter` of yours, this saves the way through rayon's queue. And it is needed where a pass
    /// holds what another task of the pool waits for: while a pass waits for its parts, its thread may take up *any* task of
    /// the pool, one that locks the same `Mutex` or borrows the same `RefCell` too.
    #[must_use]
    pub fn on_this_thread(mut self) -> Self {
        self.run.threads = false;
        self
    }

    /// Runs a model over sequences, starting from a zero state.
    ///
    /// # Errors
    ///
    /// [`Error::NoSteps`], [`Error::TokenOutOfRange`].
    pub fn forward<'a>(
        &'a mut self,
        model: &'a M,
        input: impl Into<Sequences<'a, M::Input>>,
    ) -> Result<Pass<'a, M>, Error> {
        self.forward_from(model, input, &M::State::default())
    }

    /// [`Workspace::forward`] from a given state.
    ///
    /// # Errors
    ///
    /// Like [`Workspace::forward`], and [`Error::Length`] if the state has rows, but not one for each layer and sample.
    pub fn forward_from<'a>(
        &'a mut self,
        model: &'a M,
        input: impl Into<Sequences<'a, M::Input>>,
        initial: &M::State,
    ) -> Result<Pass<'a, M>, Error> {
        let input = input.into();
        self.run_forward(model, input, initial)?;
        Ok(Pass { model, input, memory: Memory::Lent(self), d_final: None })
    }

    /// [`Workspace::forward_from`] the final state of this workspace's own last forward: the next chunk of the same sequences,
    /// or their first one if there was none.
    ///
    /// With a backward after every chunk this is truncated backpropagation through time (Williams & Peng 1990): the state
    /// goes on, no gradient crosses from a chunk into the one before it.
    ///
    /// ```
    /// use elman::{Adam, CrossEntropy, Embedding, Generator, Linear, Parameters, Rnn, Workspace};
    /// let mut generator = Generator::seed(0);
    /// let mut model = (
    ///     Embedding::<4, 3>::new(&mut generator),
    ///     Rnn::<3, 8, 1>::new(&mut generator),
    ///     Linear::<8, 4>::new(&mut generator),
    /// );
    /// let tokens: Vec<usize> = (0..1001).map(|i| i * i % 4).collect();
    /// let (mut adam, mut workspace) = (Adam::new(0.01), Workspace::new());
    /// for (inputs, targets) in tokens[..1000].chunks(50).zip(tokens[1..].chunks(50)) {
    ///     let pass = workspace.forward_continued(&model, inputs)?;
    ///     let (loss, d_logits) = CrossEntropy::mean().loss(pass.output(), targets)?;
    ///     let gradients = pass.backward(&d_logits)?;
    ///     adam.step(&mut model, &gradients)?;
    /// }
    /// # Ok::<(), elman::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Like [`Workspace::forward_from`].
    pub fn forward_continued<'a>(
        &'a mut self,
        model: &'a M,
        input: impl Into<Sequences<'a, M::Input>>,
    ) -> Result<Pass<'a, M>, Error> {
        let input = input.into();
        // Beside the workspace while it is borrowed; nothing is allocated for it but once.
        let mut initial = core::mem::take(&mut self.initial);
        M::copy_state(M::final_state(&self.cache), &mut initial);
        let result = self.run_forward(model, input, &initial);
        self.initial = initial;
        result?;
        Ok(Pass { model, input, memory: Memory::Lent(self), d_final: None })
    }

    pub(crate) fn run_forward(
        &mut self,
        model: &M,
        input: Sequences<'_, M::Input>,
        initial: &M::State,
    ) -> Result<(), Error> {
        model.forward_with(self.run, input, initial, &mut self.cache)
    }

    pub(crate) fn run_backward(
        &mut self,
        model: &M,
        input: Sequences<'_, M::Input>,
        d_output: Sequences<'_, M::Output>,
        d_final: &M::State,
        (gradients, how): (&mut M, Gradients),
    ) -> Result<(), Error> {
        model.backward_with(self.run, input, &mut self.cache, d_output, d_final, (gradients, how))
    }

    pub(crate) fn output(&self) -> Sequences<'_, M::Output> {
        M::output(&self.cache)
    }

    pub(crate) fn final_state(&self) -> &M::State {
        M::final_state(&self.cache)
    }

    pub(crate) fn d_initial(&self) -> &M::State {
        M::d_initial(&self.cache)
    }
}

impl<M: Layer> fmt::Debug for Workspace<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Workspace").field("run", &self.run).finish_non_exhaustive()
    }
}

/// The memory that a pass runs in.
enum Memory<'a, M: Layer> {
    Own(Box<Workspace<M>>),
    Lent(&'a mut Workspace<M>),
}

impl<M: Layer> Memory<'_, M> {
    fn workspace(&self) -> &Workspace<M> {
        match self {
            Memory::Own(workspace) => workspace,
            Memory::Lent(workspace) => workspace,
        }
    }

    fn workspace_mut(&mut self) -> &mut Workspace<M> {
        match self {
            Memory::Own(workspace) => workspace,
            Memory::Lent(workspace) => workspace,
        }
    }
}

/// A forward pass that has run, and from which the backward goes.
///
/// It keeps the outputs of every layer at every step, and neither sums in front of the nonlinearity nor their gradients. A
/// backward adds the gradient of the input of each layer but the first (of an [`Rnn`](crate::Rnn) of many layers, two of them),
/// and of the first if it was requested.
///
/// One rule for gradients holds everywhere: `backward` gives new ones, `backward_into` overwrites, `backward_add` adds.
pub struct Pass<'a, M: Layer> {
    model: &'a M,
    input: Sequences<'a, M::Input>,
    memory: Memory<'a, M>,
    d_final: Option<&'a M::State>,
}

impl<'a, M: Layer> Pass<'a, M> {
    /// The outputs of every step.
    #[must_use]
    pub fn output(&self) -> Sequences<'_, M::Output> {
        self.memory.workspace().output()
    }

    /// The state after the last step: where the next chunk of the same sequences starts.
    #[must_use]
    pub fn final_state(&self) -> &M::State {
        self.memory.workspace().final_state()
    }

    /// Adds a gradient of the final state, for a backward whose loss depends on it; it is zero otherwise.
    #[must_use]
    pub fn with_d_final(mut self, d_final: &'a M::State) -> Self {
        self.d_final = Some(d_final);
        self
    }

    /// The gradients of all parameters, given that of every output: backpropagation through time.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] if the gradient has not the shape of the output, [`Error::Length`] if that of the final state has not
    /// that of the state.
    pub fn backward<'b>(self, d_output: impl Into<Sequences<'b, M::Output>>) -> Result<M, Error>
    where
        M::Output: 'b,
    {
        let mut gradients = self.model.zeros_like();
        self.backward_into(d_output, &mut gradients)?;
        Ok(gradients)
    }

    /// [`Pass::backward`] with memory of the caller for the gradients, which is overwritten.
    ///
    /// # Errors
    ///
    /// Like [`Pass::backward`]; `gradients` is then as it was.
    pub fn backward_into<'b>(
        self,
        d_output: impl Into<Sequences<'b, M::Output>>,
        gradients: &mut M,
    ) -> Result<Passed<'a, M>, Error>
    where
        M::Output: 'b,
    {
        self.run_backward(d_output.into(), (gradients, Gradients::OVERWRITE))
    }

    /// [`Pass::backward`], but the gradients are added to those that are there: of several batches, one after the other.
    ///
    /// ```
    /// use elman::{Generator, Linear, Model, Parameters};
    /// let linear = Linear::<1, 1>::new(&mut Generator::seed(0));
    /// let mut gradients = linear.zeros_like();
    /// for batch in [[[1.0], [2.0]], [[3.0], [4.0]]] {
    ///     linear.forward(&batch)?.backward_add(&[[1.0], [1.0]], &mut gradients)?;
    /// }
    /// assert_eq!(gradients.weight, [[10.0]]);
    /// # Ok::<(), elman::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Like [`Pass::backward`]; `gradients` is then as it was.
    pub fn backward_add<'b>(
        self,
        d_output: impl Into<Sequences<'b, M::Output>>,
        gradients: &mut M,
    ) -> Result<Passed<'a, M>, Error>
    where
        M::Output: 'b,
    {
        self.run_backward(d_output.into(), (gradients, Gradients::ADD))
    }

    fn run_backward(
        self,
        d_output: Sequences<'_, M::Output>,
        gradients: (&mut M, Gradients),
    ) -> Result<Passed<'a, M>, Error> {
        let Self { model, input, mut memory, d_final } = self;
        let none = M::State::default();
        memory.workspace_mut().run_backward(model, input, d_output, d_final.unwrap_or(&none), gradients)?;
        Ok(Passed { memory })
    }
}

impl<M: Layer> fmt::Debug for Pass<'_, M>
where
    M::Output: fmt::Debug,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pass").field("output", &self.output()).finish_non_exhaustive()
    }
}

/// A pass whose backward has run: what it has left beside the gradients of the parameters.
pub struct Passed<'a, M: Layer> {
    memory: Memory<'a, M>,
}

impl<M: Layer> Passed<'_, M> {
    /// The outputs of every step.
    #[must_use]
    pub fn output(&self) -> Sequences<'_, M::Output> {
        self.memory.workspace().output()
    }

    /// The state after the last step.
    #[must_use]
    pub fn final_state(&self) -> &M::State {
        self.memory.workspace().final_state()
    }

    /// The gradient of the input, if [`Workspace::with_d_input`] requested it.
    #[must_use]
    pub fn d_input(&self) -> Option<Sequences<'_, M::InputGradient>> {
        let workspace = self.memory.workspace();
        workspace.run.d_input.then(|| M::d_input(&workspace.cache))
    }

    /// The gradient of the initial state.
    #[must_use]
    pub fn d_initial(&self) -> &M::State {
        self.memory.workspace().d_initial()
    }
}

impl<M: Layer> fmt::Debug for Passed<'_, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Passed").field("d_initial", self.d_initial()).finish_non_exhaustive()
    }
}
