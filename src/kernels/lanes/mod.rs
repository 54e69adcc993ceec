//! Samples in lanes: rows turned into columns, and tiles whose rows are neurons.

#[cfg(feature = "alloc")]
pub(crate) mod tile;
pub(crate) mod transpose;
