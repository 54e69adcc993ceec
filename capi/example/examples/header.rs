//! Prints the C header: `cargo run --features header --example header > include/models.h`.

use elman_c::Export;
use models::{adaptive, detector, speller};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let models = [detector::CONSTANTS, speller::CONSTANTS, adaptive::CONSTANTS];
    print!("{}", elman_c_header::header(env!("CARGO_MANIFEST_DIR"), "MODELS_H", &models)?);
    Ok(())
}
