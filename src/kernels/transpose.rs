//! Rows of samples turned into columns, where samples are to lie in lanes, and columns turned back into rows.

use super::tile::{View, ViewMut};
use crate::simd::{Kernel, Simd, load_some, store_some};

/// The most lanes that there are.
const MOST_LANES: usize = 16;

/// Columns that are left over after whole blocks and are moved one number at a time: shuffling a block takes longer.
const FEW_COLUMNS: usize = 4;

/// `columns[k][first + sample] = rows[sample][k]` for `LANES` samples and every `k < width`.
pub(crate) struct RowsToColumns<'a> {
    pub(crate) rows: View<'a>,
    pub(crate) width: usize,
    pub(crate) columns: ViewMut<'a>,
    pub(crate) first: usize,
}

impl Kernel for RowsToColumns<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { rows: View { data, stride: row_stride }, width, columns: ViewMut { data: columns, stride }, first } =
            self;
        let mut rows: [&[f32]; MOST_LANES] = [&[]; MOST_LANES];
        for (sample, row) in rows.iter_mut().enumerate().take(S::LANES) {
            *row = &data[sample * row_stride..][..width];
        }
        for begin in blocks(S::LANES, width) {
            let mut block = [s.splat(0.0); MOST_LANES];
            for (vector, row) in block.iter_mut().zip(&rows).take(S::LANES) {
                *vector = if width < S::LANES { load_some(s, row) } else { s.load(&row[begin..][..S::LANES]) };
            }
            transpose(s, &mut block);
            let mut columns = &mut columns[begin * stride..];
            for vector in block.iter().take(S::LANES.min(width)) {
                let (column, behind) = columns.split_at_mut(stride);
                s.store(*vector, &mut column[first..][..S::LANES]);
                columns = behind;
            }
        }
        for k in width - single_columns(S::LANES, width)..width {
            let column = &mut columns[k * stride..][first..][..S::LANES];
            for (x, row) in column.iter_mut().zip(&rows) {
                *x = row[k];
            }
        }
    }
}

/// `rows[sample][n] = columns[n][first + sample]` for `LANES` samples and every `n < width`.
pub(crate) struct ColumnsToRows<'a> {
    pub(crate) columns: View<'a>,
    pub(crate) width: usize,
    pub(crate) rows: ViewMut<'a>,
    pub(crate) first: usize,
}

impl Kernel for ColumnsToRows<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { columns: View { data: columns, stride }, first, width, rows: ViewMut { data, stride: row_stride } } =
            self;
        let mut rows: [&mut [f32]; MOST_LANES] = Default::default();
        for (row, data) in rows.iter_mut().zip(data.chunks_mut(row_stride)).take(S::LANES) {
            *row = &mut data[..width];
        }
        for begin in blocks(S::LANES, width) {
            let mut block = [s.splat(0.0); MOST_LANES];
            let mut columns = &columns[begin * stride..];
            for vector in block.iter_mut().take(S::LANES.min(width)) {
                let (column, behind) = columns.split_at(stride);
                *vector = s.load(&column[first..][..S::LANES]);
                columns = behind;
            }
            transpose(s, &mut block);
            for (row, vector) in rows.iter_mut().zip(&block).take(S::LANES) {
                if width < S::LANES {
                    store_some(s, *vector, row);
                } else {
                    s.store(*vector, &mut row[begin..][..S::LANES]);
                }
            }
        }
        for n in width - single_columns(S::LANES, width)..width {
            let column = &columns[n * stride..][first..][..S::LANES];
            for (row, x) in rows.iter_mut().zip(column) {
                row[n] = *x;
            }
        }
    }
}

/// How many columns at the right end are moved one number at a time.
#[inline(always)]
fn single_columns(lanes: usize, width: usize) -> usize {
    let left = width % lanes;
    if left <= FEW_COLUMNS { left } else { 0 }
}

/// Where the blocks of columns begin. Where there is room for it, the last one begins before those that are left, so that
/// its rows are whole vectors; some columns are then moved twice.
#[inline(always)]
fn blocks(lanes: usize, width: usize) -> impl Iterator<Item = usize> {
    let in_blocks = width - single_columns(lanes, width);
    (0..in_blocks).step_by(lanes).map(move |begin| begin.min(width.saturating_sub(lanes)))
}

/// Turns `LANES` vectors, the rows of a square, into its columns: first all squares of four by four in it, then the square
/// of those. Each round of perfect shuffles moves one bit of a number's row to its column.
#[inline(always)]
fn transpose<S: Simd>(s: S, rows: &mut [S::F32; MOST_LANES]) {
    for four in rows.chunks_exact_mut(4).take(S::LANES / 4) {
        for _ in 0..2 {
            let (first, second) = (s.interleave(four[0], four[2]), s.interleave(four[1], four[3]));
            (four[0], four[1]) = first;
            (four[2], four[3]) = second;
        }
    }
    let squares = S::LANES / 4;
    for i in 0..4 {
        for _ in 0..squares.trailing_zeros() {
            let from = *rows;
            for pair in 0..squares / 2 {
                let (first, second) = s.interleave_fours(from[4 * pair + i], from[4 * (pair + squares / 2) + i]);
                rows[8 * pair + i] = first;
                rows[8 * pair + 4 + i] = second;
            }
        }
    }
}

#[cfg(all(test, feature = "std"))]
mod tests {
    use super::*;
    use crate::Level;
    use alloc::vec;
    use alloc::vec::Vec;

    /// There and back, with gaps between rows and columns that nothing may touch.
    struct Transpositions(usize);

    impl Kernel for Transpositions {
        type Output = ();

        fn run<S: Simd>(self, s: S) {
            let width = self.0;
            // One number before the samples of a column, and one behind them.
            let (stride, column_stride, first) = (width + 3, S::LANES + 2, 1);
            let numbers: Vec<f32> = (0..S::LANES * stride).map(|i| i as f32).collect();
            let rows = View { data: &numbers, stride };
            let mut columns = vec![-1.0; width * column_stride];
            let to = ViewMut { data: &mut columns, stride: column_stride };
            RowsToColumns { rows, width, columns: to, first }.run(s);
            for (k, column) in columns.chunks_exact(column_stride).enumerate() {
                let expected: Vec<f32> = (0..S::LANES).map(|sample| (sample * stride + k) as f32).collect();
                assert_eq!(column[first..][..S::LANES], expected, "column {k} of {width}, {} lanes", S::LANES);
                assert_eq!([column[0], column[S::LANES + 1]], [-1.0; 2]);
            }
            let mut back = vec![-1.0; S::LANES * stride];
            let columns = View { data: &columns, stride: column_stride };
            ColumnsToRows { columns, width, rows: ViewMut { data: &mut back, stride }, first }.run(s);
            for (given, expected) in back.chunks_exact(stride).zip(numbers.chunks_exact(stride)) {
                assert_eq!(given[..width], expected[..width], "{width} columns, {} lanes", S::LANES);
                assert_eq!(given[width..], [-1.0; 3]);
            }
        }
    }

    #[test]
    fn rows_become_columns_and_back() {
        for level in Level::available() {
            (1..70).for_each(|width| level.run(Transpositions(width)));
        }
    }
}
