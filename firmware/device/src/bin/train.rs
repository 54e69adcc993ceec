//! Spells with trained weights, learns from a seed, adapts to another sensor: training without a heap.
#![no_std]
#![no_main]

use device::{Host, end};

#[cortex_m_rt::entry]
fn main() -> ! {
    let mut out = Host::new();
    scenario::train(&mut out);
    end(&mut out)
}
