//! What comes from PyTorch: its generator.

pub(crate) mod generator;
