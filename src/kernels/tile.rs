//! The register tile of the throughput path: `M` samples by `V` vectors of outputs (4 x 4 or 8 x 2 with 32 registers,
//! 6 x 2 with 16).
//!
//! Each step of the inner loop loads one row of the panel (`V` vectors) and broadcasts one number of each of the `M`
//! samples:
//!
//! ```text
//!                 panel row k:   [ w w w w ][ w w w w ]
//!   sample 0:  x[0][k]  ->       [  sum 00 ][  sum 01 ]
//!   sample 1:  x[1][k]  ->       [  sum 10 ][  sum 11 ]
//!      ...
//! ```
//!
//! `M + V` loads feed `M * V` multiply-adds. A tile of each shape is a function of its own, compiled once for every
//! instruction set and called from everywhere: its sums come and go through memory (a few loads and stores for hundreds
//! of multiply-adds), so that what happens before and after is not compiled anew for every shape, and its loop has all
//! registers to itself.

use super::pack::{Panel, Panels};
use super::{chain_start, chains};
use crate::simd::{Kernel, Simd};

/// Where the rows of a product come from and go to: a grid of `outer` by `inner` rows, of which the tile takes `M`
/// neighbours along `inner` at a time.
///
/// The product is `z[n] = finish(start[n] + sum over k of input[k] * panel[k][n])` for every row.
pub(crate) trait Rows {
    /// The `K` inputs of a row and of those behind it along `inner`: a slice that starts with them, and the distance
    /// from one row to the next.
    fn inputs(&self, outer: usize, inner: usize) -> (&[f32], usize);
    /// What the sums of a row start from, column by column; zero in the columns that the slice does not reach.
    fn start(&self, outer: usize, inner: usize) -> &[f32];
    /// Finishes and stores the sums of a row from column `first` on, as far as they are columns of the result.
    fn finish<S: Simd>(&mut self, s: S, outer: usize, inner: usize, first: usize, sums: &[f32]);
}

/// The sums of the largest tile, row after row.
#[repr(align(64))]
pub(crate) struct Sums([f32; 256]);

impl Sums {
    pub(crate) const fn zero() -> Self {
        Self([0.0; 256])
    }

    /// The sums of row `m` of a tile whose rows have `width` numbers.
    #[inline(always)]
    pub(crate) fn row(&self, m: usize, width: usize) -> &[f32] {
        &self.0[m * width..][..width]
    }
}

/// Runs `outer` x `inner` rows against every panel. Panels are the outermost loop: a panel stays in L1 while all rows
/// pass by.
#[inline(always)]
pub(crate) fn multiply<S: Simd, R: Rows>(
    s: S,
    panels: &Panels,
    from_the_right: bool,
    (outer, inner): (usize, usize),
    rows: &mut R,
) {
    let chains = chains(panels.rows(), panels.columns());
    let mut sums = Sums::zero();
    for panel in panels.panels(s, from_the_right) {
        let Panel { data, first, vectors } = panel;
        let width = vectors * S::LANES;
        for o in 0..outer {
            let mut done = 0;
            while done < inner {
                let (tile_rows, begin) = next_tile(tallest::<S>(vectors), done, inner);
                for m in 0..tile_rows {
                    let start = rows.start(o, begin + m);
                    load_columns(s, &start[first.min(start.len())..], &mut sums.0[m * width..][..width]);
                }
                let (inputs, stride) = rows.inputs(o, begin);
                multiply_tile(s, (tile_rows, vectors), data, inputs, stride, chains, &mut sums);
                for row in done..begin + tile_rows {
                    rows.finish(s, o, row, first, sums.row(row - begin, width));
                }
                done = begin + tile_rows;
            }
        }
    }
}

/// Copies as much as there is, followed by zeros; `to` is whole vectors.
#[inline(always)]
pub(crate) fn load_columns<S: Simd>(s: S, from: &[f32], to: &mut [f32]) {
    if from.len() >= to.len() {
        for (from, to) in from.chunks_exact(S::LANES).zip(to.chunks_exact_mut(S::LANES)) {
            s.store(s.load(from), to);
        }
    } else {
        for (v, to) in to.chunks_exact_mut(S::LANES).enumerate() {
            s.store(s.load_partial(&from[from.len().min(v * S::LANES)..]), to);
        }
    }
}

/// Rows of the largest tile that is `vectors` wide.
#[inline(always)]
fn tallest<S: Simd>(vectors: usize) -> usize {
    if vectors == 4 { 4 } else { S::TILE_ROWS }
}

/// How many rows the next tile has and where it begins, once `done` of `rows` are done.
///
/// Where what remains does not fill a tile, the tile begins before it: rows that are done already are computed again and
/// dropped, which is cheaper than row by row.
#[inline(always)]
fn next_tile(tallest: usize, done: usize, rows: usize) -> (usize, usize) {
    let left = rows - done;
    if left > 4 && rows >= tallest {
        (tallest, done.min(rows - tallest))
    } else if left > 1 && rows >= 4 {
        (4, done.min(rows - 4))
    } else {
        (1, done)
    }
}

/// `sums += inputs * panel` for a tile of a shape that [`next_tile`] and [`Panels`] can name.
#[inline(always)]
fn multiply_tile<S: Simd>(
    s: S,
    shape: (usize, usize),
    panel: &[f32],
    inputs: &[f32],
    stride: usize,
    chains: usize,
    sums: &mut Sums,
) {
    if const { S::TILE_ROWS == 8 } {
        match shape {
            (4, 4) => return s.call(InRows::<4, 4> { panel, inputs, stride, chains, sums }),
            (_, 4) => return s.call(InRows::<1, 4> { panel, inputs, stride, chains, sums }),
            (8, 2) => return s.call(InRows::<8, 2> { panel, inputs, stride, chains, sums }),
            (8, _) => return s.call(InRows::<8, 1> { panel, inputs, stride, chains, sums }),
            _ => {}
        }
    }
    if const { S::TILE_ROWS == 6 } {
        match shape {
            (6, 2) => return s.call(InRows::<6, 2> { panel, inputs, stride, chains, sums }),
            (6, _) => return s.call(InRows::<6, 1> { panel, inputs, stride, chains, sums }),
            _ => {}
        }
    }
    match shape {
        (4, 2) => s.call(InRows::<4, 2> { panel, inputs, stride, chains, sums }),
        (4, _) => s.call(InRows::<4, 1> { panel, inputs, stride, chains, sums }),
        (_, 2) => s.call(InRows::<1, 2> { panel, inputs, stride, chains, sums }),
        _ => s.call(InRows::<1, 1> { panel, inputs, stride, chains, sums }),
    }
}

/// A tile whose inputs are rows in memory, `stride` apart: `sums[m][n] += sum over k of x[m][k] * panel[k][n]`.
struct InRows<'a, const M: usize, const V: usize> {
    panel: &'a [f32],
    inputs: &'a [f32],
    stride: usize,
    chains: usize,
    sums: &'a mut Sums,
}

impl<const M: usize, const V: usize> Kernel for InRows<'_, M, V> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { panel, inputs, stride, chains, sums } = self;
        let width = V * S::LANES;
        let k = panel.len() / width;
        // The chains are added pairwise: (c0 + c1) + (c2 + c3). `sums` holds the first pair, `second` the other.
        let mut second = Sums::zero();
        for c in 0..chains {
            let chain = chain_start(c, chains, k)..chain_start(c + 1, chains, k);
            let mut x: [&[f32]; M] = [&[]; M];
            for (m, x) in x.iter_mut().enumerate() {
                *x = &inputs[m * stride..][chain.clone()];
            }
            let mut tile = if c == 0 { load_tile::<S, M, V>(s, sums) } else { [[s.splat(0.0); V]; M] };
            add_chain(s, &panel[chain.start * width..chain.end * width], &x, chain.len(), &mut tile);
            match c {
                0 => store_tile(s, &tile, sums),
                1 => add_tile(s, &tile, sums),
                2 => store_tile(s, &tile, &mut second),
                _ => {
                    add_tile(s, &tile, &mut second);
                    add_tile::<S, M, V>(s, &load_tile(s, &second), sums);
                }
            }
        }
    }
}

/// `sums[m][n] += x[m][k] * panel[k][n]` for the `len` terms of one chain, in order.
#[inline(always)]
fn add_chain<S: Simd, const M: usize, const V: usize>(
    s: S,
    panel: &[f32],
    x: &[&[f32]; M],
    len: usize,
    sums: &mut [[S::F32; V]; M],
) {
    // Several terms at a time, because the address of every row costs an instruction.
    const UNROLLED: usize = 4;
    let width = V * S::LANES;
    let mut tile = *sums;
    let mut whole: [&[[f32; UNROLLED]]; M] = [&[]; M];
    for (whole, x) in whole.iter_mut().zip(x) {
        *whole = &x.as_chunks().0[..len / UNROLLED];
    }
    let mut weights = panel.chunks_exact(UNROLLED * width);
    for (i, weights) in (0..len / UNROLLED).zip(&mut weights) {
        for (k, weights) in weights.chunks_exact(width).enumerate() {
            let mut inputs = [0.0; M];
            for (input, x) in inputs.iter_mut().zip(whole) {
                *input = x[i][k];
            }
            add_term(s, weights, &inputs, &mut tile);
        }
    }
    let rest = len / UNROLLED * UNROLLED..len;
    for (k, weights) in rest.zip(weights.remainder().chunks_exact(width)) {
        let mut inputs = [0.0; M];
        for (input, x) in inputs.iter_mut().zip(x) {
            *input = x[k];
        }
        add_term(s, weights, &inputs, &mut tile);
    }
    *sums = tile;
}

/// A tile whose inputs lie side by side, `M` for each `k`: `sums[m][n] = sum over k of x[k][m] * panel[k][n]`, in a
/// single chain from zero.
pub(crate) struct SideBySide<'a, const M: usize, const V: usize> {
    pub(crate) panel: &'a [f32],
    pub(crate) inputs: &'a [f32],
    pub(crate) sums: &'a mut Sums,
}

impl<const M: usize, const V: usize> Kernel for SideBySide<'_, M, V> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let mut tile = [[s.splat(0.0); V]; M];
        for (weights, x) in self.panel.chunks_exact(V * S::LANES).zip(self.inputs.as_chunks().0) {
            add_term(s, weights, x, &mut tile);
        }
        store_tile(s, &tile, self.sums);
    }
}

/// `sums[m][n] += x[m] * weights[n]`
#[inline(always)]
fn add_term<S: Simd, const M: usize, const V: usize>(s: S, weights: &[f32], x: &[f32; M], sums: &mut [[S::F32; V]; M]) {
    let mut w = [s.splat(0.0); V];
    for (v, w) in w.iter_mut().enumerate() {
        *w = s.load(&weights[v * S::LANES..]);
    }
    for (x, sums) in x.iter().zip(sums.iter_mut()) {
        let x = s.splat(*x);
        for (sum, w) in sums.iter_mut().zip(w) {
            *sum = s.mul_add(x, w, *sum);
        }
    }
}

#[inline(always)]
fn load_tile<S: Simd, const M: usize, const V: usize>(s: S, from: &Sums) -> [[S::F32; V]; M] {
    let mut tile = [[s.splat(0.0); V]; M];
    for (m, sums) in tile.iter_mut().enumerate() {
        for (v, sum) in sums.iter_mut().enumerate() {
            *sum = s.load(&from.0[(m * V + v) * S::LANES..]);
        }
    }
    tile
}

#[inline(always)]
fn store_tile<S: Simd, const M: usize, const V: usize>(s: S, tile: &[[S::F32; V]; M], to: &mut Sums) {
    for (m, sums) in tile.iter().enumerate() {
        for (v, sum) in sums.iter().enumerate() {
            s.store(*sum, &mut to.0[(m * V + v) * S::LANES..]);
        }
    }
}

/// `to += tile`
#[inline(always)]
fn add_tile<S: Simd, const M: usize, const V: usize>(s: S, tile: &[[S::F32; V]; M], to: &mut Sums) {
    for (m, sums) in tile.iter().enumerate() {
        for (v, sum) in sums.iter().enumerate() {
            let to = &mut to.0[(m * V + v) * S::LANES..];
            s.store(s.add(s.load(to), *sum), to);
        }
    }
}
