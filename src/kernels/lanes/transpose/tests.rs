use super::*;
use crate::kernels::testing::at_every_level;
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
        let rows = Rows::line(&numbers, width, stride);
        let mut columns = vec![-1.0; width * column_stride];
        let to = RowsMut::line(&mut columns, column_stride);
        RowsToColumns { rows, width, columns: to, first }.run(s);
        for (k, column) in columns.chunks_exact(column_stride).enumerate() {
            let expected: Vec<f32> = (0..S::LANES).map(|sample| (sample * stride + k) as f32).collect();
            assert_eq!(column[first..][..S::LANES], expected, "column {k} of {width}, {} lanes", S::LANES);
            assert_eq!([column[0], column[S::LANES + 1]], [-1.0; 2]);
        }
        let mut back = vec![-1.0; S::LANES * stride];
        let columns = Rows::line(&columns, S::LANES, column_stride);
        ColumnsToRows { columns, width, rows: RowsMut::line(&mut back, stride), first }.run(s);
        for (given, expected) in back.chunks_exact(stride).zip(numbers.chunks_exact(stride)) {
            assert_eq!(given[..width], expected[..width], "{width} columns, {} lanes", S::LANES);
            assert_eq!(given[width..], [-1.0; 3]);
        }
    }
}

#[test]
fn rows_become_columns_and_back() {
    at_every_level(|level| {
        (1..70).for_each(|width| level.run(Transpositions(width)));
    });
}

#[test]
fn a_matrix_is_copied_transposed() {
    for (rows, columns) in (1..9).flat_map(|rows| (1..9).map(move |columns| (rows, columns))) {
        let from: Vec<f32> = (0..rows * columns).map(|i| i as f32).collect();
        let mut to = vec![-1.0; rows * columns];
        copy_transposed(&from, columns, &mut to);
        for (i, x) in to.iter().enumerate() {
            assert_eq!(*x, from[i % rows * columns + i / rows], "{rows} rows, {columns} columns");
        }
    }
}
