//! Layers one step at a time.

use super::cell::Cell;
#[cfg(feature = "alloc")]
use super::rnn::Rnn;
use super::{Embedding, Linear, RnnCell};
#[cfg(feature = "alloc")]
use crate::cells::Layout;
use crate::cells::State;
use crate::data::error::Error;
use crate::model::step::{Step, StepBackward, check_token};
use crate::simd::Level;

impl<const IN: usize, const HID: usize, C: Cell> Step for RnnCell<IN, HID, C> {
    type Input = [f32; IN];
    type Output = [f32; HID];
    type State = C::State<HID>;

    #[inline]
    fn check_input(&self, _: &[f32; IN]) -> Result<(), Error> {
        Ok(())
    }
    #[inline]
    fn forward_step(&self, level: Level, input: &[f32; IN], state: &mut C::State<HID>) -> [f32; HID] {
        self.at(level).step_in_place(input, state);
        *state.h()
    }
    #[inline]
    fn forward_steps<const B: usize>(
        &self,
        level: Level,
        inputs: &[[f32; IN]; B],
        states: &mut [C::State<HID>; B],
    ) -> [[f32; HID]; B] {
        self.step_together(level, inputs, states);
        states.each_ref().map(|state| *state.h())
    }
}

/// Adds the gradient of a state by way of the output to the one by way of the next step.
#[inline]
fn add<const N: usize>(d_state: &mut [f32; N], d_output: &[f32; N]) {
    for (d_state, d_output) in d_state.iter_mut().zip(d_output) {
        *d_state += d_output;
    }
}

impl<const IN: usize, const HID: usize, C: Cell> RnnCell<IN, HID, C> {
    /// The backward of a step out of its record, with the gradient of its input if it is requested.
    #[inline]
    fn backward_of_record(
        &self,
        level: Level,
        record: (&[f32; IN], &C::Kept<HID>),
        states: (&C::State<HID>, &C::State<HID>),
        (d_output, d_state): (&[f32; HID], &mut C::State<HID>),
        d_input: Option<&mut [f32; IN]>,
        gradients: &mut Self,
    ) {
        add(d_state.both_mut().0, d_output);
        self.step_backward_into(level, record, states, d_state, d_input, gradients);
    }
}

impl<const IN: usize, const HID: usize, C: Cell> StepBackward for RnnCell<IN, HID, C> {
    type Record = ([f32; IN], C::Kept<HID>);
    type InputGradient = [f32; IN];

    #[inline]
    fn recorded_forward_step(
        &self,
        level: Level,
        input: &[f32; IN],
        state: &mut C::State<HID>,
        (x, kept): &mut Self::Record,
    ) -> [f32; HID] {
        *x = *input;
        self.kept_step(level, input, state, kept);
        *state.h()
    }
    #[inline]
    fn backward_step(
        &self,
        level: Level,
        (x, kept): &Self::Record,
        states: (&C::State<HID>, &C::State<HID>),
        d_output: &[f32; HID],
        d_state: &mut C::State<HID>,
        gradients: &mut Self,
    ) -> [f32; IN] {
        let mut d_input = [0.0; IN];
        self.backward_of_record(level, (x, kept), states, (d_output, d_state), Some(&mut d_input), gradients);
        d_input
    }
    #[inline]
    fn backward_step_without_d_input(
        &self,
        level: Level,
        (x, kept): &Self::Record,
        states: (&C::State<HID>, &C::State<HID>),
        d_output: &[f32; HID],
        d_state: &mut C::State<HID>,
        gradients: &mut Self,
    ) {
        self.backward_of_record(level, (x, kept), states, (d_output, d_state), None, gradients);
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
        self.at(level).apply(input)
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
        self.at(level).apply(input)
    }
    #[inline]
    fn backward_step(
        &self,
        level: Level,
        record: &[f32; IN],
        _: (&(), &()),
        d_output: &[f32; OUT],
        (): &mut (),
        gradients: &mut Self,
    ) -> [f32; IN] {
        self.at(level).apply_backward_add(record, d_output, gradients)
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
    fn backward_step(
        &self,
        _: Level,
        token: &usize,
        _: (&(), &()),
        d_output: &[f32; E],
        (): &mut (),
        gradients: &mut Self,
    ) {
        add(&mut gradients.weight[*token], d_output);
    }
}

#[cfg(feature = "alloc")]
impl<const IN: usize, const HID: usize, const LAYERS: usize, C: Cell> Step for Rnn<IN, HID, LAYERS, C> {
    type Input = [f32; IN];
    type Output = [f32; HID];
    type State = [C::State<HID>; LAYERS];

    #[inline]
    fn check_input(&self, _: &[f32; IN]) -> Result<(), Error> {
        Ok(())
    }
    #[inline]
    fn forward_step(&self, level: Level, input: &[f32; IN], state: &mut Self::State) -> [f32; HID] {
        let Some((first, above)) = state.split_first_mut() else { unreachable!("an Rnn has at least one layer") };
        let mut below = self.first().forward_step(level, input, first);
        for (cell, state) in self.rest().iter().zip(above) {
            below = cell.forward_step(level, &below, state);
        }
        below
    }
    #[inline]
    fn forward_steps<const B: usize>(
        &self,
        level: Level,
        inputs: &[[f32; IN]; B],
        states: &mut [Self::State; B],
    ) -> [[f32; HID]; B] {
        // Of layer after layer, side by side.
        let mut of_layer = states.each_ref().map(|state| state[0]);
        let mut below = self.first().forward_steps(level, inputs, &mut of_layer);
        for (state, new) in states.iter_mut().zip(&of_layer) {
            state[0] = *new;
        }
        for (layer, cell) in (1..LAYERS).zip(self.rest()) {
            let mut of_layer = states.each_ref().map(|state| state[layer]);
            below = cell.forward_steps(level, &below, &mut of_layer);
            for (state, new) in states.iter_mut().zip(&of_layer) {
                state[layer] = *new;
            }
        }
        below
    }
}

/// What a stack leaves of a step for its backward: of the first layer, its input too.
#[cfg(feature = "alloc")]
type StackRecord<const IN: usize, const HID: usize, const LAYERS: usize, C> =
    ([f32; IN], [<C as Layout>::Kept<HID>; LAYERS]);

#[cfg(feature = "alloc")]
impl<const IN: usize, const HID: usize, const LAYERS: usize, C: Cell> Rnn<IN, HID, LAYERS, C> {
    /// The backward of all layers, from the top down, with the gradient of the input if it is requested.
    fn backward_of_record(
        &self,
        level: Level,
        (x, kept): &StackRecord<IN, HID, LAYERS, C>,
        (before, after): (&[C::State<HID>; LAYERS], &[C::State<HID>; LAYERS]),
        (d_output, d_state): (&[f32; HID], &mut [C::State<HID>; LAYERS]),
        d_input: Option<&mut [f32; IN]>,
        gradients: &mut Self,
    ) {
        let mut d_below = *d_output;
        let cells = (1..LAYERS).zip(self.rest()).zip(gradients.rest_mut());
        for ((layer, cell), gradients) in cells.rev() {
            let (record, states) = ((after[layer - 1].h(), &kept[layer]), (&before[layer], &after[layer]));
            let d = (&{ d_below }, &mut d_state[layer]);
            cell.backward_of_record(level, record, states, d, Some(&mut d_below), gradients);
        }
        let (record, states) = ((x, &kept[0]), (&before[0], &after[0]));
        let d = (&d_below, &mut d_state[0]);
        self.first().backward_of_record(level, record, states, d, d_input, gradients.first_mut());
    }
}

#[cfg(feature = "alloc")]
impl<const IN: usize, const HID: usize, const LAYERS: usize, C: Cell> StepBackward for Rnn<IN, HID, LAYERS, C> {
    type Record = StackRecord<IN, HID, LAYERS, C>;
    type InputGradient = [f32; IN];

    #[inline]
    fn recorded_forward_step(
        &self,
        level: Level,
        input: &[f32; IN],
        state: &mut Self::State,
        (x, kept): &mut Self::Record,
    ) -> [f32; HID] {
        *x = *input;
        self.first().kept_step(level, input, &mut state[0], &mut kept[0]);
        for (layer, cell) in (1..LAYERS).zip(self.rest()) {
            let below = *state[layer - 1].h();
            cell.kept_step(level, &below, &mut state[layer], &mut kept[layer]);
        }
        *state[LAYERS - 1].h()
    }
    #[inline]
    fn backward_step(
        &self,
        level: Level,
        record: &Self::Record,
        states: (&Self::State, &Self::State),
        d_output: &[f32; HID],
        d_state: &mut Self::State,
        gradients: &mut Self,
    ) -> [f32; IN] {
        let mut d_input = [0.0; IN];
        self.backward_of_record(level, record, states, (d_output, d_state), Some(&mut d_input), gradients);
        d_input
    }
    #[inline]
    fn backward_step_without_d_input(
        &self,
        level: Level,
        record: &Self::Record,
        states: (&Self::State, &Self::State),
        d_output: &[f32; HID],
        d_state: &mut Self::State,
        gradients: &mut Self,
    ) {
        self.backward_of_record(level, record, states, (d_output, d_state), None, gradients);
    }
}
