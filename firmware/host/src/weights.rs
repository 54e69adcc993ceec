//! Networks as Rust source.

use elman::{Error, Linear, RnnCell};
use scenario::{detector, hello};
use std::fmt::Write;

/// The file `scenario/src/weights.rs`.
pub fn source() -> Result<String, Error> {
    let (hello, (cell, linear)) = (hello::pretrained()?, detector::pretrained()?);
    let mut source = String::from(
        "//! Trained networks, in flash: made by `cargo run --release -p host weights`.
#![allow(clippy::excessive_precision, clippy::unreadable_literal, reason = \"numbers as a program prints them\")]

use crate::detector::Detector;
use crate::hello::Hello;
use elman::{Linear, RnnCell};

/// Answers `hello` with `ohlol`.
",
    );
    let error = "a string grows";
    writeln!(source, "#[rustfmt::skip]\npub static HELLO: Hello = {};\n", rnn_cell(&hello)).expect(error);
    writeln!(source, "/// Tells movement from rest.\n#[rustfmt::skip]").expect(error);
    writeln!(source, "pub static DETECTOR: Detector = (\n    {},\n    {},\n);", rnn_cell(&cell), linear_of(&linear))
        .expect(error);
    Ok(source)
}

fn rnn_cell<const IN: usize, const HID: usize>(cell: &RnnCell<IN, HID>) -> String {
    format!(
        "RnnCell {{\n    weight_ih: {},\n    weight_hh: {},\n    bias_ih: {:?},\n    bias_hh: {:?},\n    ..RnnCell::zeros()\n}}",
        rows(&cell.weight_ih),
        rows(&cell.weight_hh),
        cell.bias_ih,
        cell.bias_hh
    )
}

fn linear_of<const IN: usize, const OUT: usize>(linear: &Linear<IN, OUT>) -> String {
    format!("Linear {{ weight: {}, bias: {:?} }}", rows(&linear.weight), linear.bias)
}

/// A row a line.
fn rows<const N: usize>(rows: &[[f32; N]]) -> String {
    let rows: Vec<String> = rows.iter().map(|row| format!("        {row:?},\n")).collect();
    format!("[\n{}    ]", rows.concat())
}
