//! Layers one step at a time.

use super::nonlinearity::Nonlinearity;
#[cfg(feature = "alloc")]
use super::rnn::Rnn;
use super::{Embedding, Linear, RnnCell};
use crate::data::error::Error;
use crate::model::step::{Step, StepBackward, check_token};
use crate::simd::Level;

impl<const IN: usize, const HID: usize, A: Nonlinearity> Step for RnnCell<IN, HID, A> {
    type Input = [f32; IN];
    type Output = [f32; HID];
    type State = [f32; HID];

    #[inline]
    fn check_input(&self, _: &[f32; IN]) -> Result<(), Error> {
        Ok(())
    }
    #[inline]
    fn forward_step(&self, level: Level, input: &[f32; IN], state: &mut [f32; HID]) -> [f32; HID] {
        self.at(level).step_in_place(input, state);
        *state
    }
    #[inline]
    fn forward_steps<const B: usize>(
        &self,
        level: Level,
        inputs: &[[f32; IN]; B],
        states: &mut [[f32; HID]; B],
    ) -> [[f32; HID]; B] {
        self.step_together(level, inputs, states);
        *states
    }
}

/// Adds the gradient of a state by way of the output to the one by way of the next step.
#[inline]
fn add<const N: usize>(d_state: &mut [f32; N], d_output: &[f32; N]) {
    for (d_state, d_output) in d_state.iter_mut().zip(d_output) {
        *d_state += d_output;
    }
}

impl<const IN: usize, const HID: usize, A: Nonlinearity> StepBackward for RnnCell<IN, HID, A> {
    type Record = [f32; IN];
    type InputGradient = [f32; IN];

    #[inline]
    fn recorded_forward_step(
        &self,
        level: Level,
        input: &[f32; IN],
        state: &mut [f32; HID],
        record: &mut [f32; IN],
    ) -> [f32; HID] {
        *record = *input;
        self.forward_step(level, input, state)
    }
    #[inline]
    fn backward_step(
        &self,
        level: Level,
        record: &[f32; IN],
        (before, after): (&[f32; HID], &[f32; HID]),
        d_output: &[f32; HID],
        d_state: &mut [f32; HID],
        gradients: &mut Self,
    ) -> [f32; IN] {
        add(d_state, d_output);
        let d_input;
        (d_input, *d_state) = self.at(level).step_backward_add(record, before, after, d_state, gradients);
        d_input
    }
    #[inline]
    fn backward_step_without_d_input(
        &self,
        level: Level,
        record: &[f32; IN],
        (before, after): (&[f32; HID], &[f32; HID]),
        d_output: &[f32; HID],
        d_state: &mut [f32; HID],
        gradients: &mut Self,
    ) {
        add(d_state, d_output);
        *d_state = self.step_backward_into(level, (record, before, after), d_state, None, gradients);
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
impl<const IN: usize, const HID: usize, const LAYERS: usize, A: Nonlinearity> Step for Rnn<IN, HID, LAYERS, A> {
    type Input = [f32; IN];
    type Output = [f32; HID];
    type State = [[f32; HID]; LAYERS];

    #[inline]
    fn check_input(&self, _: &[f32; IN]) -> Result<(), Error> {
        Ok(())
    }
    #[inline]
    fn forward_step(&self, level: Level, input: &[f32; IN], state: &mut Self::State) -> [f32; HID] {
        let Some((first, above)) = state.split_first_mut() else { unreachable!("an Rnn has at least one layer") };
        self.first().at(level).step_in_place(input, first);
        let mut below = *first;
        for (cell, state) in self.rest().iter().zip(above) {
            cell.at(level).step_in_place(&below, state);
            below = *state;
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
        let mut below = states.map(|state| state[0]);
        self.first().step_together(level, inputs, &mut below);
        for (state, new) in states.iter_mut().zip(&below) {
            state[0] = *new;
        }
        for (layer, cell) in (1..LAYERS).zip(self.rest()) {
            let mut here = states.map(|state| state[layer]);
            cell.step_together(level, &below, &mut here);
            for (state, new) in states.iter_mut().zip(&here) {
                state[layer] = *new;
            }
            below = here;
        }
        below
    }
}

#[cfg(feature = "alloc")]
impl<const IN: usize, const HID: usize, const LAYERS: usize, A: Nonlinearity> Rnn<IN, HID, LAYERS, A> {
    /// The backward of the layers above the first, from the top down; gives the gradient of the first one's output.
    fn backward_step_above(
        &self,
        level: Level,
        (before, after): (&[[f32; HID]; LAYERS], &[[f32; HID]; LAYERS]),
        d_output: &[f32; HID],
        d_state: &mut [[f32; HID]; LAYERS],
        gradients: &mut Self,
    ) -> [f32; HID] {
        let mut d_below = *d_output;
        let cells = self.rest().iter().zip(gradients.rest_mut());
        let states = before.iter().zip(after).zip(d_state).skip(1).zip(after);
        for ((cell, gradients), (((before, after), d_state), input)) in cells.zip(states).rev() {
            add(d_state, &d_below);
            (d_below, *d_state) = cell.at(level).step_backward_add(input, before, after, d_state, gradients);
        }
        d_below
    }
}

#[cfg(feature = "alloc")]
impl<const IN: usize, const HID: usize, const LAYERS: usize, A: Nonlinearity> StepBackward for Rnn<IN, HID, LAYERS, A> {
    type Record = [f32; IN];
    type InputGradient = [f32; IN];

    #[inline]
    fn recorded_forward_step(
        &self,
        level: Level,
        input: &[f32; IN],
        state: &mut Self::State,
        record: &mut [f32; IN],
    ) -> [f32; HID] {
        *record = *input;
        self.forward_step(level, input, state)
    }
    #[inline]
    fn backward_step(
        &self,
        level: Level,
        record: &[f32; IN],
        states: (&Self::State, &Self::State),
        d_output: &[f32; HID],
        d_state: &mut Self::State,
        gradients: &mut Self,
    ) -> [f32; IN] {
        let d_below = self.backward_step_above(level, states, d_output, d_state, gradients);
        let first = (&states.0[0], &states.1[0]);
        self.first().backward_step(level, record, first, &d_below, &mut d_state[0], gradients.first_mut())
    }
    #[inline]
    fn backward_step_without_d_input(
        &self,
        level: Level,
        record: &[f32; IN],
        states: (&Self::State, &Self::State),
        d_output: &[f32; HID],
        d_state: &mut Self::State,
        gradients: &mut Self,
    ) {
        let d_below = self.backward_step_above(level, states, d_output, d_state, gradients);
        let first = (&states.0[0], &states.1[0]);
        self.first().backward_step_without_d_input(
            level,
            record,
            first,
            &d_below,
            &mut d_state[0],
            gradients.first_mut(),
        );
    }
}
