//! The gradient of a weight matrix: a sum of outer products over rows.

use super::{starting_at, starting_at_mut};
use crate::simd::{Simd, load_some, store_some};
#[cfg(feature = "alloc")]
pub(crate) use block::{Block, COLUMNS_IN_PLACE, Source};

/// `d_weight[k][n] += input[k] * d_output[n]`, `d_weight` being input-major: a single row.
#[inline(always)]
pub(crate) fn add_outer_product<S: Simd>(s: S, input: &[f32], d_output: &[f32], d_weight: &mut [f32]) {
    let mut row = 0;
    for x in input {
        add_multiple(s, *x, d_output, &mut d_weight[row..row + d_output.len()]);
        row += d_output.len();
    }
}

/// `d_bias[n] += d_output[n]`: a single row.
#[inline(always)]
pub(crate) fn add_row<S: Simd>(s: S, d_output: &[f32], d_bias: &mut [f32]) {
    add_multiple(s, 1.0, d_output, d_bias);
}

/// `to[n] += x * d[n]`
///
/// In whole vectors, of which the last one ends with the row, where there is one: on many CPUs a load waits for a masked store
/// right before it, which here would be that of the row before.
#[inline(always)]
fn add_multiple<S: Simd>(s: S, x: f32, d: &[f32], to: &mut [f32]) {
    let Some(last) = d.len().checked_sub(S::LANES) else {
        if S::Half::LANES < S::LANES {
            add_multiple(s.half(), x, d, to);
        } else {
            store_some(s, s.add(load_some(s, to), s.mul(s.splat(x), load_some(s, d))), to);
        }
        return;
    };
    // Read before the vector in front of it is written, which may share numbers with it.
    let of_last = s.add(s.load(starting_at(to, last)), s.mul(s.splat(x), s.load(starting_at(d, last))));
    let mut first = 0;
    while first < last {
        let (d, to) = (starting_at(d, first), starting_at_mut(to, first));
        s.store(s.add(s.load(to), s.mul(s.splat(x), s.load(d))), to);
        first += S::LANES;
    }
    s.store(of_last, starting_at_mut(to, last));
}

#[cfg(feature = "alloc")]
mod block {
    use super::*;
    use crate::kernels::pack::{Cut, Span};
    use crate::kernels::recurrence::Strided;
    use crate::kernels::tile::{add_term, next_tile};
    use crate::kernels::view::View;
    use crate::kernels::zeros;
    use crate::simd::Kernel;

    /// Inputs from which on those of a tile are copied before they are multiplied, where tiles have so many rows: the inputs
    /// of a block lie far apart then, and do not stay near while the panels pass by. Measured at AVX2 with 512 KB of second
    /// level: with 256 inputs training gains 5 %; with 128 the copies cost what the products gain.
    const fn inputs_for_slabs(tile_rows: usize) -> usize {
        if tile_rows == 6 { 256 } else { 512 }
    }

    /// Tiles whose inputs are copied together: what is read of a row fills lines of the cache, and what is written stays in
    /// the second level.
    const TILES_TOGETHER: usize = 8;

    /// Columns up to which the rows of a block are so near that panels need not be packed: 256 rows of 32 numbers take 32 KB.
    pub(crate) const COLUMNS_IN_PLACE: usize = 32;

    /// The most columns that are few ([`FewColumns`]).
    const MOST_OF_FEW: usize = 4;

    /// A tile of two vectors writes what there is of the second.
    #[inline(always)]
    const fn cut(lanes: usize, columns: usize) -> Cut {
        Cut { lanes, columns, joined: true }
    }

    /// The inputs of the product: a row for every sample and every step of the block.
    pub(crate) trait Source {
        /// Those of a sample: of the first step, and of the steps behind it, as far as there are any.
        fn rows(&self, sample: usize) -> (&[f32], View<'_>);
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
        InPlace(Strided<'a>),
    }

    /// The columns of one panel: a row for every sample and every step.
    #[derive(Clone, Copy)]
    struct PanelRows<'a> {
        data: &'a [f32],
        /// Numbers from one sample to the next, and from one step to the next.
        sample_stride: usize,
        step_stride: usize,
        span: Span,
    }

    impl<'a> PanelRows<'a> {
        /// Those of a sample, the first one at the beginning.
        #[inline(always)]
        fn of_sample(&self, sample: usize) -> &'a [f32] {
            &self.data[sample * self.sample_stride..]
        }
    }

    impl<'a> Block<'a> {
        /// The memory of a block of `rows` rows, in numbers: for the columns that are packed, none of rows in place, and for
        /// products with at most so many inputs.
        pub(crate) fn memory<S: Simd>(_: S, rows: usize, packed_columns: usize, inputs: usize) -> usize {
            let in_slabs = packed_columns > 0 && inputs >= inputs_for_slabs(S::TILE_ROWS);
            let slabs = if in_slabs { TILES_TOGETHER * S::TILE_ROWS } else { 0 };
            let padded = cut(S::LANES, packed_columns).padded();
            rows * (padded + slabs) + padded
        }

        /// A block of so many samples and steps whose rows are read where they are. Behind the last one there are two vectors
        /// of numbers.
        #[inline(always)]
        pub(crate) fn in_place(
            d_output: Strided<'a>,
            grid: (usize, usize),
            columns: usize,
            memory: &'a mut [f32],
        ) -> Self {
            Self { d_output: Gradients::InPlace(d_output), slabs: memory, grid, columns }
        }

        /// A block of so many samples and steps, packed.
        #[inline(always)]
        pub(crate) fn pack<S: Simd>(
            s: S,
            d_output: &Strided<'_>,
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
                Gradients::InPlace(rows) => PanelRows {
                    data: &rows.data[span.first..],
                    sample_stride: rows.sample_stride * rows.width,
                    step_stride: rows.step_stride * rows.width,
                    span,
                },
            }
        }

        /// `d_weight[k][n] += sum over the block of input[k] * d_output[n]`, `d_weight` being input-major.
        #[inline(always)]
        pub(crate) fn add_outer_products<S: Simd>(&mut self, s: S, input: &impl Source, d_weight: &mut [f32]) {
            let inputs = d_weight.len() / self.columns;
            let in_slabs =
                matches!(self.d_output, Gradients::Packed { .. }) && inputs >= inputs_for_slabs(S::TILE_ROWS);
            for panel in 0..self.panels(s) {
                let panel = self.panel(s, panel);
                if self.has_few_columns(s, panel, inputs) {
                    self.add_few_columns(s, input, panel, d_weight);
                } else if panel.span.is_half(s) {
                    self.add_panel(s.half(), input, panel, d_weight);
                } else if !in_slabs {
                    self.add_panel(s, input, panel, d_weight);
                }
            }
            if in_slabs {
                self.add_slab_by_slab(s, input, d_weight);
            }
        }

        /// The columns of a panel, tile by tile.
        #[inline(always)]
        fn add_panel<S: Simd, I: Source>(&self, s: S, input: &I, panel: PanelRows<'_>, d_weight: &mut [f32]) {
            let Self { grid, columns, .. } = *self;
            let inputs = d_weight.len() / columns;
            let mut done = 0;
            while done < inputs {
                let (height, begin) = next_inputs::<S>(panel.span.width / S::LANES, done, inputs);
                // From the first new row of the gradient to the end of the tile.
                let d_weight = &mut d_weight[done * columns..(begin + height) * columns];
                call_tile(s, height, Place { panel, grid, input, begin, d_weight, columns });
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
        fn add_few_columns<S: Simd, I: Source>(&self, s: S, input: &I, panel: PanelRows<'_>, d_weight: &mut [f32]) {
            let Self { grid, columns, .. } = *self;
            let together = 2 * S::LANES;
            for (d_weight, begin) in d_weight.chunks_mut(together * columns).zip((0..).step_by(together)) {
                let place = Place { panel, grid, input, begin, d_weight, columns };
                match columns - panel.span.first {
                    1 => s.call(FewColumns::<I, 1>(place)),
                    2 => s.call(FewColumns::<I, 2>(place)),
                    3 => s.call(FewColumns::<I, 3>(place)),
                    _ => s.call(FewColumns::<I, MOST_OF_FEW>(place)),
                }
            }
        }

        /// The columns of all panels of whole vectors, for the inputs of some tiles after those of others.
        #[inline(always)]
        fn add_slab_by_slab<S: Simd, I: Source>(&mut self, s: S, input: &I, d_weight: &mut [f32]) {
            let (grid, columns) = (self.grid, self.columns);
            let (rows, inputs) = (grid.0 * grid.1, d_weight.len() / columns);
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
                let d_weight = &mut d_weight[done * columns..(begin + tiles * height) * columns];
                for panel in 0..self.panels(s) {
                    let panel = self.panel(s, panel);
                    if panel.span.is_half(s) || self.has_few_columns(s, panel, inputs) {
                        continue;
                    }
                    let Span { first, width } = panel.span;
                    let (shape, d_output) = ((height, width / S::LANES), &panel.data[..rows * width]);
                    // A last tile may begin before its new rows; then it is alone.
                    let slabs = self.slabs.chunks_exact(rows * height).take(tiles);
                    for (inputs, d_weight) in slabs.zip(d_weight.chunks_mut(height * columns)) {
                        call_packed_tile(s, shape, PackedPlace { d_output, inputs, d_weight, first, columns });
                    }
                }
                done = begin + tiles * height;
            }
        }

        /// `d_bias[n] += sum over the block of d_output[n]`
        #[inline(always)]
        pub(crate) fn add_rows<S: Simd>(&self, s: S, d_bias: &mut [f32]) {
            if let Gradients::Packed { sums, .. } = self.d_output {
                add_row(s, &sums[..self.columns], d_bias);
                return;
            }
            for panel in 0..self.panels(s) {
                let panel = self.panel(s, panel);
                if panel.span.is_half(s) {
                    add_rows_of_panel(s.half(), panel, self.grid, d_bias);
                } else {
                    add_rows_of_panel(s, panel, self.grid, d_bias);
                }
            }
        }
    }

    #[inline(always)]
    fn add_rows_of_panel<S: Simd>(s: S, panel: PanelRows<'_>, grid: (usize, usize), d_bias: &mut [f32]) {
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
        for (to, sum) in d_bias[panel.span.first..].chunks_mut(S::LANES).zip(sums).take(vectors) {
            store_some(s, s.add(load_some(s, to), sum), to);
        }
    }

    /// Of each row the inputs of some tiles, `M` for each, from `begin` on: the slab of one tile after the other.
    #[inline(always)]
    fn copy_inputs<I: Source, const M: usize>(input: &I, grid: (usize, usize), begin: usize, slabs: &mut [f32]) {
        let rows = grid.0 * grid.1;
        let tiles = slabs.len() / (rows * M);
        for sample in 0..grid.0 {
            let (first, View { data, stride }) = input.rows(sample);
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
        d_output: &Strided<'_>,
        grid: (usize, usize),
        columns: usize,
        Span { first, width }: Span,
        to: &mut [f32],
        sums: &mut [f32],
    ) {
        let mut to = to.chunks_exact_mut(width);
        let stride = d_output.step_stride * d_output.width;
        let mut totals = [s.splat(0.0); 2];
        for sample in 0..grid.0 {
            let mut from = d_output.view(sample, 0).data;
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
                from = from.get(stride..).unwrap_or_default();
            }
        }
        for (sums, total) in sums.chunks_exact_mut(S::LANES).zip(totals) {
            s.store(total, sums);
        }
    }

    /// How many inputs the next tile has and which one is its first, once `done` are done. A single vector waits for its loads:
    /// what is too much for one tile of eight rows goes into nearly equal ones.
    #[inline(always)]
    fn next_inputs<S: Simd>(vectors: usize, done: usize, inputs: usize) -> (usize, usize) {
        if const { S::TILE_ROWS == 8 } && vectors == 1 {
            let left = inputs - done;
            let height = left.div_ceil(left.div_ceil(S::TILE_ROWS));
            if matches!(height, 5 | 6) {
                return (height, done);
            }
        }
        next_tile(S::TILE_ROWS, done, inputs)
    }

    /// Which tile of a gradient: inputs from `begin` on, the columns of a panel.
    struct Place<'a, I> {
        panel: PanelRows<'a>,
        grid: (usize, usize),
        input: &'a I,
        begin: usize,
        /// The rows of the gradient that end with the tile; the first rows of the tile may be missing, as done already.
        d_weight: &'a mut [f32],
        columns: usize,
    }

    /// Evaluates `$call!(M, V)` for a shape of (inputs, vectors), one that [`next_tile`] can name.
    macro_rules! for_shape {
        ($all:literal, $half:literal, $shape:expr, $call:ident) => {
            match $shape {
                ($all, 2) => $call!($all, 2),
                ($all, _) => $call!($all, 1),
                ($half, 2) => $call!($half, 2),
                ($half, _) => $call!($half, 1),
                (_, 2) => $call!(1, 2),
                (_, _) => $call!(1, 1),
            }
        };
        ($s:ty, $shape:expr, $call:ident) => {
            if const { <$s>::TILE_ROWS == 8 } {
                for_shape!(8, 4, $shape, $call)
            } else if const { <$s>::TILE_ROWS == 6 } {
                for_shape!(6, 3, $shape, $call)
            } else {
                for_shape!(4, 2, $shape, $call)
            }
        };
    }

    #[inline(always)]
    fn call_tile<S: Simd, I: Source>(s: S, inputs: usize, place: Place<'_, I>) {
        macro_rules! call {
            ($m:literal, $v:literal) => {
                s.call(Tile::<I, $m, $v>(place))
            };
        }
        match (inputs, place.panel.span.width / S::LANES) {
            (5, 1) if const { S::TILE_ROWS == 8 } => call!(5, 1),
            (6, 1) if const { S::TILE_ROWS == 8 } => call!(6, 1),
            shape => for_shape!(S, shape, call),
        }
    }

    #[inline(always)]
    fn call_packed_tile<S: Simd>(s: S, shape: (usize, usize), place: PackedPlace<'_>) {
        macro_rules! call {
            ($m:literal, $v:literal) => {
                s.call(PackedTile::<$m, $v>(place))
            };
        }
        for_shape!(S, shape, call)
    }

    /// `M` inputs by `V` vectors of output gradients, summed over the block.
    struct Tile<'a, I, const M: usize, const V: usize>(Place<'a, I>);

    impl<I: Source, const M: usize, const V: usize> Kernel for Tile<'_, I, M, V> {
        type Output = ();

        #[inline(always)]
        fn run<S: Simd>(self, s: S) {
            let Place { panel, grid, input, begin, d_weight, columns } = self.0;
            let PanelRows { step_stride, span: Span { first, .. }, .. } = panel;
            prefetch_rows::<S, V>(s, d_weight, first, columns);
            let mut sums: [[S::F32; V]; M] = zeros();
            let width = V * S::LANES;
            for sample in 0..grid.0 {
                let (first, View { data, stride }) = input.rows(sample);
                let d_output = &panel.of_sample(sample)[..(grid.1 - 1) * step_stride + width];
                if let Some(x) = first[begin..].first_chunk() {
                    add_term(s, &d_output[..width], x, &mut sums);
                }
                // Cut as they go, which takes fewer instructions than to find each row by its number.
                let mut behind = data.get(begin..).unwrap_or_default();
                let mut d_output = d_output.get(step_stride..).unwrap_or_default();
                while let (Some(d), Some(x)) = (d_output.get(..width), behind.first_chunk()) {
                    add_term(s, d, x, &mut sums);
                    let (Some(next_d), Some(next)) = (d_output.get(step_stride..), behind.get(stride..)) else { break };
                    (d_output, behind) = (next_d, next);
                }
            }
            add_sums(s, &sums, d_weight, first, columns);
        }
    }

    /// `M` columns of output gradients by two vectors of inputs, summed over the block: the roles are exchanged, and every sum
    /// has the same terms in the same order.
    struct FewColumns<'a, I, const M: usize>(Place<'a, I>);

    impl<I: Source, const M: usize> Kernel for FewColumns<'_, I, M> {
        type Output = ();

        #[inline(always)]
        fn run<S: Simd>(self, s: S) {
            let Place { panel, grid, input, begin, d_weight, columns } = self.0;
            let PanelRows { step_stride, span: Span { first, .. }, .. } = panel;
            let mut sums: [[S::F32; 2]; M] = zeros();
            for sample in 0..grid.0 {
                let (x, View { data, stride }) = input.rows(sample);
                let (mut x, mut behind) = (&x[begin..], data.get(begin..).unwrap_or_default());
                let mut d_output = panel.of_sample(sample);
                for _ in 0..grid.1 {
                    if let Some(d) = d_output.first_chunk::<M>() {
                        let second = &x[S::LANES.min(x.len())..];
                        let x = [load_some(s, x), load_some(s, second)];
                        unrolled!(m < M, {
                            let d = s.splat(d[m]);
                            unrolled!(v of 0 1, {
                                sums[m][v] = s.mul_add(x[v], d, sums[m][v]);
                            });
                        });
                    }
                    x = behind;
                    (behind, d_output) =
                        (behind.get(stride..).unwrap_or_default(), d_output.get(step_stride..).unwrap_or_default());
                }
            }
            let mut numbers = [0.0; 16];
            unrolled!(m < M, {
                unrolled!(v of 0 1, {
                    s.store(sums[m][v], &mut numbers);
                    let rows = d_weight.chunks_exact_mut(columns).skip(v * S::LANES);
                    for (row, sum) in rows.zip(&numbers[..S::LANES]) {
                        row[first + m] += sum;
                    }
                });
            });
        }
    }

    /// Which tile of a gradient whose inputs are copied and whose output gradients are packed.
    struct PackedPlace<'a> {
        d_output: &'a [f32],
        inputs: &'a [f32],
        d_weight: &'a mut [f32],
        /// The first column.
        first: usize,
        columns: usize,
    }

    /// [`Tile`] of a [`PackedPlace`]: one loop over all rows.
    struct PackedTile<'a, const M: usize, const V: usize>(PackedPlace<'a>);

    impl<const M: usize, const V: usize> Kernel for PackedTile<'_, M, V> {
        type Output = ();

        #[inline(always)]
        fn run<S: Simd>(self, s: S) {
            let PackedPlace { d_output, inputs, d_weight, first, columns } = self.0;
            prefetch_rows::<S, V>(s, d_weight, first, columns);
            let width = V * S::LANES;
            let inputs = inputs.as_chunks::<M>().0;
            let rows = inputs.len().min(d_output.len() / width);
            let (inputs, d_output) = (&inputs[..rows], &d_output[..rows * width]);
            let mut sums: [[S::F32; V]; M] = zeros();
            let mut row = 0;
            while row < rows {
                add_term(s, &d_output[row * width..(row + 1) * width], &inputs[row], &mut sums);
                row += 1;
            }
            add_sums(s, &sums, d_weight, first, columns);
        }
    }

    /// Asks for what [`add_sums`] adds to.
    #[inline(always)]
    fn prefetch_rows<S: Simd, const V: usize>(s: S, d_weight: &[f32], first: usize, columns: usize) {
        for row in d_weight.chunks(columns) {
            for v in 0..V {
                s.prefetch(&row[columns.min(first + v * S::LANES)..]);
            }
        }
    }

    /// Adds the sums of a tile to the columns of the gradient from `first` on, whose rows end with the tile; the first rows of
    /// the tile may be missing, as done already.
    #[inline(always)]
    fn add_sums<S: Simd, const M: usize, const V: usize>(
        s: S,
        sums: &[[S::F32; V]; M],
        d_weight: &mut [f32],
        first: usize,
        columns: usize,
    ) {
        let skip = M - d_weight.len() / columns;
        let mut totals: [[S::F32; V]; M] = zeros();
        // All rows are read before any is written: next to a part of a vector that is on its way, a read waits.
        unrolled!(m < M, {
            if m >= skip {
                let begin = (m - skip) * columns;
                let row = &d_weight[begin..begin + columns];
                unrolled!(v < V, {
                    let to = starting_at(row, columns.min(first + v * S::LANES));
                    totals[m][v] = s.add(load_some(s, to), sums[m][v]);
                });
            }
        });
        unrolled!(m < M, {
            if m >= skip {
                let begin = (m - skip) * columns;
                let row = &mut d_weight[begin..begin + columns];
                unrolled!(v < V, {
                    store_some(s, totals[m][v], starting_at_mut(row, columns.min(first + v * S::LANES)));
                });
            }
        });
    }
}
