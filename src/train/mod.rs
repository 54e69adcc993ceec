//! Training: losses and optimizers.

pub(crate) mod adam;
pub(crate) mod loss;
