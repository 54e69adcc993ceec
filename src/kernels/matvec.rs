//! The matrix-vector product of the latency path: one sample, sizes known at compile time.

use super::transpose::RowsToColumns;
use super::view::{View, ViewMut};
use super::{BYTES_IN_L1, NUMBERS_PER_LINE, chain_start, chains, flat, flat_mut, starting_at, starting_at_mut, zeros};
use crate::simd::{Kernel, Simd, load_some, store_some};
use core::slice::{from_mut, from_ref};

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

    /// `P` vectors from `first` on; `partial` if they reach beyond the last of the `N`, where anything may be in the lanes.
    fn panel<S: Simd, const P: usize>(&self, s: S, first: usize, partial: bool) -> [S::F32; P];

    /// All `N` sums, with the weights read in the order in which they lie.
    fn in_row_order<S: Simd>(&self, s: S, z: &mut [f32; N]);
}

impl<const N: usize> Sum<N> for [f32; N] {
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

impl<T: Sum<N>, const N: usize> Sum<N> for &T {
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

impl<const N: usize> Sum<N> for Biases<'_, N> {
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

/// Rows of weights that all panels take before the next ones come.
const ROWS_TOGETHER: usize = 16;

/// Samples that take them together; their sums lie on the stack.
const SAMPLES_TOGETHER: usize = 4;

/// Whether weights are read in the order in which they lie: where they come from the second level of the cache, which
/// sends whole rows faster than parts of rows. A sum in one chain needs no more than its place in memory in between.
#[inline(always)]
const fn pays_in_row_order<S: Simd, T: Sum<N>, const N: usize>() -> bool {
    T::CHAINS == 1 && rows_pay::<S>(T::TERMS, N)
}

/// The same of sums in one chain.
const fn rows_pay<S: Simd>(terms: usize, outputs: usize) -> bool {
    PanelWidths::new::<S>(1, outputs).panels > 1 && terms * outputs * size_of::<f32>() > BYTES_IN_L1
}

/// `z[n] += sum over k of x[k] * weight[k][n]` of each sample, some rows after the other, for sums in one chain.
#[inline(always)]
fn add_in_row_order<S: Simd, const K: usize, const N: usize>(
    s: S,
    weight: &[[f32; N]; K],
    x: &[[f32; K]],
    z: &mut [[f32; N]],
) {
    for (weight, first) in weight.chunks(ROWS_TOGETHER).zip((0..K).step_by(ROWS_TOGETHER)) {
        for (x, z) in x.iter().zip(&mut *z) {
            walk::<S, _, N>(s, &mut AddRows { weight, x: starting_at(x, first), z });
        }
    }
}

/// Finishes all `N` sums where they are.
#[inline(always)]
fn finish_in_place<S: Simd, F: Finish, const N: usize>(s: S, z: &mut [f32; N], finish: F) {
    for first in (0..N).step_by(S::LANES) {
        let z = starting_at_mut(z, first);
        store_some(s, finish.finish(s, load_some(s, z)), z);
    }
}

/// Finishes all `N` sums.
#[inline(always)]
pub(crate) fn evaluate<S: Simd, F: Finish, T: Sum<N>, const N: usize>(s: S, sum: &T, finish: F) -> [f32; N] {
    let mut out = [0.0; N];
    if const { pays_in_row_order::<S, T, N>() } {
        sum.in_row_order(s, &mut out);
        finish_in_place(s, &mut out, finish);
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

    /// The next states of samples that take the step together: weights from the second level of the cache are read once for
    /// [`SAMPLES_TOGETHER`].
    #[inline(always)]
    pub(crate) fn step_together<S: Simd>(&self, s: S, x: &[[f32; IN]], h: &mut [[f32; HID]]) {
        if const { Self::reads_in_row_order::<S>() } {
            for (x, h) in x.chunks(SAMPLES_TOGETHER).zip(h.chunks_mut(SAMPLES_TOGETHER)) {
                let mut z = [[0.0; HID]; SAMPLES_TOGETHER];
                for z in &mut z {
                    Biases(self.bias_ih, self.bias_hh).in_row_order(s, z);
                }
                add_in_row_order(s, self.weight_ih, x, &mut z);
                add_in_row_order(s, self.weight_hh, h, &mut z);
                for (h, z) in h.iter_mut().zip(&mut z) {
                    finish_in_place(s, z, Tanh);
                    *h = *z;
                }
            }
        } else {
            for (x, h) in x.iter().zip(h) {
                *h = self.step(s, x, h);
            }
        }
    }

    const fn reads_in_row_order<S: Simd>() -> bool {
        chains(IN, HID) == 1 && chains(HID, HID) == 1 && rows_pay::<S>(IN + HID, HID)
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
        add_in_row_order(s, weight, from_ref(x), from_mut(z));
        finish_in_place(s, z, finish);
    } else {
        walk::<S, _, N>(s, &mut AddProduct { weight, x, z, finish });
    }
}

/// Something that is done panel by panel.
trait Panelwise<const N: usize> {
    const CHAINS: usize;
    fn panel<S: Simd, const P: usize>(&mut self, s: S, first: usize, partial: bool);
}

struct Evaluate<'a, T, F, const N: usize> {
    sum: &'a T,
    out: &'a mut [f32; N],
    finish: F,
}

impl<T: Sum<N>, F: Finish, const N: usize> Panelwise<N> for Evaluate<'_, T, F, N> {
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
        finish_panel(s, sums, first, partial, Linear, self.z);
    }
}

/// Vectors of the widest panel of any instruction set.
const WIDEST: usize = 12;

/// How the outputs are cut into panels.
struct PanelWidths {
    panels: usize,
    /// How many panels of whole vectors there are of each width; the widest come first.
    whole: [usize; WIDEST + 1],
    /// The width of the panel behind them, as narrow as any, whose last vector is not full; or nothing.
    partial: usize,
}

impl PanelWidths {
    /// As few panels as hold their sums where a tile, two vectors wide, has its own, and of nearly the same width: a narrow
    /// one takes as long as a wide one, for it waits for its own sums. Whole lines of the cache, lest one be read twice.
    const fn new<S: Simd>(chains: usize, outputs: usize) -> Self {
        let vectors = outputs.div_ceil(S::LANES);
        let sums = if 2 * S::TILE_ROWS < WIDEST { 2 * S::TILE_ROWS } else { WIDEST };
        let widest = sums / chains;
        let line = if NUMBERS_PER_LINE / S::LANES < widest { NUMBERS_PER_LINE / S::LANES } else { widest };
        let panels = if vectors <= widest { 1 } else { vectors.div_ceil(line).div_ceil(widest / line) };
        let mut cut = Self { panels, whole: [0; WIDEST + 1], partial: 0 };
        let (mut left, mut panels_left) = (vectors, panels);
        while panels_left > 0 {
            let width = left.div_ceil(line).div_ceil(panels_left) * line;
            let width = if width < left { width } else { left };
            left -= width;
            panels_left -= 1;
            if panels_left == 0 && !outputs.is_multiple_of(S::LANES) {
                cut.partial = width;
            } else {
                cut.whole[width] += 1;
            }
        }
        cut
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
fn walk<S: Simd, W: Panelwise<N>, const N: usize>(s: S, work: &mut W) {
    let cut = const { PanelWidths::new::<S>(W::CHAINS, N) };
    let mut first = 0;
    for_widths!(WIDTH, {
        if const { PanelWidths::new::<S>(W::CHAINS, N).whole[WIDTH] > 0 } {
            let mut panels = 0;
            while panels < cut.whole[WIDTH] {
                work.panel::<S, WIDTH>(s, first, false);
                first += WIDTH * S::LANES;
                panels += 1;
            }
        }
        if const { PanelWidths::new::<S>(W::CHAINS, N).partial == WIDTH } {
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
        if partial && p == P - 1 {
            // By way of whole vectors: a masked store costs as much as a dozen plain ones on some CPUs with AVX2.
            let mut lanes = [0.0; 16];
            s.store(result, &mut lanes);
            let to = starting_at_mut(out, first + p * S::LANES);
            to.copy_from_slice(&lanes[..to.len()]);
        } else {
            s.store(result, starting_at_mut(out, first + p * S::LANES));
        }
    });
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
    let count = const { chains(K, OUTPUTS) };
    let mut sums: [[S::F32; P]; 4] = zeros();
    sums[0] = start;
    let (weight, numbers) = (flat(weight), x.numbers());
    // A core forwards several reads from a store that is still on its way at one speed or at another, as it happens (Zen 4:
    // 17 or 23 ns for each of very many steps of 4 neurons). So a state that is one vector is read by fours.
    let in_registers = const { X::JUST_WRITTEN && P == 1 && K.is_multiple_of(4) && K <= S::LANES && S::LANES >= 8 };
    // A long loop over several vectors waits for its reads. With sixteen registers a state gains nothing: what four numbers
    // take longer to arrive than one is what they save.
    let by_fours = const { S::REGISTERS == 32 || S::LANES >= 8 && !X::JUST_WRITTEN };
    let long = const { P > 1 && K / chains(K, OUTPUTS) >= 32 } && by_fours;
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

#[cfg(all(test, feature = "std"))]
mod tests {
    use super::*;
    use crate::simd::portable::Portable;
    use alloc::{format, vec::Vec};
    use core::iter::repeat_n;

    /// Panels hold every output once, no more sums than there are registers for, and are nearly of one width.
    fn check<S: Simd>() {
        for (outputs, chains) in (1..1100).flat_map(|outputs| [1, 2, 4].map(|chains| (outputs, chains))) {
            let PanelWidths { panels, whole, partial } = PanelWidths::new::<S>(chains, outputs);
            let widths = (1..=WIDEST).rev().flat_map(|width| repeat_n(width, whole[width]));
            let widths: Vec<usize> = widths.chain((partial > 0).then_some(partial)).collect();
            let case = format!("{outputs} outputs in {chains} chains: {widths:?}");
            assert_eq!(widths.len(), panels, "{case}");
            assert_eq!(widths.iter().sum::<usize>(), outputs.div_ceil(S::LANES), "{case}");
            assert_eq!(partial > 0, !outputs.is_multiple_of(S::LANES), "{case}");
            assert!(widths.is_sorted_by(|wide, narrow| wide >= narrow), "{case}");
            assert!(widths[0] <= WIDEST.min(2 * S::TILE_ROWS) / chains, "{case}");
            assert!(widths[0] < widths[panels - 1] + 2 * (NUMBERS_PER_LINE / S::LANES), "{case}");
        }
    }

    #[test]
    fn cuts() {
        check::<Portable>();
        #[cfg(target_arch = "x86_64")]
        check::<crate::simd::avx2::Avx2>();
        #[cfg(target_arch = "x86_64")]
        check::<crate::simd::avx512::Avx512>();
    }
}
