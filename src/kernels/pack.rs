//! Weight panels for the tiles: packed once per call, read once per tile.

use alloc::vec::Vec;

/// Numbers in a line of the cache.
pub(crate) const NUMBERS_PER_LINE: usize = 64 / size_of::<f32>();

/// Columns of a panel: the two vectors of a register tile, or at the right end what remains, one vector or half of one
/// where there are half-width vectors ([`Simd::Half`](crate::simd::Simd::Half)).
#[derive(Clone, Copy)]
pub(crate) struct Span {
    pub(crate) first: usize,
    pub(crate) width: usize,
}

/// How many panels `columns` columns make.
#[inline(always)]
pub(crate) const fn panel_count(lanes: usize, columns: usize) -> usize {
    let rest = columns % (2 * lanes);
    columns / (2 * lanes) + if rest == 0 { 0 } else { 1 + (rest > end_width(lanes, rest)) as usize }
}

/// The columns of a panel, counted from the left.
#[inline(always)]
pub(crate) const fn span(lanes: usize, columns: usize, panel: usize) -> Span {
    let whole = columns / (2 * lanes);
    if panel < whole {
        return Span { first: panel * 2 * lanes, width: 2 * lanes };
    }
    let first = whole * 2 * lanes;
    let width = end_width(lanes, columns - first);
    if panel == whole {
        return Span { first, width };
    }
    let first = first + width;
    Span { first, width: end_width(lanes, columns - first) }
}

/// Columns of the next panel where fewer than two vectors remain.
#[inline(always)]
const fn end_width(lanes: usize, rest: usize) -> usize {
    let half = if lanes == 16 { 8 } else { lanes };
    if rest > half { lanes } else { half }
}

/// The columns of all panels together.
#[inline(always)]
pub(crate) const fn padded(lanes: usize, columns: usize) -> usize {
    match panel_count(lanes, columns) {
        0 => 0,
        count => {
            let Span { first, width } = span(lanes, columns, count - 1);
            first + width
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

/// A `K` x `N` matrix cut into panels ([`span`]), each row after row, padded with zeros.
#[derive(Default, Debug)]
pub(crate) struct Panels {
    data: Scratch,
    rows: usize,
    columns: usize,
    lanes: usize,
}

/// One panel.
#[derive(Clone, Copy)]
pub(crate) struct Panel<'a> {
    pub(crate) data: &'a [f32],
    pub(crate) span: Span,
}

impl<'a> Panel<'a> {
    /// A panel, counted from the left, of all of them one behind the other, `rows` rows each.
    #[inline(always)]
    pub(crate) fn of(data: &'a [f32], rows: usize, lanes: usize, columns: usize, panel: usize) -> Self {
        let span = span(lanes, columns, panel);
        Panel { data: &data[span.first * rows..][..span.width * rows], span }
    }
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
        *self = Panels { data: core::mem::take(&mut self.data), rows, columns, lanes };
        let data = self.data.get(rows * padded(lanes, columns));
        for panel in 0..panel_count(lanes, columns) {
            let Span { first, width } = span(lanes, columns, panel);
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
        self.columns
    }

    /// How many panels there are.
    #[inline(always)]
    pub(crate) fn count(&self) -> usize {
        panel_count(self.lanes, self.columns)
    }

    /// A panel, counted from the left.
    #[inline(always)]
    pub(crate) fn panel(&self, panel: usize) -> Panel<'_> {
        let data = self.data.as_slice(self.rows * padded(self.lanes, self.columns));
        Panel::of(data, self.rows, self.lanes, self.columns, panel)
    }
}
