//! The gradient of a weight matrix: a sum of outer products over rows, tiled in registers.

use crate::simd::{Simd, load, store};

/// The rows of one side of the product: a grid of `outer` by `inner`, like [`super::tile::Rows`].
pub(crate) trait Source {
    fn row(&self, outer: usize, inner: usize) -> &[f32];
}

/// A single row.
impl Source for &[f32] {
    #[inline(always)]
    fn row(&self, _: usize, _: usize) -> &[f32] {
        self
    }
}

/// `d_weight[k][n] += sum over the grid of input[k] * d_output[n]`, `d_weight` being input-major with `columns` columns.
///
/// The sum over one call is taken from zero, row after row (`inner` fastest), and then added: a long sequence is summed
/// block by block, which keeps the rounding error small.
#[inline(always)]
pub(crate) fn add_outer_products<S: Simd>(
    s: S,
    input: &impl Source,
    d_output: &impl Source,
    grid: (usize, usize),
    d_weight: &mut [f32],
    columns: usize,
) {
    let inputs = d_weight.len() / columns;
    let mut first = 0;
    while first < columns {
        let left = columns - first;
        if left >= 2 * S::LANES {
            column_panel::<S, 2, false>(s, input, d_output, grid, d_weight, columns, first, inputs);
            first += 2 * S::LANES;
        } else if left >= S::LANES {
            column_panel::<S, 1, false>(s, input, d_output, grid, d_weight, columns, first, inputs);
            first += S::LANES;
        } else {
            column_panel::<S, 1, true>(s, input, d_output, grid, d_weight, columns, first, inputs);
            first = columns;
        }
    }
}

#[inline(always)]
#[expect(clippy::too_many_arguments, reason = "one loop of `add_outer_products`, split out for its const parameters")]
fn column_panel<S: Simd, const V: usize, const PARTIAL: bool>(
    s: S,
    input: &impl Source,
    d_output: &impl Source,
    grid: (usize, usize),
    d_weight: &mut [f32],
    columns: usize,
    first: usize,
    inputs: usize,
) {
    let mut k = 0;
    if S::TILE_ROWS == 8 {
        while k + 8 <= inputs {
            tile::<S, 8, V, PARTIAL>(s, input, d_output, grid, d_weight, columns, first, k);
            k += 8;
        }
    }
    while k + 4 <= inputs {
        tile::<S, 4, V, PARTIAL>(s, input, d_output, grid, d_weight, columns, first, k);
        k += 4;
    }
    if k + 2 <= inputs {
        tile::<S, 2, V, PARTIAL>(s, input, d_output, grid, d_weight, columns, first, k);
        k += 2;
    }
    if k < inputs {
        tile::<S, 1, V, PARTIAL>(s, input, d_output, grid, d_weight, columns, first, k);
    }
}

#[inline(always)]
#[expect(clippy::too_many_arguments, reason = "one loop of `add_outer_products`, split out for its const parameters")]
fn tile<S: Simd, const M: usize, const V: usize, const PARTIAL: bool>(
    s: S,
    input: &impl Source,
    d_output: &impl Source,
    (outer, inner): (usize, usize),
    d_weight: &mut [f32],
    columns: usize,
    first: usize,
    k: usize,
) {
    let width = (V * S::LANES).min(columns - first);
    let mut sums = [[s.splat(0.0); V]; M];
    for o in 0..outer {
        for i in 0..inner {
            let x = &input.row(o, i)[k..k + M];
            let d = &d_output.row(o, i)[first..first + width];
            let mut vectors = [s.splat(0.0); V];
            for (v, vector) in vectors.iter_mut().enumerate() {
                *vector = load::<S, PARTIAL>(s, &d[v * S::LANES..]);
            }
            for (x, sums) in x.iter().zip(sums.iter_mut()) {
                let x = s.splat(*x);
                for (sum, vector) in sums.iter_mut().zip(vectors) {
                    *sum = s.mul_add(x, vector, *sum);
                }
            }
        }
    }
    for (m, sums) in sums.iter().enumerate() {
        let row = &mut d_weight[(k + m) * columns + first..][..width];
        add_to::<S, V, PARTIAL>(s, row, sums);
    }
}

/// `d_bias[n] += sum over the grid of d_output[n]`, in the order of [`add_outer_products`].
#[inline(always)]
pub(crate) fn add_rows<S: Simd>(s: S, d_output: &impl Source, (outer, inner): (usize, usize), d_bias: &mut [f32]) {
    for (v, to) in d_bias.chunks_mut(S::LANES).enumerate() {
        let mut sum = s.splat(0.0);
        for o in 0..outer {
            for i in 0..inner {
                sum = s.add(sum, s.load_partial(&d_output.row(o, i)[v * S::LANES..][..to.len()]));
            }
        }
        s.store_partial(s.add(s.load_partial(to), sum), to);
    }
}

/// `row += sums`
#[inline(always)]
fn add_to<S: Simd, const V: usize, const PARTIAL: bool>(s: S, row: &mut [f32], sums: &[S::F32; V]) {
    for (v, sum) in sums.iter().enumerate() {
        let to = &mut row[v * S::LANES..];
        store::<S, PARTIAL>(s, s.add(load::<S, PARTIAL>(s, to), *sum), to);
    }
}
