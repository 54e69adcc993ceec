//! The way of batches of cells of gates through time and back, against scalar steps in the canonical order.

use super::gated_backward::GatedBackward;
use super::gated_forward::GatedForward;
use super::packed::{PackedCell, PackedTranspose};
use super::tests::{MOST_SAMPLES, add_blocks, blocks};
use super::work::{Backward, BackwardInputs, Forward};
use crate::cells::{Gru, Lstm, SUMS};
use crate::kernels::gradient::{BlockSums, Cascade};
use crate::kernels::rows::Rows;
use crate::kernels::scratch::Scratch;
use crate::kernels::testing::{GatedWeights, Pair, ScalarGated, UNTOUCHED, assert_same, at_every_level, numbers};
use crate::simd::Level;
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::marker::PhantomData;

/// A layer and the sequences that go through it.
struct Layer {
    inputs: usize,
    hidden: usize,
    steps: usize,
    samples: usize,
    weights: GatedWeights,
    /// `[samples][steps][inputs]`, and one row a sample.
    x: Vec<f32>,
    initial: [Vec<f32>; 2],
}

/// What the forward leaves: `h` and `c` as `[samples][steps][hidden]`, and what is kept, `[samples][steps][SUMS][hidden]`.
struct States {
    h: Vec<f32>,
    c: Vec<f32>,
    kept: Vec<f32>,
}

impl Layer {
    fn new<C: ScalarGated>(inputs: usize, hidden: usize, steps: usize, samples: usize) -> Self {
        let seed = (inputs * 1000 + hidden * 10 + steps) as u64;
        Self {
            inputs,
            hidden,
            steps,
            samples,
            weights: GatedWeights::new::<C>(seed, inputs, hidden),
            x: numbers(seed + 5, samples * steps * inputs),
            initial: [6, 7].map(|i| numbers(seed + i, samples * hidden)),
        }
    }

    fn x(&self, sample: usize, step: usize) -> &[f32] {
        &self.x[(sample * self.steps + step) * self.inputs..][..self.inputs]
    }

    /// The state before a step, given those behind all: `h`, or of cells that carry one, `c`.
    fn before<'a>(&'a self, part: usize, states: &'a [f32], sample: usize, step: usize) -> &'a [f32] {
        match step {
            0 => &self.initial[part][sample * self.hidden..][..self.hidden],
            step => &states[(sample * self.steps + step - 1) * self.hidden..][..self.hidden],
        }
    }

    /// All states, each near the one that its exact sums make of the state before.
    fn states<C: ScalarGated>(&self, level: Level) -> States {
        let mut states = States { h: Vec::new(), c: Vec::new(), kept: Vec::new() };
        let Self { steps, samples, .. } = *self;
        for (sample, step) in (0..samples).flat_map(|sample| (0..steps).map(move |step| (sample, step))) {
            let h = self.before(0, &states.h, sample, step);
            let c = if C::CARRIES { self.before(1, &states.c, sample, step) } else { &[] };
            let after = self.weights.step::<C>(level, self.x(sample, step), h, c);
            states.h.extend(after.h);
            states.c.extend(after.c);
            states.kept.extend(after.kept);
        }
        states
    }

    fn case<C>(&self, level: Level, samples: usize, what: &str) -> String {
        let Self { inputs, hidden, steps, .. } = self;
        let cell = core::any::type_name::<C>();
        format!("{level}: {cell}, {samples} samples, {inputs} inputs, {hidden} neurons, {steps} steps: {what}")
    }
}

/// Sizes: neurons that are half a vector, one, two, parts of them, and several panels; products of all chains; rows of
/// gradients in place and packed.
const SIZES: [(usize, usize); 8] = [(1, 1), (3, 5), (9, 8), (5, 12), (4, 16), (33, 20), (2, 33), (5, 70)];

/// Every number of samples over few steps, and some over many.
fn lengths() -> impl Iterator<Item = (usize, Vec<usize>)> {
    let some = [1, 5, 8, 17, 40];
    [(1, some.to_vec()), (3, (1..=MOST_SAMPLES).collect()), (35, some[..4].to_vec())].into_iter()
}

// ---------------------------------------------------------------- forward

fn check_forward<C: ScalarGated>(level: Level, layer: &Layer, counts: &[usize], states: &States) {
    let Layer { inputs, hidden, steps, ref weights, .. } = *layer;
    // The same inputs with all samples of a step side by side.
    let rows = (0..steps).flat_map(|step| (0..layer.samples).map(move |sample| (sample, step)));
    let time_major: Vec<f32> = rows.flat_map(|(sample, step)| layer.x(sample, step).iter().copied()).collect();
    let views =
        [Rows::batch_first(&layer.x, inputs, steps), Rows::new(&time_major, inputs, inputs, layer.samples * inputs)];
    let mut packed = PackedCell::default();
    packed.pack_input(level.lanes(), &C::FEEDS, &weights.weight_ih, weights.biases.each_ref().map(Vec::as_slice));
    // One for all, so that each is given what those before have left.
    let mut scratch = [Scratch::default()];
    for (samples, input) in counts.iter().flat_map(|samples| views.map(|view| (*samples, view))) {
        packed.pack_recurrent(level.lanes(), &C::FEEDS, [&weights.weight_ih, &weights.weight_hh], hidden, samples);
        let numbers = samples * steps * hidden;
        let of_c = if C::CARRIES { numbers } else { 0 };
        let mut given = [numbers, of_c, SUMS * numbers].map(|len| vec![UNTOUCHED; len + 40]);
        let [out, c, kept] = &mut given;
        let [initial, initial_c] = layer.initial.each_ref().map(|rows| Rows::one_a_sample(rows, hidden));
        let work = Forward {
            input,
            initial,
            initial_c,
            packed: &packed,
            out: &mut out[..numbers],
            c: &mut c[..of_c],
            kept: &mut kept[..SUMS * numbers],
            samples,
            steps,
            scratch: &mut scratch,
        };
        level.run(GatedForward(work, PhantomData::<C>));
        let case = |what: &str| layer.case::<C>(level, samples, what);
        assert_same(&given[0][..numbers], &states.h[..numbers], || case("h"));
        assert_same(&given[1][..of_c], &states.c[..of_c], || case("c"));
        assert_same(&given[2][..SUMS * numbers], &states.kept[..SUMS * numbers], || case("what is kept"));
        for (given, len) in given.iter().zip([numbers, of_c, SUMS * numbers]) {
            assert_same(&given[len..], &[UNTOUCHED; 40], || case("what is behind"));
        }
    }
}

/// Batches of every size, and more samples than go through time together.
fn forward<C: ScalarGated>() {
    at_every_level(|level| {
        for (inputs, hidden) in SIZES {
            for (steps, counts) in lengths() {
                let layer = Layer::new::<C>(inputs, hidden, steps, MOST_SAMPLES);
                check_forward::<C>(level, &layer, &counts, &layer.states::<C>(level));
            }
        }
        for hidden in [9, 40] {
            let layer = Layer::new::<C>(3, hidden, 2, 150);
            check_forward::<C>(level, &layer, &[64, 65, 129, 150], &layer.states::<C>(level));
        }
    });
}

#[test]
fn forward_of_gru() {
    forward::<Gru>();
}

#[test]
fn forward_of_lstm() {
    forward::<Lstm>();
}

// ---------------------------------------------------------------- backward

/// Gradients of all samples, number by number.
struct Gradients {
    /// Of the sums, `[samples][steps][SUMS][hidden]`.
    d_sums: Vec<f32>,
    /// `[samples][steps][inputs]`
    d_input: Vec<f32>,
    /// Of `h` and `c`.
    d_initial: [Vec<f32>; 2],
}

impl Layer {
    fn gradients<C: ScalarGated>(
        &self,
        level: Level,
        states: &States,
        d_output: &[f32],
        d_final: [Option<&[f32]>; 2],
    ) -> Gradients {
        let Self { inputs, hidden, steps, .. } = *self;
        let (fused, row) = (level.is_fused(), SUMS * hidden);
        let (mut d_sums, mut d_input) = (vec![0.0; states.kept.len()], vec![0.0; self.x.len()]);
        let mut d_initial = [Vec::new(), Vec::new()];
        for sample in 0..self.samples {
            let last = |part: usize| match d_final[part] {
                Some(rows) => rows[sample * hidden..][..hidden].to_vec(),
                None => vec![0.0; hidden],
            };
            let (mut behind, mut d_c) = (last(0), last(1));
            for (start, end) in blocks(steps) {
                let mut direct = vec![0.0; hidden];
                for step in (start..end).rev() {
                    let now = sample * steps + step;
                    let (d_output, of_now) = (&d_output[now * hidden..], &mut d_sums[now * row..]);
                    let (of_now, of_next) = of_now.split_at_mut(row);
                    let h_before = self.before(0, &states.h, sample, step);
                    let c_before = if C::CARRIES { self.before(1, &states.c, sample, step) } else { &d_c.clone() };
                    for n in 0..hidden {
                        let by_sums = match step + 1 == end {
                            true => d_output[n] + behind[n],
                            false => self.weights.d_state::<C>(fused, d_output[n], of_next, n),
                        };
                        let kept = core::array::from_fn(|sum| states.kept[now * row + sum * hidden + n]);
                        let before = Pair { h: h_before[n], c: c_before[n] };
                        let c = if C::CARRIES { states.c[now * hidden + n] } else { 0.0 };
                        let after = Pair { h: states.h[now * hidden + n], c };
                        let d = Pair { h: by_sums + direct[n], c: d_c[n] };
                        let (of_sums, to_before) = C::back(level, kept, before, after, d);
                        (0..SUMS).for_each(|sum| of_now[sum * hidden + n] = of_sums[sum]);
                        (direct[n], d_c[n]) = (to_before.h, to_before.c);
                    }
                    for i in 0..inputs {
                        d_input[now * inputs + i] = self.weights.d_input::<C>(fused, of_now, i, inputs);
                    }
                }
                let first = &d_sums[(sample * steps + start) * row..][..row];
                behind = (0..hidden).map(|k| self.weights.d_state::<C>(fused, 0.0, first, k) + direct[k]).collect();
            }
            d_initial[0].extend(behind);
            d_initial[1].extend(d_c);
        }
        Gradients { d_sums, d_input, d_initial }
    }

    /// The gradients of the parameters, added to what is there.
    fn add_gradients<C: ScalarGated>(
        &self,
        fused: bool,
        states: &States,
        d_sums: &[f32],
        samples: usize,
        [weight_ih, weight_hh, bias_ih, bias_hh]: &mut [Vec<f32>; 4],
    ) {
        let Self { hidden, steps, .. } = *self;
        let gates = C::GATES;
        let grid = (samples, steps);
        let d = |b: usize, t: usize, sum: usize, n: usize| d_sums[((b * steps + t) * SUMS + sum) * hidden + n];
        for (sum, [of_input, of_state]) in C::FED_BY.into_iter().enumerate() {
            for n in 0..hidden {
                if let Some(gate) = of_input {
                    for k in 0..self.inputs {
                        let to = &mut weight_ih[(k * gates + gate) * hidden + n];
                        add_blocks(fused, grid, to, |b, t| (self.x(b, t)[k], d(b, t, sum, n)));
                    }
                    add_blocks(fused, grid, &mut bias_ih[gate * hidden + n], |b, t| (1.0, d(b, t, sum, n)));
                }
                if let Some(gate) = of_state {
                    for k in 0..hidden {
                        let to = &mut weight_hh[(k * gates + gate) * hidden + n];
                        let h = |b: usize, t: usize| self.before(0, &states.h, b, t)[k];
                        add_blocks(fused, grid, to, |b, t| (h(b, t), d(b, t, sum, n)));
                    }
                    add_blocks(fused, grid, &mut bias_hh[gate * hidden + n], |b, t| (1.0, d(b, t, sum, n)));
                }
            }
        }
    }
}

fn check_backward<C: ScalarGated>(level: Level, layer: &Layer, counts: &[usize], with_final: bool) {
    let Layer { inputs, hidden, steps, ref weights, .. } = *layer;
    let states = layer.states::<C>(level);
    let d_output = numbers(8, MOST_SAMPLES * steps * hidden);
    let d_final = [9, 10].map(|seed| numbers(seed, MOST_SAMPLES * hidden));
    let d_final = d_final.each_ref().map(|rows| with_final.then_some(rows.as_slice()));
    let expected = layer.gradients::<C>(level, &states, &d_output, d_final);
    let mut scratch = Scratch::default();
    for &samples in counts {
        let has_d_input = samples % 3 != 0;
        let mut packed = PackedTranspose::default();
        let weight_ih = has_d_input.then_some(weights.weight_ih.as_slice());
        packed.pack(level.lanes(), &C::FEEDS, weight_ih, &weights.weight_hh, hidden, samples);
        let row = C::GATES * hidden;
        let mut tensors = [inputs * row, hidden * row, row, row].map(|len| numbers(11, len));
        let mut sums = tensors.clone();
        let mut d_input = vec![UNTOUCHED; samples * steps * inputs];
        let mut d_initial = vec![UNTOUCHED; samples * hidden];
        let mut d_initial_c = vec![UNTOUCHED; if C::CARRIES { samples * hidden } else { 0 }];
        let of_c = |rows| if C::CARRIES { rows } else { Rows::ZEROS };
        let work = Backward {
            inputs: BackwardInputs {
                hidden,
                samples,
                steps,
                input: Rows::batch_first(&layer.x, inputs, steps),
                initial: Rows::one_a_sample(&layer.initial[0], hidden),
                output: Rows::batch_first(&states.h, hidden, steps),
                d_output: Rows::batch_first(&d_output, hidden, steps),
                d_final: d_final[0].map(|rows| Rows::one_a_sample(rows, hidden)),
                initial_c: of_c(Rows::one_a_sample(&layer.initial[1], hidden)),
                c: of_c(Rows::batch_first(&states.c, hidden, steps)),
                kept: Rows::batch_first(&states.kept, SUMS * hidden, steps),
                d_final_c: d_final[1].filter(|_| C::CARRIES).map(|rows| Rows::one_a_sample(rows, hidden)),
                packed: &packed,
            },
            scratch: &mut scratch,
            d_input: has_d_input.then_some(&mut d_input),
            d_initial: &mut d_initial,
            d_initial_c: &mut d_initial_c,
            gradients: &mut BlockSums {
                tensors: tensors.each_mut().map(Vec::as_mut_slice),
                cascade: &mut Cascade::default(),
            },
        };
        level.run(GatedBackward(work, PhantomData::<C>));
        let case = |what: &str| layer.case::<C>(level, samples, what);
        assert_same(&d_initial, &expected.d_initial[0][..samples * hidden], || case("d initial"));
        assert_same(&d_initial_c, &expected.d_initial[1][..d_initial_c.len()], || case("d initial c"));
        match has_d_input {
            true => assert_same(&d_input, &expected.d_input[..d_input.len()], || case("d input")),
            false => assert!(d_input.iter().all(|x| *x == UNTOUCHED)),
        }
        layer.add_gradients::<C>(level.is_fused(), &states, &expected.d_sums, samples, &mut sums);
        for (i, what) in ["d weight_ih", "d weight_hh", "d bias_ih", "d bias_hh"].into_iter().enumerate() {
            assert_same(&tensors[i], &sums[i], || case(what));
        }
    }
}

fn backward<C: ScalarGated>() {
    at_every_level(|level| {
        for (size, (inputs, hidden)) in SIZES.into_iter().enumerate() {
            for (steps, counts) in lengths() {
                let layer = Layer::new::<C>(inputs, hidden, steps, MOST_SAMPLES);
                check_backward::<C>(level, &layer, &counts, size % 2 == 0);
            }
        }
    });
}

#[test]
fn backward_of_gru() {
    backward::<Gru>();
}

#[test]
fn backward_of_lstm() {
    backward::<Lstm>();
}
