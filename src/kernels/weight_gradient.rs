//! The gradient of a weight matrix: a sum of outer products over rows.

use crate::simd::{Simd, load_some, store_some};
#[cfg(feature = "alloc")]
pub(crate) use block::{Block, Source};

/// `d_weight[k][n] += input[k] * d_output[n]`, `d_weight` being input-major: a single row.
#[inline(always)]
pub(crate) fn add_outer_product<S: Simd>(s: S, input: &[f32], d_output: &[f32], d_weight: &mut [f32]) {
    for (x, row) in input.iter().zip(d_weight.chunks_exact_mut(d_output.len())) {
        let x = s.splat(*x);
        for (to, d) in row.chunks_mut(S::LANES).zip(d_output.chunks(S::LANES)) {
            store_some(s, s.add(load_some(s, to), s.mul(x, load_some(s, d))), to);
        }
    }
}

/// `d_bias[n] += d_output[n]`: a single row.
#[inline(always)]
pub(crate) fn add_row<S: Simd>(s: S, d_output: &[f32], d_bias: &mut [f32]) {
    for (to, d) in d_bias.chunks_mut(S::LANES).zip(d_output.chunks(S::LANES)) {
        store_some(s, s.add(load_some(s, to), load_some(s, d)), to);
    }
}

#[cfg(feature = "alloc")]
mod block {
    use super::*;
    use crate::kernels::tile::{SideBySide, Sums, load_columns};

    /// The rows of one side of the product: a grid of `outer` by `inner`, like [`crate::kernels::tile::Rows`].
    pub(crate) trait Source {
        fn row(&self, outer: usize, inner: usize) -> &[f32];
    }

    /// A block of rows of output gradients, packed for tiles of `TILE_ROWS` inputs by two vectors of outputs.
    ///
    /// Every sum over the block is taken from zero, row after row (`inner` fastest), and then added to the gradient: a
    /// long sequence is summed block by block, which keeps the rounding error small.
    pub(crate) struct Block<'a> {
        /// Panels of one or two vectors of columns, each row after row.
        panels: &'a [f32],
        /// Room for as many inputs of every row as a tile has rows.
        inputs: &'a mut [f32],
        grid: (usize, usize),
        columns: usize,
    }

    impl<'a> Block<'a> {
        /// The memory that packing `rows` rows of `columns` numbers takes, in numbers.
        pub(crate) fn memory<S: Simd>(_: S, rows: usize, columns: usize) -> usize {
            rows * (columns.next_multiple_of(S::LANES) + S::TILE_ROWS)
        }

        /// Packs the output gradients.
        #[inline(always)]
        pub(crate) fn pack<S: Simd>(
            s: S,
            d_output: &impl Source,
            grid: (usize, usize),
            columns: usize,
            memory: &'a mut [f32],
        ) -> Self {
            let rows = grid.0 * grid.1;
            let (panels, inputs) = memory.split_at_mut(rows * columns.next_multiple_of(S::LANES));
            let mut r = 0;
            for outer in 0..grid.0 {
                for inner in 0..grid.1 {
                    let row = &d_output.row(outer, inner)[..columns];
                    for first in (0..columns).step_by(2 * S::LANES) {
                        let width = panel_width(s, columns, first);
                        load_columns(s, &row[first..], &mut panels[first * rows + r * width..][..width]);
                    }
                    r += 1;
                }
            }
            Self { panels, inputs, grid, columns }
        }

        /// `d_weight[k][n] += sum over the block of input[k] * d_output[n]`, `d_weight` being input-major.
        #[inline(always)]
        pub(crate) fn add_outer_products<S: Simd>(&mut self, s: S, input: &impl Source, d_weight: &mut [f32]) {
            if const { S::TILE_ROWS == 8 } {
                self.add_tiles::<S, 8>(s, input, d_weight);
            } else if const { S::TILE_ROWS == 6 } {
                self.add_tiles::<S, 6>(s, input, d_weight);
            } else {
                self.add_tiles::<S, 4>(s, input, d_weight);
            }
        }

        #[inline(always)]
        fn add_tiles<S: Simd, const M: usize>(&mut self, s: S, input: &impl Source, d_weight: &mut [f32]) {
            let rows = self.grid.0 * self.grid.1;
            let mut sums = Sums::zero();
            for (i, d_weight) in d_weight.chunks_mut(M * self.columns).enumerate() {
                self.pack_inputs::<M>(input, i * M, d_weight.len() / self.columns);
                for first in (0..self.columns).step_by(2 * S::LANES) {
                    let width = panel_width(s, self.columns, first);
                    let panel = &self.panels[first * rows..][..rows * width];
                    let (inputs, sums) = (&self.inputs[..rows * M], &mut sums);
                    if width == 2 * S::LANES {
                        s.call(SideBySide::<M, 2> { panel, inputs, sums });
                    } else {
                        s.call(SideBySide::<M, 1> { panel, inputs, sums });
                    }
                    for (m, row) in d_weight.chunks_exact_mut(self.columns).enumerate() {
                        let to = &mut row[first..self.columns.min(first + width)];
                        add_row(s, sums.row(m, width), to);
                    }
                }
            }
        }

        /// Lays `count` inputs of every row, from `first` on, side by side; zeros behind them up to `M`.
        #[inline(always)]
        fn pack_inputs<const M: usize>(&mut self, input: &impl Source, first: usize, count: usize) {
            let mut to = self.inputs.as_chunks_mut::<M>().0.iter_mut();
            for outer in 0..self.grid.0 {
                for (inner, to) in (0..self.grid.1).zip(&mut to) {
                    let from = &input.row(outer, inner)[first..first + count];
                    match from.first_chunk() {
                        Some(from) => *to = *from,
                        None => {
                            to.fill(0.0);
                            to[..count].copy_from_slice(from);
                        }
                    }
                }
            }
        }

        /// `d_bias[n] += sum over the block of d_output[n]`
        #[inline(always)]
        pub(crate) fn add_rows<S: Simd>(&self, s: S, d_bias: &mut [f32]) {
            let rows = self.grid.0 * self.grid.1;
            for first in (0..self.columns).step_by(2 * S::LANES) {
                let width = panel_width(s, self.columns, first);
                let panel = &self.panels[first * rows..][..rows * width];
                for (v, to) in d_bias[first..self.columns.min(first + width)].chunks_mut(S::LANES).enumerate() {
                    let mut sum = s.splat(0.0);
                    for row in panel.chunks_exact(width) {
                        sum = s.add(sum, s.load(&row[v * S::LANES..]));
                    }
                    store_some(s, s.add(load_some(s, to), sum), to);
                }
            }
        }
    }

    /// Columns of the panel that begins at `first`: two vectors, or one where one holds all that is left.
    #[inline(always)]
    fn panel_width<S: Simd>(_: S, columns: usize, first: usize) -> usize {
        if columns - first > S::LANES { 2 * S::LANES } else { S::LANES }
    }
}
