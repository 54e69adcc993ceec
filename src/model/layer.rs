//! Models: a layer, or a tuple of layers, trained without a graph. Forward into a [`Trace`], backward from it.

use super::parameters::Parameters;
use crate::data::error::Error;
use crate::data::sequences::Sequences;
use crate::simd::Level;
use alloc::boxed::Box;
use core::fmt;

/// What a run of a layer needs to know besides its data.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Run {
    /// The instruction set.
    pub level: Level,
    /// Whether the backward computes the gradient of the input.
    pub d_input: bool,
    /// Whether the gradients of the backward start from zero; if not, they go on from those of the steps that follow in
    /// time, which the same cache and the same gradients have gone through before.
    pub from_zero: bool,
    /// Whether the gradients are complete after the backward; if not, the steps before these in time are still to come.
    pub complete: bool,
}

/// A layer, or a tuple of up to six layers (which may be tuples) each of which takes what the one before gives.
///
/// A forward pass leaves in a [`Trace`] what the backward pass needs; both are plain calls:
///
/// ```
/// use elman::{Adam, CrossEntropy, Embedding, Generator, Layer, Linear, Rnn};
/// let mut generator = Generator::seed(0); // the numbers of torch.manual_seed(0)
/// let mut model = (
///     Embedding::<4, 10>::new(&mut generator),
///     Rnn::<10, 8, 2>::new(&mut generator),
///     Linear::<8, 4>::new(&mut generator),
/// );
/// let mut adam = Adam::new(0.05);
/// let (hello, ohlol) = ([1, 0, 2, 2, 3], [3, 1, 2, 3, 2]);
/// for epoch in 1..=15 {
///     let mut trace = model.forward(&hello)?;
///     let (loss, d_logits) = CrossEntropy::mean().loss(trace.output(), &ohlol)?;
///     let gradients = model.backward(&hello, &mut trace, &d_logits)?;
///     adam.step(&mut model, &gradients)?;
/// }
/// # Ok::<(), elman::Error>(())
/// ```
///
/// The trace and the gradients can be made once and used again ([`Layer::forward_into`], [`Layer::backward_into`]): with the
/// same shapes nothing is allocated from the second time on, apart from what rayon's queue takes where a thread that is not
/// of its pool calls (a block every 63 times; inside `ThreadPool::install` nothing).
pub trait Layer: Parameters + Sized + Send + Sync {
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
    type Cache: Default + fmt::Debug + Send;

    /// Whether a forward of so many samples can start from a state.
    ///
    /// # Errors
    ///
    /// [`Error::Length`] if the state has rows, but not one for each layer and sample.
    fn check_initial(batch: usize, initial: &Self::State) -> Result<(), Error>;

    /// The forward pass. [`Layer::forward_into`] is the form to call.
    ///
    /// # Errors
    ///
    /// If the shapes do not fit, or a token is out of range; `cache` is then as it was.
    fn forward_with(
        &self,
        run: Run,
        input: Sequences<'_, Self::Input>,
        initial: &Self::State,
        cache: &mut Self::Cache,
    ) -> Result<(), Error>;

    /// The outputs of the last forward, of every step.
    fn output(cache: &Self::Cache) -> Sequences<'_, Self::Output>;

    /// The state after the last step of the last forward.
    fn final_state(cache: &Self::Cache) -> &Self::State;

    /// Whether a backward fits the forward that filled `cache`, so that a refused one changes nothing. `d_output` is the
    /// shape of the gradient of the output: steps, samples.
    ///
    /// # Errors
    ///
    /// If the shapes do not fit, or a token is out of range.
    fn check_backward(
        &self,
        input: Sequences<'_, Self::Input>,
        cache: &Self::Cache,
        d_output: (usize, usize),
        d_final: &Self::State,
    ) -> Result<(), Error>;

    /// The backward pass; overwrites `gradients`, or goes on from them ([`Run::from_zero`]). [`Layer::backward_into`] is the
    /// form to call.
    ///
    /// # Errors
    ///
    /// If the shapes do not fit.
    fn backward_with(
        &self,
        run: Run,
        input: Sequences<'_, Self::Input>,
        cache: &mut Self::Cache,
        d_output: Sequences<'_, Self::Output>,
        d_final: &Self::State,
        gradients: &mut Self,
    ) -> Result<(), Error>;

    /// The gradient of the input, as the last backward left it, if it was asked for.
    fn d_input(cache: &Self::Cache) -> Sequences<'_, Self::InputGradient>;

    /// The gradient of the initial state, as the last backward left it.
    fn d_initial(cache: &Self::Cache) -> &Self::State;

    /// Overwrites a state by another in the memory that is there, unlike `Clone::clone_from` of a tuple.
    fn copy_state(from: &Self::State, to: &mut Self::State);

    /// Runs the layer over sequences, starting from a zero state. `trace` receives everything.
    ///
    /// # Errors
    ///
    /// [`Error::NoSteps`], [`Error::TokenOutOfRange`]; the trace is then as it was.
    fn forward_into<'a>(
        &self,
        input: impl Into<Sequences<'a, Self::Input>>,
        trace: &mut Trace<Self>,
    ) -> Result<(), Error>
    where
        Self::Input: 'a,
    {
        self.forward_from(input, &Self::State::default(), trace)
    }

    /// [`Layer::forward_into`] from a given state.
    ///
    /// # Errors
    ///
    /// Like [`Layer::forward_into`], and [`Error::Length`] if the state has rows, but not one for each layer and sample.
    fn forward_from<'a>(
        &self,
        input: impl Into<Sequences<'a, Self::Input>>,
        initial: &Self::State,
        trace: &mut Trace<Self>,
    ) -> Result<(), Error>
    where
        Self::Input: 'a,
    {
        self.forward_with(trace.run, input.into(), initial, &mut trace.cache)?;
        trace.holds = Holds::Forward;
        Ok(())
    }

    /// [`Layer::forward_from`] the [`Trace::final_state`] of the trace's own last forward: the next chunk of the same
    /// sequences, or their first one if the trace is new.
    ///
    /// With a backward after every chunk this is truncated backpropagation through time (Williams & Peng 1990): the state
    /// goes on, no gradient crosses from a chunk into the one before it.
    ///
    /// ```
    /// use elman::{Adam, CrossEntropy, Embedding, Generator, Layer, Linear, Parameters, Rnn, Trace};
    /// let mut generator = Generator::seed(0);
    /// let mut model = (
    ///     Embedding::<4, 3>::new(&mut generator),
    ///     Rnn::<3, 8, 1>::new(&mut generator),
    ///     Linear::<8, 4>::new(&mut generator),
    /// );
    /// let tokens: Vec<usize> = (0..1001).map(|i| i * i % 4).collect();
    /// let (mut adam, mut gradients, mut trace) = (Adam::new(0.01), model.zeros_like(), Trace::default());
    /// for (inputs, targets) in tokens[..1000].chunks(50).zip(tokens[1..].chunks(50)) {
    ///     model.forward_continued(inputs, &mut trace)?;
    ///     let (loss, d_logits) = CrossEntropy::mean().loss(trace.output(), targets)?;
    ///     model.backward_into(inputs, &mut trace, &d_logits, &mut gradients)?;
    ///     adam.step(&mut model, &gradients)?;
    /// }
    /// # Ok::<(), elman::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Like [`Layer::forward_from`].
    fn forward_continued<'a>(
        &self,
        input: impl Into<Sequences<'a, Self::Input>>,
        trace: &mut Trace<Self>,
    ) -> Result<(), Error>
    where
        Self::Input: 'a,
    {
        // Beside the trace while it is borrowed; nothing is allocated for it but once.
        let mut initial = core::mem::take(&mut trace.initial);
        Self::copy_state(trace.final_state(), &mut initial);
        let result = self.forward_from(input, &initial, trace);
        trace.initial = initial;
        result
    }

    /// [`Layer::forward_into`] with a new trace.
    ///
    /// # Errors
    ///
    /// Like [`Layer::forward_into`].
    fn forward<'a>(&self, input: impl Into<Sequences<'a, Self::Input>>) -> Result<Trace<Self>, Error>
    where
        Self::Input: 'a,
    {
        let mut trace = Trace::default();
        self.forward_into(input, &mut trace)?;
        Ok(trace)
    }

    /// The gradients of all parameters, given that of every output: backpropagation through time. `input` is what the
    /// forward was given. `gradients` is overwritten.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] or [`Error::Length`] if the shapes are not those of the forward, [`Error::NoForward`] if there was
    /// none, [`Error::TokenOutOfRange`]; `gradients` is then as it was.
    fn backward_into<'a, 'b>(
        &self,
        input: impl Into<Sequences<'a, Self::Input>>,
        trace: &mut Trace<Self>,
        d_output: impl Into<Sequences<'b, Self::Output>>,
        gradients: &mut Self,
    ) -> Result<(), Error>
    where
        Self::Input: 'a,
        Self::Output: 'b,
    {
        self.backward_from(input, trace, d_output, &Self::State::default(), gradients)
    }

    /// [`Layer::backward_into`], given also the gradient of the final state.
    ///
    /// # Errors
    ///
    /// Like [`Layer::backward_into`].
    fn backward_from<'a, 'b>(
        &self,
        input: impl Into<Sequences<'a, Self::Input>>,
        trace: &mut Trace<Self>,
        d_output: impl Into<Sequences<'b, Self::Output>>,
        d_final: &Self::State,
        gradients: &mut Self,
    ) -> Result<(), Error>
    where
        Self::Input: 'a,
        Self::Output: 'b,
    {
        if trace.holds == Holds::Nothing {
            return Err(Error::NoForward);
        }
        self.backward_with(trace.run, input.into(), &mut trace.cache, d_output.into(), d_final, gradients)?;
        trace.holds = Holds::Backward;
        Ok(())
    }

    /// [`Layer::backward_into`] with new gradients.
    ///
    /// # Errors
    ///
    /// Like [`Layer::backward_into`].
    fn backward<'a, 'b>(
        &self,
        input: impl Into<Sequences<'a, Self::Input>>,
        trace: &mut Trace<Self>,
        d_output: impl Into<Sequences<'b, Self::Output>>,
    ) -> Result<Self, Error>
    where
        Self::Input: 'a,
        Self::Output: 'b,
    {
        let mut gradients = self.zeros_like();
        self.backward_into(input, trace, d_output, &mut gradients)?;
        Ok(gradients)
    }
}

/// What a forward pass leaves: the outputs, the final state, and what the backward pass needs.
///
/// It keeps the outputs of every layer at every step, and neither sums before tanh nor their gradients. After a backward it
/// also holds the gradient of the input of each layer but the first (of an [`Rnn`](crate::Rnn) of many layers, two of them),
/// and of the first if it was asked for.
pub struct Trace<M: Layer> {
    pub(crate) run: Run,
    cache: M::Cache,
    holds: Holds,
    /// Where [`Layer::forward_continued`] starts.
    initial: M::State,
}

/// What a trace was last filled by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holds {
    Nothing,
    Forward,
    Backward,
}

impl<M: Layer> Default for Trace<M> {
    /// An empty trace that runs at [`Level::detect`] and does not ask for the gradient of the input.
    fn default() -> Self {
        Self::at(Level::detect())
    }
}

impl<M: Layer> Trace<M> {
    /// An empty trace that runs at a given level.
    #[must_use]
    pub fn at(level: Level) -> Self {
        Self {
            run: Run { level, d_input: false, from_zero: true, complete: true },
            cache: M::Cache::default(),
            holds: Holds::Nothing,
            initial: M::State::default(),
        }
    }

    /// Asks the backward for the gradient of the input too.
    #[must_use]
    pub fn with_d_input(mut self) -> Self {
        self.run.d_input = true;
        self
    }

    /// The outputs of every step.
    #[must_use]
    pub fn output(&self) -> Sequences<'_, M::Output> {
        M::output(&self.cache)
    }

    /// The state after the last step: where the next chunk of the same sequences starts.
    #[must_use]
    pub fn final_state(&self) -> &M::State {
        M::final_state(&self.cache)
    }

    /// The gradient of the input after a backward, `None` before it, and unless [`Trace::with_d_input`] asked for it.
    #[must_use]
    pub fn d_input(&self) -> Option<Sequences<'_, M::InputGradient>> {
        (self.run.d_input && self.holds == Holds::Backward).then(|| M::d_input(&self.cache))
    }

    /// The gradient of the initial state after a backward, `None` before it.
    #[must_use]
    pub fn d_initial(&self) -> Option<&M::State> {
        (self.holds == Holds::Backward).then(|| M::d_initial(&self.cache))
    }
}

impl<M: Layer> fmt::Debug for Trace<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trace").field("run", &self.run).field("holds", &self.holds).finish_non_exhaustive()
    }
}

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
        gradients: &mut Self,
    ) -> Result<(), Error> {
        (**self).backward_with(run, input, cache, d_output, d_final, gradients)
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

/// Implements [`Layer`] for a tuple. The chain is spelled out, because a macro cannot count:
/// neighbours upward for the forward, the last pair, and `(below, layer, above)` downward for the backward.
macro_rules! impl_tuple {
    (
        $($layer:ident $i:tt),+;
        up $(($from:ident $f:tt $to:ident $t:tt))+;
        last $before:ident $b:tt $last:ident $l:tt;
        down $(($below:ident $d:tt $middle:ident $m:tt $above:ident $u:tt))*
    ) => {
        impl<$($layer: Layer),+> Layer for ($($layer,)+)
        where
            $($to: Layer<Input = $from::Output, InputGradient = $from::Output>,)+
        {
            type Input = A::Input;
            type Output = $last::Output;
            type InputGradient = A::InputGradient;
            type State = ($($layer::State,)+);
            type Cache = TupleCache<($($layer::Cache,)+), Self::State>;

            fn check_initial(batch: usize, initial: &Self::State) -> Result<(), Error> {
                $($layer::check_initial(batch, &initial.$i)?;)+
                Ok(())
            }

            fn forward_with(
                &self,
                run: Run,
                input: Sequences<'_, Self::Input>,
                initial: &Self::State,
                cache: &mut Self::Cache,
            ) -> Result<(), Error> {
                let TupleCache { layers, last, .. } = cache;
                // The first layer refuses what it cannot take; the others can be refused nothing but their state.
                Self::check_initial(input.batch(), initial)?;
                self.0.forward_with(run, input, &initial.0, &mut layers.0)?;
                $(self.$t.forward_with(run, $from::output(&layers.$f), &initial.$t, &mut layers.$t)?;)+
                $($layer::copy_state($layer::final_state(&layers.$i), &mut last.$i);)+
                Ok(())
            }

            fn output(cache: &Self::Cache) -> Sequences<'_, Self::Output> {
                $last::output(&cache.layers.$l)
            }

            fn final_state(cache: &Self::Cache) -> &Self::State {
                &cache.last
            }

            fn check_backward(
                &self,
                input: Sequences<'_, Self::Input>,
                cache: &Self::Cache,
                d_output: (usize, usize),
                d_final: &Self::State,
            ) -> Result<(), Error> {
                let layers = &cache.layers;
                check_output_shape(Self::output(cache).shape(), d_output)?;
                self.0.check_backward(input, &layers.0, A::output(&layers.0).shape(), &d_final.0)?;
                $(
                    let (below, shape) = ($from::output(&layers.$f), $to::output(&layers.$t).shape());
                    self.$t.check_backward(below, &layers.$t, shape, &d_final.$t)?;
                )+
                Ok(())
            }

            fn backward_with(
                &self,
                run: Run,
                input: Sequences<'_, Self::Input>,
                cache: &mut Self::Cache,
                d_output: Sequences<'_, Self::Output>,
                d_final: &Self::State,
                gradients: &mut Self,
            ) -> Result<(), Error> {
                self.check_backward(input, cache, d_output.shape(), d_final)?;
                let TupleCache { layers, d_initial, .. } = cache;
                // Every layer but the first owes the one below it a gradient.
                let inner = Run { d_input: true, ..run };
                let below = $before::output(&layers.$b);
                self.$l.backward_with(inner, below, &mut layers.$l, d_output, &d_final.$l, &mut gradients.$l)?;
                $(
                    let (below, d_output) = ($below::output(&layers.$d), $above::d_input(&layers.$u));
                    self.$m.backward_with(inner, below, &mut layers.$m, d_output, &d_final.$m, &mut gradients.$m)?;
                )*
                let d_output = B::d_input(&layers.1);
                self.0.backward_with(run, input, &mut layers.0, d_output, &d_final.0, &mut gradients.0)?;
                $($layer::copy_state($layer::d_initial(&layers.$i), &mut d_initial.$i);)+
                Ok(())
            }

            fn d_input(cache: &Self::Cache) -> Sequences<'_, Self::InputGradient> {
                A::d_input(&cache.layers.0)
            }

            fn d_initial(cache: &Self::Cache) -> &Self::State {
                &cache.d_initial
            }

            fn copy_state(from: &Self::State, to: &mut Self::State) {
                $($layer::copy_state(&from.$i, &mut to.$i);)+
            }
        }
    };
}

/// Refuses a gradient of the output that has not the shape of the output.
pub(crate) fn check_output_shape(expected: (usize, usize), given: (usize, usize)) -> Result<(), Error> {
    if expected == given { Ok(()) } else { Err(Error::Shape { what: "the gradient of the output", expected, given }) }
}

/// What a tuple of layers keeps: what its layers keep, and their states side by side.
#[derive(Debug, Default)]
pub struct TupleCache<C, S> {
    layers: C,
    last: S,
    d_initial: S,
}

impl_tuple!(A 0, B 1; up (A 0 B 1); last A 0 B 1; down);
impl_tuple!(A 0, B 1, C 2; up (A 0 B 1) (B 1 C 2); last B 1 C 2; down (A 0 B 1 C 2));
impl_tuple!(
    A 0, B 1, C 2, D 3;
    up (A 0 B 1) (B 1 C 2) (C 2 D 3);
    last C 2 D 3;
    down (B 1 C 2 D 3) (A 0 B 1 C 2)
);
impl_tuple!(
    A 0, B 1, C 2, D 3, E 4;
    up (A 0 B 1) (B 1 C 2) (C 2 D 3) (D 3 E 4);
    last D 3 E 4;
    down (C 2 D 3 E 4) (B 1 C 2 D 3) (A 0 B 1 C 2)
);
impl_tuple!(
    A 0, B 1, C 2, D 3, E 4, F 5;
    up (A 0 B 1) (B 1 C 2) (C 2 D 3) (D 3 E 4) (E 4 F 5);
    last E 4 F 5;
    down (D 3 E 4 F 5) (C 2 D 3 E 4) (B 1 C 2 D 3) (A 0 B 1 C 2)
);
