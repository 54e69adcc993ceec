//! Layers: parameters, gradients, forward and backward.

mod embedding;
mod linear;
#[cfg(feature = "alloc")]
mod rnn;
mod rnn_cell;
#[cfg(feature = "alloc")]
mod rnn_threads;
mod token_rnn_cell;

pub use embedding::Embedding;
pub use linear::Linear;
#[cfg(feature = "alloc")]
pub use rnn::Rnn;
pub use rnn_cell::{RnnCell, RnnWeights};
pub use token_rnn_cell::TokenRnnCell;

/// A matrix in PyTorch's row-major `[out][in]` layout, read from the transpose that is stored here.
fn torch_order<const IN: usize, const OUT: usize>(weight: &[[f32; OUT]; IN]) -> impl Iterator<Item = f32> + '_ {
    (0..OUT).flat_map(move |out| weight.iter().map(move |row| row[out]))
}

/// The reverse: fills the stored transpose from PyTorch's order.
fn fill_in_torch_order<const IN: usize, const OUT: usize>(
    weight: &mut [[f32; OUT]; IN],
    mut next: impl FnMut() -> f32,
) {
    for out in 0..OUT {
        for row in weight.iter_mut() {
            row[out] = next();
        }
    }
}
