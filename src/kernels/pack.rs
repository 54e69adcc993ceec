//! Weight panels for the tiles: packed once per call, read once per tile.

use super::NUMBERS_PER_LINE;
use crate::simd::Simd;
use alloc::vec::Vec;

/// Columns of a panel: the two vectors of a register tile, or at the right end what remains, one vector or half of one
/// where there are half-width vectors ([`Simd::Half`](crate::simd::Simd::Half)).
#[derive(Clone, Copy)]
pub(crate) struct Span {
    pub(crate) first: usize,
    pub(crate) width: usize,
}

impl Span {
    /// Whether it is half a vector; never where there are no half-width vectors, which the compiler knows.
    #[inline(always)]
    pub(crate) fn is_half<S: Simd>(self, _: S) -> bool {
        S::Half::LANES < S::LANES && self.width < S::LANES
    }
}

/// How columns are cut into panels.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Cut {
    pub(crate) lanes: usize,
    pub(crate) columns: usize,
    /// Whether the last panel has two vectors where one whole vector and one that is not full remain: two panels otherwise.
    pub(crate) joined: bool,
}

impl Cut {
    /// How many panels there are.
    #[inline(always)]
    pub(crate) const fn count(self) -> usize {
        let rest = self.columns % (2 * self.lanes);
        self.columns / (2 * self.lanes) + if rest == 0 { 0 } else { 1 + (rest > self.end_width(rest)) as usize }
    }

    /// The columns of a panel, counted from the left.
    #[inline(always)]
    pub(crate) const fn span(self, panel: usize) -> Span {
        let Self { lanes, columns, .. } = self;
        let whole = columns / (2 * lanes);
        if panel < whole {
            return Span { first: panel * 2 * lanes, width: 2 * lanes };
        }
        let first = whole * 2 * lanes;
        let width = self.end_width(columns - first);
        if panel == whole {
            return Span { first, width };
        }
        let first = first + width;
        Span { first, width: self.end_width(columns - first) }
    }

    /// Columns of the next panel where fewer than two vectors remain.
    #[inline(always)]
    const fn end_width(self, rest: usize) -> usize {
        let Self { lanes, joined, .. } = self;
        let half = if lanes == 16 { 8 } else { lanes };
        if joined && rest > 2 * lanes - half {
            2 * lanes
        } else if rest > half {
            lanes
        } else {
            half
        }
    }

    /// The columns of all panels together.
    #[inline(always)]
    pub(crate) const fn padded(self) -> usize {
        match self.count() {
            0 => 0,
            count => {
                let Span { first, width } = self.span(count - 1);
                first + width
            }
        }
    }
}

/// Storage that starts on a cache line, so that no vector load of a panel crosses one.
///
/// It grows and never shrinks: used again at the same size it does not allocate.
#[derive(Default, Debug)]
pub(crate) struct Scratch {
    data: Vec<f32>,
}

impl Scratch {
    /// Room for `len` numbers, whatever they were before (zeros where it had to grow).
    pub(crate) fn get(&mut self, len: usize) -> &mut [f32] {
        if self.data.len() < len + NUMBERS_PER_LINE {
            self.data.resize(len + NUMBERS_PER_LINE, 0.0);
        }
        let start = self.start();
        &mut self.data[start..start + len]
    }

    /// The first `len` numbers as `get` left them.
    pub(crate) fn as_slice(&self, len: usize) -> &[f32] {
        let start = self.start();
        &self.data[start..start + len]
    }

    /// Numbers to skip up to the next cache line; where the address cannot be known, none.
    fn start(&self) -> usize {
        let skip = self.data.as_ptr().align_offset(64);
        if skip < NUMBERS_PER_LINE { skip } else { 0 }
    }
}

/// A `K` x `N` matrix cut into panels ([`Cut`]), each row after row, padded with zeros.
#[derive(Default, Debug)]
pub(crate) struct Panels {
    data: Scratch,
    rows: usize,
    cut: Cut,
}

/// One panel.
#[derive(Clone, Copy)]
pub(crate) struct Panel<'a> {
    pub(crate) data: &'a [f32],
    pub(crate) span: Span,
}

impl Panels {
    /// Packs `matrix`, rows of `columns` numbers, for vectors of `lanes`.
    pub(crate) fn pack(&mut self, lanes: usize, matrix: &[f32], columns: usize) {
        let rows = matrix.len() / columns;
        self.pack_with(lanes, rows, columns, |panel, first, width| {
            for (to, row) in panel.chunks_exact_mut(width).zip(matrix.chunks_exact(columns)) {
                let from = &row[first..columns.min(first + width)];
                to[..from.len()].copy_from_slice(from);
            }
        });
    }

    /// Packs the transpose of `matrix`, whose rows have `rows` numbers, for vectors of `lanes`.
    pub(crate) fn pack_transposed(&mut self, lanes: usize, matrix: &[f32], rows: usize) {
        let columns = matrix.len() / rows;
        self.pack_with(lanes, rows, columns, |panel, first, width| {
            for (column, row) in matrix.chunks_exact(rows).skip(first).take(width).enumerate() {
                for (to, x) in panel[column..].iter_mut().step_by(width).zip(row) {
                    *to = *x;
                }
            }
        });
    }

    fn pack_with(&mut self, lanes: usize, rows: usize, columns: usize, mut fill: impl FnMut(&mut [f32], usize, usize)) {
        let cut = Cut { lanes, columns, joined: false };
        *self = Panels { data: core::mem::take(&mut self.data), rows, cut };
        let data = self.data.get(rows * cut.padded());
        for panel in 0..cut.count() {
            let Span { first, width } = cut.span(panel);
            let panel = &mut data[first * rows..(first + width) * rows];
            if first + width > columns {
                panel.fill(0.0);
            }
            fill(panel, first, width);
        }
    }

    /// Terms in each sum.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// Outputs.
    pub(crate) fn columns(&self) -> usize {
        self.cut.columns
    }

    /// How many panels there are.
    #[inline(always)]
    pub(crate) fn count(&self) -> usize {
        self.cut.count()
    }

    /// A panel, counted from the left.
    #[inline(always)]
    pub(crate) fn panel(&self, panel: usize) -> Panel<'_> {
        let Self { data, rows, cut } = self;
        let span = cut.span(panel);
        Panel { data: &data.as_slice(rows * cut.padded())[span.first * rows..][..span.width * rows], span }
    }
}
