//! Tiles of a weight gradient: `M` inputs by `V` vectors of columns, summed over all rows of a block and then added.

use super::source::{PanelRows, Source};
use crate::kernels::cut::Span;
use crate::kernels::rows::Rows;
use crate::kernels::slice::{starting_at, starting_at_mut, zeros};
use crate::kernels::throughput::tile::add_term;
use crate::simd::{Kernel, Simd, load_some, store_some};

/// Which tile of a gradient: inputs from `begin` on, the columns of a panel.
pub(super) struct OuterPlace<'a, I> {
    pub(super) panel: PanelRows<'a>,
    pub(super) grid: (usize, usize),
    pub(super) input: &'a I,
    pub(super) begin: usize,
    /// The rows of the gradient that end with the tile; the first rows of the tile may be missing, as done already.
    pub(super) d_weight: &'a mut [f32],
    pub(super) columns: Columns,
}

/// Which columns of a gradient: all of them, or those of a gate.
#[derive(Clone, Copy)]
pub(crate) struct Columns {
    /// The first one.
    pub(crate) first: usize,
    pub(crate) count: usize,
    /// Those of all gates: numbers from one row to the next.
    pub(crate) of: usize,
}

impl Columns {
    /// The columns of a matrix of one gate.
    #[inline(always)]
    pub(crate) fn all(count: usize) -> Self {
        Self { first: 0, count, of: count }
    }

    /// Where a vector of a row begins, and where these columns end.
    #[inline(always)]
    fn vector<S: Simd>(self, _: S, first: usize, v: usize) -> (usize, usize) {
        (self.first + self.count.min(first + v * S::LANES), self.first + self.count)
    }
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
pub(super) fn call_tile<S: Simd, I: Source>(s: S, inputs: usize, place: OuterPlace<'_, I>) {
    macro_rules! call {
        ($m:literal, $v:literal) => {
            s.call(OuterTile::<I, $m, $v>(place))
        };
    }
    match (inputs, place.panel.span.width / S::LANES) {
        (5, 1) if const { S::TILE_ROWS == 8 } => call!(5, 1),
        (6, 1) if const { S::TILE_ROWS == 8 } => call!(6, 1),
        shape => for_shape!(S, shape, call),
    }
}

#[inline(always)]
pub(super) fn call_packed_tile<S: Simd>(s: S, shape: (usize, usize), place: PackedPlace<'_>) {
    macro_rules! call {
        ($m:literal, $v:literal) => {
            s.call(PackedOuterTile::<$m, $v>(place))
        };
    }
    for_shape!(S, shape, call)
}

/// `M` inputs by `V` vectors of output gradients, summed over the block.
struct OuterTile<'a, I, const M: usize, const V: usize>(OuterPlace<'a, I>);

impl<I: Source, const M: usize, const V: usize> Kernel for OuterTile<'_, I, M, V> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let OuterPlace { panel, grid, input, begin, d_weight, columns } = self.0;
        let PanelRows { step_stride, span: Span { first, .. }, .. } = panel;
        prefetch_rows::<S, V>(s, d_weight, first, columns);
        let mut sums: [[S::F32; V]; M] = zeros();
        let width = V * S::LANES;
        for sample in 0..grid.0 {
            let (first, Rows { data, inner: stride, .. }) = input.rows(sample);
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
pub(super) struct FewColumns<'a, I, const M: usize>(pub(super) OuterPlace<'a, I>);

impl<I: Source, const M: usize> Kernel for FewColumns<'_, I, M> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let OuterPlace { panel, grid, input, begin, d_weight, columns } = self.0;
        let PanelRows { step_stride, span: Span { first, .. }, .. } = panel;
        let mut sums: [[S::F32; 2]; M] = zeros();
        for sample in 0..grid.0 {
            let (x, Rows { data, inner: stride, .. }) = input.rows(sample);
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
                let rows = d_weight.chunks_exact_mut(columns.of).skip(v * S::LANES);
                for (row, sum) in rows.zip(&numbers[..S::LANES]) {
                    row[columns.first + first + m] += sum;
                }
            });
        });
    }
}

/// Which tile of a gradient whose inputs are copied and whose output gradients are packed.
pub(super) struct PackedPlace<'a> {
    pub(super) d_output: &'a [f32],
    pub(super) inputs: &'a [f32],
    pub(super) d_weight: &'a mut [f32],
    /// The first column of the panel.
    pub(super) first: usize,
    pub(super) columns: Columns,
}

/// [`OuterTile`] of a [`PackedPlace`]: one loop over all rows.
struct PackedOuterTile<'a, const M: usize, const V: usize>(PackedPlace<'a>);

impl<const M: usize, const V: usize> Kernel for PackedOuterTile<'_, M, V> {
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

/// Prefetches what [`add_sums`] adds to.
#[inline(always)]
fn prefetch_rows<S: Simd, const V: usize>(s: S, d_weight: &[f32], first: usize, columns: Columns) {
    for row in d_weight.chunks(columns.of) {
        for v in 0..V {
            s.prefetch(&row[columns.vector(s, first, v).0..]);
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
    columns: Columns,
) {
    let skip = M - d_weight.len() / columns.of;
    let mut totals: [[S::F32; V]; M] = zeros();
    // All rows are read before any is written: next to a part of a vector that is on its way, a read waits.
    unrolled!(m < M, {
        if m >= skip {
            let row = starting_at(d_weight, (m - skip) * columns.of);
            unrolled!(v < V, {
                let (begin, end) = columns.vector(s, first, v);
                totals[m][v] = s.add(load_some(s, &row[begin..end]), sums[m][v]);
            });
        }
    });
    unrolled!(m < M, {
        if m >= skip {
            let row = starting_at_mut(d_weight, (m - skip) * columns.of);
            unrolled!(v < V, {
                let (begin, end) = columns.vector(s, first, v);
                store_some(s, totals[m][v], &mut row[begin..end]);
            });
        }
    });
}
