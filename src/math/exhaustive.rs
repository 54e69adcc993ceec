//! The elementary functions as the lanes compute them, over every one of the 2^32 floats and at every level of this CPU:
//!
//! ```text
//! cargo test --release --lib -- --ignored --nocapture exhaustive
//! ```
//!
//! It takes minutes, and prints the worst errors in units in the last place of the result's binade. The logarithm and the
//! square root come from elsewhere (`libm` in double precision, the CPU): their bounds are held here too.

use crate::simd::{Kernel, Level, Simd};
use alloc::vec;
use alloc::vec::Vec;
use std::println;

const BLOCK: usize = 1 << 16;
/// Floats of the next block that a block ends with, so that neighbours meet: a whole vector of any level.
const OVERLAP: usize = 16;

#[derive(Clone, Copy)]
enum Function {
    Tanh,
    Exp,
    Sigmoid,
    Gate,
    SquareRoot,
}

/// Replaces every number by the function's value.
struct Apply<'a> {
    function: Function,
    numbers: &'a mut [f32],
}

impl Kernel for Apply<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        for chunk in self.numbers.chunks_exact_mut(S::LANES) {
            let x = s.load(chunk);
            let y = match self.function {
                Function::Tanh => super::tanh::tanh(s, x),
                Function::Exp => super::exp::exp(s, x),
                Function::Sigmoid => super::sigmoid::sigmoid(s, x),
                Function::Gate => super::sigmoid::gate(s, x),
                Function::SquareRoot => s.sqrt(x),
            };
            s.store(y, chunk);
        }
    }
}

/// One unit in the last place of the `f32` binade that holds `|y|`.
fn unit_in_the_last_place(y: f64) -> f64 {
    let exponent = (y.abs().to_bits() >> 52).max(1023 - 126) as i32 - 1023;
    2f64.powi(exponent - 23)
}

/// Calls `check` with every block of floats, in the order of their bits, and their function values.
fn sweep(level: Level, function: Function, check: impl Fn(&[f32], &[f32]) -> f64 + Sync) -> f64 {
    let threads = std::thread::available_parallelism().map_or(1, |threads| threads.get());
    let worst = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|worker| {
                let check = &check;
                scope.spawn(move || {
                    let (mut x, mut y) = (vec![0.0; BLOCK + OVERLAP], vec![0.0; BLOCK + OVERLAP]);
                    let mut worst = 0f64;
                    for block in (worker..=u32::MAX as usize / BLOCK).step_by(threads) {
                        // Not beyond the last float of this sign.
                        let last = (block * BLOCK) | i32::MAX as usize;
                        for (i, x) in x.iter_mut().enumerate() {
                            *x = f32::from_bits((block * BLOCK).saturating_add(i).min(last) as u32);
                        }
                        y.copy_from_slice(&x);
                        level.run(Apply { function, numbers: &mut y });
                        worst = worst.max(check(&x, &y));
                    }
                    worst
                })
            })
            .collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).fold(0.0, f64::max)
    });
    assert!(worst.is_finite());
    worst
}

/// The largest distance of `y` from the reference where both are finite; they must agree where they are not.
fn distance(x: &[f32], y: &[f32], reference: impl Fn(f64) -> f64) -> f64 {
    let mut worst = 0f64;
    for (x, y) in x.iter().zip(y) {
        let expected = reference(f64::from(*x));
        if x.is_nan() || expected.is_nan() {
            assert!(y.is_nan(), "{x:e} gives {y:e}");
        } else if expected.abs() > f64::from(f32::MAX) * (1.0 + 2f64.powi(-25)) {
            assert!(y.is_infinite(), "{x:e} gives {y:e}");
        } else {
            let error = (f64::from(*y) - expected).abs() / unit_in_the_last_place(expected);
            assert!(error < 2.0, "{x:e} gives {y:e}, {error} units from {expected:e}");
            worst = worst.max(error);
        }
    }
    worst
}

#[test]
#[ignore = "takes minutes: 2^32 floats at every level"]
fn exhaustive_tanh() {
    for level in Level::available() {
        let worst = sweep(level, Function::Tanh, |x, y| {
            let mut last = f32::NEG_INFINITY;
            let mut mirrored: Vec<f32> = x.iter().map(|x| -x).collect();
            level.run(Apply { function: Function::Tanh, numbers: &mut mirrored });
            for ((x, y), mirrored) in x.iter().zip(y).zip(&mirrored) {
                if x.is_nan() {
                    continue;
                }
                assert!(y.abs() <= 1.0, "{x:e} gives {y:e}");
                assert_eq!((-y).to_bits(), mirrored.to_bits(), "odd at {x:e}");
                // The bits of a block ascend with the size of the number.
                let size = y.abs();
                assert!(size >= last, "{x:e} gives {y:e}, less than its neighbour");
                last = size;
                if x.abs() < f32::MIN_POSITIVE {
                    assert_eq!(y.to_bits(), (0f32).copysign(*x).to_bits(), "denormal numbers become zero");
                } else if x.abs() < 1e-5 {
                    assert_eq!(x.to_bits(), y.to_bits(), "tiny numbers are kept");
                }
            }
            // Only a block of denormal numbers begins with one, or one that begins with the smallest number of all.
            let denormal = x.iter().take_while(|x| x.abs() < f32::MIN_POSITIVE).count();
            distance(&x[denormal..], &y[denormal..], f64::tanh)
        });
        println!("tanh at {level}: at most {worst:.4} units in the last place");
        assert!(worst <= if level.is_fused() { 0.88 } else { 1.03 });
    }
}

#[test]
#[ignore = "takes minutes: 2^32 floats at every level"]
fn exhaustive_exp() {
    for level in Level::available() {
        let worst = sweep(level, Function::Exp, |x, y| {
            let mut last = None;
            for (x, y) in x.iter().zip(y).filter(|(x, _)| !x.is_nan()) {
                // The bits of a block ascend with the size of the number.
                let ascends = last.is_none_or(|last| if x.is_sign_positive() { *y >= last } else { *y <= last });
                assert!(ascends, "{x:e} gives {y:e}, on the wrong side of its neighbour");
                last = Some(*y);
                if *x == 0.0 {
                    assert_eq!(*y, 1.0);
                }
                // What would be denormal is zero.
                if f64::from(*x).exp() < f64::from(f32::MIN_POSITIVE) {
                    assert_eq!(*y, 0.0, "{x:e}");
                } else {
                    assert!(*y >= f32::MIN_POSITIVE || x.is_nan(), "{x:e} gives {y:e}");
                }
            }
            distance(x, y, |x| if x.exp() < f64::from(f32::MIN_POSITIVE) { 0.0 } else { x.exp() })
        });
        println!("exp at {level}: at most {worst:.4} units in the last place");
        assert!(worst <= 0.96);
    }
}

#[test]
#[ignore = "takes minutes: 2^32 floats at every level"]
fn exhaustive_sigmoid() {
    let exact = |x: f64| if x < 0.0 { x.exp() / (1.0 + x.exp()) } else { 1.0 / (1.0 + (-x).exp()) };
    for level in Level::available() {
        let worst = sweep(level, Function::Sigmoid, |x, y| {
            let mut last = None;
            for (x, y) in x.iter().zip(y).filter(|(x, _)| !x.is_nan()) {
                // The bits of a block ascend with the size of the number.
                let ascends = last.is_none_or(|last| if x.is_sign_positive() { *y >= last } else { *y <= last });
                assert!(ascends, "{x:e} gives {y:e}, on the wrong side of its neighbour");
                last = Some(*y);
                assert!((0.0..=1.0).contains(y), "{x:e} gives {y:e}");
                match *x {
                    0.0 => assert_eq!(*y, 0.5),
                    f32::INFINITY => assert_eq!(*y, 1.0),
                    f32::NEG_INFINITY => assert_eq!(y.to_bits(), 0),
                    // What would be denormal is zero.
                    _ if exact(f64::from(*x)) < f64::from(f32::MIN_POSITIVE) => assert_eq!(y.to_bits(), 0, "{x:e}"),
                    _ => assert!(*y >= f32::MIN_POSITIVE, "{x:e} gives {y:e}"),
                }
            }
            distance(x, y, |x| if exact(x) < f64::from(f32::MIN_POSITIVE) { 0.0 } else { exact(x) })
        });
        println!("sigmoid at {level}: at most {worst:.4} units in the last place");
        assert!(worst <= 1.71);
    }
}

/// Every float around the border, -33.27; elsewhere some of every size.
#[test]
fn a_gate_is_the_sigmoid_until_it_is_shut() {
    let some = (0..=u32::MAX).step_by(99_991).map(f32::from_bits).filter(|x| !x.is_nan());
    let around = ((32f32.to_bits())..(35f32.to_bits())).map(|bits| -f32::from_bits(bits));
    let mut x: Vec<f32> = some.chain(around).collect();
    x.resize(x.len().next_multiple_of(16), 0.0);
    for level in Level::available() {
        let [mut gates, mut sigmoids] = [x.clone(), x.clone()];
        level.run(Apply { function: Function::Gate, numbers: &mut gates });
        level.run(Apply { function: Function::Sigmoid, numbers: &mut sigmoids });
        for ((x, gate), sigmoid) in x.iter().zip(gates).zip(sigmoids) {
            let expected = if *x < super::sigmoid::SHUT { 0.0 } else { sigmoid };
            assert_eq!(gate.to_bits(), expected.to_bits(), "{x:e} at {level}: {gate:e}, the sigmoid {sigmoid:e}");
            assert_eq!(gate == 0.0, sigmoid < 2f32.powi(-48), "{x:e} at {level}: {sigmoid:e}");
        }
    }
}

/// Correctly rounded everywhere: IEEE 754 asks for it, Adam relies on it.
#[test]
#[ignore = "takes minutes: 2^32 floats at every level"]
fn exhaustive_square_root() {
    for level in Level::available() {
        let worst = sweep(level, Function::SquareRoot, |x, y| {
            for (x, y) in x.iter().zip(y) {
                // The double root of a float is far enough from every border between floats to be rounded twice.
                let expected = f64::from(*x).sqrt() as f32;
                assert!(expected.to_bits() == y.to_bits() || expected.is_nan() && y.is_nan(), "{x:e} gives {y:e}");
            }
            0.0
        });
        println!("sqrt at {level}: correctly rounded");
        assert!(worst == 0.0);
    }
}

/// The loss takes the double logarithm of a sum of exponentials in single precision: every positive float.
#[test]
#[ignore = "takes a minute: all positive floats"]
fn exhaustive_logarithm() {
    let worst = sweep(Level::PORTABLE, Function::SquareRoot, |x, _| {
        let mut worst = 0f64;
        for x in x.iter().filter(|x| **x > 0.0 && x.is_finite()) {
            let (given, expected) = (libm::log(f64::from(*x)), f64::from(*x).ln());
            let unit = 2f64.powi((expected.abs().to_bits() >> 52).max(1) as i32 - 1023 - 52);
            worst = worst.max(if given == expected { 0.0 } else { (given - expected).abs() / unit });
        }
        worst
    });
    println!("log: at most {worst:.1} units in the last place of an f64 from the one of std");
    assert!(worst <= 2.0);
}
