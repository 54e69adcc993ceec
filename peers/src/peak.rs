//! What the floating-point units can do at best: multiply-adds that do not wait for each other, and nothing else.

use crate::candidate::{Candidate, Failure, Named, named};
use crate::work::Work;
use elman::Level;
use std::hint::black_box;

pub const NAME: &str = "peak";

/// Multiply-adds in flight: a latency of 4 or 5 cycles times 2 units, and some to spare.
const CHAINS: usize = 14;
/// Rounds of one run on each thread, some milliseconds: so long that starting threads counts little, so short that some run
/// is not disturbed.
const ROUNDS: usize = 1_000_000;

pub fn candidates(_work: Work, threads: usize) -> Vec<Named> {
    vec![named(NAME, Ok(Peak { threads, level: Level::detect() }))]
}

/// Floating-point operations of one run.
pub fn operations(level: Level, threads: usize) -> f64 {
    (threads * ROUNDS * CHAINS * level.lanes() * 2) as f64
}

struct Peak {
    threads: usize,
    level: Level,
}

impl Candidate for Peak {
    fn run(&mut self) -> Result<(), Failure> {
        let level = self.level;
        std::thread::scope(|scope| {
            for _ in 1..self.threads {
                scope.spawn(move || black_box(multiply_adds(level)));
            }
            black_box(multiply_adds(level));
        });
        Ok(())
    }

    /// There is nothing to compare: the crate's peers compute something, this only heats the units.
    fn result(&mut self) -> Result<Vec<f32>, Failure> {
        Ok(Vec::new())
    }
}

#[cfg(target_arch = "x86_64")]
fn multiply_adds(level: Level) -> f32 {
    match level.name() {
        // SAFETY: the level's name says that the CPU has this instruction set.
        "avx512" => unsafe { avx512::multiply_adds() },
        // SAFETY: as above.
        "avx2" => unsafe { avx2::multiply_adds() },
        _ => portable(),
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn multiply_adds(_level: Level) -> f32 {
    portable()
}

/// Four lanes to a chain. Where the target has no multiply-add, a product and a sum.
fn portable() -> f32 {
    let (factor, term) = (black_box(0.5), black_box(0.25));
    let mut chains = [[1f32; 4]; CHAINS];
    for _ in 0..ROUNDS {
        for lane in chains.as_flattened_mut() {
            *lane = if cfg!(target_arch = "aarch64") { lane.mul_add(factor, term) } else { *lane * factor + term };
        }
    }
    chains.as_flattened().iter().sum()
}

/// The same loop for each width of vectors.
#[cfg(target_arch = "x86_64")]
macro_rules! multiply_adds {
    ($module:ident, $features:literal, $set:ident, $multiply_add:ident, $add:ident, $first:ident) => {
        mod $module {
            use super::{CHAINS, ROUNDS};
            use std::arch::x86_64::*;
            use std::hint::black_box;

            #[target_feature(enable = $features)]
            pub fn multiply_adds() -> f32 {
                let (factor, term) = ($set(black_box(0.5)), $set(black_box(0.25)));
                let mut chains = [$set(black_box(1.0)); CHAINS];
                for _ in 0..ROUNDS {
                    for chain in &mut chains {
                        *chain = $multiply_add(*chain, factor, term);
                    }
                }
                let sum = chains[1..].iter().fold(chains[0], |sum, chain| $add(sum, *chain));
                $first(sum)
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
multiply_adds!(avx512, "avx512f", _mm512_set1_ps, _mm512_fmadd_ps, _mm512_add_ps, _mm512_cvtss_f32);
#[cfg(target_arch = "x86_64")]
multiply_adds!(avx2, "avx2,fma", _mm256_set1_ps, _mm256_fmadd_ps, _mm256_add_ps, _mm256_cvtss_f32);
