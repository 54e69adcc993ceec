//! Prints on the host what the firmware prints on the device: `host inference`, `host train`, `host cells`. `host weights` makes
//! `scenario/src/weights.rs`.

mod tutorial;
mod weights;

use elman::{Error, Level};
use scenario::print::Print;
use std::io::Write;

struct StandardOutput;

impl Print for StandardOutput {
    fn bytes(&mut self, text: &[u8]) {
        std::io::stdout().write_all(text).expect("standard output takes the text");
    }
}

fn main() -> Result<(), Error> {
    // Only such levels have one answer.
    assert!(Level::detect().is_fused(), "this CPU, or ELMAN_LEVEL, has no fused multiply-add");
    match std::env::args().nth(1).as_deref() {
        Some("inference") => scenario::inference(&mut StandardOutput),
        Some("train") => scenario::train(&mut StandardOutput),
        Some("tutorial") => tutorial::train(&mut StandardOutput)?,
        Some("cells") => scenario::cells::all(&mut StandardOutput),
        Some("weights") => print!("{}", weights::source()?),
        _ => panic!("one of: inference, train, tutorial, cells, weights"),
    }
    Ok(())
}
