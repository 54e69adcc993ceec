//! Transposes: rows of samples into columns, so that samples lie in lanes, and back; rows of weights for the backward of a
//! single step.

use crate::kernels::rows::{Rows, RowsMut};
use crate::kernels::slice::{starting_at, starting_at_mut, zeros};
use crate::kernels::tuning::FEW_COLUMNS_TO_TURN;
#[cfg(feature = "alloc")]
use crate::simd::store_some;
use crate::simd::{Kernel, Simd, load_some};

/// The most lanes that there are.
const MOST_LANES: usize = 16;

/// A block for every lane.
macro_rules! each_lane {
    ($lane:ident, $lanes:expr, $body:block) => {
        unrolled!($lane < $lanes, of 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15, $body);
    };
}

/// `columns[k][first + sample] = rows[sample][k]` for `LANES` samples and every `k < width`.
pub(crate) struct RowsToColumns<'a> {
    pub(crate) rows: Rows<'a>,
    pub(crate) width: usize,
    pub(crate) columns: RowsMut<'a>,
    pub(crate) first: usize,
}

impl Kernel for RowsToColumns<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self {
            rows: Rows { data, inner: row_stride, .. },
            width,
            columns: RowsMut { data: columns, inner: stride, .. },
            first,
        } = self;
        let mut rows: [&[f32]; MOST_LANES] = [&[]; MOST_LANES];
        each_lane!(sample, S::LANES, {
            let begin = sample * row_stride;
            rows[sample] = &data[begin..begin + width];
        });
        let singly = single_columns(S::LANES, width);
        let mut done = 0;
        while done < width - singly {
            let begin = block_begin(S::LANES, done, width);
            let mut block: [S::F32; MOST_LANES] = zeros();
            each_lane!(sample, S::LANES, {
                let row = rows[sample];
                block[sample] = if width < S::LANES { load_some(s, row) } else { s.load(starting_at(row, begin)) };
            });
            transpose(s, &mut block);
            each_lane!(k, S::LANES, {
                if k < width {
                    s.store(block[k], starting_at_mut(columns, (begin + k) * stride + first));
                }
            });
            done += S::LANES;
        }
        let mut k = width - singly;
        while k < width {
            let column = starting_at_mut(columns, k * stride + first);
            each_lane!(sample, S::LANES, {
                column[sample] = rows[sample][k];
            });
            k += 1;
        }
    }
}

/// `rows[sample][n] = columns[n][first + sample]` for `LANES` samples and every `n < width`.
#[cfg(feature = "alloc")]
pub(crate) struct ColumnsToRows<'a> {
    pub(crate) columns: Rows<'a>,
    pub(crate) width: usize,
    pub(crate) rows: RowsMut<'a>,
    pub(crate) first: usize,
}

#[cfg(feature = "alloc")]
impl Kernel for ColumnsToRows<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self {
            columns: Rows { data: columns, inner: stride, .. },
            first,
            width,
            rows: RowsMut { data, inner: row_stride, .. },
        } = self;
        let mut rows: [&mut [f32]; MOST_LANES] = Default::default();
        for (row, data) in rows.iter_mut().zip(data.chunks_mut(row_stride)).take(S::LANES) {
            *row = &mut data[..width];
        }
        let singly = single_columns(S::LANES, width);
        let mut done = 0;
        while done < width - singly {
            let begin = block_begin(S::LANES, done, width);
            let mut block: [S::F32; MOST_LANES] = zeros();
            each_lane!(k, S::LANES, {
                if k < width {
                    block[k] = s.load(starting_at(columns, (begin + k) * stride + first));
                }
            });
            transpose(s, &mut block);
            each_lane!(sample, S::LANES, {
                let row = &mut *rows[sample];
                if width < S::LANES {
                    store_some(s, block[sample], row);
                } else {
                    s.store(block[sample], starting_at_mut(row, begin));
                }
            });
            done += S::LANES;
        }
        let mut n = width - singly;
        while n < width {
            let column = starting_at(columns, n * stride + first);
            each_lane!(sample, S::LANES, {
                rows[sample][n] = column[sample];
            });
            n += 1;
        }
    }
}

/// How many columns at the right end are moved one number at a time.
#[inline(always)]
fn single_columns(lanes: usize, width: usize) -> usize {
    let left = width % lanes;
    if left <= FEW_COLUMNS_TO_TURN { left } else { 0 }
}

/// Where the block behind `done` columns begins. Where there is room for it, the last one begins before those that are
/// left, so that its rows are whole vectors; some columns are then moved twice.
#[inline(always)]
fn block_begin(lanes: usize, done: usize, width: usize) -> usize {
    done.min(width.saturating_sub(lanes))
}

/// `to[c][r] = from[r][c]`, where the rows of `from` have `columns` numbers: one at a time, for what is done once.
pub(crate) fn copy_transposed(from: &[f32], columns: usize, to: &mut [f32]) {
    for (column, to) in to.chunks_exact_mut(from.len() / columns).enumerate() {
        for (to, x) in to.iter_mut().zip(from[column..].iter().step_by(columns)) {
            *to = *x;
        }
    }
}

/// Turns `LANES` vectors, the rows of a square, into its columns: first all squares of four by four in it, then the square
/// of those. Each round of perfect shuffles moves one bit of a number's row to its column.
#[inline(always)]
fn transpose<S: Simd>(s: S, rows: &mut [S::F32; MOST_LANES]) {
    unrolled!(i < S::LANES, of 0 4 8 12, {
        unrolled!(_round of 0 1, {
            let (first, second) = (s.interleave(rows[i], rows[i + 2]), s.interleave(rows[i + 1], rows[i + 3]));
            (rows[i], rows[i + 1]) = first;
            (rows[i + 2], rows[i + 3]) = second;
        });
    });
    unrolled!(i of 0 1 2 3, {
        unrolled!(_round < (S::LANES / 4).trailing_zeros(), of 0 1, {
            let from = *rows;
            unrolled!(pair < S::LANES / 8, of 0 1, {
                let other = from[4 * (pair + S::LANES / 8) + i];
                (rows[8 * pair + i], rows[8 * pair + 4 + i]) = s.interleave_fours(from[4 * pair + i], other);
            });
        });
    });
}

#[cfg(all(test, feature = "std"))]
mod tests;
