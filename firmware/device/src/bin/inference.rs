//! The smallest firmware: a stream over weights in flash.
#![no_std]
#![no_main]

use device::{Host, end};

#[cortex_m_rt::entry]
fn main() -> ! {
    let mut out = Host::new();
    scenario::inference(&mut out);
    end(&mut out)
}
