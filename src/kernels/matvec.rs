//! The matrix-vector product of the latency path: one sample, sizes known at compile time.

use super::transpose::RowsToColumns;
use super::view::{View, ViewMut};
use super::{chain_start, chains, flat, flat_mut, starting_at, starting_at_mut, zeros};
use crate::simd::{Kernel, Simd, load, load_some};

/// What happens to a sum before it is stored.
pub(crate) trait Finish: Copy {
    fn finish<S: Simd>(self, s: S, z: S::F32) -> S::F32;
}

/// The sum itself.
#[derive(Clone, Copy)]
pub(crate) struct Linear;

impl Finish for Linear {
    #[inline(always)]
    fn finish<S: Simd>(self, _: S, z: S::F32) -> S::F32 {
        z
    }
}

/// The activation of the Elman network.
#[derive(Clone, Copy)]
pub(crate) struct Tanh;

impl Finish for Tanh {
    #[inline(always)]
    fn finish<S: Simd>(self, s: S, z: S::F32) -> S::F32 {
        super::tanh::tanh(s, z)
    }
}

/// What a vector of `N` sums is made of, panel by panel: what it starts from, and the products that are added to it.
pub(crate) trait Sum<const N: usize> {
    /// Chains of the products in it, the most of any.
    const CHAINS: usize;
    /// Products that are added to each.
    const TERMS: usize;

    /// `P` vectors from `first` on; `PARTIAL` if they reach beyond the last of the `N`, where anything may be in the lanes.
    fn panel<S: Simd, const P: usize, const PARTIAL: bool>(&self, s: S, first: usize) -> [S::F32; P];

    /// All `N` sums into `z`, which was zero, with the weights read in the order in which they lie.
    fn in_row_order<S: Simd>(&self, s: S, z: &mut [f32; N]);
}

impl<const N: usize> Sum<N> for [f32; N] {
    const CHAINS: usize = 1;
    const TERMS: usize = 0;

    #[inline(always)]
    fn panel<S: Simd, const P: usize, const PARTIAL: bool>(&self, s: S, first: usize) -> [S::F32; P] {
        let mut vectors: [S::F32; P] = zeros();
        unrolled!(p < P, {
            vectors[p] = load::<S, PARTIAL>(s, starting_at(self, first + p * S::LANES));
        });
        vectors
    }

    #[inline(always)]
    fn in_row_order<S: Simd>(&self, _: S, z: &mut [f32; N]) {
        *z = *self;
    }
}

impl<T: Sum<N>, const N: usize> Sum<N> for &T {
    const CHAINS: usize = T::CHAINS;
    const TERMS: usize = T::TERMS;

    #[inline(always)]
    fn panel<S: Simd, const P: usize, const PARTIAL: bool>(&self, s: S, first: usize) -> [S::F32; P] {
        T::panel::<S, P, PARTIAL>(self, s, first)
    }

    #[inline(always)]
    fn in_row_order<S: Simd>(&self, s: S, z: &mut [f32; N]) {
        T::in_row_order(self, s, z);
    }
}

/// The sum of both biases of a cell, where the sums of a step start.
pub(crate) struct Biases<'a, const N: usize>(pub(crate) &'a [f32; N], pub(crate) &'a [f32; N]);

impl<const N: usize> Sum<N> for Biases<'_, N> {
    const CHAINS: usize = 1;
    const TERMS: usize = 0;

    #[inline(always)]
    fn panel<S: Simd, const P: usize, const PARTIAL: bool>(&self, s: S, first: usize) -> [S::F32; P] {
        let mut sums = self.0.panel::<S, P, PARTIAL>(s, first);
        let biases = self.1.panel::<S, P, PARTIAL>(s, first);
        unrolled!(p < P, {
            sums[p] = s.add(sums[p], biases[p]);
        });
        sums
    }

    #[inline(always)]
    fn in_row_order<S: Simd>(&self, s: S, z: &mut [f32; N]) {
        walk::<S, _, N>(s, &mut Evaluate { sum: self, out: z, finish: Linear });
    }
}

/// `start[n] + sum over k of x[k] * weight[k][n]`, in the canonical order of a product with `OUTPUTS` outputs, of which these
/// may be a part.
///
/// `weight` is input-major: row `k` holds what input `k` gives to every output.
pub(crate) struct Product<'a, T, X, const K: usize, const N: usize, const OUTPUTS: usize> {
    start: T,
    weight: &'a [[f32; N]; K],
    x: X,
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
pub(crate) fn product<T: Sum<N>, X: Inputs<K>, const K: usize, const N: usize>(
    start: T,
    weight: &[[f32; N]; K],
    x: X,
) -> Product<'_, T, X, K, N, N> {
    Product { start, weight, x }
}

impl<T: Sum<N>, X: Inputs<K>, const K: usize, const N: usize, const OUTPUTS: usize> Sum<N>
    for Product<'_, T, X, K, N, OUTPUTS>
{
    const CHAINS: usize = if T::CHAINS > chains(K, OUTPUTS) { T::CHAINS } else { chains(K, OUTPUTS) };
    const TERMS: usize = T::TERMS + K;

    #[inline(always)]
    fn panel<S: Simd, const P: usize, const PARTIAL: bool>(&self, s: S, first: usize) -> [S::F32; P] {
        let start = self.start.panel::<S, P, PARTIAL>(s, first);
        match const { chains(K, OUTPUTS) } {
            1 => chains_of::<S, X, P, 1, PARTIAL, K, N>(s, self.weight, &self.x, start, first),
            2 => chains_of::<S, X, P, 2, PARTIAL, K, N>(s, self.weight, &self.x, start, first),
            _ => chains_of::<S, X, P, 4, PARTIAL, K, N>(s, self.weight, &self.x, start, first),
        }
    }

    #[inline(always)]
    fn in_row_order<S: Simd>(&self, s: S, z: &mut [f32; N]) {
        self.start.in_row_order(s, z);
        add_in_row_order(s, self.weight, self.x.numbers(), z);
    }
}

/// Bytes of weights above which L1 does not keep them from one evaluation to the next.
const BYTES_IN_L1: usize = 28 * 1024;

/// Rows of weights that all panels take before the next ones come.
const ROWS_TOGETHER: usize = 16;

/// Whether weights are read in the order in which they lie: where they come from the second level of the cache, which
/// sends whole rows faster than parts of rows. A sum in one chain needs no more than its place in memory in between.
#[inline(always)]
const fn pays_in_row_order<S: Simd, T: Sum<N>, const N: usize>() -> bool {
    T::CHAINS == 1 && N > WIDEST_PANEL * S::LANES && T::TERMS * N * size_of::<f32>() > BYTES_IN_L1
}

/// `z[n] += sum over k of x[k] * weight[k][n]`, some rows after the other, for sums in one chain.
#[inline(always)]
fn add_in_row_order<S: Simd, const K: usize, const N: usize>(
    s: S,
    weight: &[[f32; N]; K],
    x: &[f32; K],
    z: &mut [f32; N],
) {
    let (weights, last_weights) = weight.as_chunks::<ROWS_TOGETHER>();
    let (inputs, last_inputs) = x.as_chunks::<ROWS_TOGETHER>();
    for (weight, x) in weights.iter().zip(inputs) {
        walk::<S, _, N>(s, &mut AddProduct { weight, x, z, finish: Linear });
    }
    for (weight, x) in last_weights.iter().zip(last_inputs) {
        let (weight, x) = (core::array::from_ref(weight), core::array::from_ref(x));
        walk::<S, _, N>(s, &mut AddProduct { weight, x, z, finish: Linear });
    }
}

/// Finishes all `N` sums.
#[inline(always)]
pub(crate) fn evaluate<S: Simd, F: Finish, T: Sum<N>, const N: usize>(s: S, sum: &T, finish: F) -> [f32; N] {
    let mut out = [0.0; N];
    if const { pays_in_row_order::<S, T, N>() } {
        let mut z = [0.0; N];
        sum.in_row_order(s, &mut z);
        walk::<S, _, N>(s, &mut Evaluate { sum: &z, out: &mut out, finish });
    } else {
        walk::<S, _, N>(s, &mut Evaluate { sum, out: &mut out, finish });
    }
    out
}

/// The parameters of a cell.
#[derive(Clone, Copy)]
pub(crate) struct Weights<'a, const IN: usize, const HID: usize> {
    pub(crate) weight_ih: &'a [[f32; HID]; IN],
    pub(crate) weight_hh: &'a [[f32; HID]; HID],
    pub(crate) bias_ih: &'a [f32; HID],
    pub(crate) bias_hh: &'a [f32; HID],
}

impl<const IN: usize, const HID: usize> Weights<'_, IN, HID> {
    /// The next state.
    #[inline(always)]
    pub(crate) fn step<S: Simd>(&self, s: S, x: &[f32; IN], h: &[f32; HID]) -> [f32; HID] {
        let input = product(Biases(self.bias_ih, self.bias_hh), self.weight_ih, x);
        evaluate(s, &product(input, self.weight_hh, State(h)), Tanh)
    }
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
    if const { pays_in_row_order::<S, Product<'_, [f32; N], State<'_, K>, K, N, N>, N>() } {
        add_in_row_order(s, weight, x, z);
        *z = evaluate(s, &*z, finish);
    } else {
        walk::<S, _, N>(s, &mut AddProduct { weight, x, z, finish });
    }
}

/// Something that is done panel by panel.
trait Panelwise<const N: usize> {
    const CHAINS: usize;
    fn panel<S: Simd, const P: usize, const PARTIAL: bool>(&mut self, s: S, first: usize);
}

struct Evaluate<'a, T, F, const N: usize> {
    sum: &'a T,
    out: &'a mut [f32; N],
    finish: F,
}

impl<T: Sum<N>, F: Finish, const N: usize> Panelwise<N> for Evaluate<'_, T, F, N> {
    const CHAINS: usize = T::CHAINS;

    #[inline(always)]
    fn panel<S: Simd, const P: usize, const PARTIAL: bool>(&mut self, s: S, first: usize) {
        let sums = self.sum.panel::<S, P, PARTIAL>(s, first);
        finish_panel::<S, F, P, PARTIAL, N>(s, sums, first, self.finish, self.out);
    }
}

struct AddProduct<'a, F, const K: usize, const N: usize> {
    weight: &'a [[f32; N]; K],
    x: &'a [f32; K],
    z: &'a mut [f32; N],
    finish: F,
}

impl<F: Finish, const K: usize, const N: usize> Panelwise<N> for AddProduct<'_, F, K, N> {
    const CHAINS: usize = chains(K, N);

    #[inline(always)]
    fn panel<S: Simd, const P: usize, const PARTIAL: bool>(&mut self, s: S, first: usize) {
        let sums = product(&*self.z, self.weight, State(self.x)).panel::<S, P, PARTIAL>(s, first);
        finish_panel::<S, F, P, PARTIAL, N>(s, sums, first, self.finish, self.z);
    }
}

/// Vectors of the widest panel.
const WIDEST_PANEL: usize = 8;

/// Walks the outputs: as many vectors at a time as leave eight sums in flight, which is what two FMA units of latency four
/// can do; then fewer; then the part of a vector that is left.
#[inline(always)]
fn walk<S: Simd, W: Panelwise<N>, const N: usize>(s: S, work: &mut W) {
    let full = N / S::LANES;
    let mut vector = 0;
    if const { W::CHAINS == 1 } {
        while vector + WIDEST_PANEL <= full {
            work.panel::<S, WIDEST_PANEL, false>(s, vector * S::LANES);
            vector += WIDEST_PANEL;
        }
    }
    if const { W::CHAINS <= 2 } {
        while vector + 4 <= full {
            work.panel::<S, 4, false>(s, vector * S::LANES);
            vector += 4;
        }
    }
    while vector + 2 <= full {
        work.panel::<S, 2, false>(s, vector * S::LANES);
        vector += 2;
    }
    if vector < full {
        work.panel::<S, 1, false>(s, vector * S::LANES);
    }
    if const { !N.is_multiple_of(S::LANES) } {
        work.panel::<S, 1, true>(s, full * S::LANES);
    }
}

/// Finishes and stores the sums of a panel.
#[inline(always)]
fn finish_panel<S: Simd, F: Finish, const P: usize, const PARTIAL: bool, const N: usize>(
    s: S,
    sums: [S::F32; P],
    first: usize,
    finish: F,
    out: &mut [f32; N],
) {
    unrolled!(p < P, {
        let result = finish.finish(s, sums[p]);
        if PARTIAL {
            // By way of whole vectors: a masked store costs as much as a dozen plain ones on some CPUs with AVX2.
            let mut lanes = [0.0; 16];
            s.store(result, &mut lanes);
            let to = starting_at_mut(out, first);
            to.copy_from_slice(&lanes[..to.len()]);
        } else {
            s.store(result, starting_at_mut(out, first + p * S::LANES));
        }
    });
}

/// `start` and the products of `P` vectors of outputs, in `C` chains that are then added pairwise.
#[inline(always)]
fn chains_of<
    S: Simd,
    X: Inputs<K>,
    const P: usize,
    const C: usize,
    const PARTIAL: bool,
    const K: usize,
    const N: usize,
>(
    s: S,
    weight: &[[f32; N]; K],
    x: &X,
    start: [S::F32; P],
    first: usize,
) -> [S::F32; P] {
    let mut sums: [[S::F32; P]; C] = zeros();
    sums[0] = start;
    let (weight, numbers) = (flat(weight), x.numbers());
    // A core forwards several reads from a store that is still on its way at one speed or at another, as it happens (Zen 4:
    // 17 or 23 ns for each of very many steps of 4 neurons). So a state that is one vector is read by fours.
    let in_registers = const { X::JUST_WRITTEN && P == 1 && K.is_multiple_of(4) && K <= S::LANES && S::LANES >= 8 };
    // A long loop over several vectors waits for its reads.
    let long = const { P > 1 && K / C >= 32 && S::REGISTERS == 32 };
    // If the compiler knew the indices, it would read every number by itself after all.
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
    let blocks = if long { uncounted(K / C / 4) } else { 0 };
    for block in 0..blocks {
        let mut fours: [S::F32; C] = zeros();
        unrolled!(c < C, {
            fours[c] = s.load_four(starting_at(numbers, chain_start(c, C, K) + 4 * block));
        });
        unrolled!(j of 0 1 2 3, {
            unrolled!(c < C, {
                let k = chain_start(c, C, K) + 4 * block + j;
                add_term::<S, P, PARTIAL, N>(s, weight, k, s.one_of_four(fours[c], indices[j]), first, &mut sums[c]);
            });
        });
    }
    let done = if long { K / C / 4 * 4 } else { 0 };
    let terms = if P > 1 && !long { uncounted(K / C) } else { K / C };
    for i in done..terms {
        unrolled!(c < C, {
            let k = chain_start(c, C, K) + i;
            let x = input(s, in_registers.then_some(&fours), indices, numbers, k);
            add_term::<S, P, PARTIAL, N>(s, weight, k, x, first, &mut sums[c]);
        });
    }
    // Chains differ in length by one at most.
    unrolled!(c < C, {
        let k = chain_start(c, C, K) + K / C;
        if k < chain_start(c + 1, C, K) {
            let x = input(s, in_registers.then_some(&fours), indices, numbers, k);
            add_term::<S, P, PARTIAL, N>(s, weight, k, x, first, &mut sums[c]);
        }
    });
    let mut total = sums[0];
    unrolled!(p < P, {
        if C > 1 {
            total[p] = s.add(total[p], sums[1][p]);
        }
        if C > 2 {
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
fn add_term<S: Simd, const P: usize, const PARTIAL: bool, const N: usize>(
    s: S,
    weight: &[f32],
    k: usize,
    x: S::F32,
    first: usize,
    sums: &mut [S::F32; P],
) {
    unrolled!(p < P, {
        let row = starting_at(weight, k * N + first + p * S::LANES);
        let w = if PARTIAL { load_some(s, row) } else { s.load(row) };
        sums[p] = s.mul_add(x, w, sums[p]);
    });
}

/// `out[k] = sum over n of weight[k][n] * d[n]`, the product with the transpose, in the canonical order.
///
/// Blocks of 16 rows are turned on the stack, so it needs no heap and no packed weights.
#[inline(always)]
pub(crate) fn matvec_transposed<S: Simd, const K: usize, const N: usize>(
    s: S,
    weight: &[[f32; N]; K],
    d: &[f32; N],
) -> [f32; K] {
    let mut out = [0.0; K];
    let mut turned = [[0.0; BLOCK]; N];
    let mut begin = 0;
    while begin < K {
        let rows = starting_at(flat(weight), begin * N);
        turn(s, rows, BLOCK.min(K - begin), &mut turned);
        let zero = [0.0; BLOCK];
        let product = Product::<_, _, N, BLOCK, K> { start: &zero, weight: &turned, x: d };
        let to = starting_at_mut(&mut out, begin);
        let count = BLOCK.min(to.len());
        to[..count].copy_from_slice(&evaluate(s, &product, Linear)[..count]);
        begin += BLOCK;
    }
    out
}

/// Rows that are turned into columns together.
const BLOCK: usize = 16;

/// `turned[n][k] = rows[k][n]` for so many rows.
#[inline(always)]
fn turn<S: Simd, const N: usize>(s: S, rows: &[f32], count: usize, turned: &mut [[f32; BLOCK]; N]) {
    if count >= S::LANES {
        turn_vectors(s, rows, count, turned);
    } else if count >= S::Half::LANES {
        turn_vectors(s.half(), rows, count, turned);
    } else {
        for k in 0..count {
            for n in 0..N {
                turned[n][k] = rows[k * N + n];
            }
        }
    }
}

/// The same for as many rows as there are lanes, or more.
#[inline(always)]
fn turn_vectors<S: Simd, const N: usize>(s: S, rows: &[f32], count: usize, turned: &mut [[f32; BLOCK]; N]) {
    let mut done = 0;
    while done < count {
        // The last vector ends with the last row; some rows before it are then turned twice.
        let first = done.min(count - S::LANES);
        let rows = View { data: starting_at(rows, first * N), stride: N };
        let columns = ViewMut { data: flat_mut(turned), stride: BLOCK };
        RowsToColumns { rows, width: N, columns, first }.run(s);
        done += S::LANES;
    }
}
