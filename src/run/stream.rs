//! A model and its state, for real time.

use crate::data::error::Error;
use crate::data::zero::Zero;
use crate::model::step::Step;
use crate::simd::Level;
use core::fmt;

/// A model and its state, one step at a time: for audio, control and sensors.
///
/// A step does not allocate, lock or call the system, and takes the same time whatever its state and its input (but for inputs
/// and weights that are denormal, below 1.2e-38, which some CPUs are slower with: see [`Parameters::flush_denormals`](crate::Parameters::flush_denormals)). The model is a layer or a tuple of up to six layers, owned, boxed or
/// borrowed (several streams may share one).
///
/// ```
/// use elman::{Generator, Linear, RnnCell, Stream};
/// let mut generator = Generator::seed(0);
/// let model = (RnnCell::<2, 8>::new(&mut generator), Linear::<8, 1>::new(&mut generator));
/// let mut stream = Stream::new(model);
/// for x in [[0.0, 1.0], [1.0, 0.0]] {
///     let [y] = stream.advance(&x);
///     assert!(y.is_finite());
/// }
/// stream.reset();
/// assert_eq!(stream.state().0, [0.0; 8]);
/// ```
#[derive(Clone, Copy)]
pub struct Stream<M: Step> {
    model: M,
    state: M::State,
    level: Level,
}

impl<M: Step> Stream<M> {
    /// A stream whose state is zero.
    #[must_use]
    pub fn new(model: M) -> Self {
        Self::new_at(model, Level::detect())
    }

    /// [`Stream::new`] at a given level, as a constant: for a stream that is a `static`.
    ///
    /// ```
    /// use elman::{Level, Linear, RnnCell, Stream};
    /// use std::sync::Mutex;
    /// type Detector = (RnnCell<3, 8>, Linear<8, 2>);
    /// static WEIGHTS: Detector = (RnnCell::zeros(), Linear::zeros());
    /// static STREAM: Mutex<Stream<&Detector>> = Mutex::new(Stream::new_at(&WEIGHTS, Level::PORTABLE));
    /// assert_eq!(STREAM.lock().unwrap().advance(&[0.0; 3]), [0.0; 2]);
    /// ```
    #[must_use]
    pub const fn new_at(model: M, level: Level) -> Self {
        Self { model, state: M::State::ZERO, level }
    }

    /// The instruction set, instead of [`Level::detect`].
    #[must_use]
    pub fn at(mut self, level: Level) -> Self {
        self.level = level;
        self
    }

    /// Sets the state to zero: a new sequence begins.
    pub fn reset(&mut self) {
        self.state = M::State::ZERO;
    }

    /// The state: for [`RnnCell`](crate::RnnCell) the hidden state, for `Rnn` one a layer, `()` for layers without, a
    /// tuple for a tuple.
    #[must_use]
    pub fn state(&self) -> &M::State {
        &self.state
    }

    /// The state, to be changed or set.
    #[must_use]
    pub fn state_mut(&mut self) -> &mut M::State {
        &mut self.state
    }

    /// The model.
    #[must_use]
    pub fn model(&self) -> &M {
        &self.model
    }

    /// The model, to be changed between steps.
    #[must_use]
    pub fn model_mut(&mut self) -> &mut M {
        &mut self.model
    }

    /// Gives the model back.
    #[must_use]
    pub fn into_model(self) -> M {
        self.model
    }
}

impl<const IN: usize, M: Step<Input = [f32; IN]>> Stream<M> {
    /// Goes one step on and gives its output.
    #[inline]
    pub fn advance(&mut self, x: &[f32; IN]) -> M::Output {
        self.model.forward_step(self.level, x, &mut self.state)
    }

    /// Goes on by a block of steps, as an audio callback gets them: `outputs[t]` is what step `t` gives.
    ///
    /// ```
    /// use elman::{Generator, Linear, RnnCell, Stream};
    /// let mut generator = Generator::seed(0);
    /// let model = (RnnCell::<1, 8>::new(&mut generator), Linear::<8, 1>::new(&mut generator));
    /// let mut stream = Stream::new(&model);
    /// let mut block = [[0.0]; 4];
    /// stream.process(&[[0.1], [0.2], [0.3], [0.4]], &mut block)?;
    /// # let mut alone = Stream::new(&model);
    /// # assert_eq!(block, [0.1, 0.2, 0.3, 0.4].map(|x| alone.advance(&[x])));
    /// # Ok::<(), elman::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Length`] if there are not as many outputs as inputs; the state is then as it was.
    pub fn process(&mut self, inputs: &[[f32; IN]], outputs: &mut [M::Output]) -> Result<(), Error> {
        Error::check_length("outputs of the block", inputs.len(), outputs.len())?;
        for (x, output) in inputs.iter().zip(outputs) {
            *output = self.advance(x);
        }
        Ok(())
    }
}

impl<M: Step<Input = usize>> Stream<M> {
    /// Goes one step on, with a model that takes tokens.
    ///
    /// # Errors
    ///
    /// [`Error::TokenOutOfRange`]; the state is then as it was.
    #[inline]
    pub fn advance_token(&mut self, token: usize) -> Result<M::Output, Error> {
        self.model.check_input(&token)?;
        Ok(self.model.forward_step(self.level, &token, &mut self.state))
    }
}

impl<M: Step<State: fmt::Debug>> fmt::Debug for Stream<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").field("state", &self.state).field("level", &self.level).finish_non_exhaustive()
    }
}

/// `B` independent streams through one model, advanced together: voices, agents, channels. The bits are those of a
/// [`Stream`] each; a recurrent layer whose weights do not stay in the first level of the cache (from 128 neurons on) reads
/// them once for four streams.
///
/// ```
/// use elman::{Generator, RnnCell, Streams};
/// let mut voices = Streams::<_, 3>::new(RnnCell::<1, 4>::new(&mut Generator::seed(0)));
/// let hidden = voices.advance(&[[0.0], [0.5], [1.0]]);
/// assert_ne!(hidden[0], hidden[1]);
/// voices.reset(1); // the second voice begins anew, the others go on
/// assert_eq!(voices.states()[1], [0.0; 4]);
/// ```
#[derive(Clone, Copy)]
pub struct Streams<M: Step, const B: usize> {
    model: M,
    states: [M::State; B],
    level: Level,
}

impl<M: Step, const B: usize> Streams<M, B> {
    /// Streams whose states are zero.
    #[must_use]
    pub fn new(model: M) -> Self {
        Self::new_at(model, Level::detect())
    }

    /// [`Streams::new`] at a given level, as a constant.
    #[must_use]
    pub const fn new_at(model: M, level: Level) -> Self {
        Self { model, states: [M::State::ZERO; B], level }
    }

    /// The instruction set, instead of [`Level::detect`].
    #[must_use]
    pub fn at(mut self, level: Level) -> Self {
        self.level = level;
        self
    }

    /// Sets the state of one stream to zero.
    ///
    /// # Panics
    ///
    /// If there is no stream `index`.
    pub fn reset(&mut self, index: usize) {
        self.states[index] = M::State::ZERO;
    }

    /// Sets all states to zero.
    pub fn reset_all(&mut self) {
        self.states = [M::State::ZERO; B];
    }

    /// The states.
    #[must_use]
    pub fn states(&self) -> &[M::State; B] {
        &self.states
    }

    /// The states, to be changed or set.
    #[must_use]
    pub fn states_mut(&mut self) -> &mut [M::State; B] {
        &mut self.states
    }

    /// The model.
    #[must_use]
    pub fn model(&self) -> &M {
        &self.model
    }

    /// Gives the model back.
    #[must_use]
    pub fn into_model(self) -> M {
        self.model
    }

    #[inline]
    fn advance_all(&mut self, inputs: &[M::Input; B]) -> [M::Output; B] {
        self.model.forward_steps(self.level, inputs, &mut self.states)
    }
}

impl<const IN: usize, M: Step<Input = [f32; IN]>, const B: usize> Streams<M, B> {
    /// Every stream goes one step on; row `n` of the inputs drives stream `n`.
    #[inline]
    pub fn advance(&mut self, inputs: &[[f32; IN]; B]) -> [M::Output; B] {
        self.advance_all(inputs)
    }
}

impl<M: Step<Input = usize>, const B: usize> Streams<M, B> {
    /// Every stream goes one step on, with a model that takes tokens.
    ///
    /// # Errors
    ///
    /// [`Error::TokenOutOfRange`] naming the stream as the sample; all states are then as they were.
    #[inline]
    pub fn advance_tokens(&mut self, tokens: &[usize; B]) -> Result<[M::Output; B], Error> {
        for (index, token) in tokens.iter().enumerate() {
            self.model.check_input(token).map_err(|error| match error {
                Error::TokenOutOfRange { token, vocabulary, step, .. } => {
                    Error::TokenOutOfRange { token, vocabulary, sample: index, step }
                }
                other => other,
            })?;
        }
        Ok(self.advance_all(tokens))
    }
}

impl<M: Step<State: fmt::Debug>, const B: usize> fmt::Debug for Streams<M, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Streams").field("states", &self.states).field("level", &self.level).finish_non_exhaustive()
    }
}
