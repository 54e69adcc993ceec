//! One sample, with sizes known at compile time: a step, its backward, and the steps of one sequence.

pub(crate) mod cell;
pub(crate) mod gates;
#[cfg(all(test, feature = "std"))]
mod gates_tests;
pub(crate) mod matvec;
#[cfg(all(test, feature = "std"))]
mod tests;
pub(crate) mod transposed;
