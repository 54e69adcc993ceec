//! The matrix-vector product of the latency path: one sample, sizes known at compile time.

use crate::cells::Activation;
use crate::kernels::cut::PanelWidths;
use crate::kernels::order::{chain_start, chains};
use crate::kernels::slice::{flat, starting_at, starting_at_mut, zeros};
use crate::kernels::tuning::{BYTES_IN_L1, WEIGHT_ROWS_TOGETHER, reads_inputs_by_fours, reads_state_by_fours};
use crate::simd::{Matrix, Simd, load_some, store_some};
use core::slice::{from_mut, from_ref};

/// What happens to a sum before it is stored.
pub(crate) trait Finish: Copy {
    fn finish<S: Simd>(self, s: S, z: S::F32) -> S::F32;
}

/// The sum itself.
#[derive(Clone, Copy)]
pub(crate) struct Identity;

impl Finish for Identity {
    #[inline(always)]
    fn finish<S: Simd>(self, _: S, z: S::F32) -> S::F32 {
        z
    }
}

impl<A: Activation> Finish for A {
    #[inline(always)]
    fn finish<S: Simd>(self, s: S, z: S::F32) -> S::F32 {
        A::activate(s, z)
    }
}

/// What a vector of `N` sums is made of, panel by panel: what it starts from, and the products that are added to it.
pub(crate) trait PanelSum<const N: usize> {
    /// Chains of the products in it, the most of any.
    const CHAINS: usize;
    /// Products that are added to each.
    const TERMS: usize;

    /// `P` vectors from `first` on; `partial` if they reach beyond the last of the `N`, where anything may be in the lanes.
    fn panel<S: Simd, const P: usize>(&self, s: S, first: usize, partial: bool) -> [S::F32; P];

    /// All `N` sums, with the weights read in the order in which they lie.
    fn in_row_order<S: Simd>(&self, s: S, z: &mut [f32; N]);
}

impl<const N: usize> PanelSum<N> for [f32; N] {
    const CHAINS: usize = 1;
    const TERMS: usize = 0;

    #[inline(always)]
    fn panel<S: Simd, const P: usize>(&self, s: S, first: usize, partial: bool) -> [S::F32; P] {
        let mut vectors: [S::F32; P] = zeros();
        unrolled!(p < P, {
            let numbers = starting_at(self, first + p * S::LANES);
            vectors[p] = if partial && p == P - 1 { s.load_partial(numbers) } else { s.load(numbers) };
        });
        vectors
    }

    #[inline(always)]
    fn in_row_order<S: Simd>(&self, _: S, z: &mut [f32; N]) {
        *z = *self;
    }
}

impl<T: PanelSum<N>, const N: usize> PanelSum<N> for &T {
    const CHAINS: usize = T::CHAINS;
    const TERMS: usize = T::TERMS;

    #[inline(always)]
    fn panel<S: Simd, const P: usize>(&self, s: S, first: usize, partial: bool) -> [S::F32; P] {
        T::panel::<S, P>(self, s, first, partial)
    }

    #[inline(always)]
    fn in_row_order<S: Simd>(&self, s: S, z: &mut [f32; N]) {
        T::in_row_order(self, s, z);
    }
}

/// The sum of both biases of a cell, where the sums of a step start.
pub(crate) struct Biases<'a, const N: usize>(pub(crate) &'a [f32; N], pub(crate) &'a [f32; N]);

impl<const N: usize> PanelSum<N> for Biases<'_, N> {
    const CHAINS: usize = 1;
    const TERMS: usize = 0;

    #[inline(always)]
    fn panel<S: Simd, const P: usize>(&self, s: S, first: usize, partial: bool) -> [S::F32; P] {
        let mut sums = self.0.panel::<S, P>(s, first, partial);
        let biases = self.1.panel::<S, P>(s, first, partial);
        unrolled!(p < P, {
            sums[p] = s.add(sums[p], biases[p]);
        });
        sums
    }

    #[inline(always)]
    fn in_row_order<S: Simd>(&self, s: S, z: &mut [f32; N]) {
        for first in (0..N).step_by(S::LANES) {
            let sum = s.add(load_some(s, starting_at(self.0, first)), load_some(s, starting_at(self.1, first)));
            store_some(s, sum, starting_at_mut(z, first));
        }
    }
}

/// `start[n] + sum over k of x[k] * weight[k][n]`, in the canonical order of a product with `OUTPUTS` outputs, of which these
/// may be a part.
///
/// `weight` is input-major: row `k` holds what input `k` gives to every output.
pub(crate) struct MatVec<'a, T, X, const K: usize, const N: usize, const OUTPUTS: usize> {
    pub(super) start: T,
    pub(super) weight: &'a [[f32; N]; K],
    pub(super) x: X,
}

/// The inputs of a product.
pub(crate) trait Inputs<const K: usize> {
    /// Whether they have been written just now, by whole vectors.
    const JUST_WRITTEN: bool;
    fn numbers(&self) -> &[f32; K];
}

impl<const K: usize> Inputs<K> for &[f32; K] {
    const JUST_WRITTEN: bool = false;
    #[inline(always)]
    fn numbers(&self) -> &[f32; K] {
        self
    }
}

/// A hidden state: the result of the step before.
pub(crate) struct State<'a, const K: usize>(pub(crate) &'a [f32; K]);

impl<const K: usize> Inputs<K> for State<'_, K> {
    const JUST_WRITTEN: bool = true;
    #[inline(always)]
    fn numbers(&self) -> &[f32; K] {
        self.0
    }
}

/// `start + W x`
#[inline(always)]
pub(crate) fn product<T: PanelSum<N>, X: Inputs<K>, const K: usize, const N: usize>(
    start: T,
    weight: &[[f32; N]; K],
    x: X,
) -> MatVec<'_, T, X, K, N, N> {
    MatVec { start, weight, x }
}

impl<T: PanelSum<N>, X: Inputs<K>, const K: usize, const N: usize, const OUTPUTS: usize> PanelSum<N>
    for MatVec<'_, T, X, K, N, OUTPUTS>
{
    const CHAINS: usize = if T::CHAINS > chains(K, OUTPUTS) { T::CHAINS } else { chains(K, OUTPUTS) };
    const TERMS: usize = T::TERMS + K;

    #[inline(always)]
    fn panel<S: Simd, const P: usize>(&self, s: S, first: usize, partial: bool) -> [S::F32; P] {
        let start = self.start.panel::<S, P>(s, first, partial);
        chains_of::<S, X, P, K, N, OUTPUTS>(s, self.weight, &self.x, start, first, partial)
    }

    #[inline(always)]
    fn in_row_order<S: Simd>(&self, s: S, z: &mut [f32; N]) {
        self.start.in_row_order(s, z);
        add_in_row_order(s, self.weight, from_ref(self.x.numbers()), from_mut(z));
    }
}

/// Whether weights are read in the order in which they lie: where they come from the second level of the cache, which
/// sends whole rows faster than parts of rows. A sum in one chain needs no more than its place in memory in between.
#[inline(always)]
const fn pays_in_row_order<S: Simd, T: PanelSum<N>, const N: usize>() -> bool {
    T::CHAINS == 1 && rows_pay::<S>(T::TERMS, N)
}

/// The same of sums in one chain.
pub(super) const fn rows_pay<S: Simd>(terms: usize, outputs: usize) -> bool {
    PanelWidths::new::<S>(1, outputs).panels > 1 && terms * outputs * size_of::<f32>() > BYTES_IN_L1
}

/// `z[n] += sum over k of x[k] * weight[k][n]` of each sample, some rows after the other, for sums in one chain.
#[inline(always)]
pub(super) fn add_in_row_order<S: Simd, const K: usize, const N: usize>(
    s: S,
    weight: &[[f32; N]; K],
    x: &[[f32; K]],
    z: &mut [[f32; N]],
) {
    for (weight, first) in weight.chunks(WEIGHT_ROWS_TOGETHER).zip((0..K).step_by(WEIGHT_ROWS_TOGETHER)) {
        for (x, z) in x.iter().zip(&mut *z) {
            walk::<S, _, N>(s, &mut AddRows { weight, x: starting_at(x, first), z });
        }
    }
}

/// Finishes all `N` sums where they are.
#[inline(always)]
pub(super) fn finish_in_place<S: Simd, F: Finish, const N: usize>(s: S, z: &mut [f32; N], finish: F) {
    for first in (0..N).step_by(S::LANES) {
        let z = starting_at_mut(z, first);
        store_some(s, finish.finish(s, load_some(s, z)), z);
    }
}

/// Finishes all `N` sums.
#[inline(always)]
pub(crate) fn evaluate<S: Simd, F: Finish, T: PanelSum<N>, const N: usize>(s: S, sum: &T, finish: F) -> [f32; N] {
    let mut out = [0.0; N];
    if const { pays_in_row_order::<S, T, N>() } {
        sum.in_row_order(s, &mut out);
        finish_in_place(s, &mut out, finish);
    } else {
        walk::<S, _, N>(s, &mut Evaluate { sum, out: &mut out, finish });
    }
    out
}

/// `z[n] = finish(z[n] + sum over k of x[k] * weight[k][n])`
#[cfg(feature = "alloc")]
#[inline(always)]
pub(crate) fn add_product<S: Simd, F: Finish, const K: usize, const N: usize>(
    s: S,
    weight: &[[f32; N]; K],
    x: &[f32; K],
    z: &mut [f32; N],
    finish: F,
) {
    if const { pays_in_row_order::<S, MatVec<'_, [f32; N], State<'_, K>, K, N, N>, N>() } {
        add_in_row_order(s, weight, from_ref(x), from_mut(z));
        finish_in_place(s, z, finish);
    } else {
        walk::<S, _, N>(s, &mut AddProduct { weight, x, z, finish });
    }
}

/// Something that is done panel by panel.
pub(super) trait Panelwise<const N: usize> {
    const CHAINS: usize;
    /// Sums of each output.
    const SUMS: usize = 1;
    fn panel<S: Simd, const P: usize>(&mut self, s: S, first: usize, partial: bool);
}

struct Evaluate<'a, T, F, const N: usize> {
    sum: &'a T,
    out: &'a mut [f32; N],
    finish: F,
}

impl<T: PanelSum<N>, F: Finish, const N: usize> Panelwise<N> for Evaluate<'_, T, F, N> {
    const CHAINS: usize = T::CHAINS;

    #[inline(always)]
    fn panel<S: Simd, const P: usize>(&mut self, s: S, first: usize, partial: bool) {
        let sums = self.sum.panel::<S, P>(s, first, partial);
        finish_panel(s, sums, first, partial, self.finish, self.out);
    }
}

#[cfg(feature = "alloc")]
struct AddProduct<'a, F, const K: usize, const N: usize> {
    weight: &'a [[f32; N]; K],
    x: &'a [f32; K],
    z: &'a mut [f32; N],
    finish: F,
}

#[cfg(feature = "alloc")]
impl<F: Finish, const K: usize, const N: usize> Panelwise<N> for AddProduct<'_, F, K, N> {
    const CHAINS: usize = chains(K, N);

    #[inline(always)]
    fn panel<S: Simd, const P: usize>(&mut self, s: S, first: usize, partial: bool) {
        let sums = product(&*self.z, self.weight, State(self.x)).panel::<S, P>(s, first, partial);
        finish_panel(s, sums, first, partial, self.finish, self.z);
    }
}

/// `z[n] += sum over k of x[k] * weight[k][n]`, in one chain.
struct AddRows<'a, const N: usize> {
    weight: &'a [[f32; N]],
    x: &'a [f32],
    z: &'a mut [f32; N],
}

impl<const N: usize> Panelwise<N> for AddRows<'_, N> {
    const CHAINS: usize = 1;

    #[inline(always)]
    fn panel<S: Simd, const P: usize>(&mut self, s: S, first: usize, partial: bool) {
        let mut sums = self.z.panel::<S, P>(s, first, partial);
        for (row, x) in self.weight.iter().zip(self.x) {
            add_term::<S, P, N>(s, row, 0, s.splat(*x), first, partial, &mut sums);
        }
        finish_panel(s, sums, first, partial, Identity, self.z);
    }
}

/// A block for the constant that is each width of a panel, the widest first.
macro_rules! for_widths {
    ($width:ident, $body:block) => {
        for_widths!($width, $body, 12 11 10 9 8 7 6 5 4 3 2 1);
    };
    ($width:ident, $body:block, $($literal:literal)*) => {
        $({
            const $width: usize = $literal;
            $body
        })*
    };
}

/// Walks the outputs panel by panel.
#[inline(always)]
pub(super) fn walk<S: Simd, W: Panelwise<N>, const N: usize>(s: S, work: &mut W) {
    let cut = const { PanelWidths::of_sums::<S>(W::SUMS, W::CHAINS, N) };
    let mut first = 0;
    for_widths!(WIDTH, {
        if const { PanelWidths::of_sums::<S>(W::SUMS, W::CHAINS, N).whole[WIDTH] > 0 } {
            let mut panels = 0;
            while panels < cut.whole[WIDTH] {
                work.panel::<S, WIDTH>(s, first, false);
                first += WIDTH * S::LANES;
                panels += 1;
            }
        }
        if const { PanelWidths::of_sums::<S>(W::SUMS, W::CHAINS, N).partial == WIDTH } {
            work.panel::<S, WIDTH>(s, first, true);
        }
    });
}

/// Finishes and stores the sums of a panel.
#[inline(always)]
fn finish_panel<S: Simd, F: Finish, const P: usize, const N: usize>(
    s: S,
    sums: [S::F32; P],
    first: usize,
    partial: bool,
    finish: F,
    out: &mut [f32; N],
) {
    unrolled!(p < P, {
        let result = finish.finish(s, sums[p]);
        store_of_panel(s, result, starting_at_mut(out, first + p * S::LANES), partial && p == P - 1);
    });
}

/// Stores a vector of a panel; one that reaches beyond the last output by way of whole vectors: a masked store costs as much
/// as a dozen plain ones on some CPUs with AVX2.
#[inline(always)]
pub(super) fn store_of_panel<S: Simd>(s: S, vector: S::F32, to: &mut [f32], reaches_beyond: bool) {
    if reaches_beyond {
        let mut lanes = [0.0; 16];
        s.store(vector, &mut lanes);
        to.copy_from_slice(&lanes[..to.len()]);
    } else {
        s.store(vector, to);
    }
}

/// `N` of the outputs of a product, for a routine of an instruction set.
struct Product<const K: usize, const N: usize, const OUTPUTS: usize>;

impl<const K: usize, const N: usize, const OUTPUTS: usize> Matrix for Product<K, N, OUTPUTS> {
    const COLUMNS: usize = N;
    const CHAINS: [usize; 4] = {
        let (count, mut rows, mut c) = (chains(K, OUTPUTS), [0; 4], 0);
        while c < count {
            rows[c] = chain_start(c + 1, count, K) - chain_start(c, count, K);
            c += 1;
        }
        rows
    };
}

/// `start` and the products of `P` vectors of outputs, in chains that are then added pairwise.
#[inline(always)]
fn chains_of<S: Simd, X: Inputs<K>, const P: usize, const K: usize, const N: usize, const OUTPUTS: usize>(
    s: S,
    weight: &[[f32; N]; K],
    x: &X,
    start: [S::F32; P],
    first: usize,
    partial: bool,
) -> [S::F32; P] {
    if let Some(sums) =
        s.product::<Product<K, N, OUTPUTS>, P>(start, x.numbers(), starting_at(flat(weight), first), partial)
    {
        return sums;
    }
    let count = const { chains(K, OUTPUTS) };
    let mut sums: [[S::F32; P]; 4] = zeros();
    sums[0] = start;
    let (weight, numbers) = (flat(weight), x.numbers());
    let in_registers = const { X::JUST_WRITTEN && P == 1 && reads_state_by_fours::<S>(K) };
    let long = const { P > 1 && reads_inputs_by_fours::<S>(K / chains(K, OUTPUTS), X::JUST_WRITTEN) };
    // If the compiler knew the indices, it would load every number on its own after all.
    static INDICES: [i32; 4] = [0, 1, 2, 3];
    let indices = if in_registers || long { core::hint::black_box(&INDICES) } else { &INDICES };
    let mut fours: [S::F32; 4] = zeros();
    if in_registers {
        unrolled!(four < K / 4, of 0 1 2 3, {
            fours[four] = s.load_four(starting_at(numbers, 4 * four));
        });
    }
    // A loop over more than one vector must stay a loop: unrolled whole, the compiler computes one vector after the other
    // and keeps every broadcast input in memory in between. It cannot unroll what it cannot count.
    let uncounted = |count: usize| core::hint::black_box(count).min(count);
    let blocks = if long { uncounted(K / count / 4) } else { 0 };
    for block in 0..blocks {
        let mut fours: [S::F32; 4] = zeros();
        unrolled!(c < chains(K, OUTPUTS), of 0 1 2 3, {
            fours[c] = s.load_four(starting_at(numbers, chain_start(c, count, K) + 4 * block));
        });
        unrolled!(j of 0 1 2 3, {
            unrolled!(c < chains(K, OUTPUTS), of 0 1 2 3, {
                let k = chain_start(c, count, K) + 4 * block + j;
                add_term::<S, P, N>(s, weight, k, s.one_of_four(fours[c], indices[j]), first, partial, &mut sums[c]);
            });
        });
    }
    let done = if long { K / count / 4 * 4 } else { 0 };
    let terms = if P > 1 && !long { uncounted(K / count) } else { K / count };
    for i in done..terms {
        unrolled!(c < chains(K, OUTPUTS), of 0 1 2 3, {
            let k = chain_start(c, count, K) + i;
            let x = input(s, in_registers.then_some(&fours), indices, numbers, k);
            add_term::<S, P, N>(s, weight, k, x, first, partial, &mut sums[c]);
        });
    }
    // Chains differ in length by one at most.
    unrolled!(c < chains(K, OUTPUTS), of 0 1 2 3, {
        let k = chain_start(c, count, K) + K / count;
        if k < chain_start(c + 1, count, K) {
            let x = input(s, in_registers.then_some(&fours), indices, numbers, k);
            add_term::<S, P, N>(s, weight, k, x, first, partial, &mut sums[c]);
        }
    });
    let mut total = sums[0];
    unrolled!(p < P, {
        if count > 1 {
            total[p] = s.add(total[p], sums[1][p]);
        }
        if count > 2 {
            total[p] = s.add(total[p], s.add(sums[2][p], sums[3][p]));
        }
    });
    total
}

/// Input `k` in every lane, out of registers where the inputs are in some.
#[inline(always)]
fn input<S: Simd>(s: S, registers: Option<&[S::F32; 4]>, indices: &[i32; 4], numbers: &[f32], k: usize) -> S::F32 {
    match registers {
        Some(fours) => s.one_of_four(fours[k / 4], indices[k % 4]),
        None => s.splat(numbers[k]),
    }
}

/// `sums[p] += x * weight[k][first..]`. What lies behind the last output of a row is the next row: it does no harm in lanes
/// that are dropped, and a whole vector is loaded faster than a part of one.
#[inline(always)]
fn add_term<S: Simd, const P: usize, const N: usize>(
    s: S,
    weight: &[f32],
    k: usize,
    x: S::F32,
    first: usize,
    partial: bool,
    sums: &mut [S::F32; P],
) {
    unrolled!(p < P, {
        let row = starting_at(weight, k * N + first + p * S::LANES);
        let w = if partial && p == P - 1 { load_some(s, row) } else { s.load(row) };
        sums[p] = s.mul_add(x, w, sums[p]);
    });
}
