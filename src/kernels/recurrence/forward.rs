//! The recurrence over time, `h_t = f(W_ih x_t + b_ih + W_hh h_{t-1} + b_hh)`, for the samples that one thread takes through
//! all steps.
//!
//! ```text
//! for each group of samples:
//!     for each step t:
//!         for each panel of neurons n, for each tile of samples b:
//!             z = bias[n] + sum over k of x_t[b][k] * W_ih[k][n] + sum over k of h_{t-1}[b][k] * W_hh[k][n]
//!             h_t[b][n] = f(z)
//! ```

use super::in_lanes;
use super::work::Forward;
use crate::cells::Activation;
use crate::kernels::rows::Rows;
use crate::kernels::throughput::tile::{Activate, Input, Multiply, Output, multiply};
use crate::kernels::tuning::{FAR, NEURONS_IN_TIME, SAMPLES_IN_CACHE, STEPS_AHEAD, samples_in_lanes};
use crate::simd::{Kernel, Simd};

/// Forward of one layer over the samples of one thread, tile by tile.
pub(crate) struct ForwardOf<'a, A>(pub(crate) Forward<'a>, pub(crate) A);

impl<A: Activation> Kernel for ForwardOf<'_, A> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self(work, cell) = self;
        let Forward { mut input, mut initial, packed, mut out, mut samples, steps, scratch, .. } = work;
        let hidden = packed.recurrent.columns();
        let mut in_lanes = samples_in_lanes(S::LANES, hidden, samples);
        while in_lanes > 0 {
            let done = in_lanes.min(2 * S::LANES);
            let (now, later) = out.split_at_mut(done * steps * hidden);
            let (initial_c, c, kept) = (Rows::ZEROS, &mut [][..], &mut [][..]);
            let work = Forward { input, initial, initial_c, packed, out: now, c, kept, samples: done, steps, scratch };
            in_lanes::forward::<S, A>(s, work);
            (input, initial) = (input.skip_outer(done), initial.skip_outer(done));
            (out, samples, in_lanes) = (later, samples - done, in_lanes - done);
        }
        if samples == 0 {
            return;
        }
        // Groups of nearly equal size, whole tiles but for the last one.
        let group = samples.div_ceil(samples.div_ceil(SAMPLES_IN_CACHE)).next_multiple_of(8);
        for (out, first) in out.chunks_mut(group * steps * hidden).zip((0..).step_by(group)) {
            let samples = group.min(samples - first);
            let (input, initial) = (input.skip_outer(first), initial.skip_outer(first));
            let prefetches = input.are_more_than(FAR) && hidden < NEURONS_IN_TIME;
            for step in 0..steps {
                let ahead = prefetches.then(|| input.along_outer(0, (step + STEPS_AHEAD).min(steps - 1)));
                let mut work = Multiply {
                    input: Input::Rows(input.along_outer(0, step)),
                    second_input: Some(match step {
                        0 => Input::Rows(initial.along_outer(0, 0)),
                        t => Input::Results((t - 1) * hidden),
                    }),
                    start: Rows::repeated(packed.bias.as_slice(hidden)),
                    output: Output { data: out, first: step * hidden, outer: 0, inner: steps * hidden, far: false },
                    ahead: ahead.as_slice(),
                };
                // Alternating direction: what the last step left in L1 is used first.
                let matrices = [&packed.input, &packed.recurrent];
                multiply(s, matrices, step % 2 == 1, (1, samples), &mut work, Activate(cell));
            }
        }
    }
}
