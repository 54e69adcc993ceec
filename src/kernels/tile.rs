//! The register tile of the throughput path: `M` samples by `V` vectors of outputs (4 x 4 or 8 x 2 with 32
//! registers, 4 x 2 with 16).
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
//! `M + V` loads feed `M * V` multiply-adds. The code depends on the tile's shape alone, not on the layer's sizes.

use super::pack::{Panel, Panels};
use super::{chain_start, chains};
use crate::simd::Simd;

/// Where the rows of a product come from and go to: a grid of `outer` by `inner` rows, of which the tile takes `M`
/// neighbours along `inner` at a time.
///
/// The product is `z[n] = finish(init[n] + sum over k of input[k] * panel[k][n])` for every row.
pub(crate) trait Rows {
    /// The `K` inputs of a row and of those behind it along `inner`: a slice that starts with them, and the distance
    /// from one row to the next.
    ///
    /// One slice with a stride instead of a slice for each row, because eight pointers are more than the integer
    /// registers hold: spilled, each of them costs a load for every two multiply-adds.
    fn inputs(&self, outer: usize, inner: usize) -> (&[f32], usize);
    /// What the sums of a row start from, columns `first..`, of which there is a whole vector unless `PARTIAL`.
    fn init<S: Simd, const PARTIAL: bool>(&self, s: S, outer: usize, inner: usize, first: usize) -> S::F32;
    /// Finishes and stores the sums of a row, columns `first..`, as far as they are columns of the result.
    fn finish<S: Simd, const PARTIAL: bool>(&mut self, s: S, outer: usize, inner: usize, first: usize, sum: S::F32);
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
    for panel in panels.panels(s, from_the_right) {
        for o in 0..outer {
            let whole = panel.first + panel.vectors * S::LANES <= panels.columns();
            match (panel.vectors, whole) {
                (4, true) if S::TILE_ROWS == 8 => strip::<S, R, 4, false>(s, panel, chains, o, inner, rows),
                (4, false) if S::TILE_ROWS == 8 => strip::<S, R, 4, true>(s, panel, chains, o, inner, rows),
                (2, true) => strip::<S, R, 2, false>(s, panel, chains, o, inner, rows),
                (2, false) => strip::<S, R, 2, true>(s, panel, chains, o, inner, rows),
                (_, true) => strip::<S, R, 1, false>(s, panel, chains, o, inner, rows),
                (_, false) => strip::<S, R, 1, true>(s, panel, chains, o, inner, rows),
            }
        }
    }
}

/// All rows along `inner`: as many full tiles as there are, then smaller ones.
#[inline(always)]
fn strip<S: Simd, R: Rows, const V: usize, const PARTIAL: bool>(
    s: S,
    panel: Panel<'_>,
    chains: usize,
    outer: usize,
    inner: usize,
    rows: &mut R,
) {
    let mut i = 0;
    if S::TILE_ROWS == 8 && V <= 2 {
        while i + 8 <= inner {
            tile::<S, R, 8, V, PARTIAL>(s, panel, chains, (outer, i), rows);
            i += 8;
        }
    }
    while i + 4 <= inner {
        tile::<S, R, 4, V, PARTIAL>(s, panel, chains, (outer, i), rows);
        i += 4;
    }
    if i + 2 <= inner {
        tile::<S, R, 2, V, PARTIAL>(s, panel, chains, (outer, i), rows);
        i += 2;
    }
    if i < inner {
        tile::<S, R, 1, V, PARTIAL>(s, panel, chains, (outer, i), rows);
    }
}

#[inline(always)]
fn tile<S: Simd, R: Rows, const M: usize, const V: usize, const PARTIAL: bool>(
    s: S,
    panel: Panel<'_>,
    chains: usize,
    (outer, inner): (usize, usize),
    rows: &mut R,
) {
    let k = panel.data.len() / (V * S::LANES);
    let zeros = [[s.splat(0.0); V]; M];
    let mut sums = zeros;
    for (m, sums) in sums.iter_mut().enumerate() {
        for (v, sum) in sums.iter_mut().enumerate() {
            *sum = rows.init::<S, PARTIAL>(s, outer, inner + m, panel.first + v * S::LANES);
        }
    }
    {
        // Every input cut to the same known length: no bounds check is left in the inner loop.
        let (base, stride) = rows.inputs(outer, inner);
        let mut inputs: [&[f32]; M] = [&[]; M];
        for (m, input) in inputs.iter_mut().enumerate() {
            *input = &base[m * stride..][..k];
        }
        let chain = |c: usize| chain_start(c, chains, k)..chain_start(c + 1, chains, k);
        add_chain(s, panel.data, &inputs, chain(0), &mut sums);
        if chains > 1 {
            let mut second = zeros;
            add_chain(s, panel.data, &inputs, chain(1), &mut second);
            add_tiles(s, &mut sums, &second);
        }
        if chains > 2 {
            let (mut third, mut fourth) = (zeros, zeros);
            add_chain(s, panel.data, &inputs, chain(2), &mut third);
            add_chain(s, panel.data, &inputs, chain(3), &mut fourth);
            add_tiles(s, &mut third, &fourth);
            add_tiles(s, &mut sums, &third);
        }
    }
    for (m, sums) in sums.iter().enumerate() {
        for (v, sum) in sums.iter().enumerate() {
            rows.finish::<S, PARTIAL>(s, outer, inner + m, panel.first + v * S::LANES, *sum);
        }
    }
}

/// `sums[m][v] += x[m][k] * panel[k][v]` for the `k` of one chain, in order.
#[inline(always)]
fn add_chain<S: Simd, const M: usize, const V: usize>(
    s: S,
    panel: &[f32],
    inputs: &[&[f32]; M],
    chain: core::ops::Range<usize>,
    sums: &mut [[S::F32; V]; M],
) {
    let width = V * S::LANES;
    let mut local = *sums;
    let mut x: [&[f32]; M] = [&[]; M];
    for (x, input) in x.iter_mut().zip(inputs) {
        *x = &input[chain.clone()];
    }
    let len = chain.len();
    let panel = &panel[chain.start * width..chain.end * width];
    for (k, weights) in (0..len).zip(panel.chunks_exact(width)) {
        let mut w = [s.splat(0.0); V];
        for (v, w) in w.iter_mut().enumerate() {
            *w = s.load(&weights[v * S::LANES..]);
        }
        for (x, sums) in x.iter().zip(local.iter_mut()) {
            let x = s.splat(x[k]);
            for (sum, w) in sums.iter_mut().zip(w) {
                *sum = s.mul_add(x, w, *sum);
            }
        }
    }
    *sums = local;
}

/// `a += b`
#[inline(always)]
fn add_tiles<S: Simd, const M: usize, const V: usize>(s: S, a: &mut [[S::F32; V]; M], b: &[[S::F32; V]; M]) {
    for (a, b) in a.iter_mut().zip(b) {
        for (a, b) in a.iter_mut().zip(b) {
            *a = s.add(*a, *b);
        }
    }
}
