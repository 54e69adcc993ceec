//! The cells that layers can be made of, and the kernels that are compiled for each of them.

use crate::cells::*;
use crate::kernels::latency::cell::{Gradients, StepBackward, TokenStep, Weights};
#[cfg(feature = "alloc")]
use crate::kernels::latency::cell::{OneSample, Steps};
#[cfg(feature = "alloc")]
use crate::kernels::latency::gates::GatedSteps;
use crate::kernels::latency::gates::{AllSums, GatedStepBackward, step_in_place, sums_of_input};
use crate::kernels::latency::matvec::{Biases, Identity, evaluate, product};
#[cfg(feature = "alloc")]
use crate::kernels::recurrence::backward::BackwardOf;
#[cfg(feature = "alloc")]
use crate::kernels::recurrence::forward::ForwardOf;
#[cfg(feature = "alloc")]
use crate::kernels::recurrence::gated_backward::GatedBackward;
#[cfg(feature = "alloc")]
use crate::kernels::recurrence::gated_forward::GatedForward;
#[cfg(feature = "alloc")]
use crate::kernels::recurrence::work::{Backward, Forward};
#[cfg(feature = "alloc")]
use crate::kernels::rows::Rows;
use crate::kernels::slice::{flat, flat_mut};
use crate::kernels::tuning::{narrow, narrow_alone};
use crate::simd::{Kernel, Level, Simd};
use core::marker::PhantomData;
use core::slice::{from_mut, from_ref};

/// The mathematics of a recurrent cell: [`Tanh`], [`Relu`], [`cells::Gru`](crate::cells::Gru) or
/// [`cells::Lstm`](crate::cells::Lstm).
///
/// Sealed: the kernels are compiled for each in this crate.
#[allow(private_bounds, reason = "it seals the trait")]
pub trait Cell: Kernels + Layout + core::fmt::Debug + PartialEq + bytemuck::Pod {}

/// A step of one sample, from a state to the next.
pub(crate) struct OneStep<'a, C: Cell, const IN: usize, const HID: usize> {
    pub(crate) weights: Weights<'a, C::Row<HID>, IN, HID>,
    pub(crate) x: &'a [f32; IN],
    pub(crate) state: &'a mut C::State<HID>,
    /// What its backward needs, if there will be one.
    pub(crate) kept: Option<&'a mut C::Kept<HID>>,
}

/// The backward of a step, which replaces the gradient of the state after it by that of the state before it.
pub(crate) struct OneStepBack<'a, C: Cell, const IN: usize, const HID: usize> {
    pub(crate) weights: Weights<'a, C::Row<HID>, IN, HID>,
    pub(crate) x: &'a [f32; IN],
    pub(crate) before: &'a C::State<HID>,
    pub(crate) after: &'a C::State<HID>,
    pub(crate) kept: &'a C::Kept<HID>,
    pub(crate) d_state: &'a mut C::State<HID>,
    pub(crate) d_x: Option<&'a mut [f32; IN]>,
    pub(crate) gradients: Gradients<'a, C::Row<HID>, IN, HID>,
}

/// All steps of one sample alone.
#[cfg(feature = "alloc")]
pub(crate) struct AllSteps<'a, C: Cell, const IN: usize, const HID: usize> {
    pub(crate) weights: Weights<'a, C::Row<HID>, IN, HID>,
    /// Its inputs, of one sample, or what `W_ih` and the biases make of them.
    pub(crate) input: Rows<'a>,
    /// Before the first step.
    pub(crate) before: &'a C::State<HID>,
    /// The states after every step.
    pub(crate) h: &'a mut [[f32; HID]],
    pub(crate) c: &'a mut [f32],
    pub(crate) kept: &'a mut [f32],
}

/// The kernels of a cell. The passes over batches are not generic functions: they are compiled once, in this crate, and not
/// anew for every user.
pub(crate) trait Kernels: Layout {
    #[cfg(feature = "alloc")]
    fn forward(level: Level, work: Forward<'_>);
    #[cfg(feature = "alloc")]
    fn backward(level: Level, work: Backward<'_, '_>);
    #[cfg(feature = "alloc")]
    fn steps<S: Simd, const IN: usize, const HID: usize>(s: S, steps: AllSteps<'_, Self, IN, HID>)
    where
        Self: Cell;
    /// The same of inputs that are projected already. For a cell of one sum they stand where its states will.
    #[cfg(feature = "alloc")]
    fn projected_steps<S: Simd, const IN: usize, const HID: usize>(s: S, steps: AllSteps<'_, Self, IN, HID>)
    where
        Self: Cell;
    fn step<S: Simd, const IN: usize, const HID: usize>(s: S, step: OneStep<'_, Self, IN, HID>)
    where
        Self: Cell;
    /// The level for one sample alone, with vectors of half the width where those are faster.
    fn alone(level: Level, hidden: usize) -> Level;
    /// The next states of samples that take the step together.
    fn step_together<S: Simd, const IN: usize, const HID: usize>(
        s: S,
        weights: &Weights<'_, Self::Row<HID>, IN, HID>,
        x: &[[f32; IN]],
        states: &mut [Self::State<HID>],
    );
    fn step_back<S: Simd, const IN: usize, const HID: usize>(s: S, step: OneStepBack<'_, Self, IN, HID>)
    where
        Self: Cell;
    /// What an input gives to every sum, biases included.
    fn fold<S: Simd, const IN: usize, const HID: usize>(
        s: S,
        weights: &Weights<'_, Self::Row<HID>, IN, HID>,
        x: &[f32; IN],
    ) -> Self::Sums<HID>;
    /// The next state, given what an input gives to every sum.
    fn folded_step<S: Simd, const HID: usize>(
        s: S,
        sums: &Self::Sums<HID>,
        weight_hh: &[Self::Row<HID>; HID],
        state: &mut Self::State<HID>,
    );
}

macro_rules! impl_cell {
    (one sum: $($cell:ident)+; gates: $($gated:ident)+) => {
        $(impl Cell for $cell {} impl_cell!(of_one_sum $cell);)+
        $(impl Cell for $gated {} impl_cell!(of_gates $gated);)+
    };
    (of_one_sum $cell:ident) => {
        impl Kernels for $cell {
            #[cfg(feature = "alloc")]
            #[inline(never)]
            fn forward(level: Level, work: Forward<'_>) {
                level.run(ForwardOf(work, $cell));
            }
            #[cfg(feature = "alloc")]
            #[inline(never)]
            fn backward(level: Level, work: Backward<'_, '_>) {
                level.run(BackwardOf(work, PhantomData::<$cell>));
            }
            #[cfg(feature = "alloc")]
            #[inline(always)]
            fn steps<S: Simd, const IN: usize, const HID: usize>(s: S, steps: AllSteps<'_, Self, IN, HID>) {
                let AllSteps { weights, input, before, h: states, .. } = steps;
                Steps { cell: $cell, weights, input, before, states }.run(s);
            }
            #[cfg(feature = "alloc")]
            #[inline(always)]
            fn projected_steps<S: Simd, const IN: usize, const HID: usize>(s: S, steps: AllSteps<'_, Self, IN, HID>) {
                let AllSteps { weights, before, h: states, .. } = steps;
                OneSample { cell: $cell, weight_hh: weights.weight_hh, before, states }.run(s);
            }
            #[inline(always)]
            fn step<S: Simd, const IN: usize, const HID: usize>(s: S, step: OneStep<'_, Self, IN, HID>) {
                let OneStep { weights, x, state, .. } = step;
                *state = weights.step(s, $cell, x, state);
            }
            #[inline(always)]
            fn alone(level: Level, hidden: usize) -> Level {
                narrow_alone(level, hidden)
            }
            #[inline(always)]
            fn step_together<S: Simd, const IN: usize, const HID: usize>(
                s: S,
                weights: &Weights<'_, [f32; HID], IN, HID>,
                x: &[[f32; IN]],
                states: &mut [[f32; HID]],
            ) {
                weights.step_together(s, $cell, x, states);
            }
            #[inline(always)]
            fn step_back<S: Simd, const IN: usize, const HID: usize>(s: S, step: OneStepBack<'_, Self, IN, HID>) {
                let OneStepBack { weights, x, before, after, d_state, d_x, gradients, .. } = step;
                let (cell, step, d_h_next) = (PhantomData::<$cell>, (x, before, after), &*d_state);
                *d_state = StepBackward { cell, weights, step, d_h_next, d_x, gradients }.run(s);
            }
            #[inline(always)]
            fn fold<S: Simd, const IN: usize, const HID: usize>(
                s: S,
                weights: &Weights<'_, [f32; HID], IN, HID>,
                x: &[f32; IN],
            ) -> [f32; HID] {
                evaluate(s, &product(Biases(weights.bias_ih, weights.bias_hh), weights.weight_ih, x), Identity)
            }
            #[inline(always)]
            fn folded_step<S: Simd, const HID: usize>(
                s: S,
                sums: &[f32; HID],
                weight_hh: &[[f32; HID]; HID],
                state: &mut [f32; HID],
            ) {
                TokenStep { cell: $cell, weight_hh, row: sums, h: state }.run(s);
            }
        }
    };
    (of_gates $cell:ident) => {
        impl Kernels for $cell {
            #[cfg(feature = "alloc")]
            #[inline(never)]
            fn forward(level: Level, work: Forward<'_>) {
                level.run(GatedForward(work, PhantomData::<$cell>));
            }
            #[cfg(feature = "alloc")]
            #[inline(never)]
            fn backward(level: Level, work: Backward<'_, '_>) {
                level.run(GatedBackward(work, PhantomData::<$cell>));
            }
            #[cfg(feature = "alloc")]
            #[inline(always)]
            fn steps<S: Simd, const IN: usize, const HID: usize>(s: S, steps: AllSteps<'_, Self, IN, HID>) {
                let AllSteps { weights, input, before, h, c, kept } = steps;
                let (cell, before) = (PhantomData::<$cell>, (before.h(), before.c()));
                GatedSteps { cell, weights, input, before, h, c, kept }.run::<S, false>(s);
            }
            #[cfg(feature = "alloc")]
            #[inline(always)]
            fn projected_steps<S: Simd, const IN: usize, const HID: usize>(s: S, steps: AllSteps<'_, Self, IN, HID>) {
                let AllSteps { weights, input, before, h, c, kept } = steps;
                let (cell, before) = (PhantomData::<$cell>, (before.h(), before.c()));
                GatedSteps { cell, weights, input, before, h, c, kept }.run::<S, true>(s);
            }
            #[inline(always)]
            fn step<S: Simd, const IN: usize, const HID: usize>(s: S, step: OneStep<'_, Self, IN, HID>) {
                let OneStep { weights, x, state, kept } = step;
                let kept = kept.map_or(&mut [][..], |kept| flat_mut(from_mut(kept)));
                weights.gated_step_in_place::<S, $cell>(s, x, state, kept);
            }
            #[inline(always)]
            fn alone(level: Level, hidden: usize) -> Level {
                narrow(level, hidden)
            }
            #[inline(always)]
            fn step_together<S: Simd, const IN: usize, const HID: usize>(
                s: S,
                weights: &Weights<'_, Self::Row<HID>, IN, HID>,
                x: &[[f32; IN]],
                states: &mut [Self::State<HID>],
            ) {
                for (x, state) in x.iter().zip(states) {
                    Self::step(s, OneStep { weights: *weights, x, state, kept: None });
                }
            }
            #[inline(always)]
            fn step_back<S: Simd, const IN: usize, const HID: usize>(s: S, step: OneStepBack<'_, Self, IN, HID>) {
                let OneStepBack { weights, x, before, after, kept, d_state, d_x, gradients } = step;
                let (cell, kept) = (PhantomData::<$cell>, flat(from_ref(kept)));
                let (before, after) = ((before.h(), before.c()), (after.h(), after.c()));
                let (d_h, d_c) = d_state.both_mut();
                GatedStepBackward { cell, weights, x, before, after, kept, d_h, d_c, d_x, gradients }.run(s);
            }
            #[inline(always)]
            fn fold<S: Simd, const IN: usize, const HID: usize>(
                s: S,
                weights: &Weights<'_, Self::Row<HID>, IN, HID>,
                x: &[f32; IN],
            ) -> Self::Sums<HID> {
                let mut sums = bytemuck::Zeroable::zeroed();
                sums_of_input::<S, _, $cell, IN, HID>(s, weights, x, flat_mut(from_mut(&mut sums)));
                sums
            }
            #[inline(always)]
            fn folded_step<S: Simd, const HID: usize>(
                s: S,
                sums: &Self::Sums<HID>,
                weight_hh: &[Self::Row<HID>; HID],
                state: &mut Self::State<HID>,
            ) {
                step_in_place::<S, $cell, _, HID>(s, AllSums(flat(from_ref(sums))), flat(weight_hh), state, &mut []);
            }
        }
    };
}

for_each_cell!(impl_cell);
