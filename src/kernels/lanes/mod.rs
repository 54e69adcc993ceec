//! Samples in lanes: transposes, and tiles whose rows are neurons.

#[cfg(all(test, feature = "std"))]
mod tests;
#[cfg(feature = "alloc")]
pub(crate) mod tile;
pub(crate) mod transpose;
