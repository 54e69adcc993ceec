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
    use crate::kernels::pack::{Panel, Span, padded, panel_count, span};
    use crate::kernels::recurrence::Strided;
    use crate::kernels::tile::{View, add_term, next_tile};
    use crate::simd::Kernel;

    /// The inputs of the product: a row for every sample and every step of the block.
    pub(crate) trait Source {
        /// Those of a sample: of the first step, and of the steps behind it, as far as there are any.
        fn rows(&self, sample: usize) -> (&[f32], View<'_>);
    }

    /// A block of rows of output gradients, packed into panels.
    ///
    /// Every sum over the block is taken from zero, sample after sample, step after step, and then added to the gradient:
    /// a long sequence is summed block by block, which keeps the rounding error small.
    pub(crate) struct Block<'a> {
        /// Each panel row after row.
        panels: &'a [f32],
        /// Samples, and steps of each.
        grid: (usize, usize),
        columns: usize,
    }

    impl<'a> Block<'a> {
        /// The memory that packing `rows` rows of `columns` numbers takes, in numbers.
        pub(crate) fn memory<S: Simd>(_: S, rows: usize, columns: usize) -> usize {
            rows * padded(S::LANES, columns)
        }

        /// Packs the output gradients.
        #[inline(always)]
        pub(crate) fn pack<S: Simd>(
            s: S,
            d_output: &Strided<'_>,
            grid: (usize, usize),
            columns: usize,
            memory: &'a mut [f32],
        ) -> Self {
            let rows = grid.0 * grid.1;
            let mut r = 0;
            for sample in 0..grid.0 {
                for step in 0..grid.1 {
                    let row = &d_output.row(sample, step)[..columns];
                    for panel in 0..panel_count(S::LANES, columns) {
                        let Span { first, width } = span(S::LANES, columns, panel);
                        copy_padded(s, &row[first..], &mut memory[first * rows + r * width..][..width]);
                    }
                    r += 1;
                }
            }
            Self { panels: memory, grid, columns }
        }

        #[inline(always)]
        fn panels<S: Simd>(&self, _: S) -> impl Iterator<Item = Panel<'a>> {
            let (panels, rows, columns) = (self.panels, self.grid.0 * self.grid.1, self.columns);
            (0..panel_count(S::LANES, columns)).map(move |panel| Panel::of(panels, rows, S::LANES, columns, panel))
        }

        /// `d_weight[k][n] += sum over the block of input[k] * d_output[n]`, `d_weight` being input-major.
        #[inline(always)]
        pub(crate) fn add_outer_products<S: Simd>(&self, s: S, input: &impl Source, d_weight: &mut [f32]) {
            for panel in self.panels(s) {
                if panel.span.width < S::LANES {
                    self.add_panel(s.half(), input, panel, d_weight);
                } else {
                    self.add_panel(s, input, panel, d_weight);
                }
            }
        }

        #[inline(always)]
        fn add_panel<S: Simd, I: Source>(
            &self,
            s: S,
            input: &I,
            Panel { data, span: Span { first, width } }: Panel<'_>,
            d_weight: &mut [f32],
        ) {
            let Self { grid, columns, .. } = *self;
            let inputs = d_weight.len() / columns;
            let mut done = 0;
            while done < inputs {
                let (height, begin) = next_tile(S::TILE_ROWS, done, inputs);
                // From the first new row of the gradient to the end of the tile.
                let d_weight = &mut d_weight[done * columns..(begin + height) * columns];
                let place = Place { panel: data, grid, input, begin, d_weight, columns, first };
                call_tile(s, (height, width / S::LANES), place);
                done = begin + height;
            }
        }

        /// `d_bias[n] += sum over the block of d_output[n]`
        #[inline(always)]
        pub(crate) fn add_rows<S: Simd>(&self, s: S, d_bias: &mut [f32]) {
            for panel in self.panels(s) {
                if panel.span.width < S::LANES {
                    add_rows_of_panel(s.half(), panel, d_bias);
                } else {
                    add_rows_of_panel(s, panel, d_bias);
                }
            }
        }
    }

    #[inline(always)]
    fn add_rows_of_panel<S: Simd>(s: S, Panel { data, span: Span { first, width } }: Panel<'_>, d_bias: &mut [f32]) {
        for (v, to) in d_bias[first..].chunks_mut(S::LANES).take(width / S::LANES).enumerate() {
            let mut sum = s.splat(0.0);
            for row in data.chunks_exact(width) {
                sum = s.add(sum, s.load(&row[v * S::LANES..]));
            }
            store_some(s, s.add(load_some(s, to), sum), to);
        }
    }

    /// Copies as much as there is, followed by zeros.
    #[inline(always)]
    fn copy_padded<S: Simd>(s: S, from: &[f32], to: &mut [f32]) {
        for (v, to) in to.chunks_mut(S::LANES).enumerate() {
            let from = &from[from.len().min(v * S::LANES)..];
            store_some(s, load_some(s, from), to);
        }
    }

    /// Which tile of a gradient: `inputs` from `begin` on, columns from `first` on.
    struct Place<'a, I> {
        panel: &'a [f32],
        grid: (usize, usize),
        input: &'a I,
        begin: usize,
        /// The rows of the gradient that end with the tile; the first rows of the tile may be missing, as done already.
        d_weight: &'a mut [f32],
        columns: usize,
        first: usize,
    }

    /// Calls the tile of a shape (inputs, vectors) that [`next_tile`] and [`span`] can name.
    #[inline(always)]
    fn call_tile<S: Simd, I: Source>(s: S, shape: (usize, usize), place: Place<'_, I>) {
        macro_rules! call {
            ($m:literal, $v:literal) => {
                s.call(Tile::<I, $m, $v>(place))
            };
        }
        if const { S::TILE_ROWS == 8 } {
            match shape {
                (8, 2) => call!(8, 2),
                (8, _) => call!(8, 1),
                (4, 2) => call!(4, 2),
                (4, _) => call!(4, 1),
                (_, 2) => call!(1, 2),
                (_, _) => call!(1, 1),
            }
        } else if const { S::TILE_ROWS == 6 } {
            match shape {
                (6, 2) => call!(6, 2),
                (6, _) => call!(6, 1),
                (3, 2) => call!(3, 2),
                (3, _) => call!(3, 1),
                (_, 2) => call!(1, 2),
                (_, _) => call!(1, 1),
            }
        } else {
            match shape {
                (4, 2) => call!(4, 2),
                (4, _) => call!(4, 1),
                (2, 2) => call!(2, 2),
                (2, _) => call!(2, 1),
                (_, 2) => call!(1, 2),
                (_, _) => call!(1, 1),
            }
        }
    }

    /// `M` inputs by `V` vectors of output gradients, summed over the block.
    struct Tile<'a, I, const M: usize, const V: usize>(Place<'a, I>);

    impl<I: Source, const M: usize, const V: usize> Kernel for Tile<'_, I, M, V> {
        type Output = ();

        #[inline(always)]
        fn run<S: Simd>(self, s: S) {
            let Place { panel, grid, input, begin, d_weight, columns, first } = self.0;
            for row in d_weight.chunks(columns) {
                for v in 0..V {
                    s.prefetch(&row[columns.min(first + v * S::LANES)..]);
                }
            }
            let mut sums = [[s.splat(0.0); V]; M];
            let mut rows = panel.chunks_exact(V * S::LANES);
            for sample in 0..grid.0 {
                let (first, View { data, stride }) = input.rows(sample);
                let (mut x, behind) = (&first[begin..], data.get(begin..).unwrap_or_default());
                for (step, d) in (0..grid.1).zip(&mut rows) {
                    if let Some(x) = x.first_chunk() {
                        add_term(s, d, x, &mut sums);
                    }
                    x = behind.get(step * stride..).unwrap_or_default();
                }
            }
            let sums = sums;
            let skip = M - d_weight.len() / columns;
            for (m, sums) in sums.iter().enumerate() {
                if m >= skip {
                    let row = &mut d_weight[(m - skip) * columns..][..columns];
                    for (v, sum) in sums.iter().enumerate() {
                        let to = &mut row[columns.min(first + v * S::LANES)..];
                        store_some(s, s.add(load_some(s, to), *sum), to);
                    }
                }
            }
        }
    }
}
