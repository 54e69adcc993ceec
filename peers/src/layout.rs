//! Other layouts of the data.

use crate::work::{BATCH, STEPS};

/// The transpose of a row-major matrix.
pub fn transposed(matrix: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    (0..columns).flat_map(|column| (0..rows).map(move |row| matrix[row * columns + column])).collect()
}

/// The parts of a tensor that belong to each gate.
pub fn by_gate(values: &[f32], gates: usize) -> std::slice::Chunks<'_, f32> {
    values.chunks(values.len() / gates)
}

/// `[BATCH][STEPS][len]` as `[STEPS][BATCH][len]`.
pub fn time_major<T: Copy>(batch_first: &[T], len: usize) -> Vec<T> {
    swap_axes(batch_first, BATCH, STEPS, len)
}

/// `[STEPS][BATCH][len]` as `[BATCH][STEPS][len]`.
pub fn batch_first<T: Copy>(time_major: &[T], len: usize) -> Vec<T> {
    swap_axes(time_major, STEPS, BATCH, len)
}

fn swap_axes<T: Copy>(values: &[T], outer: usize, inner: usize, len: usize) -> Vec<T> {
    let rows = (0..inner).flat_map(|i| (0..outer).map(move |o| (o * inner + i) * len));
    rows.flat_map(|start| values[start..start + len].iter().copied()).collect()
}
