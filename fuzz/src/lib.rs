//! Differential fuzzing: shapes, numbers and mistakes out of arbitrary bytes, every answer of the crate held to its
//! scalar `f64` reference and to its other answers.
//!
//! One function a target, each from bytes to a verdict. The fuzzer calls them ([`fuzz_target`]), and so does the replay of
//! the corpus in `tests/corpus.rs`, which needs neither the fuzzer nor a nightly toolchain.

mod backward;
mod cross_entropy;
mod forward;
mod gates;
mod generator;
mod network;
mod source;
mod tanh;

#[path = "../../tests/properties/bounds.rs"]
#[allow(dead_code, reason = "shared with the property tests, which use all of it")]
mod bounds;
#[path = "../../tests/properties/bounds_gated.rs"]
#[allow(dead_code, unused_imports, reason = "as above")]
mod bounds_gated;
#[path = "../../tests/properties/gates.rs"]
mod gated_layers;
#[path = "../../tests/properties/support.rs"]
#[allow(dead_code, reason = "as above")]
mod support;

pub use backward::backward;
pub use cross_entropy::cross_entropy;
pub use forward::forward;
pub use gates::gates;
pub use generator::generator;
pub use tanh::tanh;

#[cfg(fuzzing)]
pub use libfuzzer_sys;

use proptest::prelude::*;
use std::sync::OnceLock;
use support::Checked;

/// A target: what it makes of bytes is right, or the error says what is not.
pub type Target = fn(&[u8]) -> Checked;

/// All targets by name: the name of the program, of the function and of the folder of the corpus.
pub const TARGETS: [(&str, Target); 6] = [
    ("forward", forward),
    ("backward", backward),
    ("gates", gates),
    ("cross_entropy", cross_entropy),
    ("tanh", tanh),
    ("generator", generator),
];

/// The program of a target: the entry point of the fuzzer under cargo-fuzz, and nothing at all without it.
#[macro_export]
macro_rules! fuzz_target {
    ($target:ident) => {
        #[cfg(fuzzing)]
        $crate::libfuzzer_sys::fuzz_target!(|data: &[u8]| {
            if let Err(error) = $crate::$target(data) {
                panic!("{error}");
            }
        });
        #[cfg(not(fuzzing))]
        fn main() {}
    };
}

/// Fails where two slices differ, in a bit or in being NaN. (The sign and the payload of a NaN say nothing.)
fn same(what: &str, a: &[f32], b: &[f32]) -> Checked {
    prop_assert_eq!(a.len(), b.len(), "{}: lengths", what);
    for (i, (a, b)) in a.iter().zip(b).enumerate() {
        let equal = a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan());
        prop_assert!(equal, "{}[{}]: {:e} and {:e}", what, i, a, b);
    }
    Ok(())
}

/// Holds the answers of all levels with fused multiply-add to that of the first of them.
#[derive(Default)]
struct OneAnswer(Option<Vec<Vec<f32>>>);

impl OneAnswer {
    fn hold(&mut self, level: elman::Level, answer: Vec<Vec<f32>>) -> Checked {
        if !level.is_fused() {
            return Ok(());
        }
        let Some(first) = &self.0 else {
            self.0 = Some(answer);
            return Ok(());
        };
        prop_assert_eq!(first.len(), answer.len());
        for (i, (first, answer)) in first.iter().zip(&answer).enumerate() {
            same(&format!("result {i} at another level"), first, answer)?;
        }
        Ok(())
    }
}

/// A pool of one thread, or of two.
fn pool(threads: usize) -> &'static rayon::ThreadPool {
    static POOLS: OnceLock<[rayon::ThreadPool; 2]> = OnceLock::new();
    let new = |threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    &POOLS.get_or_init(|| [new(1), new(2)])[threads - 1]
}
