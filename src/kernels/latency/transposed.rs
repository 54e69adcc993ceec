//! The product with a transposed matrix, for the way back of one step.

use super::matvec::{Identity, MatVec, evaluate};
use crate::kernels::lanes::transpose::RowsToColumns;
use crate::kernels::rows::{Rows, RowsMut};
use crate::kernels::slice::{flat, flat_mut, starting_at, starting_at_mut};
use crate::simd::{Kernel, Simd};

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
        let product = MatVec::<_, _, N, BLOCK, K> { start: &zero, weight: &turned, x: d };
        let to = starting_at_mut(&mut out, begin);
        let count = BLOCK.min(to.len());
        to[..count].copy_from_slice(&evaluate(s, &product, Identity)[..count]);
        begin += BLOCK;
    }
    out
}

/// Rows that are transposed together.
const BLOCK: usize = 16;

/// `turned[n][k] = rows[k][n]` for `count` rows.
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
        let rows = Rows::line(starting_at(rows, first * N), N, N);
        let columns = RowsMut::line(flat_mut(turned), BLOCK);
        RowsToColumns { rows, width: N, columns, first }.run(s);
        done += S::LANES;
    }
}
