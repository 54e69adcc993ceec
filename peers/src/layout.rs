//! Other layouts of the data.

use crate::candidate::Failure;
use crate::work::{BATCH, Cell, STEPS};

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

/// The gradients of input-major parameters that are a tensor for each gate, as results have them.
pub fn gradients_by_gate<T>(
    cell: Cell,
    size: usize,
    gradients: &[T],
    read: impl Fn(&T) -> Result<Vec<f32>, Failure>,
) -> Result<Vec<f32>, Failure> {
    // The two biases of tanh and LSTM have the same gradient.
    let tensors = if cell == Cell::Gru { 4 } else { 3 };
    let mut result = Vec::new();
    for (index, gradient) in gradients[..tensors * cell.gates()].iter().enumerate() {
        let values = read(gradient)?;
        let is_matrix = index < 2 * cell.gates();
        result.extend(if is_matrix { transposed(&values, size, size) } else { values });
    }
    Ok(result)
}
