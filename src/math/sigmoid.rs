//! The logistic function, `1 / (1 + e^-x)`: at most 0.93 ulp with fused multiply-add (0.95 without), monotone, in 0..=1;
//! results below the smallest normal number, 1.2e-38, are zero.
//!
//! With `e = e^-|x|`, which is at most 1, it is `1 / (1 + e)` for `x >= 0` and `e / (1 + e)` below, so that small results keep
//! all their bits. The sum rounds, and what it loses would make the quotient fall where it should rise. So one step of
//! Newton's method goes from the quotient `t` to `t + (numerator - t (1 + e)) / (1 + e)`, with the exact sum: what is rounded
//! then is the true quotient, but for a small part of the last bit.

use super::exp::{SMALLEST, exp_of_negative};
use super::{InPlace, Pointwise};
use crate::simd::{Level, Simd};

/// `1 / (1 + e^-x)`: exactly 1/2 at zero, 0 below -87.34, 1 from about 16.64 up; NaN stays NaN.
#[inline(always)]
pub(crate) fn sigmoid<S: Simd>(s: S, x: S::F32) -> S::F32 {
    sigmoid_from(s, x, SMALLEST)
}

/// Below it a gate is shut: `log(2^-48)`, rounded up.
pub(crate) const SHUT: f32 = -33.271_06;

/// [`sigmoid`] as the gates of a cell use it: 0 below [`SHUT`], where it is less than 3.6e-15.
///
/// That is nothing beside whatever else a state is made of, but products of two such numbers, of a gate with a state or
/// gradient that it let through, would be denormal, and slow on many CPUs.
#[inline(always)]
pub(crate) fn gate<S: Simd>(s: S, x: S::F32) -> S::F32 {
    sigmoid_from(s, x, SHUT)
}

#[inline(always)]
fn sigmoid_from<S: Simd>(s: S, x: S::F32, smallest: f32) -> S::F32 {
    let (zero, one) = (s.splat(0.0), s.splat(1.0));
    let minus_size = s.with_bits(s.or(s.to_bits(x), s.splat_i32(i32::MIN)));
    let [e, e_low] = exp_of_negative(s, minus_size, smallest);
    let sum = s.add(one, e);
    // Exact, as `e <= 1`.
    let sum_low = s.add(s.sub(e, s.sub(sum, one)), e_low);
    let (numerator, low) = (s.select_less(x, zero, e, one), s.select_less(x, zero, e_low, zero));
    let t = s.div(numerator, sum);
    let rest = s.neg_mul_add(t, sum_low, s.add(product_rest(s, numerator, t, sum), low));
    // The rest is at most a unit in the last place of `t`: a tangent is near enough to `1 / sum`.
    let inverse = s.neg_mul_add(sum, s.splat(0.485_7), s.splat(1.457));
    s.mul_add(rest, inverse, t)
}

/// The derivative of [`sigmoid`] from its value: `y (1 - y)`.
#[inline(always)]
pub(crate) fn logistic_slope<S: Simd>(s: S, y: S::F32) -> S::F32 {
    s.neg_mul_add(y, y, y)
}

/// `c - a b`, exactly, where `a b` rounds to `c` or to a neighbour of it.
#[inline(always)]
fn product_rest<S: Simd>(s: S, c: S::F32, a: S::F32, b: S::F32) -> S::F32 {
    if S::FUSED {
        return s.neg_mul_add(a, b, c);
    }
    // Halves of 12 bits, whose products are exact (Dekker 1971, "A floating-point technique for extending the available
    // precision").
    let (a_high, b_high) = (high_half(s, a), high_half(s, b));
    let (a_low, b_low) = (s.sub(a, a_high), s.sub(b, b_high));
    let rest = s.sub(c, s.mul(a_high, b_high));
    let rest = s.sub(s.sub(rest, s.mul(a_high, b_low)), s.mul(a_low, b_high));
    s.sub(rest, s.mul(a_low, b_low))
}

#[inline(always)]
fn high_half<S: Simd>(s: S, x: S::F32) -> S::F32 {
    s.with_bits(s.and(s.to_bits(x), s.splat_i32(!0xfff)))
}

struct Sigmoid;

impl Pointwise for Sigmoid {
    #[inline(always)]
    fn apply<S: Simd>(s: S, x: S::F32) -> S::F32 {
        sigmoid(s, x)
    }
}

impl Level {
    /// Replaces every number by `1 / (1 + e^-x)`, as the gates of the layers compute it; they take for zero what is below 2^-48,
    /// 3.6e-15.
    ///
    /// At most 0.93 units in the last place from the exact value (0.95 without fused multiply-add), over all floats whose value
    /// is normal; monotone, in 0..=1; zero below -87.34, where the value would be denormal; NaN stays NaN.
    ///
    /// ```
    /// use elman::Level;
    /// let mut numbers = [-f32::INFINITY, -100.0, 0.0, f32::INFINITY];
    /// Level::detect().sigmoid(&mut numbers);
    /// assert_eq!(numbers, [0.0, 0.0, 0.5, 1.0]);
    /// ```
    #[inline(never)]
    pub fn sigmoid(self, numbers: &mut [f32]) {
        self.run(InPlace::<Sigmoid>::new(numbers));
    }
}
