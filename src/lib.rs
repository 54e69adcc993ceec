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

pub use cells::{Relu, Tanh};
pub use data::error::Error;
pub use data::sequences::Sequences;
#[cfg(feature = "alloc")]
pub use data::sequences::SequencesBuf;
#[cfg(feature = "alloc")]
pub use layers::Rnn;
pub use layers::nonlinearity::Nonlinearity;
pub use layers::{Embedding, Linear, RnnCell, RnnWeights, TokenRnnCell};
#[cfg(feature = "alloc")]
pub use model::layer::{Layer, Run, Trace};
pub use model::parameters::Parameters;
pub use model::step::{Step, StepBackward};
#[cfg(feature = "alloc")]
pub use run::chunked::Chunked;
pub use run::step_trace::StepTrace;
pub use run::stream::{Stream, Streams};
pub use simd::{Level, UnknownLevel};
pub use torch::generator::Generator;
pub use train::adam::{Adam, Moments};
pub use train::loss::{CrossEntropy, Reduction};
