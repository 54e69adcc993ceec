//! Weight panels for the tiles: packed once per call, read once per tile.

use crate::simd::Simd;
use alloc::vec::Vec;

/// Vectors in a full panel, and so columns of vectors in a register tile.
pub(crate) const PANEL_VECTORS: usize = 2;

/// Storage that starts on a cache line, so that no vector load of a panel crosses one.
///
/// It grows and never shrinks: used again at the same size it does not allocate.
#[derive(Default, Debug)]
pub(crate) struct Scratch {
    data: Vec<f32>,
}

impl Scratch {
    const LINE: usize = 64 / size_of::<f32>();

    /// Room for `len` numbers, whatever they were before (zeros where it had to grow).
    pub(crate) fn get(&mut self, len: usize) -> &mut [f32] {
        if self.data.len() < len + Self::LINE {
            self.data.resize(len + Self::LINE, 0.0);
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
        if skip < Self::LINE { skip } else { 0 }
    }
}

/// A `K` x `N` matrix cut into panels of [`PANEL_VECTORS`] vectors of columns (the last one perhaps fewer), each panel
/// row after row, padded with zeros to whole vectors.
#[derive(Default, Debug)]
pub(crate) struct Panels {
    data: Scratch,
    rows: usize,
    columns: usize,
    padded_columns: usize,
}

/// One panel: columns from `first` on, `vectors` vectors wide.
#[derive(Clone, Copy)]
pub(crate) struct Panel<'a> {
    pub(crate) data: &'a [f32],
    pub(crate) first: usize,
    pub(crate) vectors: usize,
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
        let padded_columns = columns.next_multiple_of(lanes);
        *self = Panels { data: core::mem::take(&mut self.data), rows, columns, padded_columns };
        let data = self.data.get(rows * padded_columns);
        let mut first = 0;
        while first < padded_columns {
            let width = (PANEL_VECTORS * lanes).min(padded_columns - first);
            let panel = &mut data[first * rows..(first + width) * rows];
            if first + width > columns {
                panel.fill(0.0);
            }
            fill(panel, first, width);
            first += width;
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

    /// The panels from left to right, or from right to left.
    #[inline(always)]
    pub(crate) fn panels<S: Simd>(&self, _: S, from_the_right: bool) -> PanelIter<'_> {
        PanelIter {
            data: self.data.as_slice(self.rows * self.padded_columns),
            rows: self.rows,
            padded_columns: self.padded_columns,
            width: PANEL_VECTORS * S::LANES,
            lanes: S::LANES,
            next: 0,
            from_the_right,
        }
    }
}

/// See [`Panels::panels`].
pub(crate) struct PanelIter<'a> {
    data: &'a [f32],
    rows: usize,
    padded_columns: usize,
    width: usize,
    lanes: usize,
    next: usize,
    from_the_right: bool,
}

impl<'a> Iterator for PanelIter<'a> {
    type Item = Panel<'a>;

    #[inline(always)]
    fn next(&mut self) -> Option<Panel<'a>> {
        let count = self.padded_columns.div_ceil(self.width);
        if self.next == count {
            return None;
        }
        let index = if self.from_the_right { count - 1 - self.next } else { self.next };
        self.next += 1;
        let first = index * self.width;
        let width = self.width.min(self.padded_columns - first);
        Some(Panel {
            data: &self.data[first * self.rows..(first + width) * self.rows],
            first,
            vectors: width / self.lanes,
        })
    }
}
