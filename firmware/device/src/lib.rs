//! What the programs of the device share: where text goes, how a program ends, how much stack it took.
#![no_std]

use core::panic::PanicInfo;
use core::ptr::{addr_of, read_volatile};
use cortex_m_rt::STACK_PAINT_VALUE as PAINT;
use cortex_m_semihosting::debug::{EXIT_FAILURE, EXIT_SUCCESS, exit};
use cortex_m_semihosting::hio::{HostStream, hstdout};
use scenario::print::Print;

/// The standard output of the emulator, by semihosting.
pub struct Host(HostStream);

impl Host {
    /// Opens it. Without a host there is nobody to be told of an error.
    #[must_use]
    pub fn new() -> Self {
        hstdout().map_or_else(|()| fail(), Host)
    }
}

impl Default for Host {
    fn default() -> Self {
        Self::new()
    }
}

impl Print for Host {
    fn text(&mut self, text: &str) {
        if self.0.write_all(text.as_bytes()).is_err() {
            fail()
        }
    }
}

/// Ends a program well, after a line that says how much stack it took.
pub fn end(out: &mut Host) -> ! {
    let stack = most_stack();
    out.text("device, stack: ");
    out.number(stack);
    out.text(" bytes\n");
    exit(EXIT_SUCCESS);
    fail()
}

fn fail() -> ! {
    loop {
        exit(EXIT_FAILURE);
    }
}

#[panic_handler]
fn panic(_: &PanicInfo) -> ! {
    fail()
}

/// The bytes of the stack that are not as the startup code has painted them.
fn most_stack() -> u32 {
    unsafe extern "C" {
        static _stack_end: u32;
        static _stack_start: u32;
    }
    let (mut lowest, first) = (addr_of!(_stack_end), addr_of!(_stack_start));
    // SAFETY: the linker script gives both ends of the stack, whose words are memory and aligned; the walk stays between them.
    while lowest < first && unsafe { read_volatile(lowest) } == PAINT {
        lowest = lowest.wrapping_add(1);
    }
    (first as usize - lowest as usize) as u32
}
