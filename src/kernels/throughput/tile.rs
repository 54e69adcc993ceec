//! The register tile of the throughput path: `M` samples by `V` vectors of outputs, in `C` chains side by side (8 x 2 x 1,
//! 8 x 1 x 2 or 4 x 2 x 2 with 32 registers, 6 x 2 x 1 or 4 x 2 x 1 with 16), or fewer samples where some are left over.
//!
//! Each step of the inner loop loads one row of the panel (`V` vectors) for each chain and broadcasts one number of each
//! of the `M` samples:
//!
//! ```text
//!                 panel row k:   [ w w w w ][ w w w w ]
//!   sample 0:  x[0][k]  ->       [  sum 00 ][  sum 01 ]
//!   sample 1:  x[1][k]  ->       [  sum 10 ][  sum 11 ]
//!      ...
//! ```
//!
//! `C * (M + V)` loads feed `C * M * V` multiply-adds. With 32 registers two chains of a sum go side by side and stay in
//! them: on CPUs that store half a vector in a cycle, each way through memory costs as much as two multiply-adds. With 16,
//! one chain follows the other, and what is done waits in memory: two side by side would leave room for half as many
//! samples, and twice as many tiles would begin and end.
//!
//! A tile of each shape is a function of its own, compiled once for every instruction set and called from everywhere, so
//! that code grows with the shapes and not with the sizes of layers or the kinds of products.

use super::panels::{Panel, Panels};
use crate::cells::Activation;
use crate::kernels::cut::next_tiles;
use crate::kernels::order::{chain_start, chains};
use crate::kernels::rows::{Rows, RowsMut};
use crate::kernels::slice::{starting_at, starting_at_mut, zeros};
use crate::kernels::tuning::{
    NUMBERS_PER_LINE, TERMS_UNROLLED, chains_side_by_side, finishes_apart, finishes_in_registers, unrolls_terms,
};
use crate::simd::{Kernel, Simd, load_some, store_some};
use core::marker::PhantomData;
use core::ops::Range;

/// The rows of a product, on a grid of `outer` by `inner`, of which the tile takes `M` neighbours along `inner` at a time:
/// `epilogue(start[n] + sum over k of input[k] * panel[k][n])` for every row.
///
/// What differs from product to product are values, not types, but for the [`Epilogue`]: a tile of each shape is compiled
/// once for each of those.
pub(crate) struct Multiply<'a> {
    pub(crate) input: Input<'a>,
    /// A second sum, over these inputs and another panel, goes on from the first.
    pub(crate) second_input: Option<Input<'a>>,
    /// What the sums start from.
    pub(crate) start: Rows<'a>,
    pub(crate) output: Output<'a>,
    /// What later products need is prefetched.
    pub(crate) ahead: &'a [Rows<'a>],
}

/// The inputs of a product.
#[derive(Clone, Copy)]
pub(crate) enum Input<'a> {
    Rows(Rows<'a>),
    /// Results of before, in the same memory as the output and as far apart; the first row begins at this number.
    Results(usize),
}

/// What becomes of the sums of a tile before they are stored.
pub(crate) trait Epilogue: Copy {
    /// Whether its constants need so many registers that the sums of a tile may not stay in theirs.
    const IS_LONG: bool;

    /// Of the row at a place on the grid, `V` vectors of columns.
    fn finish<S: Simd, const V: usize>(
        &self,
        s: S,
        place: (usize, usize),
        columns: &Range<usize>,
        sums: [S::F32; V],
    ) -> [S::F32; V];
}

/// They are the result.
#[derive(Clone, Copy)]
pub(crate) struct Store;

impl Epilogue for Store {
    const IS_LONG: bool = false;

    #[inline(always)]
    fn finish<S: Simd, const V: usize>(
        &self,
        _: S,
        _: (usize, usize),
        _: &Range<usize>,
        sums: [S::F32; V],
    ) -> [S::F32; V] {
        sums
    }
}

/// They become the state of a cell of one sum.
#[derive(Clone, Copy)]
pub(crate) struct Activate<C>(pub(crate) C);

impl<C: Activation> Epilogue for Activate<C> {
    const IS_LONG: bool = true;

    #[inline(always)]
    fn finish<S: Simd, const V: usize>(
        &self,
        s: S,
        _: (usize, usize),
        _: &Range<usize>,
        sums: [S::F32; V],
    ) -> [S::F32; V] {
        let mut states: [S::F32; V] = zeros();
        unrolled!(v < V, {
            states[v] = C::activate(s, sums[v]);
        });
        states
    }
}

/// They are the gradients of states, and become those of the sums in front of them.
#[derive(Clone, Copy)]
pub(crate) struct BeforeActivation<'a, C> {
    pub(crate) cell: PhantomData<C>,
    /// The states.
    pub(crate) states: Rows<'a>,
}

impl<C: Activation> Epilogue for BeforeActivation<'_, C> {
    const IS_LONG: bool = false;

    #[inline(always)]
    fn finish<S: Simd, const V: usize>(
        &self,
        s: S,
        (outer, inner): (usize, usize),
        columns: &Range<usize>,
        d: [S::F32; V],
    ) -> [S::F32; V] {
        let states = load_row::<S, V>(s, self.states.starting_at(outer, inner), 0, columns);
        let mut d_sums: [S::F32; V] = zeros();
        unrolled!(v < V, {
            d_sums[v] = C::d_sum(s, d[v], states[v]);
        });
        d_sums
    }
}

/// Where the results go.
pub(crate) struct Output<'a> {
    pub(crate) data: &'a mut [f32],
    /// Where the first row begins, and how many numbers are from one row to the next.
    pub(crate) first: usize,
    pub(crate) outer: usize,
    pub(crate) inner: usize,
    /// Whether it is prefetched before it is written.
    pub(crate) far: bool,
}

impl Output<'_> {
    #[inline(always)]
    fn rows(&mut self, outer: usize, inner: usize) -> RowsMut<'_> {
        let first = self.first + outer * self.outer + inner * self.inner;
        RowsMut::line(&mut self.data[first..], self.inner)
    }
}

/// Prefetches columns of rows along the inner axis, and those `period` behind them up to the end of each row, into the
/// second level of the cache. The hardware prefetcher follows fewer streams than there are rows.
#[inline(always)]
pub(crate) fn prefetch_ahead<S: Simd>(s: S, of: &Rows<'_>, rows: Range<usize>, columns: Range<usize>, period: usize) {
    for begin in (0..of.width).step_by(period) {
        let first = of.data.get(rows.start * of.inner..).unwrap_or_default();
        let columns = begin + columns.start..begin + columns.end;
        each_line(first, of.inner, rows.len(), columns, |line| s.prefetch_for_later(line));
    }
}

/// Does something with each line of the cache in columns of the first rows.
#[inline(always)]
fn each_line(data: &[f32], stride: usize, rows: usize, columns: Range<usize>, each: impl Fn(&[f32])) {
    for column in columns.step_by(NUMBERS_PER_LINE) {
        for row in 0..rows {
            if let Some(line) = data.get(row * stride + column..) {
                each(line);
            }
        }
    }
}

/// Vectors of the row that begins at `first`, from the first column on; a single one may reach beyond the last column. Zeros, where no rows stand for
/// those.
#[inline(always)]
fn load_row<S: Simd, const V: usize>(s: S, rows: &[f32], first: usize, columns: &Range<usize>) -> [S::F32; V] {
    let mut vectors: [S::F32; V] = zeros();
    if !rows.is_empty() {
        let from = starting_at(rows, first + columns.start);
        if V == 1 {
            vectors[0] = load_some(s, &from[..columns.len()]);
        } else {
            unrolled!(v < V, {
                vectors[v] = s.load(starting_at(from, v * S::LANES));
            });
        }
    }
    vectors
}

impl Multiply<'_> {
    /// How many sums there are.
    #[inline(always)]
    fn parts(&self) -> usize {
        1 + usize::from(self.second_input.is_some())
    }

    #[inline(always)]
    fn input_of(&self, part: usize) -> Input<'_> {
        if part == 0 { self.input } else { self.second_input.unwrap_or(self.input) }
    }

    /// The inputs of a sum, the first or the second, for a row and those behind it along `inner`.
    #[inline(always)]
    fn inputs(&self, part: usize, outer: usize, inner: usize) -> &[f32] {
        match self.input_of(part) {
            Input::Rows(rows) => rows.starting_at(outer, inner),
            Input::Results(first) => {
                let Output { data, outer: outer_stride, inner: stride, .. } = &self.output;
                &data[first + outer * outer_stride + inner * stride..]
            }
        }
    }

    /// Where `M` rows of inputs begin, for the first sum or the second.
    #[inline(always)]
    fn begins<const M: usize>(&self, part: usize) -> [usize; M] {
        let stride = match self.input_of(part) {
            Input::Rows(rows) => rows.inner,
            Input::Results(_) => self.output.inner,
        };
        let mut begins = [0; M];
        unrolled!(m < M, {
            begins[m] = m * stride;
        });
        begins
    }

    /// Whether anything is prefetched.
    #[inline(always)]
    fn prefetches(&self) -> bool {
        self.output.far || !self.ahead.is_empty()
    }
}

/// Prefetches what the rows `inner` of a tile write in its columns, and its share of what comes later. A function of its own,
/// as most tiles prefetch nothing.
struct Prefetch<'a, 'r> {
    work: &'a mut Multiply<'r>,
    outer: usize,
    inner: Range<usize>,
    columns: Range<usize>,
    /// All columns.
    of: usize,
}

impl Kernel for Prefetch<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { work, outer, inner, columns, of } = self;
        for ahead in work.ahead {
            prefetch_ahead(s, ahead, inner.clone(), columns.clone(), of);
        }
        if work.output.far {
            let to = work.output.rows(outer, inner.start);
            each_line(to.data, to.inner, inner.len(), columns, |line| s.prefetch(line));
        }
    }
}

/// Runs `outer` x `inner` rows against every panel of one matrix, or of two with the same columns where there are second
/// inputs; a matrix of several gates writes them side by side. Panels are the outermost loop: a panel stays in L1 while all
/// rows pass by.
#[inline(always)]
pub(crate) fn multiply<S: Simd, E: Epilogue>(
    s: S,
    matrices: [&Panels; 2],
    from_the_right: bool,
    grid: (usize, usize),
    work: &mut Multiply<'_>,
    epilogue: E,
) {
    let count = matrices[0].count();
    for i in 0..count {
        let panel = if from_the_right { count - 1 - i } else { i };
        for gate in 0..matrices[0].gates() {
            let [first, second] = matrices;
            multiply_panel(s, [(first, gate), (second, gate)], panel, gate, grid, work, epilogue);
        }
    }
}

/// The rows against one panel, of a gate of each matrix, which becomes gate `to` of the output.
#[inline(always)]
pub(crate) fn multiply_panel<S: Simd, E: Epilogue>(
    s: S,
    matrices: [(&Panels, usize); 2],
    panel: usize,
    to: usize,
    grid: (usize, usize),
    work: &mut Multiply<'_>,
    epilogue: E,
) {
    // Not by `map` of the array, which is a call.
    let [(first, first_gate), (second, second_gate)] = matrices;
    let width = first.columns();
    let parts = Parts {
        panels: [first.panel(panel, first_gate), second.panel(panel, second_gate)],
        chains: [chains(first.rows(), first.outputs()), chains(second.rows(), second.outputs())],
        first: to * width,
        columns: width,
    };
    if parts.panels[0].span.is_half(s) {
        run_tiles(s.half(), &parts, grid, work, &epilogue);
    } else {
        run_tiles(s, &parts, grid, work, &epilogue);
    }
}

/// The same columns of both matrices. Without second inputs, the second is not looked at.
#[derive(Clone, Copy)]
struct Parts<'a> {
    panels: [Panel<'a>; 2],
    /// Chains of each sum.
    chains: [usize; 2],
    /// Where the columns of the result begin, and how many they are.
    first: usize,
    columns: usize,
}

#[inline(always)]
fn run_tiles<S: Simd, E: Epilogue>(
    s: S,
    parts: &Parts<'_>,
    grid: (usize, usize),
    work: &mut Multiply<'_>,
    epilogue: &E,
) {
    let vectors = parts.panels[0].span.width / S::LANES;
    let chains = parts.chains[..work.parts()].iter().fold(1, |most, chains| most.max(*chains));
    let side_by_side = chains.min(chains_side_by_side::<S>());
    // A single vector with 32 registers: two chains of all rows fill them.
    let tallest = if vectors == 1 && S::REGISTERS == 32 { S::TILE_ROWS } else { S::TILE_ROWS / side_by_side };
    // Two vectors with 16 registers: there are tiles of one row less.
    let one_less = vectors == 2 && S::TILE_ROWS == 6;
    for outer in 0..grid.0 {
        let mut done = 0;
        while done < grid.1 {
            let (height, inner, tiles) = next_tiles(tallest, one_less, done, grid.1);
            let place = Place { parts, work, outer, inner, skip: done - inner, tiles, epilogue };
            call_tile(s, (side_by_side, height, vectors), place);
            done = inner + tiles * height;
        }
    }
}

/// Which tile, of which rows.
struct Place<'a, 'r, E> {
    parts: &'a Parts<'a>,
    work: &'a mut Multiply<'r>,
    outer: usize,
    /// The first row.
    inner: usize,
    /// Rows at its beginning that are done already; only a last tile has some.
    skip: usize,
    /// How many tiles, one behind the other.
    tiles: usize,
    epilogue: &'a E,
}

/// Calls the tile of a shape (chains side by side, rows, vectors), one that [`run_tiles`] can name.
#[inline(always)]
fn call_tile<S: Simd, E: Epilogue>(
    s: S,
    (side_by_side, height, vectors): (usize, usize, usize),
    place: Place<'_, '_, E>,
) {
    macro_rules! call {
        ($c:literal, $m:literal, $v:literal) => {
            s.call(MultiplyTile::<E, $c, $m, $v>(place))
        };
    }
    if const { S::TILE_ROWS == 8 } {
        match (side_by_side, height, vectors) {
            (1, 8, 2) => call!(1, 8, 2),
            (1, 8, _) => call!(1, 8, 1),
            (1, 4, 2) => call!(1, 4, 2),
            (1, 4, _) => call!(1, 4, 1),
            (1, _, 2) => call!(1, 1, 2),
            (1, _, _) => call!(1, 1, 1),
            (_, 8, _) => call!(2, 8, 1),
            (_, 4, 2) => call!(2, 4, 2),
            (_, 4, _) => call!(2, 4, 1),
            (_, 2, _) => call!(2, 2, 2),
            (_, _, 2) => call!(2, 1, 2),
            (_, _, _) => call!(2, 1, 1),
        }
    } else if const { S::TILE_ROWS == 6 } {
        match (height, vectors) {
            (6, 2) => call!(1, 6, 2),
            (6, _) => call!(1, 6, 1),
            (5, _) => call!(1, 5, 2),
            (3, 2) => call!(1, 3, 2),
            (3, _) => call!(1, 3, 1),
            (_, 2) => call!(1, 1, 2),
            (_, _) => call!(1, 1, 1),
        }
    } else {
        match (height, vectors) {
            (4, 2) => call!(1, 4, 2),
            (4, _) => call!(1, 4, 1),
            (2, 2) => call!(1, 2, 2),
            (2, _) => call!(1, 2, 1),
            (_, 2) => call!(1, 1, 2),
            (_, _) => call!(1, 1, 1),
        }
    }
}

/// `M` rows by `V` vectors of one panel, `C` chains side by side. A panel of one vector may have fewer columns than lanes;
/// those of two never have.
struct MultiplyTile<'a, 'r, E, const C: usize, const M: usize, const V: usize>(Place<'a, 'r, E>);

impl<E: Epilogue, const C: usize, const M: usize, const V: usize> Kernel for MultiplyTile<'_, '_, E, C, M, V> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Place { parts: &Parts { ref panels, chains, first, columns }, work, outer, inner, skip, tiles, epilogue } =
            self.0;
        let columns = first + panels[0].span.first..first + columns;
        let prefetches = work.prefetches();
        // Hidden from the compiler, which would otherwise compute the address of each row from the one before, in every term.
        let begins: [[usize; M]; 2] = core::hint::black_box([work.begins(0), work.begins(1)]);
        for inner in (inner..).step_by(M).take(tiles) {
            if prefetches {
                let (inner, of) = (inner..inner + M, columns.end);
                s.call(Prefetch { work, outer, inner, columns: columns.start..columns.start + V * S::LANES, of });
            }
            let from = work.start.starting_at(outer, inner);
            let mut sums: [[S::F32; V]; M] = zeros();
            unrolled!(m < M, {
                sums[m] = load_row::<S, V>(s, from, m * work.start.inner, &columns);
            });
            for part in 0..work.parts() {
                let k = panels[part].data.len() / (V * S::LANES);
                let inputs = work.inputs(part, outer, inner);
                let mut x: [&[f32]; M] = [&[]; M];
                unrolled!(m < M, {
                    x[m] = &starting_at(inputs, begins[part][m])[..k];
                });
                sums = sum::<S, _, C, M, V>(s, panels[part].data, x, chains[part], sums);
            }
            let to = work.output.rows(outer, inner);
            if const { E::IS_LONG && !finishes_in_registers::<S>() } {
                // Out of a copy, made vector by vector: the sums themselves would have to be in memory all the time.
                let mut finished: [[S::F32; V]; M] = zeros();
                unrolled!(m < M, {
                    finished[m] = sums[m];
                });
                let sums = bytemuck::must_cast_slice(&finished);
                let place = (outer, inner);
                let finish = FinishRows::<E, V> { sums, to, skip, place, columns: columns.clone(), epilogue };
                if const { finishes_apart::<S>() } { s.call(finish) } else { finish.run(s) }
            } else {
                unrolled!(m < M, {
                    if m >= skip {
                        let row = &mut to.data[m * to.inner..][columns.clone()];
                        let finished = epilogue.finish::<S, V>(s, (outer, inner + m), &columns, sums[m]);
                        unrolled!(v < V, {
                            store::<S, V>(s, finished[v], starting_at_mut(row, v * S::LANES));
                        });
                    }
                });
            }
        }
    }
}

/// The epilogue of the rows of a tile, those behind the first `skip`: a loop, as it is long.
struct FinishRows<'a, E, const V: usize> {
    /// Vector by vector.
    sums: &'a [f32],
    to: RowsMut<'a>,
    skip: usize,
    /// Of the first row.
    place: (usize, usize),
    columns: Range<usize>,
    epilogue: &'a E,
}

impl<E: Epilogue, const V: usize> Kernel for FinishRows<'_, E, V> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { sums, to, skip, place: (outer, inner), columns, epilogue } = self;
        let mut m = skip;
        while m < sums.len() / (V * S::LANES) {
            let row = &mut to.data[m * to.inner..][columns.clone()];
            unrolled!(v < V, {
                let sum = s.load(starting_at(sums, (m * V + v) * S::LANES));
                let [finished] = epilogue.finish::<S, 1>(s, (outer, inner + m), &columns, [sum]);
                store::<S, V>(s, finished, starting_at_mut(row, v * S::LANES));
            });
            m += 1;
        }
    }
}

/// Stores a vector of a tile that is `V` vectors wide: a single one may reach beyond the end of the row.
#[inline(always)]
fn store<S: Simd, const V: usize>(s: S, vector: S::F32, row: &mut [f32]) {
    if V == 1 { store_some(s, vector, row) } else { s.store(vector, row) }
}

/// What is broadcast, one number for each of `M` rows in every term, as it lies in memory.
pub(crate) trait Broadcast<const M: usize>: Copy {
    /// Whether the numbers of each row lie one behind the other.
    const IN_ROWS: bool;
    /// Those of some terms.
    fn terms(self, terms: Range<usize>) -> Self;
    /// Those of one term.
    fn numbers(self, k: usize) -> [f32; M];
    /// Those of one row; nothing where they do not lie one behind the other.
    fn row(&self, m: usize) -> &[f32];
}

/// Row by row.
impl<const M: usize> Broadcast<M> for [&[f32]; M] {
    const IN_ROWS: bool = true;

    #[inline(always)]
    fn terms(mut self, terms: Range<usize>) -> Self {
        unrolled!(m < M, {
            self[m] = &self[m][terms.clone()];
        });
        self
    }

    #[inline(always)]
    fn numbers(self, k: usize) -> [f32; M] {
        let mut numbers = [0.0; M];
        unrolled!(m < M, {
            numbers[m] = self[m][k];
        });
        numbers
    }

    #[inline(always)]
    fn row(&self, m: usize) -> &[f32] {
        self[m]
    }
}

/// Term by term.
impl<const M: usize> Broadcast<M> for &[[f32; M]] {
    const IN_ROWS: bool = false;

    #[inline(always)]
    fn terms(self, terms: Range<usize>) -> Self {
        &self[terms]
    }

    #[inline(always)]
    fn numbers(self, k: usize) -> [f32; M] {
        self[k]
    }

    #[inline(always)]
    fn row(&self, _: usize) -> &[f32] {
        &[]
    }
}

/// `start[m][n] + sum over k of x[m][k] * panel[k][n]` in the canonical order, `C` chains at a time.
#[inline(always)]
pub(crate) fn sum<S: Simd, I: Broadcast<M>, const C: usize, const M: usize, const V: usize>(
    s: S,
    panel: &[f32],
    x: I,
    chains: usize,
    start: [[S::F32; V]; M],
) -> [[S::F32; V]; M] {
    let k = panel.len() / (V * S::LANES);
    // With 32 registers, sums of several chains have tiles of their own: there is nothing else to compile for one chain.
    if chains == 1 || (C == 1 && S::REGISTERS == 32) {
        // If the compiler knew that there is one chain, it would check in every term that a row of the panel is in it, which
        // it sees by itself where chains might be several.
        let chains = core::hint::black_box(1);
        return side_by_side::<S, I, 1, M, V>(s, panel, x, k, (0, chains), [start])[0];
    }
    let mut first = pair::<S, I, C, M, V>(s, panel, x, k, (0, chains), start);
    if chains == 2 {
        return first;
    }
    put_aside::<S, M, V>(&mut first);
    add_tiles(s, &first, &pair::<S, I, C, M, V>(s, panel, x, k, (2, chains), zeros()))
}

/// The sums of chain `first`, from `start`, and of the one behind it, added.
#[inline(always)]
fn pair<S: Simd, I: Broadcast<M>, const C: usize, const M: usize, const V: usize>(
    s: S,
    panel: &[f32],
    rows: I,
    k: usize,
    (first, chains): (usize, usize),
    start: [[S::F32; V]; M],
) -> [[S::F32; V]; M] {
    let zero: [[S::F32; V]; M] = zeros();
    if C == 2 {
        let [a, b] = side_by_side::<S, I, 2, M, V>(s, panel, rows, k, (first, chains), [start, zero]);
        return add_tiles(s, &a, &b);
    }
    let [mut a] = side_by_side::<S, I, 1, M, V>(s, panel, rows, k, (first, chains), [start]);
    put_aside::<S, M, V>(&mut a);
    let [b] = side_by_side::<S, I, 1, M, V>(s, panel, rows, k, (first + 1, chains), [zero]);
    add_tiles(s, &a, &b)
}

/// Sums that are not needed for a while. With 16 registers there are none for these too: left to itself, the compiler keeps
/// in memory what the loops add to.
#[inline(always)]
fn put_aside<S: Simd, const M: usize, const V: usize>(sums: &mut [[S::F32; V]; M]) {
    if const { S::REGISTERS == 16 } {
        core::hint::black_box(sums);
    }
}

/// The sums of chain `first` and those behind it, `C` of `chains`.
#[inline(always)]
fn side_by_side<S: Simd, I: Broadcast<M>, const C: usize, const M: usize, const V: usize>(
    s: S,
    panel: &[f32],
    rows: I,
    k: usize,
    (first, chains): (usize, usize),
    mut sums: [[[S::F32; V]; M]; C],
) -> [[[S::F32; V]; M]; C] {
    let width = V * S::LANES;
    let len = chain_start(1, chains, k);
    // One chain counts from the first term of all, so that each row is named by the same address in every chain.
    let skip = if C == 1 { chain_start(first, chains, k) } else { 0 };
    let mut weights: [&[f32]; C] = [&[]; C];
    let mut x = [rows; C];
    unrolled!(c < C, {
        let begin = chain_start(first + c, chains, k) - skip;
        weights[c] = &panel[begin * width..(begin + skip + len) * width];
        x[c] = rows.terms(begin..begin + skip + len);
    });
    add_terms::<S, I, C, M, V>(s, &weights, &x, skip..skip + len, &mut sums);
    // Chains differ in length by one at most.
    unrolled!(c < C, {
        let end = chain_start(first + c, chains, k) + len;
        if end < chain_start(first + c + 1, chains, k) {
            // The weights come first: a compiler broadcasts right from memory what it reads behind the last check.
            let weights = &panel[end * width..(end + 1) * width];
            add_term(s, weights, &rows.numbers(end), &mut sums[c]);
        }
    });
    sums
}

/// `tile[c][m][n] += x[c][m][k] * weights[c][k][n]` for some terms `k` of each chain, in order.
#[inline(always)]
fn add_terms<S: Simd, I: Broadcast<M>, const C: usize, const M: usize, const V: usize>(
    s: S,
    weights: &[&[f32]; C],
    x: &[I; C],
    terms: Range<usize>,
    tile: &mut [[[S::F32; V]; M]; C],
) {
    let width = V * S::LANES;
    let mut sums = *tile;
    let blocks = if const { I::IN_ROWS && unrolls_terms::<S>(C, M, V) } { terms.len() / TERMS_UNROLLED } else { 0 };
    let mut whole: [&[[f32; TERMS_UNROLLED]]; M] = [&[]; M];
    unrolled!(m < M, {
        whole[m] = &x[0].row(m).get(terms.start..).unwrap_or_default().as_chunks().0[..blocks];
    });
    let mut block = 0;
    while block < blocks {
        let rows = &starting_at(weights[0], (terms.start + block * TERMS_UNROLLED) * width)[..TERMS_UNROLLED * width];
        unrolled!(k of 0 1 2 3, {
            let mut x = [0.0; M];
            unrolled!(m < M, {
                x[m] = whole[m][block][k];
            });
            add_term(s, starting_at(rows, k * width), &x, &mut sums[0]);
        });
        block += 1;
    }
    let mut k = terms.start + blocks * TERMS_UNROLLED;
    while k < terms.end {
        unrolled!(c < C, {
            add_term(s, &weights[c][k * width..(k + 1) * width], &x[c].numbers(k), &mut sums[c]);
        });
        k += 1;
    }
    *tile = sums;
}

/// `sums[m][n] += x[m] * weights[n]`
#[inline(always)]
pub(crate) fn add_term<S: Simd, const M: usize, const V: usize>(
    s: S,
    weights: &[f32],
    x: &[f32; M],
    sums: &mut [[S::F32; V]; M],
) {
    let mut w: [S::F32; V] = zeros();
    unrolled!(v < V, {
        w[v] = s.load(starting_at(weights, v * S::LANES));
    });
    unrolled!(m < M, {
        let x = s.splat(x[m]);
        unrolled!(v < V, {
            sums[m][v] = s.mul_add(x, w[v], sums[m][v]);
        });
    });
}

#[inline(always)]
fn add_tiles<S: Simd, const M: usize, const V: usize>(
    s: S,
    a: &[[S::F32; V]; M],
    b: &[[S::F32; V]; M],
) -> [[S::F32; V]; M] {
    let mut sums: [[S::F32; V]; M] = zeros();
    unrolled!(m < M, {
        unrolled!(v < V, {
            sums[m][v] = s.add(a[m][v], b[m][v]);
        });
    });
    sums
}
