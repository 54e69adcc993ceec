//! The way of a batch through time, forward and, beneath it, back.
//!
//! Everything inside is batch-first: row `(b, t)` of `[samples][steps][hidden]`.

pub(crate) mod backward;
pub(crate) mod forward;
pub(crate) mod gated_backward;
pub(crate) mod gated_forward;
#[cfg(all(test, feature = "std"))]
mod gated_tests;
mod in_lanes;
pub(crate) mod packed;
#[cfg(all(test, feature = "std"))]
mod tests;
pub(crate) mod work;
