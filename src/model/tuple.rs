//! Tuples of layers, each of which takes what the one before gives.

#[cfg(feature = "alloc")]
use super::layer::{Gradients, Layer, Run, TupleCache, check_output_shape, sealed};
use super::names::Name;
use super::parameters::{Describe, Parameters};
use super::source::{Source, write_types, write_values};
use super::step::{Step, StepBackward};
use crate::data::error::Error;
#[cfg(feature = "alloc")]
use crate::data::sequences::Sequences;
use crate::simd::Level;
use core::fmt;

/// Implements all traits of a model for a tuple. The chain is spelled out, because a macro cannot count: neighbours upward for
/// the forward; the last pair, and `(below, layer, above)` downward, for the backward.
macro_rules! impl_tuple {
    (
        $($layer:ident $i:tt),+;
        up $(($from:ident $f:tt $to:ident $t:tt))+;
        last $before:ident $b:tt $last:ident $l:tt;
        down $(($below:ident $d:tt $middle:ident $m:tt $above:ident $u:tt))*
    ) => {
        impl<$($layer: Parameters),+> Parameters for ($($layer,)+) {
            const COUNT: usize = 0 $(+ $layer::COUNT)+;
            const MEMBERS: usize = [$($i),+].len();

            fn describe(within: &Name<'_>, visitor: Describe<'_>) {
                $($layer::describe(&within.member($i), visitor);)+
            }
            fn visit(&self, visitor: &mut dyn FnMut(&[f32])) {
                $(self.$i.visit(visitor);)+
            }
            fn visit_mut(&mut self, visitor: &mut dyn FnMut(&mut [f32])) {
                $(self.$i.visit_mut(visitor);)+
            }
            fn visit_with(&mut self, other: &Self, visitor: &mut dyn FnMut(&mut [f32], &[f32])) {
                $(self.$i.visit_with(&other.$i, visitor);)+
            }
            fn zeros_like(&self) -> Self {
                ($(self.$i.zeros_like(),)+)
            }
        }

        impl<$($layer: Source),+> Source for ($($layer,)+) {
            fn write_type(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_types(f, &[$(&self.$i),+])
            }
            fn write_value(&self, f: &mut fmt::Formatter<'_>, indent: usize) -> fmt::Result {
                write_values(f, &[$(&self.$i),+], indent)
            }
        }

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
            #[inline]
            fn forward_steps<const BATCH: usize>(
                &self,
                level: Level,
                inputs: &[A::Input; BATCH],
                states: &mut [Self::State; BATCH],
            ) -> [Self::Output; BATCH] {
                // Of layer after layer, side by side.
                let mut of_layer = states.map(|state| state.0);
                let outputs = self.0.forward_steps(level, inputs, &mut of_layer);
                for (state, new) in states.iter_mut().zip(of_layer) {
                    state.0 = new;
                }
                $(
                    let mut of_layer = states.map(|state| state.$t);
                    let outputs = self.$t.forward_steps(level, &outputs, &mut of_layer);
                    for (state, new) in states.iter_mut().zip(of_layer) {
                        state.$t = new;
                    }
                )+
                outputs
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
                (before, after): (&Self::State, &Self::State),
                d_output: &Self::Output,
                d_state: &mut Self::State,
                gradients: &mut Self,
            ) -> A::InputGradient {
                let states = (&before.$l, &after.$l);
                let d = self.$l.backward_step(
                    level,
                    &record.$l,
                    states,
                    d_output,
                    &mut d_state.$l,
                    &mut gradients.$l,
                );
                $(
                    let states = (&before.$m, &after.$m);
                    let d =
                        self.$m.backward_step(level, &record.$m, states, &d, &mut d_state.$m, &mut gradients.$m);
                )*
                self.0.backward_step(level, &record.0, (&before.0, &after.0), &d, &mut d_state.0, &mut gradients.0)
            }
            #[inline]
            fn backward_step_without_d_input(
                &self,
                level: Level,
                record: &Self::Record,
                (before, after): (&Self::State, &Self::State),
                d_output: &Self::Output,
                d_state: &mut Self::State,
                gradients: &mut Self,
            ) {
                let states = (&before.$l, &after.$l);
                let d = self.$l.backward_step(
                    level,
                    &record.$l,
                    states,
                    d_output,
                    &mut d_state.$l,
                    &mut gradients.$l,
                );
                $(
                    let states = (&before.$m, &after.$m);
                    let d =
                        self.$m.backward_step(level, &record.$m, states, &d, &mut d_state.$m, &mut gradients.$m);
                )*
                let states = (&before.0, &after.0);
                self.0.backward_step_without_d_input(level, &record.0, states, &d, &mut d_state.0, &mut gradients.0);
            }
        }

        #[cfg(feature = "alloc")]
        impl<$($layer: Layer),+> sealed::Sealed for ($($layer,)+) {}

        #[cfg(feature = "alloc")]
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
                (gradients, how): (&mut Self, Gradients),
            ) -> Result<(), Error> {
                self.check_backward(input, cache, d_output.shape(), d_final)?;
                let TupleCache { layers, d_initial, .. } = cache;
                // Every layer but the first owes the one below it a gradient.
                let inner = Run { d_input: true, ..run };
                let below = $before::output(&layers.$b);
                self.$l.backward_with(inner, below, &mut layers.$l, d_output, &d_final.$l, (&mut gradients.$l, how))?;
                $(
                    let (below, d_output) = ($below::output(&layers.$d), $above::d_input(&layers.$u));
                    self.$m.backward_with(inner, below, &mut layers.$m, d_output, &d_final.$m, (&mut gradients.$m, how))?;
                )*
                let d_output = B::d_input(&layers.1);
                self.0.backward_with(run, input, &mut layers.0, d_output, &d_final.0, (&mut gradients.0, how))?;
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
