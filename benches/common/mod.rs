//! What the benches share: random rows, the shortest of some runs, and the FMA peak of this machine.
#![allow(dead_code, reason = "each bench uses some of it")]

pub mod naive;

use elman::Generator;
use std::hint::black_box;
use std::time::{Duration, Instant};

/// Uniform in `-1 .. 1`.
pub fn rows<const N: usize>(generator: &mut Generator, count: usize) -> Vec<[f32; N]> {
    let mut rows = vec![[0.0; N]; count];
    generator.fill_uniform(rows.as_flattened_mut(), -1.0, 1.0);
    rows
}

/// What a turn takes at least: a short work would otherwise be measured while the core wakes up from another.
const TURN: Duration = Duration::from_millis(2);

/// The seconds of one run.
pub fn seconds<R>(work: impl FnOnce() -> R) -> f64 {
    let start = Instant::now();
    black_box(work());
    start.elapsed().as_secs_f64()
}

/// The shortest of some runs in seconds, for each of several works that take turns, so that a slow moment of the machine
/// hits all of them.
pub fn shortest_in_turns(time: Duration, works: &mut [&mut dyn FnMut()]) -> Vec<f64> {
    let mut timed: Vec<_> = works.iter_mut().map(|work| || seconds(&mut **work)).collect();
    let mut timed: Vec<_> = timed.iter_mut().map(|work| work as &mut dyn FnMut() -> f64).collect();
    shortest_parts_in_turns(time, &mut timed)
}

/// [`shortest_in_turns`] of works of which a part counts: each tells the seconds of it.
pub fn shortest_parts_in_turns(time: Duration, works: &mut [&mut dyn FnMut() -> f64]) -> Vec<f64> {
    let mut shortest = vec![f64::INFINITY; works.len()];
    let start = Instant::now();
    let mut rounds = 0;
    while rounds < 5 || start.elapsed() < time {
        for (work, shortest) in works.iter_mut().zip(&mut shortest) {
            let turn = Instant::now();
            while turn.elapsed() < TURN {
                *shortest = shortest.min(work());
            }
        }
        rounds += 1;
    }
    shortest
}

/// Floating-point operations of one call of [`multiply_add`].
pub const PEAK_OPERATIONS: usize = 2 * 16 * CHAINS * TURNS;
const CHAINS: usize = 24;
const TURNS: usize = 2000;

/// Independent multiply-adds on registers and nothing else, at the widest vectors of this CPU: its peak.
pub fn multiply_add() {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx512f") {
        // SAFETY: the feature was found.
        return unsafe { multiply_add_avx512() };
    } else if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
        // SAFETY: the features were found.
        return unsafe { multiply_add_avx2() };
    }
    multiply_add_lanes();
}

/// Multiply-adds of one call of [`multiply_add_chain`].
pub const LINK_COUNT: usize = CHAINS * TURNS;

/// Multiply-adds each of which waits for the one before: their latency.
pub fn multiply_add_chain() {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("fma") {
        // SAFETY: the feature was found.
        return unsafe { multiply_add_chain_fused() };
    }
    let (a, b) = (black_box(0.999f32), black_box(1e-3));
    black_box((0..LINK_COUNT).fold(1.0, |sum, _| sum * a + b));
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "fma")]
fn multiply_add_chain_fused() {
    let (a, b) = (black_box(0.999f32), black_box(1e-3));
    let mut sum = 1f32;
    for _ in 0..LINK_COUNT {
        sum = sum.mul_add(a, b);
    }
    black_box(sum);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn multiply_add_avx512() {
    use std::arch::x86_64::*;
    let (a, b) = (_mm512_set1_ps(black_box(0.999)), _mm512_set1_ps(black_box(1e-3)));
    let mut sums = [_mm512_set1_ps(1.0); CHAINS];
    for _ in 0..TURNS {
        for sum in &mut sums {
            *sum = _mm512_fmadd_ps(*sum, a, b);
        }
    }
    black_box(sums.into_iter().fold(_mm512_setzero_ps(), |total, sum| _mm512_add_ps(total, sum)));
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn multiply_add_avx2() {
    use std::arch::x86_64::*;
    let (a, b) = (_mm256_set1_ps(black_box(0.999)), _mm256_set1_ps(black_box(1e-3)));
    let mut sums = [_mm256_set1_ps(1.0); CHAINS / 2];
    for _ in 0..4 * TURNS {
        for sum in &mut sums {
            *sum = _mm256_fmadd_ps(*sum, a, b);
        }
    }
    black_box(sums.into_iter().fold(_mm256_setzero_ps(), |total, sum| _mm256_add_ps(total, sum)));
}

/// Left to the compiler.
fn multiply_add_lanes() {
    let (a, b) = (black_box(0.999f32), black_box(1e-3f32));
    let mut sums = [[1f32; 4]; CHAINS / 2];
    for _ in 0..8 * TURNS {
        for sum in sums.as_flattened_mut() {
            *sum = if cfg!(target_feature = "neon") { sum.mul_add(a, b) } else { *sum * a + b };
        }
    }
    black_box(sums);
}

/// Reads all of it, as fast as the widest vectors of this CPU can.
pub fn read(floats: &[f32]) {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx512f") {
        // SAFETY: the feature was found.
        return unsafe { read_avx512(floats) };
    } else if is_x86_feature_detected!("avx2") {
        // SAFETY: the feature was found.
        return unsafe { read_avx2(floats) };
    }
    read_lanes(floats);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn read_avx512(floats: &[f32]) {
    read_lanes(floats);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn read_avx2(floats: &[f32]) {
    read_lanes(floats);
}

/// Compiled anew for each instruction set that inlines it.
#[inline(always)]
fn read_lanes(floats: &[f32]) {
    let mut bits = [0u32; 128];
    for chunk in black_box(floats).chunks_exact(128) {
        for (bits, x) in bits.iter_mut().zip(chunk) {
            *bits |= x.to_bits();
        }
    }
    black_box(bits);
}
