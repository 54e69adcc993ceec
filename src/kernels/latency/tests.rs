//! Products of one sample and steps of a cell, for a list of sizes, against scalar sums in the canonical order.

use super::cell::{Gradients, OneSample, StepBackward, Steps, Weights};
use super::matvec::{Biases, Identity, State, add_product, evaluate, product};
use super::transposed::matvec_transposed;
use crate::cells::{Relu, Tanh};
use crate::kernels::rows::Rows;
use crate::kernels::testing::{ScalarCell, Sum, assert_same, at_every_level, chains, numbers};
use crate::simd::{Kernel, Level, Simd};
use alloc::boxed::Box;
use alloc::format;
use alloc::vec;
use alloc::vec::Vec;
use core::marker::PhantomData;

/// Calls `$check::<K, N>($level)` for every pair of sizes. Among them: all chains; one vector, several, and parts of them at
/// every level; states that are one vector; sums long enough to be read by fours; weights that are read row by row.
macro_rules! for_sizes {
    ($check:ident, $level:expr) => {
        for_sizes!($check, $level, (1 1) (1 5) (2 3) (3 16) (3 40) (4 4) (4 7) (5 24) (7 33) (8 8) (8 20) (9 9) (12 12)
            (16 4) (16 16) (16 31) (31 9) (32 32) (40 25) (64 64) (65 40) (131 9) (131 49) (3 127) (9 128) (40 193)
            (50 260) (128 128))
    };
    ($check:ident, $level:expr, $(($k:literal $n:literal))*) => {
        { $($check::<$k, $n>($level);)* }
    };
}

fn boxed<const K: usize, const N: usize>(seed: u64) -> Box<[[f32; N]; K]> {
    let rows: Vec<[f32; N]> = numbers(seed, K * N).as_chunks().0.to_vec();
    rows.into_boxed_slice().try_into().unwrap()
}

fn array<const N: usize>(seed: u64) -> [f32; N] {
    numbers(seed, N).try_into().unwrap()
}

/// The sum of one output.
fn add<const K: usize, const N: usize>(level: Level, sum: &mut Sum, weight: &[[f32; N]; K], x: &[f32], n: usize) {
    sum.add_products(level.is_fused(), chains(K, N), K, |k| (x[k], weight[k][n]));
}

/// A vector of sums, each near the exact one.
fn sums<const N: usize>(of: impl Fn(usize) -> Sum) -> Vec<f32> {
    (0..N).map(|n| of(n).checked()).collect()
}

// ---------------------------------------------------------------- products

/// All ways to one product: of inputs, of a state, in place, from two biases; and of a state, finished.
struct Products<'a, const K: usize, const N: usize> {
    start: &'a [f32; N],
    biases: [&'a [f32; N]; 2],
    weight: &'a [[f32; N]; K],
    x: &'a [f32; K],
}

impl<const K: usize, const N: usize> Kernel for Products<'_, K, N> {
    type Output = [[f32; N]; 5];

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> [[f32; N]; 5] {
        let Self { start, biases: [a, b], weight, x } = self;
        let mut in_place = *start;
        add_product(s, weight, x, &mut in_place, Identity);
        [
            evaluate(s, &product(start, weight, x), Identity),
            evaluate(s, &product(start, weight, State(x)), Identity),
            in_place,
            evaluate(s, &product(Biases(a, b), weight, x), Identity),
            evaluate(s, &product(start, weight, State(x)), Tanh),
        ]
    }
}

fn check_products<const K: usize, const N: usize>(level: Level) {
    let (weight, x) = (boxed::<K, N>(1), array::<K>(2));
    let (start, biases) = (array::<N>(3), [array::<N>(4), array::<N>(5)]);
    let from_start = sums::<N>(|n| {
        let mut sum = Sum::start(start[n]);
        add(level, &mut sum, &weight, &x, n);
        sum
    });
    let from_biases = sums::<N>(|n| {
        let mut sum = Sum::start(biases[0][n]);
        sum.add(biases[1][n]);
        add(level, &mut sum, &weight, &x, n);
        sum
    });
    let mut finished = from_start.clone();
    Tanh::states(level, &mut finished);
    let expected = [&from_start, &from_start, &from_start, &from_biases, &finished];
    let ways = ["of inputs", "of a state", "in place", "from biases", "finished"];
    let given = level.run(Products { start: &start, biases: biases.each_ref(), weight: &weight, x: &x });
    for ((given, expected), way) in given.iter().zip(expected).zip(ways) {
        assert_same(given, expected, || format!("{level}: {K} terms, {N} outputs, {way}"));
    }
}

#[test]
fn products() {
    at_every_level(|level| for_sizes!(check_products, level));
}

struct Transposed<'a, const K: usize, const N: usize>(&'a [[f32; N]; K], &'a [f32; N]);

impl<const K: usize, const N: usize> Kernel for Transposed<'_, K, N> {
    type Output = [f32; K];

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> [f32; K] {
        matvec_transposed(s, self.0, self.1)
    }
}

/// The sum of one output of the product with the transpose.
fn transposed<const K: usize, const N: usize>(level: Level, weight: &[[f32; N]; K], d: &[f32], k: usize) -> Sum {
    let mut sum = Sum::start(0.0);
    sum.add_products(level.is_fused(), chains(N, K), N, |n| (d[n], weight[k][n]));
    sum
}

fn check_transposed<const K: usize, const N: usize>(level: Level) {
    let (weight, d) = (boxed::<K, N>(1), array::<N>(2));
    let expected = sums::<K>(|k| transposed(level, &weight, &d, k));
    let given = level.run(Transposed(&weight, &d));
    assert_same(&given, &expected, || format!("{level}: {N} terms, {K} outputs, transposed"));
}

#[test]
fn products_with_transposes() {
    at_every_level(|level| {
        for_sizes!(check_transposed, level, (1 1) (3 16) (4 7) (5 24) (8 8) (9 9) (13 17) (16 31) (31 9) (20 3) (33 70)
            (65 40) (130 20) (3 127));
    });
}

// ---------------------------------------------------------------- steps of a cell

struct Cell<const IN: usize, const HID: usize> {
    weight_ih: Box<[[f32; HID]; IN]>,
    weight_hh: Box<[[f32; HID]; HID]>,
    bias_ih: [f32; HID],
    bias_hh: [f32; HID],
}

impl<const IN: usize, const HID: usize> Cell<IN, HID> {
    fn new() -> Self {
        // Small enough that states do not all end at one.
        let mut weight_hh = boxed::<HID, HID>(12);
        weight_hh.as_flattened_mut().iter_mut().for_each(|w| *w /= (HID as f32).sqrt());
        Self { weight_ih: boxed(11), weight_hh, bias_ih: array(13), bias_hh: array(14) }
    }

    fn weights(&self) -> Weights<'_, [f32; HID], IN, HID> {
        let Self { weight_ih, weight_hh, bias_ih, bias_hh } = self;
        Weights { weight_ih, weight_hh, bias_ih, bias_hh }
    }

    /// The next state.
    fn step<A: ScalarCell>(&self, level: Level, x: &[f32], h: &[f32]) -> Vec<f32> {
        let mut z = Vec::new();
        let mut exact = Vec::new();
        for n in 0..HID {
            let mut sum = Sum::start(self.bias_ih[n]);
            sum.add(self.bias_hh[n]);
            add(level, &mut sum, &self.weight_ih, x, n);
            add(level, &mut sum, &self.weight_hh, h, n);
            z.push(sum.checked());
            exact.push(sum);
        }
        A::states(level, &mut z);
        z.iter().zip(exact).for_each(|(state, sum)| A::assert_state(*state, &sum));
        z
    }
}

/// A step of some samples together, which is also one of each alone.
struct Together<'a, A, const IN: usize, const HID: usize>(
    A,
    Weights<'a, [f32; HID], IN, HID>,
    &'a [[f32; IN]],
    &'a mut [[f32; HID]],
);

impl<A: ScalarCell, const IN: usize, const HID: usize> Kernel for Together<'_, A, IN, HID> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        self.1.step_together(s, self.0, self.2, self.3);
    }
}

fn check_cell<A: ScalarCell, const IN: usize, const HID: usize>(level: Level, cell: A) {
    let c = Cell::<IN, HID>::new();
    let x = boxed::<6, IN>(15);
    let states = boxed::<6, HID>(16);
    for samples in [1, 2, 4, 5, 6] {
        let mut h = states[..samples].to_vec();
        level.run(Together(cell, c.weights(), &x[..samples], &mut h));
        for ((given, x), h) in h.iter().zip(x.iter()).zip(states.iter()) {
            let expected = c.step::<A>(level, x, h);
            assert_same(given, &expected, || {
                format!("{level}: a step of {samples} samples, {IN} inputs, {HID} neurons")
            });
        }
    }
    // Six steps of one sample, and the same with the products of the inputs taken before.
    let mut expected: Vec<Vec<f32>> = Vec::new();
    let mut projected = vec![[0.0; HID]; 6];
    for (x, z) in x.iter().zip(&mut projected) {
        expected.push(c.step::<A>(level, x, expected.last().map_or(&states[0][..], Vec::as_slice)));
        let sums = sums::<HID>(|n| {
            let mut sum = Sum::start(c.bias_ih[n] + c.bias_hh[n]);
            add(level, &mut sum, &c.weight_ih, x, n);
            sum
        });
        z.copy_from_slice(&sums);
    }
    let mut given = vec![[0.0; HID]; 6];
    let input = Rows::batch_first(x.as_flattened(), IN, 6);
    level.run(Steps { cell, weights: c.weights(), input, before: &states[0], states: &mut given });
    level.run(OneSample { cell, weight_hh: &c.weight_hh, before: &states[0], states: &mut projected });
    for (step, expected) in expected.iter().enumerate() {
        assert_same(&given[step], expected, || format!("{level}: step {step}, {IN} inputs, {HID} neurons"));
        assert_same(&projected[step], expected, || format!("{level}: step {step} of {HID} neurons, projected"));
    }
    check_backward(level, cell, &c, &x[0], &states);
}

fn check_backward<A: ScalarCell, const IN: usize, const HID: usize>(
    level: Level,
    _: A,
    c: &Cell<IN, HID>,
    x: &[f32; IN],
    states: &[[f32; HID]; 6],
) {
    let [h, h_next, d_h_next, ..] = states;
    let mut gradients = Cell::<IN, HID>::new();
    let mut d_x = [0.0; IN];
    for has_d_x in [false, true] {
        let Cell { weight_ih, weight_hh, bias_ih, bias_hh } = &mut gradients;
        let before = (weight_ih.clone(), weight_hh.clone(), *bias_ih, *bias_hh);
        let d_h = level.run(StepBackward {
            cell: PhantomData::<A>,
            weights: c.weights(),
            step: (x, h, h_next),
            d_h_next,
            d_x: has_d_x.then_some(&mut d_x),
            gradients: Gradients { weight_ih, weight_hh, bias_ih, bias_hh },
        });
        let case = |what: &str| format!("{level}: {what} of {IN} inputs, {HID} neurons");
        let d_sum = |(d, y): (&f32, &f32)| A::d_of_sum(level.is_fused(), *d, *y);
        let d_sums: Vec<f32> = d_h_next.iter().zip(h_next).map(d_sum).collect();
        // Products that are added to what is there, each rounded.
        let plus = |before: &[[f32; HID]], x: &[f32]| -> Vec<f32> {
            let rows = before.iter().zip(x);
            rows.flat_map(|(row, x)| row.iter().zip(&d_sums).map(move |(to, d)| to + x * d)).collect()
        };
        assert_same(weight_ih.as_flattened(), &plus(&*before.0, x), || case("d weight_ih"));
        assert_same(weight_hh.as_flattened(), &plus(&*before.1, h), || case("d weight_hh"));
        assert_same(bias_ih, &plus(&[before.2], &[1.0]), || case("d bias_ih"));
        assert_same(bias_hh, &plus(&[before.3], &[1.0]), || case("d bias_hh"));
        assert_same(&d_h, &sums::<HID>(|k| transposed(level, &c.weight_hh, &d_sums, k)), || case("d h"));
        if has_d_x {
            assert_same(&d_x, &sums::<IN>(|k| transposed(level, &c.weight_ih, &d_sums, k)), || case("d x"));
        }
    }
}

#[test]
fn steps_of_cells() {
    fn check<const IN: usize, const HID: usize>(level: Level) {
        check_cell::<_, IN, HID>(level, Tanh);
    }
    at_every_level(|level| {
        for_sizes!(check, level, (1 1) (3 5) (4 4) (5 16) (9 20) (20 33) (3 100) (10 200));
        check_cell::<_, 2, 8>(level, Relu);
    });
}
