//! The page's module: what JavaScript calls. Numbers that are more than one go through a buffer, whose place it asks for.
//!
//! State is kept in cells that check at run time that it is borrowed once; a second borrow, or any other panic, is a trap.
#![cfg(target_arch = "wasm32")]
#![no_std]

mod slot;

use atomic_refcell::AtomicRefCell;
use programs::hello::Hello;
use programs::pointer::{Pointer, recorded};
use programs::race::{Gated, Large, Small};
use slot::Slot;

/// What answers with more than one number leaves them here.
static BUFFER: AtomicRefCell<[f32; 20_000]> = AtomicRefCell::new([0.0; 20_000]);
static HELLO: Slot<Hello> = Slot::new();
static POINTER: Slot<Pointer> = Slot::new();
static SMALL: Slot<Small> = Slot::new();
static GATED: Slot<Gated> = Slot::new();
static LARGE: Slot<Large> = Slot::new();

/// Where the buffer is.
#[unsafe(no_mangle)]
pub extern "C" fn buffer() -> *const f32 {
    BUFFER.as_ptr().cast_const().cast()
}

fn answer(numbers: &[f32]) {
    BUFFER.borrow_mut()[..numbers.len()].copy_from_slice(numbers);
}

/// Begins the training of `hello` with the weights of this seed.
#[unsafe(no_mangle)]
pub extern "C" fn hello_start(seed: u64) {
    HELLO.set(Hello::new(seed));
}

/// One epoch: gives the loss, and leaves the five letters of the answer in the buffer. NaN before [`hello_start`].
#[unsafe(no_mangle)]
pub extern "C" fn hello_epoch() -> f32 {
    HELLO
        .with(|hello| {
            let loss = hello.epoch().unwrap_or(f32::NAN);
            answer(&hello.answer().map(|letter| letter as f32));
            loss
        })
        .unwrap_or(f32::NAN)
}

/// The hash of the weights.
#[unsafe(no_mangle)]
pub extern "C" fn hello_hash() -> u64 {
    HELLO.with(|hello| hello.hash()).unwrap_or(0)
}

/// Begins anew with a network that knows nothing.
#[unsafe(no_mangle)]
pub extern "C" fn pointer_start(seed: u64) {
    POINTER.set(Pointer::new(seed));
}

/// A frame: leaves four positions to come in the buffer, and behind them what the neurons hold.
#[unsafe(no_mangle)]
pub extern "C" fn pointer_advance(x: f32, y: f32) {
    POINTER.with(|pointer| {
        let positions = pointer.advance([x, y]);
        let mut buffer = BUFFER.borrow_mut();
        let (before, behind) = buffer.split_at_mut(positions.as_flattened().len());
        before.copy_from_slice(positions.as_flattened());
        behind[..pointer.neurons().len()].copy_from_slice(pointer.neurons());
    });
}

/// Trains on pieces of the past; gives the loss of the last one.
#[unsafe(no_mangle)]
pub extern "C" fn pointer_train(pieces: u32) -> f32 {
    let train = |pointer: &mut Pointer| (0..pieces).fold(0.0, |_, _| pointer.train().unwrap_or(f32::NAN));
    POINTER.with(train).unwrap_or(f32::NAN)
}

/// The hash of the weights.
#[unsafe(no_mangle)]
pub extern "C" fn pointer_hash() -> u64 {
    POINTER.with(|pointer| pointer.hash()).unwrap_or(0)
}

/// Leaves the recorded path's position at this frame in the buffer.
#[unsafe(no_mangle)]
pub extern "C" fn pointer_recorded(frame: u32) {
    answer(&recorded(frame));
}

/// Takes a network of the race to its first step, leaves its weights in the buffer and gives how many there are.
#[unsafe(no_mangle)]
pub extern "C" fn race_start(which: u32) -> usize {
    let numbers = &mut *BUFFER.borrow_mut();
    match which {
        0 => SMALL.with_or_new(Small::default, |racer| racer.start(numbers)),
        1 => GATED.with_or_new(Gated::default, |racer| racer.start(numbers)),
        _ => LARGE.with_or_new(Large::default, |racer| racer.start(numbers)),
    }
}

/// Some steps; leaves the last two outputs in the buffer.
#[unsafe(no_mangle)]
pub extern "C" fn race_run(which: u32, steps: u32) {
    answer(&match which {
        0 => SMALL.with_or_new(Small::default, |racer| racer.run(steps)),
        1 => GATED.with_or_new(Gated::default, |racer| racer.run(steps)),
        _ => LARGE.with_or_new(Large::default, |racer| racer.run(steps)),
    });
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    core::arch::wasm32::unreachable()
}
