//! The product with a transposed matrix, for the way back of one step.

use super::matvec::{Identity, MatVec, evaluate};
use crate::kernels::lanes::transpose::RowsToColumns;
use crate::kernels::order::{chain_start, chains};
use crate::kernels::rows::{Rows, RowsMut};
use crate::kernels::slice::{flat, flat_mut, starting_at, starting_at_mut, zeros};
use crate::simd::{Kernel, Simd};
use core::ops::Range;

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
        turn(s, (rows, N), BLOCK.min(K - begin), &mut turned);
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

/// `out[k] += sum over n of weight[k][n] * d[n]` for the columns of some gates, in the canonical order of one product.
///
/// `weight` are rows of `row` numbers, gates of `HID` columns. Blocks of 16 rows of a gate are turned on the stack.
#[inline(always)]
pub(super) fn add_product_transposed<S: Simd, const K: usize, const HID: usize>(
    s: S,
    (weight, row): (&[f32], usize),
    gates: Range<usize>,
    d: &[f32],
    out: &mut [f32; K],
) {
    let terms = gates.len() * HID;
    if terms == 0 {
        return;
    }
    let count = chains(terms, K);
    let mut turned = [[0.0; BLOCK]; HID];
    let mut begin = 0;
    while begin < K {
        let rows = BLOCK.min(K - begin);
        let mut sums = [[0.0; BLOCK]; 4];
        sums[0][..rows].copy_from_slice(&out[begin..begin + rows]);
        for gate in 0..gates.len() {
            let column = (gates.start + gate) * HID;
            turn(s, (starting_at(weight, begin * row + column), row), rows, &mut turned);
            // The terms of this gate, in each of the chains that they belong to.
            for (c, sums) in sums.iter_mut().enumerate().take(count) {
                let first = chain_start(c, count, terms).max(gate * HID);
                let end = chain_start(c + 1, count, terms).min((gate + 1) * HID);
                if first < end {
                    let d = &d[gates.start * HID + first..gates.start * HID + end];
                    add_rows(s, &turned[first - gate * HID..end - gate * HID], d, sums);
                }
            }
        }
        for (k, to) in out[begin..begin + rows].iter_mut().enumerate() {
            *to = match count {
                1 => sums[0][k],
                2 => sums[0][k] + sums[1][k],
                _ => (sums[0][k] + sums[1][k]) + (sums[2][k] + sums[3][k]),
            };
        }
        begin += BLOCK;
    }
}

/// `sums += d[n] * rows[n]`, row after row.
#[inline(always)]
fn add_rows<S: Simd>(s: S, rows: &[[f32; BLOCK]], d: &[f32], sums: &mut [f32; BLOCK]) {
    let mut vectors: [S::F32; 4] = zeros();
    unrolled!(v < BLOCK / S::LANES, of 0 1 2 3, {
        vectors[v] = s.load(starting_at(sums, v * S::LANES));
    });
    for (row, d) in rows.iter().zip(d) {
        let d = s.splat(*d);
        unrolled!(v < BLOCK / S::LANES, of 0 1 2 3, {
            vectors[v] = s.mul_add(d, s.load(starting_at(row, v * S::LANES)), vectors[v]);
        });
    }
    unrolled!(v < BLOCK / S::LANES, of 0 1 2 3, {
        s.store(vectors[v], starting_at_mut(sums, v * S::LANES));
    });
}

/// `turned[n][k] = rows[k][n]` for `count` rows, some numbers apart.
#[inline(always)]
fn turn<S: Simd, const N: usize>(s: S, (rows, stride): (&[f32], usize), count: usize, turned: &mut [[f32; BLOCK]; N]) {
    if count >= S::LANES {
        turn_vectors(s, (rows, stride), count, turned);
    } else if count >= S::Half::LANES {
        turn_vectors(s.half(), (rows, stride), count, turned);
    } else {
        for k in 0..count {
            for n in 0..N {
                turned[n][k] = rows[k * stride + n];
            }
        }
    }
}

/// The same for as many rows as there are lanes, or more.
#[inline(always)]
fn turn_vectors<S: Simd, const N: usize>(
    s: S,
    (rows, stride): (&[f32], usize),
    count: usize,
    turned: &mut [[f32; BLOCK]; N],
) {
    let mut done = 0;
    while done < count {
        // The last vector ends with the last row; some rows before it are then turned twice.
        let first = done.min(count - S::LANES);
        let rows = Rows::line(starting_at(rows, first * stride), N, stride);
        let columns = RowsMut::line(flat_mut(turned), BLOCK);
        RowsToColumns { rows, width: N, columns, first }.run(s);
        done += S::LANES;
    }
}
