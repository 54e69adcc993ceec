//! Models: layers and tuples of layers, and what can be done with them.

#[cfg(feature = "alloc")]
pub(crate) mod layer;
pub(crate) mod names;
pub(crate) mod parameters;
#[cfg(feature = "alloc")]
pub(crate) mod pass;
pub(crate) mod source;
pub(crate) mod step;
mod tuple;
