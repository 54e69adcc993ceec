#![doc = include_str!("../README.md")]
#![no_std]
#![deny(missing_docs)]
#![deny(unsafe_op_in_unsafe_fn, clippy::undocumented_unsafe_blocks)]

#[cfg(feature = "alloc")]
extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

#[cfg(feature = "alloc")]
mod batch;
#[cfg(feature = "alloc")]
mod chunked;
mod error;
mod init;
mod kernels;
mod layers;
mod level;
mod loss;
#[cfg(feature = "alloc")]
mod model;
mod optim;
mod parameters;
#[cfg(feature = "alloc")]
pub mod reference;
mod sequences;
mod simd;
mod step;
mod step_trace;
mod stream;

#[cfg(feature = "alloc")]
pub use chunked::Chunked;
pub use error::Error;
pub use init::Generator;
#[cfg(feature = "alloc")]
pub use layers::Rnn;
pub use layers::{Embedding, Linear, RnnCell, RnnWeights, TokenRnnCell};
pub use level::{Level, UnknownLevel};
pub use loss::{CrossEntropy, Reduction};
#[cfg(feature = "alloc")]
pub use model::{Layer, Run, Trace};
pub use optim::{Adam, Moments};
pub use parameters::Parameters;
pub use sequences::Sequences;
#[cfg(feature = "alloc")]
pub use sequences::SequencesBuf;
pub use step::{Step, StepBackward};
pub use step_trace::StepTrace;
pub use stream::{Stream, Streams};
