//! A stream of one size and its weights: the smallest module that a page can load.
#![cfg(target_arch = "wasm32")]
#![no_std]

use atomic_refcell::AtomicRefCell;
use elman::{Linear, RnnCell, Stream};

type Model = (RnnCell<3, 8>, Linear<8, 2>);

/// The weights of the README's detector.
static DETECTOR: Model = (
    RnnCell { weight_ih: [[0.25; 8]; 3], weight_hh: [[-0.125; 8]; 8], ..RnnCell::zeros() },
    Linear { weight: [[0.5; 2]; 8], bias: [0.0, 1.0] },
);

/// A stream, once there has been a step.
static STREAM: AtomicRefCell<Option<Stream<&'static Model>>> = AtomicRefCell::new(None);
static INPUT: AtomicRefCell<[f32; 3]> = AtomicRefCell::new([0.0; 3]);
static OUTPUT: AtomicRefCell<[f32; 2]> = AtomicRefCell::new([0.0; 2]);

/// Where the three inputs are to be written.
#[unsafe(no_mangle)]
pub extern "C" fn input() -> *mut f32 {
    INPUT.as_ptr().cast()
}

/// Where the two outputs are to be read.
#[unsafe(no_mangle)]
pub extern "C" fn output() -> *const f32 {
    OUTPUT.as_ptr().cast_const().cast()
}

/// One step.
#[unsafe(no_mangle)]
pub extern "C" fn advance() {
    let mut stream = STREAM.borrow_mut();
    let stream = stream.get_or_insert_with(|| Stream::new(&DETECTOR));
    *OUTPUT.borrow_mut() = stream.advance(&INPUT.borrow());
}

/// A new sequence.
#[unsafe(no_mangle)]
pub extern "C" fn reset() {
    *STREAM.borrow_mut() = None;
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    core::arch::wasm32::unreachable()
}
