#![doc = include_str!("../README.md")]
#![no_std]

#[cfg(feature = "alloc")]
extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

mod cells;
mod data;
mod kernels;
mod layers;
mod math;
mod model;
mod run;
mod simd;
#[cfg(feature = "alloc")]
mod threads;
mod torch;
mod train;

pub use cells::*;
pub use data::error::{Error, Shape};
#[cfg(feature = "alloc")]
pub use data::sequences::SequencesBuf;
pub use data::sequences::{Batch, Sequences, Steps};
#[cfg(feature = "alloc")]
pub use layers::Rnn;
pub use layers::nonlinearity::Nonlinearity;
pub use layers::{At, Embedding, Linear, RnnCell, RnnWeights, Tensor, TokenRnnCell};
#[cfg(feature = "alloc")]
pub use model::layer::Layer;
pub use model::parameters::Parameters;
#[cfg(feature = "alloc")]
pub use model::pass::{Model, Pass, Passed, Workspace};
pub use model::step::{Step, StepBackward};
#[cfg(feature = "alloc")]
pub use run::chunked::Chunked;
pub use run::step_trace::StepTrace;
pub use run::stream::{Stream, Streams};
pub use simd::{Level, UnknownLevel};
pub use torch::generator::Generator;
pub use train::adam::{Adam, Moments};
pub use train::loss::{CrossEntropy, Reduction};
