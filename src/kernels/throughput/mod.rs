//! Batches: rows of samples against packed panels of weights.

pub(crate) mod panels;
pub(crate) mod projection;
pub(crate) mod tile;
