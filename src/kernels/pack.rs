//! Weight panels for the tiles: packed once per call, read once per tile.

use crate::simd::Simd;
use alloc::vec::Vec;

/// Columns of a full panel: the two vectors of a register tile.
const fn full_width(lanes: usize) -> usize {
    2 * lanes
}

/// Columns of the narrowest panel: half a vector where there are half-width vectors ([`Simd::Half`]).
const fn narrowest_width(lanes: usize) -> usize {
    if lanes == 16 { 8 } else { lanes }
}

/// Columns of the next panel where `left` columns remain: two vectors, one, or the narrowest one that holds the end.
pub(crate) const fn panel_width(lanes: usize, left: usize) -> usize {
    if left >= full_width(lanes) {
        full_width(lanes)
    } else if left > narrowest_width(lanes) {
        lanes
    } else {
        narrowest_width(lanes)
    }
}

/// The columns of all panels together.
pub(crate) const fn padded(lanes: usize, columns: usize) -> usize {
    let whole = columns / full_width(lanes) * full_width(lanes);
    let mut padded = whole;
    while padded < columns {
        padded += panel_width(lanes, columns - padded);
    }
    padded
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

/// A `K` x `N` matrix cut into panels ([`panel_width`]), each row after row, padded with zeros.
#[derive(Default, Debug)]
pub(crate) struct Panels {
    data: Scratch,
    rows: usize,
    columns: usize,
    padded_columns: usize,
}

/// One panel: `width` columns from `first` on.
#[derive(Clone, Copy)]
pub(crate) struct Panel<'a> {
    pub(crate) data: &'a [f32],
    pub(crate) first: usize,
    pub(crate) width: usize,
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
        let padded_columns = padded(lanes, columns);
        *self = Panels { data: core::mem::take(&mut self.data), rows, columns, padded_columns };
        let data = self.data.get(rows * padded_columns);
        let mut first = 0;
        while first < columns {
            let width = panel_width(lanes, columns - first);
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
        let Panels { rows, columns, .. } = *self.panels;
        let (first, width);
        if self.from_the_right {
            if self.edge == 0 {
                return None;
            }
            // What does not fill a panel is at the right end: a vector, and a narrow one behind it.
            width = match self.edge % full_width(self.lanes) {
                0 => full_width(self.lanes),
                rest if rest.is_multiple_of(self.lanes) => self.lanes,
                _ => narrowest_width(self.lanes),
            };
            first = self.edge - width;
            self.edge = first;
        } else {
            if self.edge >= columns {
                return None;
            }
            first = self.edge;
            width = panel_width(self.lanes, columns - first);
            self.edge = first + width;
        }
        Some(Panel { data: &self.data[first * rows..(first + width) * rows], first, width })
    }
}
