//! Models of the crate [`elman`] as functions of C, in memory of the caller: no heap, no `std`.
//!
//! A crate of yours, a `staticlib` or `cdylib`, names the models; [`export!`] makes the functions:
//!
//! ```
//! use elman::{Linear, RnnCell};
//!
//! static DETECTOR: (RnnCell<3, 8>, Linear<8, 2>) = (
//!     RnnCell { weight_ih: [[0.25; 8]; 3], weight_hh: [[-0.125; 8]; 8], ..RnnCell::zeros() },
//!     Linear { weight: [[0.5; 2]; 8], bias: [0.0, 1.0] },
//! );
//!
//! elman_c::export! {
//!     /// Tells rest from motion.
//!     detector: (RnnCell<3, 8>, Linear<8, 2>) = DETECTOR;
//! }
//! # fn main() {}
//! ```
//!
//! ```c
//! detector d; // 40 bytes: the state and no weights
//! float acceleration[DETECTOR_INPUT_LEN], out[DETECTOR_OUTPUT_LEN];
//! if (detector_init(&d, sizeof d) != ELMAN_CODE_OK) { ... }
//! if (detector_step(&d, acceleration, 3, out, 2) != ELMAN_CODE_OK) { ... }
//! ```
//!
//! Every function answers with a [`Code`] or a length, and none unwinds into C. A call that is refused has changed nothing.
//! What a pointer alone does not tell, C has to keep: that as many numbers are there as it says, that nobody else uses the
//! memory during the call.
#![no_std]

mod arrays;
#[doc(hidden)]
pub mod calls;
mod code;
mod export;
mod floats;
mod memory;
mod torch;

pub use code::Code;
pub use floats::{Floats, Input, Vector};
pub use memory::{Export, Memory};

#[doc(hidden)]
pub use pastey;

/// The source of [`Code`], for the tool that makes the header.
#[doc(hidden)]
pub const CODE_RS: &str = include_str!("code.rs");
