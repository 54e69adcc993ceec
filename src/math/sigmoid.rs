//! The logistic function, `1 / (1 + e^-x)`: at most 1.71 ulp, monotone, in 0..=1; results below the smallest normal number,
//! 1.2e-38, are zero.
//!
//! As it stands: the sum is monotone, and so is a correctly rounded quotient. (`e^x / (1 + e^x)` would keep more bits of small
//! results, but falls where the sum rounds up.)

use super::exp::{SMALLEST, one_plus_exp_of_minus};
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

/// From here on the result is 1.
const OPEN: f32 = 20.0;

#[inline(always)]
fn sigmoid_from<S: Simd>(s: S, x: S::F32, smallest: f32) -> S::F32 {
    // Bounds go first: minimum and maximum give back their second operand where that is NaN.
    let bounded = s.min(s.splat(OPEN), s.max(s.splat(smallest), x));
    let y = s.div(s.splat(1.0), one_plus_exp_of_minus(s, bounded));
    s.select_less(x, s.splat(smallest), s.splat(0.0), y)
}

/// The derivative of [`sigmoid`] from its value: `y (1 - y)`.
#[inline(always)]
pub(crate) fn logistic_slope<S: Simd>(s: S, y: S::F32) -> S::F32 {
    s.neg_mul_add(y, y, y)
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
    /// At most 1.71 units in the last place from the exact value, over all floats whose value is normal; monotone, in 0..=1; zero
    /// below -87.34, where the value would be denormal; NaN stays NaN.
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
