//! Networks as Rust source.

use elman::{Error, Source};
use scenario::{detector, hello};

/// The file `scenario/src/weights.rs`.
pub fn source() -> Result<String, Error> {
    let (hello, detector) = (hello::pretrained()?, detector::pretrained()?);
    Ok(format!(
        "//! Trained networks, in flash: made by `cargo run --release -p host weights`.

/// Answers `hello` with `ohlol`.
{}
/// Tells movement from rest.
{}",
        hello.rust_static("HELLO"),
        detector.rust_static("DETECTOR")
    ))
}
