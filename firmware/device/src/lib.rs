//! What the programs of the device share: where text goes, how a program ends, how much stack it took.
#![no_std]

use core::arch::asm;
use core::panic::PanicInfo;
use core::ptr::{addr_of, addr_of_mut, read_volatile, write_volatile};
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
    fn bytes(&mut self, text: &[u8]) {
        if self.0.write_all(text).is_err() {
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

unsafe extern "C" {
    static mut _stack_end: u32;
    static _stack_start: u32;
}

/// The bytes of the stack that are not as the startup code has painted them.
fn most_stack() -> u32 {
    (addr_of!(_stack_start) as usize - lowest_used(addr_of!(_stack_start)) as usize) as u32
}

/// The first word of the stack, from its end, that is not painted.
fn lowest_used(until: *const u32) -> *const u32 {
    let mut word = addr_of!(_stack_end);
    // SAFETY: the linker script gives both ends of the stack, whose words are memory and aligned; the walk stays between them.
    while word < until && unsafe { read_volatile(word) } == PAINT {
        word = word.wrapping_add(1);
    }
    word
}

/// The bytes of the stack that a call takes, below those that this function has taken before.
#[inline(never)]
pub fn stack_of(call: impl FnOnce()) -> u32 {
    let here: *mut u32;
    // SAFETY: it reads the stack pointer.
    unsafe { asm!("mov {}, sp", out(reg) here, options(nomem, nostack, preserves_flags)) };
    let mut word = addr_of_mut!(_stack_end);
    while word < here {
        // SAFETY: aligned words of the stack below the stack pointer, where nothing is kept, as no interrupt is enabled.
        unsafe { write_volatile(word, PAINT) };
        word = word.wrapping_add(1);
    }
    call();
    (here as usize - lowest_used(here) as usize) as u32
}
