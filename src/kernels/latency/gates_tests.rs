//! Steps of one sample of cells of gates, and their backward, for a list of sizes, against scalar ones in the canonical
//! order.

use super::cell::{Gradients, Weights};
use super::gates::{AllSums, GatedStepBackward, GatedSteps, Places, step, sums_of_input};
use super::transposed::add_product_transposed;
use crate::cells::{Gru, Lstm, SUMS};
use crate::kernels::rows::Rows;
use crate::kernels::slice::flat;
use crate::kernels::testing::{
    GatedWeights, Pair, ScalarGated, Sum, UNTOUCHED, assert_same, at_every_level, chains, numbers,
};
use crate::simd::{Kernel, Level, Simd};
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use bytemuck::Pod;
use core::marker::PhantomData;
use core::ops::Range;

/// Calls `$check::<$cell, IN, HID>($level)` for every pair of sizes. Among them, at every level: all chains; neurons that
/// are a part of a vector, one, several, and so many that there are several panels, the last one whole or not.
macro_rules! for_sizes {
    ($check:ident, $cell:ident, $level:expr) => {
        for_sizes!($check, $cell, $level, (1 1) (3 5) (9 8) (17 20) (5 33) (2 64) (3 70))
    };
    ($check:ident, $cell:ident, $level:expr, $(($in:literal $hid:literal))*) => {
        { $($check::<$cell, $in, $hid>($level);)* }
    };
}

fn array<const N: usize>(seed: u64) -> [f32; N] {
    numbers(seed, N).try_into().unwrap()
}

fn rows<R: Pod, const K: usize>(numbers: &[f32]) -> &[R; K] {
    bytemuck::cast_slice(numbers).try_into().unwrap()
}

fn row<R: Pod>(numbers: &[f32]) -> &R {
    &rows::<R, 1>(numbers)[0]
}

fn rows_mut<R: Pod, const K: usize>(numbers: &mut [f32]) -> &mut [R; K] {
    bytemuck::cast_slice_mut(numbers).try_into().unwrap()
}

impl GatedWeights {
    fn of_rows<R: Pod, const IN: usize, const HID: usize>(&self) -> Weights<'_, R, IN, HID> {
        Weights {
            weight_ih: rows(&self.weight_ih),
            weight_hh: rows(&self.weight_hh),
            bias_ih: row(&self.biases[0]),
            bias_hh: row(&self.biases[1]),
        }
    }
}

// ---------------------------------------------------------------- steps

/// Steps one after the other, each from an input; or from the sums that it gives, which are computed once more.
struct OneByOne<'a, C: ScalarGated, const IN: usize, const HID: usize> {
    weights: Weights<'a, C::Row<HID>, IN, HID>,
    x: &'a [[f32; IN]],
    /// Of all steps, those before the first one in front.
    h: &'a mut [[f32; HID]],
    c: &'a mut [[f32; HID]],
    /// Nothing, or a row of all sums for every step.
    kept: &'a mut [f32],
    from_sums: bool,
}

impl<C: ScalarGated, const IN: usize, const HID: usize> Kernel for OneByOne<'_, C, IN, HID> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { weights, x, h, c, mut kept, from_sums } = self;
        for (t, x) in x.iter().enumerate() {
            let (kept_here, rest) = kept.split_at_mut(if kept.is_empty() { 0 } else { SUMS * HID });
            kept = rest;
            let ([h_before, h, ..], [c_before, c, ..]) = (&mut h[t..], &mut c[t..]) else { unreachable!() };
            let (c_before, c): (&[f32], &mut [f32]) = if C::CARRIES { (c_before, c) } else { (&[], &mut []) };
            let places = Places { h_before, c_before, h, c, kept: kept_here };
            if from_sums {
                let mut sums = [[UNTOUCHED; HID]; SUMS];
                sums_of_input::<S, _, C, IN, HID>(s, &weights, x, sums.as_flattened_mut());
                step::<S, C, _, HID>(s, AllSums(flat(&sums)), flat(weights.weight_hh), places);
            } else {
                weights.gated_step::<S, C>(s, x, places);
            }
        }
    }
}

/// All steps at once: of inputs, or of what the products with them are, for the gates of `W_ih`.
struct AtOnce<'a, C: ScalarGated, const IN: usize, const HID: usize> {
    steps: GatedSteps<'a, C::Row<HID>, C, IN, HID>,
    projected: bool,
}

impl<C: ScalarGated, const IN: usize, const HID: usize> Kernel for AtOnce<'_, C, IN, HID> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        if self.projected { self.steps.run::<S, true>(s) } else { self.steps.run::<S, false>(s) }
    }
}

const STEPS: usize = 3;

fn check_steps<C: ScalarGated, const IN: usize, const HID: usize>(level: Level) {
    let model = GatedWeights::new::<C>(1, IN, HID);
    let (x, before) = (numbers(5, STEPS * IN), [array::<HID>(6), array::<HID>(7)]);
    let (mut h, mut c, mut kept) = (before[0].to_vec(), before[1].to_vec(), Vec::new());
    for t in 0..STEPS {
        let after = model.step::<C>(level, &x[t * IN..][..IN], &h[t * HID..], &c[t * HID..]);
        h.extend(after.h);
        c.extend(if C::CARRIES { after.c } else { vec![0.0; HID] });
        kept.extend(after.kept);
    }
    let weights = || model.of_rows::<C::Row<HID>, IN, HID>();
    let case = |what: &str| -> String {
        let cell = core::any::type_name::<C>();
        format!("{level}: {cell}, {IN} inputs, {HID} neurons, {what}")
    };
    for (from_sums, keeps) in [(false, false), (false, true), (true, false), (true, true)] {
        let mut given_h = vec![before[0]; STEPS + 1];
        let mut given_c = [vec![before[1]], vec![[0.0; HID]; STEPS]].concat();
        let mut given_kept = vec![UNTOUCHED; if keeps { kept.len() } else { 0 }];
        level.run(OneByOne::<C, IN, HID> {
            weights: weights(),
            x: x.as_chunks().0,
            h: &mut given_h,
            c: &mut given_c,
            kept: &mut given_kept,
            from_sums,
        });
        let way = if from_sums { "from sums" } else { "one by one" };
        assert_same(given_h.as_flattened(), &h, || case(way));
        assert_same(given_c.as_flattened(), &c, || case(&format!("c {way}")));
        assert_same(&given_kept, &kept[..given_kept.len()], || case(&format!("kept {way}")));
    }
    let of_input = |i: usize| {
        let (t, gate, n) = (i / (C::GATES * HID), i / HID % C::GATES, i % HID);
        model.of_input::<C>(level.is_fused(), gate, n, &x[t * IN..][..IN]).checked()
    };
    let projected: Vec<f32> = (0..STEPS * C::GATES * HID).map(of_input).collect();
    for is_projected in [false, true] {
        let mut given_h = vec![[UNTOUCHED; HID]; STEPS];
        let mut given_c = vec![UNTOUCHED; if C::CARRIES { STEPS * HID } else { 0 }];
        let mut given_kept = vec![UNTOUCHED; kept.len()];
        let steps = GatedSteps {
            cell: PhantomData::<C>,
            weights: weights(),
            input: match is_projected {
                true => Rows::batch_first(&projected, C::GATES * HID, STEPS),
                false => Rows::batch_first(&x, IN, STEPS),
            },
            before: (&before[0], if C::CARRIES { &before[1] } else { &[] }),
            h: &mut given_h,
            c: &mut given_c,
            kept: &mut given_kept,
        };
        level.run(AtOnce::<C, IN, HID> { steps, projected: is_projected });
        let way = if is_projected { "projected" } else { "at once" };
        assert_same(given_h.as_flattened(), &h[HID..], || case(way));
        assert_same(&given_c, &c[HID..][..given_c.len()], || case(&format!("c {way}")));
        assert_same(&given_kept, &kept, || case(&format!("kept {way}")));
    }
}

#[test]
fn steps_of_gru() {
    at_every_level(|level| for_sizes!(check_steps, Gru, level));
}

#[test]
fn steps_of_lstm() {
    at_every_level(|level| for_sizes!(check_steps, Lstm, level));
}

// ---------------------------------------------------------------- backward

fn check_backward<C: ScalarGated, const IN: usize, const HID: usize>(level: Level) {
    let fused = level.is_fused();
    let model = GatedWeights::new::<C>(1, IN, HID);
    let (x, before, d_after) = (array::<IN>(5), [6, 7].map(array::<HID>), [8, 9].map(array::<HID>));
    let after = model.step::<C>(level, &x, &before[0], &before[1]);
    let (mut d_sums, mut d_before) = (vec![0.0; SUMS * HID], d_after);
    for n in 0..HID {
        let c = if C::CARRIES { [before[1][n], after.c[n], d_after[1][n]] } else { [0.0; 3] };
        let kept = core::array::from_fn(|sum| after.kept[sum * HID + n]);
        let (from, to, d) =
            (Pair { h: before[0][n], c: c[0] }, Pair { h: after.h[n], c: c[1] }, Pair { h: d_after[0][n], c: c[2] });
        let (of_sums, d) = C::back(level, kept, from, to, d);
        (0..SUMS).for_each(|sum| d_sums[sum * HID + n] = of_sums[sum]);
        (d_before[0][n], d_before[1][n]) = (d.h, d.c);
    }
    for (n, d) in d_before[0].iter_mut().enumerate() {
        *d += model.d_state::<C>(fused, 0.0, &d_sums, n);
    }
    let d_x: Vec<f32> = (0..IN).map(|k| model.d_input::<C>(fused, &d_sums, k, IN)).collect();
    // Products that are added to what is there, each rounded.
    let mut expected = GatedWeights::new::<C>(11, IN, HID);
    let mut gradients = expected.clone();
    let of_gates = C::d_gates(&d_sums, HID);
    let of_input = &d_sums[..C::GATES * HID];
    let add = |to: &mut [f32], x: &[f32], d: &[f32]| {
        to.iter_mut().enumerate().for_each(|(i, to)| *to += x[i / d.len()] * d[i % d.len()]);
    };
    add(&mut expected.weight_ih, &x, of_input);
    add(&mut expected.weight_hh, &before[0], &of_gates);
    add(&mut expected.biases[0], &[1.0], of_input);
    add(&mut expected.biases[1], &[1.0], &of_gates);
    let start = gradients.clone();
    for has_d_x in [false, true] {
        gradients.clone_from(&start);
        let GatedWeights { weight_ih, weight_hh, biases: [bias_ih, bias_hh], .. } = &mut gradients;
        let (mut d_h, mut d_c, mut given_d_x) = (d_after[0], d_after[1].to_vec(), [UNTOUCHED; IN]);
        let parts = |c: &[f32]| if C::CARRIES { c.to_vec() } else { Vec::new() };
        let (c_before, c_after) = (parts(&before[1]), parts(&after.c));
        let h_after: [f32; HID] = after.h.as_slice().try_into().unwrap();
        level.run(GatedStepBackward {
            cell: PhantomData::<C>,
            weights: model.of_rows::<C::Row<HID>, IN, HID>(),
            x: &x,
            before: (&before[0], &c_before),
            after: (&h_after, &c_after),
            kept: &after.kept,
            d_h: &mut d_h,
            d_c: if C::CARRIES { &mut d_c } else { &mut [] },
            d_x: has_d_x.then_some(&mut given_d_x),
            gradients: Gradients {
                weight_ih: rows_mut(weight_ih),
                weight_hh: rows_mut(weight_hh),
                bias_ih: &mut rows_mut::<_, 1>(bias_ih)[0],
                bias_hh: &mut rows_mut::<_, 1>(bias_hh)[0],
            },
        });
        let case = |what: &str| {
            let cell = core::any::type_name::<C>();
            format!("{level}: {cell}, {IN} inputs, {HID} neurons, {what}")
        };
        assert_same(&d_h, &d_before[0], || case("d h"));
        assert_same(&d_c, if C::CARRIES { &d_before[1] } else { &d_after[1] }, || case("d c"));
        assert_same(&given_d_x, if has_d_x { &d_x } else { &[UNTOUCHED; IN] }, || case("d x"));
        assert_same(&gradients.weight_ih, &expected.weight_ih, || case("d weight_ih"));
        assert_same(&gradients.weight_hh, &expected.weight_hh, || case("d weight_hh"));
        assert_same(&gradients.biases[0], &expected.biases[0], || case("d bias_ih"));
        assert_same(&gradients.biases[1], &expected.biases[1], || case("d bias_hh"));
    }
}

#[test]
fn steps_of_gru_back() {
    at_every_level(|level| for_sizes!(check_backward, Gru, level));
}

#[test]
fn steps_of_lstm_back() {
    at_every_level(|level| for_sizes!(check_backward, Lstm, level));
}

// ---------------------------------------------------------------- products with transposes

struct AddTransposed<'a, const K: usize, const HID: usize> {
    /// Rows of so many numbers.
    weight: (&'a [f32], usize),
    gates: Range<usize>,
    d: &'a [f32],
    out: &'a mut [f32; K],
}

impl<const K: usize, const HID: usize> Kernel for AddTransposed<'_, K, HID> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        add_product_transposed::<S, K, HID>(s, self.weight, self.gates, self.d, self.out);
    }
}

/// Gates of any place and number, of which each may have chains of its own, or parts of several.
fn check_transposed<const K: usize, const HID: usize>(level: Level) {
    const GATES: usize = 4;
    let row = GATES * HID;
    let (weight, d, start) = (numbers(1, K * row), numbers(2, row), array::<K>(3));
    for gates in (0..=GATES).flat_map(|end| (0..=end).map(move |first| first..end)) {
        let terms = gates.len() * HID;
        let expected: Vec<f32> = (0..K)
            .map(|k| {
                let mut sum = Sum::start(start[k]);
                let at = |n: usize| gates.start * HID + n;
                let factors = |n: usize| (d[at(n)], weight[k * row + at(n)]);
                sum.add_products(level.is_fused(), chains(terms, K), terms, factors);
                sum.checked()
            })
            .collect();
        let mut out = start;
        let what = gates.clone();
        level.run(AddTransposed::<K, HID> { weight: (&weight, row), gates, d: &d, out: &mut out });
        assert_same(&out, &expected, || format!("{level}: {K} outputs, {HID} neurons, gates {what:?}"));
    }
}

#[test]
fn products_with_transposed_gates() {
    macro_rules! for_sizes {
        ($level:expr, $(($k:literal $hid:literal))*) => { { $(check_transposed::<$k, $hid>($level);)* } };
    }
    at_every_level(|level| {
        for_sizes!(level, (1 1) (3 5) (2 1) (5 8) (8 3) (16 4) (17 20) (33 12) (31 9) (20 70) (130 6));
    });
}
