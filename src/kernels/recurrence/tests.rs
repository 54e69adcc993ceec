//! The way of batches through time and back, for every number of samples, against scalar steps in the canonical order.

use super::backward::BackwardOf;
use super::forward::ForwardOf;
use super::packed::{PackedCell, PackedTranspose};
use super::work::{Backward, BackwardInputs, Forward};
use crate::cells::{Feeds, Layout, Relu, Tanh};
use crate::kernels::gradient::{BlockSums, Cascade};
use crate::kernels::rows::Rows;
use crate::kernels::scratch::Scratch;
use crate::kernels::testing::{ScalarCell, Sum, UNTOUCHED, assert_same, at_every_level, chains, numbers};
use crate::simd::Level;
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::marker::PhantomData;

pub(super) const MOST_SAMPLES: usize = 40;

/// Of both cells.
const FEEDS: Feeds = Tanh::FEEDS;

/// A layer and the sequences that go through it.
struct Layer {
    inputs: usize,
    hidden: usize,
    steps: usize,
    /// Input-major.
    weight_ih: Vec<f32>,
    weight_hh: Vec<f32>,
    biases: [Vec<f32>; 2],
    /// `[samples][steps][inputs]`, and one row a sample.
    x: Vec<f32>,
    initial: Vec<f32>,
}

impl Layer {
    fn new(inputs: usize, hidden: usize, steps: usize) -> Self {
        let seed = (inputs * 1000 + hidden * 10 + steps) as u64;
        // Small enough that states neither all end at one nor grow without end.
        let size = 1.0 / (hidden as f32).sqrt();
        let scaled = |seed: u64, count: usize| numbers(seed, count).iter().map(|w| w * size).collect();
        Self {
            inputs,
            hidden,
            steps,
            weight_ih: numbers(seed + 1, inputs * hidden),
            weight_hh: scaled(seed + 2, hidden * hidden),
            biases: [3, 4].map(|i| numbers(seed + i, hidden)),
            x: numbers(seed + 5, MOST_SAMPLES * steps * inputs),
            initial: numbers(seed + 6, MOST_SAMPLES * hidden),
        }
    }

    fn x(&self, sample: usize, step: usize) -> &[f32] {
        &self.x[(sample * self.steps + step) * self.inputs..][..self.inputs]
    }

    /// The state before a step, given those behind all.
    fn before<'a>(&'a self, states: &'a [f32], sample: usize, step: usize) -> &'a [f32] {
        match step {
            0 => &self.initial[sample * self.hidden..][..self.hidden],
            step => &states[(sample * self.steps + step - 1) * self.hidden..][..self.hidden],
        }
    }

    /// All states, each near the one that its exact sum makes of the state before.
    fn states<A: ScalarCell>(&self, level: Level) -> Vec<f32> {
        let Self { inputs, hidden, steps, .. } = *self;
        let fused = level.is_fused();
        let mut states = Vec::new();
        for (sample, step) in (0..MOST_SAMPLES).flat_map(|sample| (0..steps).map(move |step| (sample, step))) {
            let (x, h) = (self.x(sample, step), self.before(&states, sample, step));
            let sums = (0..hidden).map(|n| {
                let mut sum = Sum::start(self.biases[0][n]);
                sum.add(self.biases[1][n]);
                sum.add_products(fused, chains(inputs, hidden), inputs, |k| (x[k], self.weight_ih[k * hidden + n]));
                sum.add_products(fused, chains(hidden, hidden), hidden, |k| (h[k], self.weight_hh[k * hidden + n]));
                sum
            });
            let sums: Vec<Sum> = sums.collect();
            let mut row: Vec<f32> = sums.iter().map(Sum::checked).collect();
            A::states(level, &mut row);
            row.iter().zip(&sums).for_each(|(state, sum)| A::assert_state(*state, sum));
            states.extend(row);
        }
        states
    }

    fn case(&self, level: Level, samples: usize) -> String {
        let Self { inputs, hidden, steps, .. } = self;
        format!("{level}: {samples} samples, {inputs} inputs, {hidden} neurons, {steps} steps")
    }
}

/// Sizes: samples go in lanes and in rows; neurons that fill less than a vector, parts of several, and whole ones; products
/// of all chains; rows of gradients in place and packed.
const SIZES: [(usize, usize); 12] =
    [(1, 1), (3, 5), (9, 7), (5, 8), (7, 12), (4, 16), (9, 20), (33, 24), (2, 32), (6, 33), (3, 40), (5, 70)];

/// Every number of samples over few steps, and some over many.
fn lengths() -> impl Iterator<Item = (usize, Vec<usize>)> {
    let some = [1, 3, 4, 8, 9, 16, 17, 31, 32, 40];
    [(1, some.to_vec()), (3, (1..=MOST_SAMPLES).collect()), (16, some[3..6].to_vec()), (35, some.to_vec())].into_iter()
}

// ---------------------------------------------------------------- forward

fn check_forward<A: ScalarCell>(level: Level, cell: A) {
    for (inputs, hidden) in SIZES {
        for (steps, counts) in lengths() {
            let layer = Layer::new(inputs, hidden, steps);
            let states = layer.states::<A>(level);
            // The same inputs with all samples of a step side by side.
            let rows = (0..steps).flat_map(|step| (0..MOST_SAMPLES).map(move |sample| (sample, step)));
            let time_major: Vec<f32> = rows.flat_map(|(sample, step)| layer.x(sample, step).iter().copied()).collect();
            let views = [
                Rows::batch_first(&layer.x, inputs, steps),
                Rows::new(&time_major, inputs, inputs, MOST_SAMPLES * inputs),
            ];
            let mut scratch = [Scratch::default()];
            for (samples, input) in counts.iter().flat_map(|samples| views.map(|view| (*samples, view))) {
                let mut packed = PackedCell::default();
                let [a, b] = &layer.biases;
                packed.pack_input(level.lanes(), &FEEDS, &layer.weight_ih, [a, b]);
                packed.pack_recurrent(level.lanes(), &FEEDS, [&layer.weight_ih, &layer.weight_hh], hidden, samples);
                let mut out = vec![UNTOUCHED; samples * steps * hidden + 40];
                let (to, behind) = out.split_at_mut(samples * steps * hidden);
                let initial = Rows::one_a_sample(&layer.initial, hidden);
                let scratch = &mut scratch;
                let (initial_c, c, kept) = (Rows::ZEROS, &mut [][..], &mut [][..]);
                let work =
                    Forward { input, initial, initial_c, packed: &packed, out: to, c, kept, samples, steps, scratch };
                level.run(ForwardOf(work, cell));
                assert_same(to, &states[..samples * steps * hidden], || layer.case(level, samples));
                assert_same(behind, &[UNTOUCHED; 40], || layer.case(level, samples));
            }
        }
    }
}

#[test]
fn forward() {
    at_every_level(|level| {
        check_forward(level, Tanh);
        check_forward(level, Relu);
    });
}

/// More samples than go through time together.
#[test]
fn forward_of_groups() {
    at_every_level(|level| {
        for (hidden, times) in [(16, 2), (20, 4), (40, 5), (110, 3)] {
            let layer = Layer::new(3, hidden, 2);
            let states = layer.states::<Tanh>(level).repeat(times);
            let (x, initial) = (layer.x.repeat(times), layer.initial.repeat(times));
            for samples in [MOST_SAMPLES * times, MOST_SAMPLES * times - 1, MOST_SAMPLES * times - 13] {
                let mut packed = PackedCell::default();
                let [a, b] = &layer.biases;
                packed.pack_input(level.lanes(), &FEEDS, &layer.weight_ih, [a, b]);
                packed.pack_recurrent(level.lanes(), &FEEDS, [&layer.weight_ih, &layer.weight_hh], hidden, samples);
                let mut out = vec![UNTOUCHED; samples * 2 * hidden];
                let work = Forward {
                    input: Rows::batch_first(&x, 3, 2),
                    initial: Rows::one_a_sample(&initial, hidden),
                    initial_c: Rows::ZEROS,
                    packed: &packed,
                    out: &mut out,
                    c: &mut [],
                    kept: &mut [],
                    samples,
                    steps: 2,
                    scratch: &mut [Scratch::default()],
                };
                level.run(ForwardOf(work, Tanh));
                assert_same(&out, &states[..samples * 2 * hidden], || layer.case(level, samples));
            }
        }
    });
}

// ---------------------------------------------------------------- backward

/// Gradients of all samples, number by number.
struct Gradients {
    /// Of the sums, `[samples][steps][hidden]`.
    d_sums: Vec<f32>,
    /// `[samples][steps][inputs]`
    d_input: Vec<f32>,
    d_initial: Vec<f32>,
}

/// Where the blocks of 16 steps begin and end, the last one first.
pub(super) fn blocks(steps: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..steps).step_by(16).map(move |start| (start, steps.min(start + 16))).rev()
}

fn gradients<A: ScalarCell>(
    level: Level,
    layer: &Layer,
    states: &[f32],
    d_output: &[f32],
    d_final: Option<&[f32]>,
) -> Gradients {
    let Layer { inputs, hidden, steps, .. } = *layer;
    let fused = level.is_fused();
    let (mut d_sums, mut d_input) = (vec![0.0; states.len()], vec![0.0; layer.x.len()]);
    let mut d_initial = Vec::new();
    for sample in 0..MOST_SAMPLES {
        // What the gradients of the sums of a step give to the state before it.
        let to_state = |start: f32, d: &[f32], k: usize| {
            let mut sum = Sum::start(start);
            sum.add_products(fused, chains(hidden, hidden), hidden, |n| (d[n], layer.weight_hh[k * hidden + n]));
            sum.checked()
        };
        let mut following: Option<Vec<f32>> = d_final.map(|rows| rows[sample * hidden..][..hidden].to_vec());
        for (start, end) in blocks(steps) {
            for step in (start..end).rev() {
                let row = (sample * steps + step) * hidden;
                for n in 0..hidden {
                    let d = if step + 1 < end {
                        to_state(d_output[row + n], &d_sums[row + hidden..], n)
                    } else {
                        following.as_ref().map_or(d_output[row + n], |following| d_output[row + n] + following[n])
                    };
                    d_sums[row + n] = A::d_of_sum(fused, d, states[row + n]);
                }
                let d = &d_sums[row..row + hidden];
                for i in 0..inputs {
                    let mut sum = Sum::start(0.0);
                    sum.add_products(fused, chains(hidden, inputs), hidden, |n| {
                        (d[n], layer.weight_ih[i * hidden + n])
                    });
                    d_input[(sample * steps + step) * inputs + i] = sum.checked();
                }
            }
            let first = &d_sums[(sample * steps + start) * hidden..];
            following = Some((0..hidden).map(|k| to_state(0.0, first, k)).collect());
        }
        d_initial.extend(following.unwrap());
    }
    Gradients { d_sums, d_input, d_initial }
}

/// `to += sum over samples and steps of factors`, block by block from the end, each from zero.
pub(super) fn add_blocks(
    fused: bool,
    (samples, steps): (usize, usize),
    to: &mut f32,
    factors: impl Fn(usize, usize) -> (f32, f32),
) {
    for (start, end) in blocks(steps) {
        let each = end - start;
        let mut sum = Sum::start(0.0);
        sum.add_products(fused, 1, samples * each, |row| factors(row / each, start + row % each));
        *to += sum.checked();
    }
}

fn check_backward<A: ScalarCell>(level: Level) {
    let fused = level.is_fused();
    for (size, (inputs, hidden)) in SIZES.into_iter().enumerate() {
        for (steps, counts) in lengths() {
            let layer = Layer::new(inputs, hidden, steps);
            let states = layer.states::<A>(level);
            let d_output = numbers(7, MOST_SAMPLES * steps * hidden);
            let d_final = numbers(8, MOST_SAMPLES * hidden);
            let d_final = (size % 2 == 0).then_some(d_final.as_slice());
            let expected = gradients::<A>(level, &layer, &states, &d_output, d_final);
            for samples in counts {
                let has_d_input = samples % 3 != 0;
                let mut packed = PackedTranspose::default();
                let weight_ih = has_d_input.then_some(layer.weight_ih.as_slice());
                packed.pack(level.lanes(), &FEEDS, weight_ih, &layer.weight_hh, hidden, samples);
                let before = [inputs * hidden, hidden * hidden, hidden, hidden].map(|len| numbers(9, len));
                let mut tensors = before.clone();
                let mut d_input = vec![UNTOUCHED; samples * steps * inputs];
                let mut d_initial = vec![UNTOUCHED; samples * hidden];
                level.run(BackwardOf(
                    Backward {
                        inputs: BackwardInputs {
                            hidden,
                            samples,
                            steps,
                            input: Rows::batch_first(&layer.x, inputs, steps),
                            initial: Rows::one_a_sample(&layer.initial, hidden),
                            output: Rows::batch_first(&states, hidden, steps),
                            d_output: Rows::batch_first(&d_output, hidden, steps),
                            d_final: d_final.map(|rows| Rows::one_a_sample(rows, hidden)),
                            initial_c: Rows::ZEROS,
                            c: Rows::ZEROS,
                            kept: Rows::ZEROS,
                            d_final_c: None,
                            packed: &packed,
                        },
                        scratch: &mut Scratch::default(),
                        d_input: has_d_input.then_some(&mut d_input),
                        d_initial: &mut d_initial,
                        d_initial_c: &mut [],
                        gradients: &mut BlockSums {
                            tensors: tensors.each_mut().map(Vec::as_mut_slice),
                            cascade: &mut Cascade::default(),
                        },
                    },
                    PhantomData::<A>,
                ));
                let case = |what: &str| format!("{}: {what}", layer.case(level, samples));
                assert_same(&d_initial, &expected.d_initial[..samples * hidden], || case("d initial"));
                match has_d_input {
                    true => assert_same(&d_input, &expected.d_input[..d_input.len()], || case("d input")),
                    false => assert!(d_input.iter().all(|x| *x == UNTOUCHED)),
                }
                let d_sum =
                    |sample: usize, step: usize, n: usize| expected.d_sums[(sample * steps + step) * hidden + n];
                let grid = (samples, steps);
                let [mut weight_ih, mut weight_hh, mut bias_ih, _] = before;
                for (i, to) in weight_ih.iter_mut().enumerate() {
                    let (k, n) = (i / hidden, i % hidden);
                    add_blocks(fused, grid, to, |b, t| (layer.x(b, t)[k], d_sum(b, t, n)));
                }
                for (i, to) in weight_hh.iter_mut().enumerate() {
                    let (k, n) = (i / hidden, i % hidden);
                    add_blocks(fused, grid, to, |b, t| (layer.before(&states, b, t)[k], d_sum(b, t, n)));
                }
                for (n, to) in bias_ih.iter_mut().enumerate() {
                    add_blocks(fused, grid, to, |b, t| (1.0, d_sum(b, t, n)));
                }
                assert_same(&tensors[0], &weight_ih, || case("d weight_ih"));
                assert_same(&tensors[1], &weight_hh, || case("d weight_hh"));
                assert_same(&tensors[2], &bias_ih, || case("d bias_ih"));
                // From the same numbers.
                assert_same(&tensors[3], &bias_ih, || case("d bias_hh"));
            }
        }
    }
}

#[test]
fn backward_of_tanh() {
    at_every_level(check_backward::<Tanh>);
}

#[test]
fn backward_of_relu() {
    at_every_level(check_backward::<Relu>);
}
