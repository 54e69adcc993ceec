//! The gradient of a weight matrix over a block of samples and steps: `d_weight[k][n] += sum over rows of x[k] * d[n]`.
//!
//! ```text
//! for each panel of columns n, for each tile of inputs k:
//!     sums = 0
//!     for each sample, for each step:
//!         sums[k][n] += x[k] * d[n]
//!     d_weight += sums
//! ```
//!
//! Rows of few columns are read where they are. Those of many are packed panel by panel first, so that a tile walks through
//! memory; where the inputs are many too, these are copied tile by tile ("slabs").

use super::row::add_row;
use super::source::{PanelRows, Source};
use super::tile::{Columns, FewColumns, OuterPlace, PackedPlace, call_packed_tile, call_tile};
use crate::kernels::cut::{Cut, Span, next_inputs, next_tile};
use crate::kernels::rows::Rows;
use crate::kernels::slice::{starting_at, starting_at_mut};
use crate::kernels::tuning::{MOST_OF_FEW, TILES_TOGETHER, inputs_for_slabs};
use crate::simd::{Simd, load_some, store_some};

/// A tile of two vectors writes what there is of the second.
#[inline(always)]
const fn cut(lanes: usize, columns: usize) -> Cut {
    Cut { lanes, columns, joined: true }
}

/// A block of rows of output gradients, cut into panels.
///
/// Every sum over the block is taken from zero, sample after sample, step after step, and then added to the gradient:
/// a long sequence is summed block by block, which keeps the rounding error small.
pub(crate) struct Block<'a> {
    d_output: Gradients<'a>,
    /// Room for the inputs of some tiles, tile after tile, row after row.
    slabs: &'a mut [f32],
    /// Samples, and steps of each.
    grid: (usize, usize),
    columns: usize,
}

/// Where the output gradients are.
#[derive(Clone, Copy)]
enum Gradients<'a> {
    /// Packed, each panel row after row; and their sums, panel after panel.
    Packed { rows: &'a [f32], sums: &'a [f32] },
    /// Where they were. Numbers that follow a row stand where zeros would: no result of them is used.
    InPlace(Rows<'a>),
}

impl<'a> Block<'a> {
    /// The memory of a block of `rows` rows, in numbers: for the columns that are packed, none of rows in place, and for
    /// products with at most `inputs` inputs.
    pub(crate) fn memory<S: Simd>(_: S, rows: usize, packed_columns: usize, inputs: usize) -> usize {
        let in_slabs = packed_columns > 0 && inputs >= inputs_for_slabs::<S>();
        let slabs = if in_slabs { TILES_TOGETHER * S::TILE_ROWS } else { 0 };
        let padded = cut(S::LANES, packed_columns).padded();
        rows * (padded + slabs) + padded
    }

    /// A block of `grid` (samples, steps) whose rows are read where they are. Behind the last one there are two vectors
    /// of numbers.
    #[inline(always)]
    pub(crate) fn in_place(d_output: Rows<'a>, grid: (usize, usize), columns: usize, memory: &'a mut [f32]) -> Self {
        Self { d_output: Gradients::InPlace(d_output), slabs: memory, grid, columns }
    }

    /// A block of `grid` (samples, steps), packed.
    #[inline(always)]
    pub(crate) fn pack<S: Simd>(
        s: S,
        d_output: &Rows<'_>,
        grid: (usize, usize),
        columns: usize,
        memory: &'a mut [f32],
    ) -> Self {
        let (rows, cut) = (grid.0 * grid.1, cut(S::LANES, columns));
        let (packed, memory) = memory.split_at_mut(rows * cut.padded());
        let (sums, slabs) = memory.split_at_mut(cut.padded());
        for panel in 0..cut.count() {
            let span = cut.span(panel);
            let to = &mut packed[span.first * rows..][..span.width * rows];
            let sums = &mut sums[span.first..][..span.width];
            if span.is_half(s) {
                pack_panel(s.half(), d_output, grid, columns, span, to, sums);
            } else {
                pack_panel(s, d_output, grid, columns, span, to, sums);
            }
        }
        Self { d_output: Gradients::Packed { rows: packed, sums }, slabs, grid, columns }
    }

    #[inline(always)]
    fn panels<S: Simd>(&self, _: S) -> usize {
        cut(S::LANES, self.columns).count()
    }

    /// A panel, counted from the left.
    #[inline(always)]
    fn panel<S: Simd>(&self, _: S, panel: usize) -> PanelRows<'a> {
        let (samples, steps) = self.grid;
        let span = cut(S::LANES, self.columns).span(panel);
        match self.d_output {
            Gradients::Packed { rows, .. } => PanelRows {
                data: &rows[span.first * samples * steps..],
                sample_stride: steps * span.width,
                step_stride: span.width,
                span,
            },
            Gradients::InPlace(rows) => {
                PanelRows { data: &rows.data[span.first..], sample_stride: rows.outer, step_stride: rows.inner, span }
            }
        }
    }

    /// `d_weight[k][n] += sum over the block of input[k] * d_output[n]`, `d_weight` being input-major, for all columns of the
    /// matrix or those of one gate.
    #[inline(always)]
    pub(crate) fn add_outer_products<S: Simd>(
        &mut self,
        s: S,
        input: &impl Source,
        d_weight: &mut [f32],
        columns: Columns,
    ) {
        let inputs = d_weight.len() / columns.of;
        let in_slabs = matches!(self.d_output, Gradients::Packed { .. }) && inputs >= inputs_for_slabs::<S>();
        for panel in 0..self.panels(s) {
            let panel = self.panel(s, panel);
            if self.has_few_columns(s, panel, inputs) {
                self.add_few_columns(s, input, panel, d_weight, columns);
            } else if panel.span.is_half(s) {
                self.add_panel(s.half(), input, panel, d_weight, columns);
            } else if !in_slabs {
                self.add_panel(s, input, panel, d_weight, columns);
            }
        }
        if in_slabs {
            self.add_slab_by_slab(s, input, d_weight, columns);
        }
    }

    /// The columns of a panel, tile by tile.
    #[inline(always)]
    fn add_panel<S: Simd, I: Source>(
        &self,
        s: S,
        input: &I,
        panel: PanelRows<'_>,
        d_weight: &mut [f32],
        columns: Columns,
    ) {
        let grid = self.grid;
        let inputs = d_weight.len() / columns.of;
        let mut done = 0;
        while done < inputs {
            let (height, begin) = next_inputs::<S>(panel.span.width / S::LANES, done, inputs);
            // From the first new row of the gradient to the end of the tile.
            let d_weight = &mut d_weight[done * columns.of..(begin + height) * columns.of];
            call_tile(s, height, OuterPlace { panel, grid, input, begin, d_weight, columns });
            done = begin + height;
        }
    }

    /// Whether a panel, the last one, has so few columns that inputs in lanes take half as many multiply-adds, or fewer.
    #[inline(always)]
    fn has_few_columns<S: Simd>(&self, _: S, panel: PanelRows<'_>, inputs: usize) -> bool {
        let few = self.columns - panel.span.first;
        few <= MOST_OF_FEW && few * inputs.div_ceil(S::LANES) <= inputs / 2
    }

    /// The few columns of a panel, two vectors of inputs at a time.
    #[inline(always)]
    fn add_few_columns<S: Simd, I: Source>(
        &self,
        s: S,
        input: &I,
        panel: PanelRows<'_>,
        d_weight: &mut [f32],
        columns: Columns,
    ) {
        let grid = self.grid;
        let together = 2 * S::LANES;
        for (d_weight, begin) in d_weight.chunks_mut(together * columns.of).zip((0..).step_by(together)) {
            let place = OuterPlace { panel, grid, input, begin, d_weight, columns };
            match columns.count - panel.span.first {
                1 => s.call(FewColumns::<I, 1>(place)),
                2 => s.call(FewColumns::<I, 2>(place)),
                3 => s.call(FewColumns::<I, 3>(place)),
                _ => s.call(FewColumns::<I, MOST_OF_FEW>(place)),
            }
        }
    }

    /// The columns of all panels of whole vectors, for the inputs of some tiles after those of others.
    #[inline(always)]
    fn add_slab_by_slab<S: Simd, I: Source>(&mut self, s: S, input: &I, d_weight: &mut [f32], columns: Columns) {
        let grid = self.grid;
        let (rows, inputs) = (grid.0 * grid.1, d_weight.len() / columns.of);
        let mut done = 0;
        while done < inputs {
            let (height, begin) = next_tile(S::TILE_ROWS, done, inputs);
            let tiles = ((inputs - done) / S::TILE_ROWS).clamp(1, TILES_TOGETHER);
            let slabs = &mut self.slabs[..tiles * rows * height];
            match height {
                8 => copy_inputs::<I, 8>(input, grid, begin, slabs),
                6 => copy_inputs::<I, 6>(input, grid, begin, slabs),
                4 => copy_inputs::<I, 4>(input, grid, begin, slabs),
                3 => copy_inputs::<I, 3>(input, grid, begin, slabs),
                2 => copy_inputs::<I, 2>(input, grid, begin, slabs),
                _ => copy_inputs::<I, 1>(input, grid, begin, slabs),
            }
            let d_weight = &mut d_weight[done * columns.of..(begin + tiles * height) * columns.of];
            for panel in 0..self.panels(s) {
                let panel = self.panel(s, panel);
                if panel.span.is_half(s) || self.has_few_columns(s, panel, inputs) {
                    continue;
                }
                let Span { first, width } = panel.span;
                let (shape, d_output) = ((height, width / S::LANES), &panel.data[..rows * width]);
                // A last tile may begin before its new rows; then it is alone.
                let slabs = self.slabs.chunks_exact(rows * height).take(tiles);
                for (inputs, d_weight) in slabs.zip(d_weight.chunks_mut(height * columns.of)) {
                    call_packed_tile(s, shape, PackedPlace { d_output, inputs, d_weight, first, columns });
                }
            }
            done = begin + tiles * height;
        }
    }

    /// `d_bias[n] += sum over the block of d_output[n]`, for every bias.
    #[inline(always)]
    pub(crate) fn add_rows<S: Simd, const B: usize>(&self, s: S, mut d_biases: [&mut [f32]; B]) {
        if let Gradients::Packed { sums, .. } = self.d_output {
            for d_bias in d_biases {
                add_row(s, &sums[..self.columns], d_bias);
            }
            return;
        }
        for panel in 0..self.panels(s) {
            let panel = self.panel(s, panel);
            if panel.span.is_half(s) {
                add_rows_of_panel(s.half(), panel, self.grid, &mut d_biases);
            } else {
                add_rows_of_panel(s, panel, self.grid, &mut d_biases);
            }
        }
    }
}

#[inline(always)]
fn add_rows_of_panel<S: Simd>(s: S, panel: PanelRows<'_>, grid: (usize, usize), d_biases: &mut [&mut [f32]]) {
    let mut sums = [s.splat(0.0); 2];
    let vectors = panel.span.width / S::LANES;
    for sample in 0..grid.0 {
        let rows = panel.of_sample(sample);
        for step in 0..grid.1 {
            let row = &rows[step * panel.step_stride..][..panel.span.width];
            sums[0] = s.add(sums[0], s.load(row));
            if vectors == 2 {
                sums[1] = s.add(sums[1], s.load(&row[S::LANES..]));
            }
        }
    }
    for d_bias in d_biases {
        for (to, sum) in d_bias[panel.span.first..].chunks_mut(S::LANES).zip(sums).take(vectors) {
            store_some(s, s.add(load_some(s, to), sum), to);
        }
    }
}

/// Of each row the inputs of some tiles, `M` for each, from `begin` on: the slab of one tile after the other.
#[inline(always)]
fn copy_inputs<I: Source, const M: usize>(input: &I, grid: (usize, usize), begin: usize, slabs: &mut [f32]) {
    let rows = grid.0 * grid.1;
    let tiles = slabs.len() / (rows * M);
    for sample in 0..grid.0 {
        let (first, Rows { data, inner: stride, .. }) = input.rows(sample);
        let (mut x, behind) = (&first[begin..], data.get(begin..).unwrap_or_default());
        for step in 0..grid.1 {
            let row = sample * grid.1 + step;
            for tile in 0..tiles {
                let to = (tile * rows + row) * M;
                slabs[to..to + M].copy_from_slice(&x[tile * M..(tile + 1) * M]);
            }
            x = behind.get(step * stride..).unwrap_or_default();
        }
    }
}

/// Copies the columns of a panel, row after row, zeros behind the last column; and adds up the rows, which takes no time
/// of its own.
#[inline(always)]
fn pack_panel<S: Simd>(
    s: S,
    d_output: &Rows<'_>,
    grid: (usize, usize),
    columns: usize,
    Span { first, width }: Span,
    to: &mut [f32],
    sums: &mut [f32],
) {
    let mut to = to.chunks_exact_mut(width);
    let mut totals = [s.splat(0.0); 2];
    for sample in 0..grid.0 {
        let mut from = d_output.starting_at(sample, 0);
        for to in (&mut to).take(grid.1) {
            let row = &from[first..columns];
            if width == S::LANES {
                let numbers = load_some(s, row);
                s.store(numbers, to);
                totals[0] = s.add(totals[0], numbers);
            } else {
                let numbers = [s.load(row), load_some(s, starting_at(row, S::LANES))];
                s.store(numbers[0], to);
                s.store(numbers[1], starting_at_mut(to, S::LANES));
                totals = [s.add(totals[0], numbers[0]), s.add(totals[1], numbers[1])];
            }
            from = from.get(d_output.inner..).unwrap_or_default();
        }
    }
    for (sums, total) in sums.chunks_exact_mut(S::LANES).zip(totals) {
        s.store(total, sums);
    }
}
