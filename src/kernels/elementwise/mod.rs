//! Softmax with cross-entropy, and a step of Adam.

pub(crate) mod adam;
pub(crate) mod softmax;
#[cfg(all(test, feature = "std"))]
mod tests;
