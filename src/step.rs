//! Layers and tuples of layers one step at a time, on one sample, without a heap.

use crate::parameters::Parameters;
use crate::{Embedding, Error, Level, Linear, RnnCell};
use bytemuck::Zeroable;

/// A layer, or a tuple of layers each of which takes what the one before gives, one step at a time.
///
/// [`Stream`](crate::Stream) keeps a model and its state together; this trait is what it is made of. The bits are those of
/// the same steps in a sequence or a batch.
pub trait Step {
    /// What one step takes: a token (`usize`) or a vector (`[f32; N]`).
    type Input;
    /// What one step gives.
    type Output;
    /// What is carried from step to step; zeros at the start. `()` for layers without a state, a tuple for a tuple.
    type State: Copy + Zeroable;

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
}

/// The backward of [`Step`]: training in memory of the caller.
///
/// [`StepTrace`](crate::StepTrace) keeps the records of several steps; this trait is what it is made of.
pub trait StepBackward: Step + Parameters {
    /// What one step leaves for its backward.
    type Record: Copy + Zeroable;
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

    /// The backward of the step that left `record`: adds to `gradients` and gives the gradient of the input.
    ///
    /// `d_state` is the gradient of the state after the step and becomes that of the state before it.
    fn backward_step(
        &self,
        level: Level,
        record: &Self::Record,
        d_output: &Self::Output,
        d_state: &mut Self::State,
        gradients: &mut Self,
    ) -> Self::InputGradient;
}

impl<const IN: usize, const HID: usize> Step for RnnCell<IN, HID> {
    type Input = [f32; IN];
    type Output = [f32; HID];
    type State = [f32; HID];

    #[inline]
    fn check_input(&self, _: &[f32; IN]) -> Result<(), Error> {
        Ok(())
    }
    #[inline]
    fn forward_step(&self, level: Level, input: &[f32; IN], state: &mut [f32; HID]) -> [f32; HID] {
        RnnCell::step_at(self, level, input, state);
        *state
    }
}

/// What a step of an [`RnnCell`] leaves for its backward.
#[derive(Clone, Copy, Debug, Zeroable)]
#[repr(C)]
pub struct CellRecord<const IN: usize, const HID: usize> {
    input: [f32; IN],
    before: [f32; HID],
    after: [f32; HID],
}

impl<const IN: usize, const HID: usize> StepBackward for RnnCell<IN, HID> {
    type Record = CellRecord<IN, HID>;
    type InputGradient = [f32; IN];

    #[inline]
    fn recorded_forward_step(
        &self,
        level: Level,
        input: &[f32; IN],
        state: &mut [f32; HID],
        record: &mut Self::Record,
    ) -> [f32; HID] {
        (record.input, record.before) = (*input, *state);
        RnnCell::step_at(self, level, input, state);
        record.after = *state;
        *state
    }
    #[inline]
    fn backward_step(
        &self,
        level: Level,
        record: &Self::Record,
        d_output: &[f32; HID],
        d_state: &mut [f32; HID],
        gradients: &mut Self,
    ) -> [f32; IN] {
        for (d_state, d_output) in d_state.iter_mut().zip(d_output) {
            *d_state += d_output;
        }
        let CellRecord { input, before, after } = record;
        let (d_input, d_before) = RnnCell::step_backward_at(self, level, input, before, after, d_state, gradients);
        *d_state = d_before;
        d_input
    }
}

impl<const IN: usize, const OUT: usize> Step for Linear<IN, OUT> {
    type Input = [f32; IN];
    type Output = [f32; OUT];
    type State = ();

    #[inline]
    fn check_input(&self, _: &[f32; IN]) -> Result<(), Error> {
        Ok(())
    }
    #[inline]
    fn forward_step(&self, level: Level, input: &[f32; IN], (): &mut ()) -> [f32; OUT] {
        self.apply_at(level, input)
    }
}

impl<const IN: usize, const OUT: usize> StepBackward for Linear<IN, OUT> {
    type Record = [f32; IN];
    type InputGradient = [f32; IN];

    #[inline]
    fn recorded_forward_step(
        &self,
        level: Level,
        input: &[f32; IN],
        (): &mut (),
        record: &mut [f32; IN],
    ) -> [f32; OUT] {
        *record = *input;
        self.apply_at(level, input)
    }
    #[inline]
    fn backward_step(
        &self,
        level: Level,
        record: &[f32; IN],
        d_output: &[f32; OUT],
        (): &mut (),
        gradients: &mut Self,
    ) -> [f32; IN] {
        self.apply_backward_at(level, record, d_output, gradients)
    }
}

impl<const V: usize, const E: usize> Step for Embedding<V, E> {
    type Input = usize;
    type Output = [f32; E];
    type State = ();

    #[inline]
    fn check_input(&self, token: &usize) -> Result<(), Error> {
        check_token(*token, V)
    }
    #[inline]
    fn forward_step(&self, _: Level, token: &usize, (): &mut ()) -> [f32; E] {
        self.weight[*token]
    }
}

impl<const V: usize, const E: usize> StepBackward for Embedding<V, E> {
    type Record = usize;
    type InputGradient = ();

    #[inline]
    fn recorded_forward_step(&self, _: Level, token: &usize, (): &mut (), record: &mut usize) -> [f32; E] {
        *record = *token;
        self.weight[*token]
    }
    #[inline]
    fn backward_step(&self, _: Level, token: &usize, d_output: &[f32; E], (): &mut (), gradients: &mut Self) {
        for (to, d) in gradients.weight[*token].iter_mut().zip(d_output) {
            *to += d;
        }
    }
}

/// Refuses a token that is not in the vocabulary.
#[inline]
pub(crate) fn check_token(token: usize, vocabulary: usize) -> Result<(), Error> {
    if token < vocabulary { Ok(()) } else { Err(Error::TokenOutOfRange { token, vocabulary, sample: 0, step: 0 }) }
}

#[cfg(feature = "alloc")]
mod on_the_heap {
    use super::*;
    use crate::Rnn;
    use alloc::boxed::Box;

    impl<const IN: usize, const HID: usize, const LAYERS: usize> Step for Rnn<IN, HID, LAYERS> {
        type Input = [f32; IN];
        type Output = [f32; HID];
        type State = [[f32; HID]; LAYERS];

        #[inline]
        fn check_input(&self, _: &[f32; IN]) -> Result<(), Error> {
            Ok(())
        }
        #[inline]
        fn forward_step(&self, level: Level, input: &[f32; IN], state: &mut Self::State) -> [f32; HID] {
            self.first().step_at(level, input, &mut state[0]);
            for (layer, cell) in self.rest().iter().enumerate() {
                let below = state[layer];
                cell.step_at(level, &below, &mut state[layer + 1]);
            }
            state[LAYERS - 1]
        }
    }

    /// What a step of an [`Rnn`] leaves for its backward.
    #[derive(Clone, Copy, Debug, Zeroable)]
    #[repr(C)]
    pub struct RnnRecord<const IN: usize, const HID: usize, const LAYERS: usize> {
        input: [f32; IN],
        before: [[f32; HID]; LAYERS],
        after: [[f32; HID]; LAYERS],
    }

    impl<const IN: usize, const HID: usize, const LAYERS: usize> StepBackward for Rnn<IN, HID, LAYERS> {
        type Record = RnnRecord<IN, HID, LAYERS>;
        type InputGradient = [f32; IN];

        #[inline]
        fn recorded_forward_step(
            &self,
            level: Level,
            input: &[f32; IN],
            state: &mut Self::State,
            record: &mut Self::Record,
        ) -> [f32; HID] {
            (record.input, record.before) = (*input, *state);
            let output = self.forward_step(level, input, state);
            record.after = *state;
            output
        }
        #[inline]
        fn backward_step(
            &self,
            level: Level,
            record: &Self::Record,
            d_output: &[f32; HID],
            d_state: &mut Self::State,
            gradients: &mut Self,
        ) -> [f32; IN] {
            let RnnRecord { input, before, after } = record;
            let mut d_below = *d_output;
            for layer in (0..LAYERS).rev() {
                let d_after = &mut d_state[layer];
                for (d, d_output) in d_after.iter_mut().zip(&d_below) {
                    *d += d_output;
                }
                let (h, h_next) = (&before[layer], &after[layer]);
                if layer == 0 {
                    let (d_input, d_before) =
                        self.first().step_backward_at(level, input, h, h_next, d_after, gradients.first_mut());
                    *d_after = d_before;
                    return d_input;
                }
                let gradients = &mut gradients.rest_mut()[layer - 1];
                let cell = &self.rest()[layer - 1];
                (d_below, *d_after) = cell.step_backward_at(level, &after[layer - 1], h, h_next, d_after, gradients);
            }
            unreachable!("an Rnn has at least one layer, and the first returns")
        }
    }

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
    }

    impl<M: StepBackward + Zeroable> StepBackward for Box<M> {
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
            d_output: &M::Output,
            d_state: &mut M::State,
            gradients: &mut Self,
        ) -> M::InputGradient {
            (**self).backward_step(level, record, d_output, d_state, gradients)
        }
    }
}
#[cfg(feature = "alloc")]
pub use on_the_heap::RnnRecord;

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
}

/// Implements [`Step`] and [`StepBackward`] for a tuple. The chain is spelled out, because a macro cannot count:
/// neighbours upward for the forward, and downward for the backward.
macro_rules! impl_tuple {
    (
        $($layer:ident $i:tt),+;
        up $(($from:ident $to:ident $t:tt))+;
        last $last:ident $l:tt;
        down $($d:tt)+
    ) => {
        impl<$($layer: Step),+> Step for ($($layer,)+)
        where
            $($to: Step<Input = $from::Output>,)+
        {
            type Input = A::Input;
            type Output = $last::Output;
            type State = ($($layer::State,)+);

            #[inline]
            fn check_input(&self, input: &A::Input) -> Result<(), Error> {
                self.0.check_input(input)
            }
            #[inline]
            fn forward_step(&self, level: Level, input: &A::Input, state: &mut Self::State) -> Self::Output {
                let output = self.0.forward_step(level, input, &mut state.0);
                $(let output = self.$t.forward_step(level, &output, &mut state.$t);)+
                output
            }
        }

        impl<$($layer: StepBackward),+> StepBackward for ($($layer,)+)
        where
            $($to: StepBackward<Input = $from::Output, InputGradient = $from::Output>,)+
        {
            type Record = ($($layer::Record,)+);
            type InputGradient = A::InputGradient;

            #[inline]
            fn recorded_forward_step(
                &self,
                level: Level,
                input: &A::Input,
                state: &mut Self::State,
                record: &mut Self::Record,
            ) -> Self::Output {
                let output = self.0.recorded_forward_step(level, input, &mut state.0, &mut record.0);
                $(let output = self.$t.recorded_forward_step(level, &output, &mut state.$t, &mut record.$t);)+
                output
            }
            #[inline]
            fn backward_step(
                &self,
                level: Level,
                record: &Self::Record,
                d_output: &Self::Output,
                d_state: &mut Self::State,
                gradients: &mut Self,
            ) -> A::InputGradient {
                let d = self.$l.backward_step(level, &record.$l, d_output, &mut d_state.$l, &mut gradients.$l);
                $(let d = self.$d.backward_step(level, &record.$d, &d, &mut d_state.$d, &mut gradients.$d);)+
                d
            }
        }
    };
}

impl_tuple!(A 0, B 1; up (A B 1); last B 1; down 0);
impl_tuple!(A 0, B 1, C 2; up (A B 1) (B C 2); last C 2; down 1 0);
impl_tuple!(A 0, B 1, C 2, D 3; up (A B 1) (B C 2) (C D 3); last D 3; down 2 1 0);
impl_tuple!(A 0, B 1, C 2, D 3, E 4; up (A B 1) (B C 2) (C D 3) (D E 4); last E 4; down 3 2 1 0);
impl_tuple!(
    A 0, B 1, C 2, D 3, E 4, F 5;
    up (A B 1) (B C 2) (C D 3) (D E 4) (E F 5);
    last F 5;
    down 4 3 2 1 0
);
