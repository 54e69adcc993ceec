//! Weight panels for the tiles: packed once per call, read once per tile.

use crate::kernels::cut::{Cut, Span};
use crate::kernels::scratch::Scratch;
use core::ops::Range;

/// A matrix of `K` rows cut into panels of columns ([`Cut`]), each row after row, padded with zeros.
///
/// The columns are gates side by side, as many for each as there are neurons; a matrix without gates has one. The cut is
/// that of the neurons, and the panels of all gates of some neurons lie one after the other:
///
/// ```text
/// columns:  [ gate 0: n0 n1 n2 n3 ...  | gate 1: n0 n1 n2 n3 ... ]
/// panels:   [ gate 0: n0 n1 ] [ gate 1: n0 n1 ] [ gate 0: n2 n3 ] [ gate 1: n2 n3 ] ...
/// ```
#[derive(Default, Debug)]
pub(crate) struct Panels {
    data: Scratch,
    rows: usize,
    gates: usize,
    /// Of the columns of a gate.
    cut: Cut,
}

/// One panel.
#[derive(Clone, Copy)]
pub(crate) struct Panel<'a> {
    pub(crate) data: &'a [f32],
    pub(crate) span: Span,
}

impl Panels {
    /// Packs `matrix`, rows of `gates` times `columns` numbers, for vectors of `lanes`.
    pub(crate) fn pack(&mut self, lanes: usize, matrix: &[f32], gates: usize, columns: usize) {
        let row = gates * columns;
        self.pack_with(lanes, matrix.len() / row, gates, columns, |panel, gate, Span { first, width }| {
            let columns = gate * columns + first..gate * columns + columns.min(first + width);
            for (to, row) in panel.chunks_exact_mut(width).zip(matrix.chunks_exact(row)) {
                to[..columns.len()].copy_from_slice(&row[columns.clone()]);
            }
        });
    }

    /// Packs the transpose of `matrix`, whose rows have `rows` numbers, for vectors of `lanes`.
    pub(crate) fn pack_transposed(&mut self, lanes: usize, matrix: &[f32], rows: usize) {
        self.pack_transposed_columns(lanes, matrix, rows, 0..rows);
    }

    /// The same of some columns of `matrix`.
    pub(crate) fn pack_transposed_columns(&mut self, lanes: usize, matrix: &[f32], row: usize, of: Range<usize>) {
        self.pack_with(lanes, of.len(), 1, matrix.len() / row, |panel, _, Span { first, width }| {
            for (column, row) in matrix.chunks_exact(row).skip(first).take(width).enumerate() {
                // By index: `step_by` takes three times as many instructions.
                let mut to = column;
                for x in &row[of.clone()] {
                    panel[to] = *x;
                    to += width;
                }
            }
        });
    }

    fn pack_with(
        &mut self,
        lanes: usize,
        rows: usize,
        gates: usize,
        columns: usize,
        mut fill: impl FnMut(&mut [f32], usize, Span),
    ) {
        let cut = Cut { lanes, columns, joined: false };
        *self = Panels { data: core::mem::take(&mut self.data), rows, gates, cut };
        let mut data = self.data.get(rows * gates * cut.padded());
        for panel in 0..cut.count() {
            let span = cut.span(panel);
            for gate in 0..gates {
                let panel;
                (panel, data) = data.split_at_mut(rows * span.width);
                if span.first + span.width > columns {
                    panel.fill(0.0);
                }
                fill(panel, gate, span);
            }
        }
    }

    /// Terms in each sum.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// Outputs: the columns of all gates.
    pub(crate) fn outputs(&self) -> usize {
        self.gates * self.cut.columns
    }

    /// Columns of each gate.
    pub(crate) fn columns(&self) -> usize {
        self.cut.columns
    }

    /// How many gates there are.
    #[inline(always)]
    pub(crate) fn gates(&self) -> usize {
        self.gates
    }

    /// How many panels each gate has.
    #[inline(always)]
    pub(crate) fn count(&self) -> usize {
        self.cut.count()
    }

    /// A panel of a gate, counted from the left.
    #[inline(always)]
    pub(crate) fn panel(&self, panel: usize, gate: usize) -> Panel<'_> {
        let Self { data, rows, gates, cut } = self;
        let span = cut.span(panel);
        let first = rows * (gates * span.first + gate * span.width);
        Panel { data: &data.as_slice(rows * gates * cut.padded())[first..][..rows * span.width], span }
    }
}
