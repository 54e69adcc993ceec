//! The recurrence of cells of gates, for the samples that one thread takes through all steps.
//!
//! ```text
//! for each group of samples:
//!     for each step t:
//!         for each panel of neurons n:
//!             for each sum g of them, for each tile of samples b:
//!                 z[b][g][n] = bias[g][n] + what of W_ih x_t and W_hh h_{t-1} feeds it
//!             h_t[b][n], c_t[b][n] = cell(z[b][..][n], h_{t-1}[b][n], c_{t-1}[b][n]), while the sums are near
//! ```

use super::packed::PackedCell;
use super::work::Forward;
use crate::cells::{Carried, Gated, SUMS};
use crate::kernels::rows::Rows;
use crate::kernels::slice::{starting_at, starting_at_mut, zeros};
use crate::kernels::throughput::tile::{Input, Multiply, Output, Store, multiply_panel};
use crate::kernels::tuning::{NUMBERS_PER_LINE, SAMPLES_IN_CACHE};
use crate::simd::{Kernel, Simd, load_some, store_some};
use core::marker::PhantomData;
use core::ops::Range;

/// Forward of one layer of gates over the samples of one thread.
pub(crate) struct GatedForward<'a, C>(pub(crate) Forward<'a>, pub(crate) PhantomData<C>);

impl<C: Gated> Kernel for GatedForward<'_, C> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Forward { input, initial, initial_c, packed, out, c, kept, samples, steps, scratch } = self.0;
        let hidden = packed.recurrent.columns();
        // Rows a power of two apart would share the same few sets of the cache.
        let row = SUMS * hidden + NUMBERS_PER_LINE;
        let group = samples.div_ceil(samples.div_ceil(SAMPLES_IN_CACHE).max(1)).next_multiple_of(8);
        let sums = scratch[0].get(group * row);
        for first in (0..samples).step_by(group) {
            let samples = group.min(samples - first);
            let of_group = |numbers: usize| first * steps * numbers..(first + samples) * steps * numbers;
            let work = Group::<C> {
                input: input.skip_outer(first),
                initial: [initial.skip_outer(first), initial_c.skip_outer(first)],
                out: &mut out[of_group(hidden)],
                c: if C::CARRIES { &mut c[of_group(hidden)] } else { &mut [] },
                kept: &mut kept[of_group(SUMS * hidden)],
                samples,
                steps,
                hidden,
                cell: PhantomData,
            };
            work.run(s, packed, sums, row);
        }
    }
}

/// Samples that go through time together.
struct Group<'a, C> {
    input: Rows<'a>,
    /// `h` and `c`, one row a sample.
    initial: [Rows<'a>; 2],
    out: &'a mut [f32],
    c: &'a mut [f32],
    kept: &'a mut [f32],
    samples: usize,
    steps: usize,
    hidden: usize,
    cell: PhantomData<C>,
}

impl<C: Gated> Group<'_, C> {
    #[inline(always)]
    fn run<S: Simd>(mut self, s: S, packed: &PackedCell, sums: &mut [f32], row: usize) {
        let (hidden, samples) = (self.hidden, self.samples);
        let (input_weights, recurrent) = (&packed.input, &packed.recurrent);
        let bias = packed.bias.as_slice(SUMS * hidden);
        for step in 0..self.steps {
            let x = Input::Rows(self.input.along_outer(0, step));
            for i in 0..recurrent.count() {
                // Alternating direction: what the last step left in L1 is used first.
                let panel = if step % 2 == 1 { recurrent.count() - 1 - i } else { i };
                let h = Input::Rows(match step {
                    0 => self.initial[0].along_outer(0, 0),
                    t => Rows::batch_first(self.out, hidden, self.steps).along_outer(0, t - 1),
                });
                for sum in 0..SUMS {
                    let of_input = (sum < C::FEEDS.gates).then_some((input_weights, sum));
                    let of_state = C::FEEDS.recurrent_gates[sum].map(|gate| (recurrent, gate));
                    let (matrices, input, second_input) = match (of_input, of_state) {
                        (Some(of_input), Some(of_state)) => ([of_input, of_state], x, Some(h)),
                        (Some(of_input), None) => ([of_input; 2], x, None),
                        (None, Some(of_state)) => ([of_state; 2], h, None),
                        (None, None) => continue,
                    };
                    let output = Output { data: sums, first: 0, outer: 0, inner: row, far: false };
                    let mut work = Multiply { input, second_input, start: Rows::repeated(bias), output, ahead: &[] };
                    multiply_panel(s, matrices, panel, sum, (1, samples), &mut work, Store);
                }
                let span = recurrent.panel(panel, 0).span;
                let neurons = span.first..hidden.min(span.first + span.width);
                let advance = Advance { group: &mut self, sums, row, step, neurons };
                if span.is_half(s) { s.half().call(advance) } else { s.call(advance) }
            }
        }
    }
}

/// The states of some neurons after a step, out of their sums.
struct Advance<'a, 'g, C> {
    group: &'a mut Group<'g, C>,
    sums: &'a [f32],
    /// From the sums of a sample to those of the next.
    row: usize,
    step: usize,
    neurons: Range<usize>,
}

impl<C: Gated> Kernel for Advance<'_, '_, C> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { group, sums, row, step, neurons } = self;
        let Group { initial, out, c, kept, samples, steps, hidden, .. } = group;
        let (steps, hidden, width) = (*steps, *hidden, neurons.len());
        for sample in 0..*samples {
            let sums = starting_at(sums, sample * row + neurons.start);
            let now = (sample * steps + step) * hidden + neurons.start;
            let kept = starting_at_mut(kept, (now - neurons.start) * SUMS + neurons.start);
            let (h_before, h) = around(step, &initial[0], sample, neurons.start, out, now, hidden);
            let (c_before, c) = match C::CARRIES {
                true => around(step, &initial[1], sample, neurons.start, c, now, hidden),
                false => (&[][..], &mut [][..]),
            };
            let mut first = 0;
            while first < width {
                let here = first..width.min(first + S::LANES);
                let mut of_neurons: [S::F32; SUMS] = zeros();
                unrolled!(g of 0 1 2 3, {
                    of_neurons[g] = load_some(s, &sums[g * hidden + here.start..g * hidden + here.end]);
                });
                let c_of_neurons = if C::CARRIES { load_some(s, &c_before[here.clone()]) } else { s.splat(0.0) };
                let before = Carried { h: load_some(s, &h_before[here.clone()]), c: c_of_neurons };
                let (after, to_keep) = C::forward(s, of_neurons, before);
                store_some(s, after.h, &mut h[here.clone()]);
                if C::CARRIES {
                    store_some(s, after.c, &mut c[here.clone()]);
                }
                unrolled!(g of 0 1 2 3, {
                    store_some(s, to_keep[g], &mut kept[g * hidden + here.start..g * hidden + here.end]);
                });
                first += S::LANES;
            }
        }
    }
}

/// The state of a sample before a step, and the place of that after it, from a neuron on.
#[inline(always)]
fn around<'a>(
    step: usize,
    initial: &Rows<'a>,
    sample: usize,
    neuron: usize,
    states: &'a mut [f32],
    now: usize,
    hidden: usize,
) -> (&'a [f32], &'a mut [f32]) {
    let (earlier, now) = states.split_at_mut(now);
    let before =
        if step == 0 { &initial.row(sample, 0)[neuron..] } else { starting_at(earlier, earlier.len() - hidden) };
    (before, now)
}
