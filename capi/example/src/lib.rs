//! Three models for C. `include/models.h` is made by `cargo run --features header --example header`.
#![cfg_attr(not(feature = "std"), no_std)]

use elman::{GruCell, Linear, RnnCell, TokenLstmCell};

/// Tells rest from motion: the network of Elman 1990.
pub type Detector = (RnnCell<3, 8>, Linear<8, 2>);
/// Spells `ohlol` when it hears `hello`.
pub type Speller = (TokenLstmCell<4, 8>, Linear<8, 4>);
/// Whose weights come at run time.
pub type Adaptive = (GruCell<2, 8>, GruCell<8, 5>, Linear<5, 1>);

// `DETECTOR` and `SPELLER`, in flash on a microcontroller: written by `examples/weights.rs`.
include!("weights/detector.rs");
include!("weights/speller.rs");

elman_c::export! {
    /// Tells rest from motion, by three accelerations.
    detector: Detector = DETECTOR;
    /// Spells `ohlol` when it hears `hello`; the letters are e h l o.
    tokens speller: Speller = SPELLER;
    /// Two layers, with weights that are given at run time.
    adaptive: Adaptive;
}

/// Where there is no std: no call panics after its checks, so this is never reached.
#[cfg(not(feature = "std"))]
#[panic_handler]
fn halt(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
