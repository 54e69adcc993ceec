//! A step of one sample of a cell of gates, and the steps of a sequence; the backward of a step beneath.
//!
//! ```text
//! for each panel of neurons n:
//!     for each sum g: z[g][n] = bias[g][n] + what of W_ih x and W_hh h feeds it
//!     h'[n], c'[n] = cell(z[..][n], h[n], c[n]), while the sums are in registers
//! ```
//!
//! A panel holds the vectors of some neurons for all sums, so that each number of `x` and `h` is broadcast once for all of
//! them. Two chains of a sum go side by side where there are several.

use super::cell::{Gradients, Weights};
use super::matvec::{Panelwise, store_of_panel, walk};
use super::transposed::add_product_transposed;
use crate::cells::{Carried, Gated, SUMS, State};
use crate::kernels::gates::CellBackward;
use crate::kernels::gradient::{add_outer_product, add_row};
use crate::kernels::order::{chain_start, chains};
#[cfg(feature = "alloc")]
use crate::kernels::rows::Rows;
use crate::kernels::slice::{flat, flat_mut, starting_at, starting_at_mut, zeros};
use crate::simd::{Kernel, Simd, load_some};
use core::marker::PhantomData;
use core::slice::{from_mut, from_ref};

/// Vectors of `V` neurons for every sum.
type Panel<F32, const V: usize> = [[F32; V]; SUMS];

/// Which neurons a panel has: vectors from `first` on, the last of which reaches beyond the last neuron if `partial`.
#[derive(Clone, Copy)]
pub(crate) struct Neurons {
    first: usize,
    partial: bool,
}

impl Neurons {
    /// Vector `v` of a row of gates of `HID` numbers, of a gate. What lies behind the gate is the next one, or the next row:
    /// it does no harm in lanes that are dropped.
    #[inline(always)]
    fn load<S: Simd, const V: usize, const HID: usize>(self, s: S, row: &[f32], gate: usize, v: usize) -> S::F32 {
        let numbers = starting_at(row, gate * HID + self.first + v * S::LANES);
        if self.partial && v == V - 1 { load_some(s, numbers) } else { s.load(numbers) }
    }

    /// The same of one row of `HID` numbers.
    #[inline(always)]
    fn load_state<S: Simd, const V: usize>(self, s: S, state: &[f32], v: usize) -> S::F32 {
        let numbers = starting_at(state, self.first + v * S::LANES);
        if self.partial && v == V - 1 { s.load_partial(numbers) } else { s.load(numbers) }
    }

    #[inline(always)]
    fn store<S: Simd, const V: usize>(self, s: S, vector: S::F32, state: &mut [f32], v: usize) {
        let to = starting_at_mut(state, self.first + v * S::LANES);
        store_of_panel(s, vector, to, self.partial && v == V - 1);
    }
}

/// What the sums of a step are before the state adds to them.
pub(crate) trait GateStart<C, const HID: usize> {
    /// Chains of the products in it, the most of any.
    const CHAINS: usize;
    fn panel<S: Simd, const V: usize>(&self, s: S, neurons: Neurons) -> Panel<S::F32, V>;
}

/// `W_ih x` and all biases.
struct OfInput<'a, R, const IN: usize, const HID: usize> {
    weights: &'a Weights<'a, R, IN, HID>,
    x: &'a [f32; IN],
}

impl<R: bytemuck::Pod, C: Gated, const IN: usize, const HID: usize> GateStart<C, HID> for OfInput<'_, R, IN, HID> {
    const CHAINS: usize = chains(IN, C::FEEDS.gates * HID);

    #[inline(always)]
    fn panel<S: Simd, const V: usize>(&self, s: S, neurons: Neurons) -> Panel<S::F32, V> {
        let (bias_ih, bias_hh) = (flat(from_ref(self.weights.bias_ih)), flat(from_ref(self.weights.bias_hh)));
        let mut sums: Panel<S::F32, V> = zeros();
        unrolled!(g of 0 1 2 3, {
            unrolled!(v < V, {
                sums[g][v] = match (g < C::FEEDS.gates, C::FEEDS.recurrent_gates[g]) {
                    (true, Some(gate)) => {
                        let of_input = neurons.load::<S, V, HID>(s, bias_ih, g, v);
                        s.add(of_input, neurons.load::<S, V, HID>(s, bias_hh, gate, v))
                    }
                    (true, None) => neurons.load::<S, V, HID>(s, bias_ih, g, v),
                    (false, Some(gate)) => neurons.load::<S, V, HID>(s, bias_hh, gate, v),
                    (false, None) => s.splat(0.0),
                };
            });
        });
        add_product::<S, C, V, IN, HID, false>(s, flat(self.weights.weight_ih), self.x, neurons, sums)
    }
}

/// A row that has them already, for the gates of `W_ih`; beside it the biases of the other sums.
#[cfg(feature = "alloc")]
pub(crate) struct Projected<'a> {
    pub(crate) row: &'a [f32],
    pub(crate) bias_hh: &'a [f32],
}

#[cfg(feature = "alloc")]
impl<C: Gated, const HID: usize> GateStart<C, HID> for Projected<'_> {
    const CHAINS: usize = 1;

    #[inline(always)]
    fn panel<S: Simd, const V: usize>(&self, s: S, neurons: Neurons) -> Panel<S::F32, V> {
        let mut sums: Panel<S::F32, V> = zeros();
        unrolled!(g of 0 1 2 3, {
            unrolled!(v < V, {
                sums[g][v] = if g < C::FEEDS.gates {
                    neurons.load::<S, V, HID>(s, self.row, g, v)
                } else if let Some(gate) = C::FEEDS.recurrent_gates[g] {
                    neurons.load::<S, V, HID>(s, self.bias_hh, gate, v)
                } else {
                    s.splat(0.0)
                };
            });
        });
        sums
    }
}

/// A row of all sums.
pub(crate) struct AllSums<'a>(pub(crate) &'a [f32]);

impl<C: Gated, const HID: usize> GateStart<C, HID> for AllSums<'_> {
    const CHAINS: usize = 1;

    #[inline(always)]
    fn panel<S: Simd, const V: usize>(&self, s: S, neurons: Neurons) -> Panel<S::F32, V> {
        let mut sums: Panel<S::F32, V> = zeros();
        unrolled!(g of 0 1 2 3, {
            unrolled!(v < V, {
                sums[g][v] = neurons.load::<S, V, HID>(s, self.0, g, v);
            });
        });
        sums
    }
}

/// The sums of one row for a table: what a token gives to every sum.
#[inline(always)]
pub(crate) fn sums_of_input<S: Simd, R: bytemuck::Pod, C: Gated, const IN: usize, const HID: usize>(
    s: S,
    weights: &Weights<'_, R, IN, HID>,
    x: &[f32; IN],
    to: &mut [f32],
) {
    walk::<S, _, HID>(s, &mut StoreSums { start: OfInput { weights, x }, to, cell: PhantomData::<C> });
}

/// A row of states, and what is written in a step.
pub(crate) struct Places<'a> {
    pub(crate) h_before: &'a [f32],
    pub(crate) c_before: &'a [f32],
    pub(crate) h: &'a mut [f32],
    /// Empty for cells without it.
    pub(crate) c: &'a mut [f32],
    /// What the backward needs, a row of all sums; empty if there will be none.
    pub(crate) kept: &'a mut [f32],
}

/// One step: `start` and `W_hh h`, and then the cell.
#[inline(always)]
pub(crate) fn step<S: Simd, C: Gated, T: GateStart<C, HID>, const HID: usize>(
    s: S,
    start: T,
    weight_hh: &[f32],
    places: Places<'_>,
) {
    walk::<S, _, HID>(s, &mut Advance::<T, C> { start, weight_hh, places, cell: PhantomData });
}

/// The same of a state in place.
#[inline(always)]
pub(crate) fn step_in_place<S: Simd, C: Gated, T: GateStart<C, HID>, const HID: usize>(
    s: S,
    start: T,
    weight_hh: &[f32],
    state: &mut C::State<HID>,
    kept: &mut [f32],
) {
    let before = *state;
    let (h, c) = state.both_mut();
    step::<S, C, T, HID>(s, start, weight_hh, Places { h_before: before.h(), c_before: before.c(), h, c, kept });
}

impl<R: bytemuck::Pod, const IN: usize, const HID: usize> Weights<'_, R, IN, HID> {
    /// One step of a cell of gates.
    #[cfg(feature = "alloc")]
    #[inline(always)]
    pub(crate) fn gated_step<S: Simd, C: Gated>(&self, s: S, x: &[f32; IN], places: Places<'_>) {
        step::<S, C, _, HID>(s, OfInput { weights: self, x }, flat(self.weight_hh), places);
    }

    /// The same of a state in place.
    #[inline(always)]
    pub(crate) fn gated_step_in_place<S: Simd, C: Gated>(
        &self,
        s: S,
        x: &[f32; IN],
        state: &mut C::State<HID>,
        kept: &mut [f32],
    ) {
        step_in_place::<S, C, _, HID>(s, OfInput { weights: self, x }, flat(self.weight_hh), state, kept);
    }
}

struct StoreSums<'a, T, C> {
    start: T,
    to: &'a mut [f32],
    cell: PhantomData<C>,
}

impl<T: GateStart<C, HID>, C: Gated, const HID: usize> Panelwise<HID> for StoreSums<'_, T, C> {
    const CHAINS: usize = T::CHAINS;
    const SUMS: usize = SUMS;

    #[inline(always)]
    fn panel<S: Simd, const V: usize>(&mut self, s: S, first: usize, partial: bool) {
        let neurons = Neurons { first, partial };
        let sums = self.start.panel::<S, V>(s, neurons);
        unrolled!(g of 0 1 2 3, {
            unrolled!(v < V, {
                neurons.store::<S, V>(s, sums[g][v], &mut self.to[g * HID..(g + 1) * HID], v);
            });
        });
    }
}

struct Advance<'a, T, C> {
    start: T,
    weight_hh: &'a [f32],
    places: Places<'a>,
    cell: PhantomData<C>,
}

impl<T: GateStart<C, HID>, C: Gated, const HID: usize> Panelwise<HID> for Advance<'_, T, C> {
    const CHAINS: usize =
        if T::CHAINS > chains(HID, C::FEEDS.gates * HID) { T::CHAINS } else { chains(HID, C::FEEDS.gates * HID) };
    const SUMS: usize = SUMS;

    #[inline(always)]
    fn panel<S: Simd, const V: usize>(&mut self, s: S, first: usize, partial: bool) {
        let neurons = Neurons { first, partial };
        let Places { h_before, c_before, h, c, kept } = &mut self.places;
        let sums = self.start.panel::<S, V>(s, neurons);
        let Some(state) = h_before.first_chunk::<HID>() else { return };
        let sums = add_product::<S, C, V, HID, HID, true>(s, self.weight_hh, state, neurons, sums);
        unrolled!(v < V, {
            let c_here = if C::CARRIES { neurons.load_state::<S, V>(s, c_before, v) } else { s.splat(0.0) };
            let before = Carried { h: neurons.load_state::<S, V>(s, h_before, v), c: c_here };
            let (after, to_keep) = C::forward(s, [sums[0][v], sums[1][v], sums[2][v], sums[3][v]], before);
            neurons.store::<S, V>(s, after.h, h, v);
            if C::CARRIES {
                neurons.store::<S, V>(s, after.c, c, v);
            }
            if !kept.is_empty() {
                unrolled!(g of 0 1 2 3, {
                    neurons.store::<S, V>(s, to_keep[g], &mut kept[g * HID..(g + 1) * HID], v);
                });
            }
        });
    }
}

/// `sums` and the product of `x` with the weights of the input or of the state, in the canonical order.
#[inline(always)]
fn add_product<S: Simd, C: Gated, const V: usize, const K: usize, const HID: usize, const OF_STATE: bool>(
    s: S,
    weight: &[f32],
    x: &[f32; K],
    neurons: Neurons,
    sums: Panel<S::F32, V>,
) -> Panel<S::F32, V> {
    let count = const { chains(K, C::FEEDS.gates * HID) };
    let [first, second] = pair::<S, C, V, K, HID, OF_STATE>(s, weight, x, neurons, 0, sums);
    if count == 1 {
        return first;
    }
    let total = add_panels::<S, C, V, OF_STATE>(s, &first, &second);
    if count == 2 {
        return total;
    }
    let [third, fourth] = pair::<S, C, V, K, HID, OF_STATE>(s, weight, x, neurons, 2, zeros());
    let rest = add_panels::<S, C, V, OF_STATE>(s, &third, &fourth);
    add_panels::<S, C, V, OF_STATE>(s, &total, &rest)
}

/// `a + b` of the sums that a matrix feeds; those of `a` where it feeds none.
#[inline(always)]
fn add_panels<S: Simd, C: Gated, const V: usize, const OF_STATE: bool>(
    s: S,
    a: &Panel<S::F32, V>,
    b: &Panel<S::F32, V>,
) -> Panel<S::F32, V> {
    let mut sums = *a;
    unrolled!(g < C::FEEDS.gates, of 0 1 2 3, {
        unrolled!(v < V, {
            let sum = if OF_STATE { C::FEEDS.recurrent[g] } else { g };
            sums[sum][v] = s.add(a[sum][v], b[sum][v]);
        });
    });
    sums
}

/// Chain `first` of a product, from `start`, and the one behind it, if there are several, from zero.
#[inline(always)]
fn pair<S: Simd, C: Gated, const V: usize, const K: usize, const HID: usize, const OF_STATE: bool>(
    s: S,
    weight: &[f32],
    x: &[f32; K],
    neurons: Neurons,
    first: usize,
    start: Panel<S::F32, V>,
) -> [Panel<S::F32, V>; 2] {
    let count = const { chains(K, C::FEEDS.gates * HID) };
    let side_by_side = const { if chains(K, C::FEEDS.gates * HID) == 1 { 1 } else { 2 } };
    let mut sums: [Panel<S::F32, V>; 2] = [start, zeros()];
    // A loop must stay a loop where there is more than one vector: the compiler cannot unroll what it cannot count.
    let terms = if V > 1 { core::hint::black_box(K / count).min(K / count) } else { K / count };
    let mut i = 0;
    while i < terms {
        unrolled!(c of 0 1, {
            if c < side_by_side {
                let k = chain_start(first + c, count, K) + i;
                add_term::<S, C, V, HID, OF_STATE>(s, weight, k, x[k], neurons, &mut sums[c]);
            }
        });
        i += 1;
    }
    // Chains differ in length by one at most.
    unrolled!(c of 0 1, {
        if c < side_by_side {
            let k = chain_start(first + c, count, K) + K / count;
            if k < chain_start(first + c + 1, count, K) {
                add_term::<S, C, V, HID, OF_STATE>(s, weight, k, x[k], neurons, &mut sums[c]);
            }
        }
    });
    sums
}

/// `sums[of gate g] += x * weight[k][g]` for every gate.
#[inline(always)]
fn add_term<S: Simd, C: Gated, const V: usize, const HID: usize, const OF_STATE: bool>(
    s: S,
    weight: &[f32],
    k: usize,
    x: f32,
    neurons: Neurons,
    sums: &mut Panel<S::F32, V>,
) {
    let x = s.splat(x);
    let row = starting_at(weight, k * C::FEEDS.gates * HID);
    unrolled!(g < C::FEEDS.gates, of 0 1 2 3, {
        unrolled!(v < V, {
            let sum = if OF_STATE { C::FEEDS.recurrent[g] } else { g };
            sums[sum][v] = s.mul_add(x, neurons.load::<S, V, HID>(s, row, g, v), sums[sum][v]);
        });
    });
}

/// The backward of a step, which adds to the gradients and replaces the gradients of the states after it by those of the
/// states before it.
pub(crate) struct GatedStepBackward<'a, R, C, const IN: usize, const HID: usize> {
    pub(crate) cell: PhantomData<C>,
    pub(crate) weights: Weights<'a, R, IN, HID>,
    pub(crate) x: &'a [f32; IN],
    /// `h` and `c`.
    pub(crate) before: (&'a [f32; HID], &'a [f32]),
    pub(crate) after: (&'a [f32; HID], &'a [f32]),
    /// What the forward has kept, a row of all sums.
    pub(crate) kept: &'a [f32],
    pub(crate) d_h: &'a mut [f32; HID],
    pub(crate) d_c: &'a mut [f32],
    pub(crate) d_x: Option<&'a mut [f32; IN]>,
    pub(crate) gradients: Gradients<'a, R, IN, HID>,
}

impl<R: bytemuck::Pod, C: Gated, const IN: usize, const HID: usize> Kernel for GatedStepBackward<'_, R, C, IN, HID> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { weights, x, before, after, kept, d_h, d_c, d_x, gradients, .. } = self;
        let feeds = C::FEEDS;
        let mut d_sums = [[0f32; HID]; SUMS];
        CellBackward {
            kept,
            before: (before.0, before.1),
            after: (after.0, after.1),
            d_h_more: None,
            d_h,
            d_c,
            d_sums: flat_mut(&mut d_sums),
        }
        .run::<S, C>(s);
        let of_input = &flat(&d_sums)[..feeds.gates * HID];
        let mut of_gates = [[0.0; HID]; SUMS];
        unrolled!(g of 0 1 2 3, {
            if g < feeds.gates {
                of_gates[g] = d_sums[feeds.recurrent[g]];
            }
        });
        let of_state = &flat(&of_gates)[..feeds.gates * HID];
        add_outer_product(s, x, of_input, flat_mut(gradients.weight_ih));
        add_outer_product(s, before.0, of_state, flat_mut(gradients.weight_hh));
        add_row(s, of_input, flat_mut(from_mut(gradients.bias_ih)));
        add_row(s, of_state, flat_mut(from_mut(gradients.bias_hh)));
        let row = feeds.gates * HID;
        if let Some(d_x) = d_x {
            *d_x = [0.0; IN];
            add_product_transposed::<S, IN, HID>(s, (flat(weights.weight_ih), row), 0..feeds.gates, of_input, d_x);
        }
        let run = const { C::FEEDS.first_run() };
        let mut by_sums = [0.0; HID];
        let weight_hh = (flat(weights.weight_hh), row);
        add_product_transposed::<S, HID, HID>(s, weight_hh, 0..run, of_state, &mut by_sums);
        add_product_transposed::<S, HID, HID>(s, weight_hh, run..feeds.gates, of_state, &mut by_sums);
        for (d_h, by_sums) in d_h.iter_mut().zip(by_sums) {
            *d_h += by_sums;
        }
    }
}

/// All steps of one sample alone.
#[cfg(feature = "alloc")]
pub(crate) struct GatedSteps<'a, R, C, const IN: usize, const HID: usize> {
    pub(crate) cell: PhantomData<C>,
    pub(crate) weights: Weights<'a, R, IN, HID>,
    /// One sample: its inputs, or where they are projected already, a row of the gates of `W_ih`.
    pub(crate) input: Rows<'a>,
    /// The states before the first step.
    pub(crate) before: (&'a [f32; HID], &'a [f32]),
    /// The states after every step; `c` is empty for cells without it.
    pub(crate) h: &'a mut [[f32; HID]],
    pub(crate) c: &'a mut [f32],
    pub(crate) kept: &'a mut [f32],
}

#[cfg(feature = "alloc")]
impl<R: bytemuck::Pod, C: Gated, const IN: usize, const HID: usize> GatedSteps<'_, R, C, IN, HID> {
    #[inline(always)]
    pub(crate) fn run<S: Simd, const PROJECTED: bool>(self, s: S) {
        let Self { weights, input, before, h: states, c: cs, kept, .. } = self;
        let (mut h_before, mut c_before) = (before.0, before.1);
        let (mut cs, mut kept) = (cs, kept);
        for (step, h) in states.iter_mut().enumerate() {
            let (c, rest) = cs.split_at_mut(if C::CARRIES { HID } else { 0 });
            let (kept_here, kept_rest) = kept.split_at_mut(SUMS * HID);
            let places = Places { h_before, c_before, h, c, kept: kept_here };
            let row = input.row(0, step);
            if PROJECTED {
                let start = Projected { row, bias_hh: flat(from_ref(weights.bias_hh)) };
                self::step::<S, C, _, HID>(s, start, flat(weights.weight_hh), places);
            } else if let Some(x) = row.first_chunk() {
                weights.gated_step::<S, C>(s, x, places);
            }
            (h_before, c_before) = (h, c);
            (cs, kept) = (rest, kept_rest);
        }
    }
}
