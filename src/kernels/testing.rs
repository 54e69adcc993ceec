//! What the tests of the kernels share: numbers, scalar models of the canonical order, and how far they may be from `f64`.
//!
//! A kernel is compared with a model by bits. The model is compared with a plain `f64` sum, and may be off by what its
//! roundings can do: `gamma(n) * sum of |terms|` with `gamma(n) = n U / (1 - n U)`, `n` the roundings that a term passes
//! (Higham 2002, "Accuracy and stability of numerical algorithms", section 3.1), plus what underflow can lose.

mod gates;

pub(crate) use crate::simd::ran::{aside, at_every_level};
pub(crate) use gates::{GatedWeights, Pair, ScalarGated};

use crate::cells::Activation;
use crate::math::SMALLEST_GRADIENT;
use crate::simd::{Kernel, Level, Simd, load_some, store_some};
use alloc::vec::Vec;
use core::marker::PhantomData;

/// The unit roundoff of `f32`.
pub(crate) const U: f64 = 1.0 / (1u64 << 24) as f64;

/// The smallest positive `f32`, twice what an underflow can lose.
pub(crate) const TINY: f64 = 1.401_298_464_324_817e-45;

/// What stands around results, and must stand there afterwards.
pub(crate) const UNTOUCHED: f32 = -12_345.678;

/// What `n` roundings can do, relative to the sum of the absolute values.
pub(crate) fn gamma(n: usize) -> f64 {
    let n_u = n as f64 * U;
    n_u / (1.0 - n_u)
}

/// Numbers between -1 and 1 that use all bits of their mantissas, the same ones for the same seed.
pub(crate) fn numbers(seed: u64, count: usize) -> Vec<f32> {
    let mut state = seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as i32 - (1 << 23)
    };
    (0..8).for_each(|_| _ = next());
    (0..count).map(|_| next() as f32 / (1 << 23) as f32).collect()
}

/// `a * b + c`, as a level computes it.
#[inline]
pub(crate) fn mul_add(fused: bool, a: f32, b: f32, c: f32) -> f32 {
    if fused { a.mul_add(b, c) } else { a * b + c }
}

/// Fails where a number is farther from the exact one than it may be.
#[track_caller]
pub(crate) fn assert_near(given: f32, exact: f64, error: f64) {
    let off = (f64::from(given) - exact).abs();
    assert!(off <= error, "{given:e} is {off:e} from {exact:e}, more than {error:e}");
}

/// Fails where bits differ.
#[track_caller]
pub(crate) fn assert_same(given: &[f32], expected: &[f32], what: impl FnOnce() -> alloc::string::String) {
    let same = given.len() == expected.len() && given.iter().zip(expected).all(|(a, b)| a.to_bits() == b.to_bits());
    if !same {
        let differs = |(a, b): (&f32, &f32)| a.to_bits() != b.to_bits();
        let at = given.iter().zip(expected).position(differs);
        let what = what();
        let numbers = at.map(|at| (given[at], expected[at]));
        panic!("{what}: {} numbers for {}, the first that differs: {at:?}, {numbers:?}", given.len(), expected.len());
    }
}

/// Into how many chains a sum of `terms` products is cut where there are so many outputs: the rule once more, so that a
/// change of it is noticed.
pub(crate) fn chains(terms: usize, outputs: usize) -> usize {
    match (terms, outputs) {
        (0..4, _) | (_, 128..) => 1,
        (4..8, _) | (_, 32..) => 2,
        _ => 4,
    }
}

/// A sum in the canonical order, beside it the exact one.
#[derive(Clone, Copy)]
pub(crate) struct Sum {
    value: f32,
    exact: f64,
    /// Of the absolute values of all terms.
    magnitude: f64,
    roundings: usize,
}

impl Sum {
    /// What it starts from.
    pub(crate) fn start(value: f32) -> Self {
        Self { value, exact: f64::from(value), magnitude: f64::from(value).abs(), roundings: 0 }
    }

    /// Adds a number.
    pub(crate) fn add(&mut self, x: f32) {
        self.value += x;
        self.exact += f64::from(x);
        self.magnitude += f64::from(x).abs();
        self.roundings += 1;
    }

    /// Adds the products of `terms` pairs of numbers, in so many chains.
    pub(crate) fn add_products(
        &mut self,
        fused: bool,
        chains: usize,
        terms: usize,
        factors: impl Fn(usize) -> (f32, f32),
    ) {
        let mut parts = [self.value, 0.0, 0.0, 0.0];
        for (c, part) in parts.iter_mut().enumerate().take(chains) {
            for k in c * terms / chains..(c + 1) * terms / chains {
                let (a, b) = factors(k);
                *part = mul_add(fused, a, b, *part);
                let product = f64::from(a) * f64::from(b);
                self.exact += product;
                self.magnitude += product.abs();
            }
        }
        self.value = match chains {
            1 => parts[0],
            2 => parts[0] + parts[1],
            _ => (parts[0] + parts[1]) + (parts[2] + parts[3]),
        };
        // A product, the additions of a chain, the two of chains.
        self.roundings += 1 + terms + 2;
    }

    /// How far it may be from the exact one.
    pub(crate) fn error(&self) -> f64 {
        gamma(self.roundings) * self.magnitude + self.roundings as f64 * TINY
    }

    /// The sum, which is as near to the exact one as it has to be.
    #[track_caller]
    pub(crate) fn checked(&self) -> f32 {
        assert_near(self.value, self.exact, self.error());
        self.value
    }
}

/// Cells, number by number.
pub(crate) trait ScalarCell: Activation {
    /// States of the sums, which the lanes of a level compute: what they compute is tested with the cells.
    fn states(level: Level, sums: &mut [f32]) {
        aside(|| level.run(Each::<Self>(sums, PhantomData)));
    }

    /// `f(z)`, exact.
    fn exact(z: f64) -> f64;

    /// Fails where a state is farther from the exact one than it may be. No slope of these functions is above 1, so that an
    /// error of the sum is no larger behind them; tanh adds one unit in the last place, at most `2 U |y|`, and what is
    /// denormal may become zero.
    fn assert_state(state: f32, sum: &Sum) {
        let (exact, error) = (Self::exact(sum.exact), sum.error());
        assert_near(state, exact, error + 2.0 * U * (exact.abs() + error) + f64::from(f32::MIN_POSITIVE));
    }

    /// `d * f'(z)`, where `y = f(z)`.
    fn d_of_sum(fused: bool, d: f32, y: f32) -> f32;
}

struct Each<'a, A>(&'a mut [f32], PhantomData<A>);

impl<A: Activation> Kernel for Each<'_, A> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        for numbers in self.0.chunks_mut(S::LANES) {
            store_some(s, A::activate(s, load_some(s, numbers)), numbers);
        }
    }
}

fn flushed(gradient: f32) -> f32 {
    if gradient.abs() < SMALLEST_GRADIENT { 0.0 } else { gradient }
}

impl ScalarCell for crate::cells::Tanh {
    fn exact(z: f64) -> f64 {
        z.tanh()
    }

    fn d_of_sum(fused: bool, d: f32, y: f32) -> f32 {
        let d_sum = d * if fused { (-y).mul_add(y, 1.0) } else { 1.0 - y * y };
        // Roundings: of y^2 and of the difference, relative to 1, and of the product.
        let (exact, d_size) = (f64::from(d) * (1.0 - f64::from(y) * f64::from(y)), f64::from(d).abs());
        assert_near(d_sum, exact, 3.0 * U * d_size + TINY);
        flushed(d_sum)
    }
}

impl ScalarCell for crate::cells::Relu {
    fn exact(z: f64) -> f64 {
        z.max(0.0)
    }

    fn d_of_sum(_: bool, d: f32, y: f32) -> f32 {
        flushed(if y < f32::MIN_POSITIVE { 0.0 } else { d })
    }
}
