//! What the firmware does, the same code on the device and on the host, which have to print the same lines.
//!
//! Neither heap nor `std`, and no `core::fmt`, which takes more flash than the networks.
#![no_std]

pub mod cells;
pub mod detector;
pub mod hash;
pub mod hello;
pub mod print;
pub mod weights;

use print::Print;

/// What the smallest firmware does.
pub fn inference(out: &mut impl Print) {
    detector::watch(out);
}

/// The parts of the training firmware.
pub fn train(out: &mut impl Print) {
    hello::spell_step_by_step(out);
    hello::train(out);
    detector::adapt(out);
}
