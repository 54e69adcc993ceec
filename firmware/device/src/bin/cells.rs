//! Every cell, streamed and trained.
#![no_std]
#![no_main]

use device::{Host, end};

#[cortex_m_rt::entry]
fn main() -> ! {
    let mut out = Host::new();
    scenario::cells::all(&mut out);
    end(&mut out)
}
