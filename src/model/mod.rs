//! Models: layers and tuples of layers, and what can be done with them.

#[cfg(feature = "alloc")]
pub(crate) mod layer;
pub(crate) mod parameters;
pub(crate) mod step;
