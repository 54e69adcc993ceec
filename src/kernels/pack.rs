//! Weight panels for the tiles: packed once per call, read once per tile.

use crate::simd::Simd;
use alloc::vec::Vec;

/// Vectors in a full panel, and so columns of vectors in a register tile: 4 or 2.
///
/// Four vectors by four samples need half as many broadcasts and row pointers as two by eight; but the panel is twice as
/// wide, and it has to stay in L1 (48 KB: up to 160 rows of 4 x 64 bytes leave room for the samples).
fn panel_vectors(lanes: usize, rows: usize) -> usize {
    if lanes == 16 && rows <= 160 { 4 } else { 2 }
}

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

/// A `K` x `N` matrix cut into panels of [`panel_vectors`] vectors of columns (the last ones perhaps fewer), each panel
/// row after row, padded with zeros to whole vectors.
#[derive(Default, Debug)]
pub(crate) struct Panels {
    data: Scratch,
    rows: usize,
    columns: usize,
    padded_columns: usize,
    /// Columns of a full panel.
    width: usize,
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
        let full = panel_vectors(lanes, rows) * lanes;
        *self = Panels { data: core::mem::take(&mut self.data), rows, columns, padded_columns, width: full };
        let data = self.data.get(rows * padded_columns);
        let mut first = 0;
        while first < padded_columns {
            let width = panel_width(full, lanes, padded_columns - first);
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
            panels: self,
            data: self.data.as_slice(self.rows * self.padded_columns),
            lanes: S::LANES,
            edge: if from_the_right { self.padded_columns } else { 0 },
            from_the_right,
        }
    }
}

/// Columns of the next panel where `left` remain: all of a full one, or two vectors, or one.
fn panel_width(full: usize, lanes: usize, left: usize) -> usize {
    if left >= full {
        full
    } else if left >= 2 * lanes {
        2 * lanes
    } else {
        lanes
    }
}

/// See [`Panels::panels`].
pub(crate) struct PanelIter<'a> {
    panels: &'a Panels,
    data: &'a [f32],
    lanes: usize,
    /// Where the next panel begins, or ends if they come from the right.
    edge: usize,
    from_the_right: bool,
}

impl<'a> Iterator for PanelIter<'a> {
    type Item = Panel<'a>;

    #[inline(always)]
    fn next(&mut self) -> Option<Panel<'a>> {
        let Panels { rows, padded_columns, width: full, .. } = *self.panels;
        let (first, width);
        if self.from_the_right {
            if self.edge == 0 {
                return None;
            }
            // Narrow panels are at the right end: two vectors and one, in this order from the left.
            let rest = self.edge % full;
            width = match rest {
                0 => full,
                _ if rest.is_multiple_of(2 * self.lanes) => 2 * self.lanes,
                _ => self.lanes,
            };
            first = self.edge - width;
            self.edge = first;
        } else {
            if self.edge == padded_columns {
                return None;
            }
            first = self.edge;
            width = panel_width(full, self.lanes, padded_columns - first);
            self.edge = first + width;
        }
        Some(Panel { data: &self.data[first * rows..(first + width) * rows], first, vectors: width / self.lanes })
    }
}
