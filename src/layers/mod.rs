//! Layers: parameters, gradients, forward and backward.

mod at;
pub(crate) mod cell;
mod embedding;
#[cfg(feature = "alloc")]
mod embedding_sequences;
mod linear;
#[cfg(feature = "alloc")]
mod linear_sequences;
#[cfg(feature = "alloc")]
mod passes;
#[cfg(feature = "alloc")]
mod recurrent;
#[cfg(feature = "alloc")]
mod rnn;
mod rnn_cell;
mod source;
mod step;
mod tensor;
mod token_rnn_cell;

use crate::torch::generator::Generator;

pub use at::At;
pub use embedding::Embedding;
pub use linear::Linear;
#[cfg(feature = "alloc")]
pub use rnn::{Gru, Lstm, Rnn};
pub use rnn_cell::{GruCell, LstmCell, RnnCell, RnnWeights};
pub use tensor::Tensor;
pub use token_rnn_cell::{TokenGruCell, TokenLstmCell, TokenRnnCell};

/// A matrix in PyTorch's row-major `[out][in]` layout, read from the transpose that is stored here.
fn torch_order(weight: &[f32], outputs: usize) -> impl Iterator<Item = f32> + '_ {
    (0..outputs).flat_map(move |output| weight[output..].iter().step_by(outputs).copied())
}

/// Draws a matrix from U(-`bound`, `bound`), in PyTorch's order, into the transpose that is stored here, rows of `outputs`
/// numbers. The size is a value, so that this is compiled once and not for every size of a layer.
fn draw_in_torch_order(generator: &mut Generator, bound: f32, weight: &mut [f32], outputs: usize) {
    for output in 0..outputs {
        for x in weight[output..].iter_mut().step_by(outputs) {
            *x = generator.uniform(-bound, bound);
        }
    }
}
