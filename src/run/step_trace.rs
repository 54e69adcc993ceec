//! Backpropagation through time step by step, in memory of a fixed size.

use crate::data::error::Error;
use crate::data::zero::Zero;
use crate::model::step::StepBackward;
use crate::simd::Level;
use bytemuck::Zeroable;

/// At most `T` steps of one sequence, and what their backward needs: training without a heap, on a microcontroller too.
///
/// The state goes on when the steps are cleared, and no gradient crosses that border: this is truncated backpropagation
/// through time (Williams & Peng 1990) with chunks of at most `T` steps.
///
/// ```
/// use elman::{Adam, CrossEntropy, Generator, Parameters, RnnCell, StepTrace};
/// let mut cell = RnnCell::<4, 4>::new(&mut Generator::seed(42));
/// let mut adam = Adam::with_moments(0.1, [0.0; RnnCell::<4, 4>::COUNT], [0.0; RnnCell::<4, 4>::COUNT]);
/// let (mut trace, mut gradients) = (StepTrace::<RnnCell<4, 4>, 5>::new(), cell.zeros_like());
/// let one_hot = |token: usize| core::array::from_fn(|i| if i == token { 1.0 } else { 0.0 });
/// for epoch in 0..15 {
///     trace.reset();
///     let (mut loss, mut d_outputs) = (0.0, [[0.0; 4]; 5]);
///     for (step, (letter, target)) in [1, 0, 2, 2, 3].into_iter().zip([3, 1, 2, 3, 2]).enumerate() {
///         let hidden = trace.advance(&cell, &one_hot(letter))?;
///         let row = CrossEntropy::sum().row(&hidden, target)?;
///         loss += row.0;
///         d_outputs[step] = row.1;
///     }
///     trace.backward_into(&cell, &d_outputs, &mut gradients)?;
///     adam.step(&mut cell, &gradients)?;
/// }
/// # Ok::<(), elman::Error>(())
/// ```
#[derive(Clone, Copy, Zeroable)]
#[zeroable(bound = "")]
pub struct StepTrace<M: StepBackward, const T: usize> {
    records: [M::Record; T],
    /// After each step.
    states: [M::State; T],
    /// Before the first step.
    initial: M::State,
    len: usize,
    level: Level,
}

impl<M: StepBackward, const T: usize> StepTrace<M, T> {
    /// No steps, and a state of zero.
    #[must_use]
    pub fn new() -> Self {
        Self::new_at(Level::detect())
    }

    /// [`StepTrace::new`] at a given level, as a constant: for a trace that is a `static`.
    ///
    /// ```
    /// use elman::{GruCell, Level, StepTrace};
    /// use std::sync::Mutex;
    /// static TRACE: Mutex<StepTrace<GruCell<3, 8>, 100>> = Mutex::new(StepTrace::new_at(Level::PORTABLE));
    /// assert!(TRACE.lock().unwrap().is_empty());
    /// ```
    #[must_use]
    pub const fn new_at(level: Level) -> Self {
        let (record, state) = (M::Record::ZERO, M::State::ZERO);
        Self { records: [record; T], states: [state; T], initial: state, len: 0, level }
    }

    /// The instruction set, instead of [`Level::detect`].
    #[must_use]
    pub fn at(mut self, level: Level) -> Self {
        self.level = level;
        self
    }

    /// [`StepTrace::new`], made on the heap and never on the stack, which a thousand steps of a large model do not fit.
    ///
    /// ```
    /// use elman::{Generator, RnnCell, StepTrace};
    /// let cell = RnnCell::<4, 64>::new(&mut Generator::seed(0));
    /// let mut trace = StepTrace::<RnnCell<4, 64>, 10_000>::boxed();
    /// assert!(trace.advance(&cell, &[0.0; 4]).is_ok());
    /// ```
    #[cfg(feature = "alloc")]
    #[must_use]
    pub fn boxed() -> alloc::boxed::Box<Self> {
        let mut trace: alloc::boxed::Box<Self> = bytemuck::zeroed_box();
        trace.level = Level::detect();
        trace
    }

    /// Sets the instruction set of a trace that is there, as one on the heap.
    pub fn set_level(&mut self, level: Level) {
        self.level = level;
    }

    /// Goes one step on and gives its output.
    ///
    /// # Errors
    ///
    /// [`Error::Length`] if there are `T` steps already, [`Error::TokenOutOfRange`]; nothing has changed then.
    #[inline]
    pub fn advance(&mut self, model: &M, input: &M::Input) -> Result<M::Output, Error> {
        let len = self.len;
        let before = *self.state();
        let (Some(record), Some(state)) = (self.records.get_mut(len), self.states.get_mut(len)) else {
            return Err(Error::Length { what: "steps of the trace", expected: T, given: len + 1 });
        };
        model.check_input(input)?;
        self.len += 1;
        *state = before;
        Ok(model.recorded_forward_step(self.level, input, state, record))
    }

    /// The steps since the last [`StepTrace::clear`].
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The state after the last step.
    #[must_use]
    pub fn state(&self) -> &M::State {
        self.state_before(self.len)
    }

    #[inline]
    fn state_before(&self, step: usize) -> &M::State {
        step.checked_sub(1).and_then(|before| self.states.get(before)).unwrap_or(&self.initial)
    }

    /// Forgets the steps and keeps the state: the sequence goes on in another chunk.
    pub fn clear(&mut self) {
        self.reset_to(*self.state());
    }

    /// Forgets the steps and sets the state to zero: another sequence begins.
    pub fn reset(&mut self) {
        self.reset_to(M::State::ZERO);
    }

    /// Forgets the steps and sets the state.
    pub fn reset_to(&mut self, state: M::State) {
        self.len = 0;
        self.initial = state;
    }

    /// Backpropagation through the steps, given the gradient of the output of each: overwrites `gradients` with those of the
    /// parameters and gives that of the state before the first step. The model must be the one of the steps.
    ///
    /// # Errors
    ///
    /// [`Error::Length`] if there are not as many gradients as steps; nothing has changed then.
    pub fn backward_into(&self, model: &M, d_outputs: &[M::Output], gradients: &mut M) -> Result<M::State, Error> {
        Error::check_length("gradients of the outputs", self.len, d_outputs.len())?;
        gradients.fill_zero();
        self.backward_add(model, d_outputs, gradients)
    }

    /// [`StepTrace::backward_into`], but the gradients are added to those that are there.
    ///
    /// # Errors
    ///
    /// Like [`StepTrace::backward_into`].
    pub fn backward_add(&self, model: &M, d_outputs: &[M::Output], gradients: &mut M) -> Result<M::State, Error> {
        self.backward_add_from(model, d_outputs, M::State::ZERO, gradients)
    }

    /// [`StepTrace::backward_add`], given also the gradient of the state after the last step.
    ///
    /// # Errors
    ///
    /// Like [`StepTrace::backward_into`].
    pub fn backward_add_from(
        &self,
        model: &M,
        d_outputs: &[M::Output],
        d_final: M::State,
        gradients: &mut M,
    ) -> Result<M::State, Error> {
        Error::check_length("gradients of the outputs", self.len, d_outputs.len())?;
        let mut d_state = d_final;
        let steps = self.records.iter().zip(&self.states).zip(d_outputs);
        for (step, ((record, after), d_output)) in steps.enumerate().rev() {
            let states = (self.state_before(step), after);
            model.backward_step_without_d_input(self.level, record, states, d_output, &mut d_state, gradients);
        }
        Ok(d_state)
    }
}

impl<M: StepBackward, const T: usize> Default for StepTrace<M, T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<M: StepBackward, const T: usize> core::fmt::Debug for StepTrace<M, T> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("StepTrace").field("len", &self.len).field("level", &self.level).finish_non_exhaustive()
    }
}
