//! Batches: rows of samples against packed panels of weights.

pub(crate) mod panels;
pub(crate) mod projection;
#[cfg(all(test, feature = "std"))]
mod tests;
pub(crate) mod tile;
