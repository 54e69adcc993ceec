//! Samples in lanes: transposes, and tiles whose rows are neurons.

#[cfg(feature = "alloc")]
pub(crate) mod tile;
pub(crate) mod transpose;
