//! Recurrent networks of a fixed size: PyTorch's `nn.RNN`, the network of Elman 1990 with [`Tanh`] or [`Relu`], `nn.GRU` and
//! `nn.LSTM`.
//!
//! Sizes are const generics, kernels are hand-tuned SIMD, training is backpropagation through time by plain calls. A step, a
//! sequence, any batch and any number of threads give the same bits, at every [`Level`] with fused multiply-add; the numbers
//! are PyTorch's for the same seed.
//!
//! ```
//! # #[cfg(feature = "alloc")] {
//! use elman::{Adam, CrossEntropy, Embedding, Generator, Linear, Model, Rnn};
//! let mut generator = Generator::seed(42); // the numbers of torch.manual_seed(42)
//! let mut model = (
//!     Embedding::<4, 10>::new(&mut generator),
//!     Rnn::<10, 8, 2>::new(&mut generator),
//!     Linear::<8, 4>::new(&mut generator),
//! );
//! let mut adam = Adam::new(0.05);
//! for epoch in 1..=15 {
//!     let pass = model.forward(&[1, 0, 2, 2, 3])?; // hello
//!     let (loss, d_logits) = CrossEntropy::mean().loss(pass.output(), &[3, 1, 2, 3, 2])?; // ohlol
//!     let gradients = pass.backward(&d_logits)?;
//!     adam.step(&mut model, &gradients)?;
//! }
//! # }
//! # Ok::<(), elman::Error>(())
//! ```
//!
//! # What to type next
//!
//! | to ... | take |
//! |---|---|
//! | make a model | a layer or a tuple of layers: [`Rnn`], [`Gru`], [`Lstm`], [`RnnCell`], [`GruCell`], [`LstmCell`], [`Embedding`], [`Linear`] |
//! | run and train it over sequences | [`Model::forward`], which gives a [`Pass`] with [`Pass::backward`] |
//! | use memory again, choose threads or where to start | [`Workspace`] |
//! | give it a batch | [`Sequences::batch_first`] or [`Sequences::time_major`], without a copy |
//! | compute a loss, step the weights | [`CrossEntropy`], [`Parameters::clip_norm`], [`Adam`] |
//! | train on long sequences | [`Workspace::forward_continued`] (truncated), [`Chunked`] (whole, in little memory) |
//! | train many networks in a `par_iter` of yours | [`Workspace::on_this_thread`] |
//! | run it in real time | [`Stream`], [`Streams`], [`TokenRnnCell`], [`TokenGruCell`], [`TokenLstmCell`]: no allocation, no heap, no `std` |
//! | train it without a heap | [`StepTrace`], [`CrossEntropy::row`], [`Adam::with_moments`] |
//! | take over weights | `from_torch` of each layer, [`Tensor`], [`RnnWeights`]; [`Generator`] for PyTorch's initial values |
//! | choose an instruction set | [`Level`], `.at(level)`, or the environment variable `ELMAN_LEVEL` |
//!
//! A build without optimization is 40 to 180 times slower. This cures it in a program that is debugged:
//!
//! ```toml
//! [profile.dev]
//! opt-level = 1
//! ```
//!
//! # Features
//!
//! `std` and `rayon` are on by default. Without `std` there is no detection of the instruction set at run time. Without `alloc`,
//! which `std` implies, there are no batches, passes and stacks: what is left (cells, streams, step traces) needs no heap.
// Links to what needs a heap lead to the section on features where there is none.
#![cfg_attr(
    not(feature = "alloc"),
    doc = "",
    doc = "[`Rnn`]: #features",
    doc = "[`Gru`]: #features",
    doc = "[`Lstm`]: #features",
    doc = "[`Model::forward`]: #features",
    doc = "[`Pass`]: #features",
    doc = "[`Pass::backward`]: #features",
    doc = "[`Workspace`]: #features",
    doc = "[`Workspace::forward_continued`]: #features",
    doc = "[`Workspace::on_this_thread`]: #features",
    doc = "[`Chunked`]: #features"
)]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![no_std]

#[cfg(feature = "alloc")]
extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

pub mod cells;
mod data;
#[cfg(feature = "safetensors")]
mod files;
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
pub use data::error::{Error, Shape};
#[cfg(feature = "alloc")]
pub use data::sequences::SequencesBuf;
pub use data::sequences::{Batch, Sequences, Steps};
pub use data::zero::Zero;
#[cfg(feature = "safetensors")]
pub use files::{FileError, Safetensors, save_safetensors, to_safetensors};
pub use layers::cell::Cell;
pub use layers::{
    At, Embedding, GruCell, Linear, LstmCell, RnnCell, RnnWeights, Tensor, TokenGruCell, TokenLstmCell, TokenRnnCell,
};
#[cfg(feature = "alloc")]
pub use layers::{Gru, Lstm, Rnn};
#[cfg(feature = "alloc")]
pub use model::layer::Layer;
pub use model::names::{Name, TensorLayout};
pub use model::parameters::Parameters;
#[cfg(feature = "alloc")]
pub use model::pass::{Model, Pass, Passed, Workspace};
pub use model::source::{RustStatic, Source};
pub use model::step::{Step, StepBackward};
#[cfg(feature = "alloc")]
pub use run::chunked::Chunked;
pub use run::step_trace::StepTrace;
pub use run::stream::{Stream, Streams};
pub use simd::{Level, UnknownLevel};
pub use torch::generator::Generator;
pub use train::adam::{Adam, Moments};
pub use train::loss::{CrossEntropy, Reduction};

/// The programs of the README, as tests.
#[cfg(all(doctest, feature = "alloc"))]
#[doc = include_str!("../README.md")]
struct Readme;
