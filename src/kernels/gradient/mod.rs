//! Gradients of weight matrices and biases: sums of outer products and of rows.

#[cfg(feature = "alloc")]
mod block;
#[cfg(feature = "alloc")]
mod cascade;
mod row;
#[cfg(feature = "alloc")]
mod source;
#[cfg(all(test, feature = "std"))]
mod tests;
#[cfg(feature = "alloc")]
mod tile;

#[cfg(feature = "alloc")]
pub(crate) use block::Block;
#[cfg(feature = "alloc")]
pub(crate) use cascade::{BlockSums, Cascade, RowCascade, TENSORS, add};
pub(crate) use row::{add_outer_product, add_row};
#[cfg(feature = "alloc")]
pub(crate) use source::Source;
#[cfg(feature = "alloc")]
pub(crate) use tile::Columns;
