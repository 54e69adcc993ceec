//! Models in files.

mod error;
mod safetensors;

pub use error::FileError;
pub use safetensors::{Safetensors, save_safetensors, to_safetensors};
