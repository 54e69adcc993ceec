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

use super::pack::{Panel, Panels};
use super::tanh::{self, tanh};
use super::view::{View, ViewMut};
use super::{NUMBERS_PER_LINE, chain_start, chains, starting_at, starting_at_mut, zeros};
use crate::simd::{Kernel, Simd, load_some, store_some};
use core::ops::Range;

/// The rows of a product, on a grid of `outer` by `inner`, of which the tile takes `M` neighbours along `inner` at a time:
/// `finish(start[n] + sum over k of input[k] * panel[k][n])` for every row.
///
/// What differs from product to product are values, not types: a tile of each shape is compiled once.
pub(crate) struct Rows<'a> {
    pub(crate) input: Input<'a>,
    /// A second sum, over these inputs and another panel, goes on from the first.
    pub(crate) second_input: Option<Input<'a>>,
    /// What the sums start from.
    pub(crate) start: Table<'a>,
    pub(crate) finish: Finish<'a>,
    pub(crate) output: Output<'a>,
    /// What later products need is asked for.
    pub(crate) ahead: &'a [Ahead<'a>],
}

/// The inputs of a product.
#[derive(Clone, Copy)]
pub(crate) enum Input<'a> {
    Rows(Table<'a>),
    /// Results of before, in the same memory as the output and as far apart; the first row begins at this number.
    Results(usize),
}

/// What becomes of the sums.
#[derive(Clone, Copy)]
pub(crate) enum Finish<'a> {
    /// They are the result.
    Nothing,
    Tanh,
    /// They are multiplied by the derivative of tanh, `1 - y^2`, where its values `y` are these.
    Slope(Table<'a>),
}

/// Where the results go.
pub(crate) struct Output<'a> {
    pub(crate) data: &'a mut [f32],
    /// Where the first row begins, and how many numbers are from one row to the next.
    pub(crate) first: usize,
    pub(crate) outer: usize,
    pub(crate) inner: usize,
    /// Whether it is asked for before it is written.
    pub(crate) far: bool,
}

impl Output<'_> {
    #[inline(always)]
    fn view(&mut self, outer: usize, inner: usize) -> ViewMut<'_> {
        let first = self.first + outer * self.outer + inner * self.inner;
        ViewMut { data: &mut self.data[first..], stride: self.inner }
    }
}

/// Rows to be read, so many numbers from one to the next.
#[derive(Clone, Copy)]
pub(crate) struct Table<'a> {
    pub(crate) data: &'a [f32],
    pub(crate) outer: usize,
    pub(crate) inner: usize,
}

impl<'a> Table<'a> {
    /// No numbers, which stand for zeros.
    pub(crate) const ZEROS: Table<'static> = Table { data: &[], outer: 0, inner: 0 };

    /// Rows `stride` apart along `inner`, the same ones for all of `outer`.
    #[inline(always)]
    pub(crate) fn along_inner(data: &'a [f32], stride: usize) -> Self {
        Self { data, outer: 0, inner: stride }
    }

    #[inline(always)]
    fn view(&self, outer: usize, inner: usize) -> View<'a> {
        View { data: &self.data[outer * self.outer + inner * self.inner..], stride: self.inner }
    }
}

/// Rows of `width` numbers that are asked for while others are computed.
#[derive(Clone, Copy)]
pub(crate) struct Ahead<'a> {
    pub(crate) rows: View<'a>,
    pub(crate) width: usize,
}

impl Ahead<'_> {
    /// Asks for columns of some rows, and for those `period` behind them up to the end of each row. The hardware does not
    /// foresee so many streams.
    #[inline(always)]
    pub(crate) fn prefetch<S: Simd>(self, s: S, rows: Range<usize>, columns: Range<usize>, period: usize) {
        let View { data, stride } = self.rows;
        for begin in (0..self.width).step_by(period) {
            let first = View { data: data.get(rows.start * stride..).unwrap_or_default(), stride };
            let columns = begin + columns.start..begin + columns.end;
            first.prefetch(rows.len(), columns, |line| s.prefetch_for_later(line));
        }
    }
}

impl Rows<'_> {
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
    fn inputs(&self, part: usize, outer: usize, inner: usize) -> View<'_> {
        match self.input_of(part) {
            Input::Rows(table) => table.view(outer, inner),
            Input::Results(first) => {
                let Output { data, outer: outer_stride, inner: stride, .. } = &self.output;
                View { data: &data[first + outer * outer_stride + inner * stride..], stride: *stride }
            }
        }
    }

    /// Where `M` rows of inputs begin, for the first sum or the second.
    #[inline(always)]
    fn begins<const M: usize>(&self, part: usize) -> [usize; M] {
        let stride = match self.input_of(part) {
            Input::Rows(table) => table.inner,
            Input::Results(_) => self.output.inner,
        };
        let mut begins = [0; M];
        unrolled!(m < M, {
            begins[m] = m * stride;
        });
        begins
    }

    /// Whether anything is asked for.
    #[inline(always)]
    fn asks(&self) -> bool {
        self.output.far || !self.ahead.is_empty()
    }
}

/// Asks for what the rows `inner` of a tile write in its columns, and for its share of what comes later. A function of its
/// own, as most tiles ask for nothing.
struct Prefetch<'a, 'r> {
    rows: &'a mut Rows<'r>,
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
        let Self { rows, outer, inner, columns, of } = self;
        for ahead in rows.ahead {
            ahead.prefetch(s, inner.clone(), columns.clone(), of);
        }
        if rows.output.far {
            let ViewMut { data, stride } = rows.output.view(outer, inner.start);
            View { data, stride }.prefetch(inner.len(), columns, |line| s.prefetch(line));
        }
    }
}

impl View<'_> {
    /// Asks for columns of the first rows, line by line.
    #[inline(always)]
    pub(crate) fn prefetch(&self, rows: usize, columns: Range<usize>, ask: impl Fn(&[f32])) {
        for column in columns.step_by(NUMBERS_PER_LINE) {
            for row in 0..rows {
                if let Some(line) = self.data.get(row * self.stride + column..) {
                    ask(line);
                }
            }
        }
    }

    /// Vectors of row `m` from a column on; a single one may reach beyond the last of `columns`.
    #[inline(always)]
    fn load<S: Simd, const V: usize>(&self, s: S, m: usize, column: usize, columns: usize) -> [S::F32; V] {
        let mut vectors: [S::F32; V] = zeros();
        if !self.data.is_empty() {
            let from = starting_at(self.data, m * self.stride + column);
            if V == 1 {
                vectors[0] = load_some(s, &from[..columns - column]);
            } else {
                unrolled!(v < V, {
                    vectors[v] = s.load(starting_at(from, v * S::LANES));
                });
            }
        }
        vectors
    }
}

/// Runs `outer` x `inner` rows against every panel of one matrix, or of two with the same columns where there are second
/// inputs. Panels are the outermost loop: a panel stays in L1 while all rows pass by.
#[inline(always)]
pub(crate) fn multiply<S: Simd>(
    s: S,
    matrices: [&Panels; 2],
    from_the_right: bool,
    grid: (usize, usize),
    rows: &mut Rows<'_>,
) {
    let columns = matrices[0].columns();
    let chains = matrices.map(|matrix| chains(matrix.rows(), columns));
    let count = matrices[0].count();
    for i in 0..count {
        let i = if from_the_right { count - 1 - i } else { i };
        let parts = Parts { panels: [matrices[0].panel(i), matrices[1].panel(i)], chains, columns };
        if parts.panels[0].span.is_half(s) {
            multiply_panel(s.half(), parts, grid, rows);
        } else {
            multiply_panel(s, parts, grid, rows);
        }
    }
}

/// The same columns of both matrices. Without second inputs, the second is the first and is not looked at.
#[derive(Clone, Copy)]
struct Parts<'a> {
    panels: [Panel<'a>; 2],
    /// Chains of each sum.
    chains: [usize; 2],
    /// Columns of the result.
    columns: usize,
}

#[inline(always)]
fn multiply_panel<S: Simd>(s: S, parts: Parts<'_>, grid: (usize, usize), rows: &mut Rows<'_>) {
    let vectors = parts.panels[0].span.width / S::LANES;
    let chains = parts.chains[..rows.parts()].iter().fold(1, |most, chains| most.max(*chains));
    let side_by_side = if S::REGISTERS == 32 { chains.min(2) } else { 1 };
    // A single vector with 32 registers: two chains of all rows fill them.
    let tallest = if vectors == 1 && S::REGISTERS == 32 { S::TILE_ROWS } else { S::TILE_ROWS / side_by_side };
    // Two vectors with 16 registers: there are tiles of one row less.
    let one_less = vectors == 2 && S::TILE_ROWS == 6;
    for outer in 0..grid.0 {
        let mut done = 0;
        while done < grid.1 {
            let (height, inner, tiles) = next_tiles(tallest, one_less, done, grid.1);
            let place = Place { parts, rows, outer, inner, skip: done - inner, tiles };
            call_tile(s, (side_by_side, height, vectors), place);
            done = inner + tiles * height;
        }
    }
}

/// How many rows the next tiles have, where the first one begins, and how many they are, once `done` of `rows` are done:
/// [`next_tile`], again and again. With tiles of one row less, what remains is shared out among them.
#[inline(always)]
fn next_tiles(tallest: usize, one_less: bool, done: usize, rows: usize) -> (usize, usize, usize) {
    let left = rows - done;
    if one_less {
        let shorter = (tallest - left % tallest) % tallest;
        if let Some(tall) = left.checked_sub(shorter * (tallest - 1)) {
            return if tall > 0 { (tallest, done, tall / tallest) } else { (tallest - 1, done, shorter) };
        }
    }
    let (height, begin) = next_tile(tallest, done, rows);
    (height, begin, if height == tallest { (rows - begin) / height } else { 1 })
}

/// How many rows the next tile has and where it begins, once `done` of `rows` are done: `tallest`, or half as many, or one.
///
/// Where what remains does not fill a tile, the tile begins before it: rows that are done already are computed again and
/// dropped, which is cheaper than row by row.
#[inline(always)]
pub(crate) fn next_tile(tallest: usize, done: usize, rows: usize) -> (usize, usize) {
    let left = rows - done;
    let half = tallest / 2;
    if left > half && rows >= tallest {
        (tallest, done.min(rows - tallest))
    } else if left > 1 && rows >= half {
        (half, done.min(rows - half))
    } else {
        (1, done)
    }
}

/// Which tile, of which rows.
struct Place<'a, 'r> {
    parts: Parts<'a>,
    rows: &'a mut Rows<'r>,
    outer: usize,
    /// The first row.
    inner: usize,
    /// Rows at its beginning that are done already; only a last tile has some.
    skip: usize,
    /// How many tiles, one behind the other.
    tiles: usize,
}

/// Calls the tile of a shape (chains side by side, rows, vectors), one that [`multiply_panel`] can name.
#[inline(always)]
fn call_tile<S: Simd>(s: S, (side_by_side, height, vectors): (usize, usize, usize), place: Place<'_, '_>) {
    macro_rules! call {
        ($c:literal, $m:literal, $v:literal) => {
            s.call(Tile::<$c, $m, $v>(place))
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
struct Tile<'a, 'r, const C: usize, const M: usize, const V: usize>(Place<'a, 'r>);

impl<const C: usize, const M: usize, const V: usize> Kernel for Tile<'_, '_, C, M, V> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Place { parts: Parts { panels, chains, columns }, rows, outer, inner, skip, tiles } = self.0;
        let column = panels[0].span.first;
        let asks = rows.asks();
        // Hidden from the compiler, which would otherwise compute the address of each row from the one before, in every term.
        let begins: [[usize; M]; 2] = core::hint::black_box([rows.begins(0), rows.begins(1)]);
        for inner in (inner..).step_by(M).take(tiles) {
            if asks {
                let (inner, of) = (inner..inner + M, columns);
                s.call(Prefetch { rows, outer, inner, columns: column..column + V * S::LANES, of });
            }
            let from = rows.start.view(outer, inner);
            let mut sums: [[S::F32; V]; M] = zeros();
            unrolled!(m < M, {
                sums[m] = from.load::<S, V>(s, m, column, columns);
            });
            for part in 0..rows.parts() {
                let k = panels[part].data.len() / (V * S::LANES);
                let inputs = rows.inputs(part, outer, inner).data;
                let mut x: [&[f32]; M] = [&[]; M];
                unrolled!(m < M, {
                    x[m] = &starting_at(inputs, begins[part][m])[..k];
                });
                sums = sum::<S, _, C, M, V>(s, panels[part].data, x, chains[part], sums);
            }
            let (to, columns) = (rows.output.view(outer, inner), column..columns);
            match rows.finish {
                // Out of the registers that they are in: that takes as many as AVX-512 has, and a tanh that is short.
                Finish::Tanh if const { S::LANES == 16 } => {
                    unrolled!(m < M, {
                        if m >= skip {
                            let row = &mut to.data[m * to.stride..][columns.clone()];
                            unrolled!(v < V, {
                                store::<S, V>(s, tanh(s, sums[m][v]), starting_at_mut(row, v * S::LANES));
                            });
                        }
                    });
                }
                Finish::Tanh => {
                    // Out of a copy, made vector by vector: the sums themselves would have to be in memory all the time.
                    let mut finished: [[S::F32; V]; M] = zeros();
                    unrolled!(m < M, {
                        finished[m] = sums[m];
                    });
                    let sums = bytemuck::must_cast_slice(&finished);
                    let finish = FinishByTanh::<V> { sums, to, skip, columns };
                    // Within the tile, with 16 registers, the compiler would keep the constants of tanh in them, and sums
                    // in memory.
                    if const { S::TILE_ROWS == 6 } { s.call(finish) } else { finish.run(s) }
                }
                Finish::Nothing => {
                    unrolled!(m < M, {
                        if m >= skip {
                            let row = &mut to.data[m * to.stride..][columns.clone()];
                            unrolled!(v < V, {
                                store::<S, V>(s, sums[m][v], starting_at_mut(row, v * S::LANES));
                            });
                        }
                    });
                }
                Finish::Slope(of) => {
                    let of = of.view(outer, inner);
                    unrolled!(m < M, {
                        if m >= skip {
                            let row = &mut to.data[m * to.stride..][columns.clone()];
                            let y = of.load::<S, V>(s, m, columns.start, columns.end);
                            unrolled!(v < V, {
                                store::<S, V>(
                                    s,
                                    tanh::backward(s, sums[m][v], y[v]),
                                    starting_at_mut(row, v * S::LANES),
                                );
                            });
                        }
                    });
                }
            }
        }
    }
}

/// tanh of the rows of a tile, those behind the first `skip`: a loop, as tanh is long.
struct FinishByTanh<'a, const V: usize> {
    /// Vector by vector.
    sums: &'a [f32],
    to: ViewMut<'a>,
    skip: usize,
    columns: Range<usize>,
}

impl<const V: usize> Kernel for FinishByTanh<'_, V> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { sums, to, skip, columns } = self;
        let mut m = skip;
        while m < sums.len() / (V * S::LANES) {
            let row = &mut to.data[m * to.stride..][columns.clone()];
            unrolled!(v < V, {
                let sum = s.load(starting_at(sums, (m * V + v) * S::LANES));
                store::<S, V>(s, tanh(s, sum), starting_at_mut(row, v * S::LANES));
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
pub(super) trait Broadcast<const M: usize>: Copy {
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
pub(super) fn sum<S: Simd, I: Broadcast<M>, const C: usize, const M: usize, const V: usize>(
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
    // One chain of rows takes four terms at a time, which saves instructions: a compiler then loads the inputs of all four
    // first. With two chains, with sixteen sums, or with 16 registers and six rows, it would find no registers for them.
    const UNROLLED: usize = 4;
    let full = M * V == 16 || S::TILE_ROWS == 6;
    let blocks = if C == 1 && I::IN_ROWS && !full { terms.len() / UNROLLED } else { 0 };
    let mut whole: [&[[f32; UNROLLED]]; M] = [&[]; M];
    unrolled!(m < M, {
        whole[m] = &x[0].row(m).get(terms.start..).unwrap_or_default().as_chunks().0[..blocks];
    });
    let mut block = 0;
    while block < blocks {
        let rows = &starting_at(weights[0], (terms.start + block * UNROLLED) * width)[..UNROLLED * width];
        unrolled!(k of 0 1 2 3, {
            let mut x = [0.0; M];
            unrolled!(m < M, {
                x[m] = whole[m][block][k];
            });
            add_term(s, starting_at(rows, k * width), &x, &mut sums[0]);
        });
        block += 1;
    }
    let mut k = terms.start + blocks * UNROLLED;
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
