//! The exponential function of the softmax: at most 0.96 ulp, monotone; results below the smallest normal number, 1.2e-38, are
//! zero.
//!
//! `exp(x) = 2^n e^r` with `n` an integer and `r` in `log(3/4) .. log(3/2)`, where the last additions round least; `e^r` by
//! a polynomial, `2^n` as two factors, as 2^128 is no float. `scripts/elementary` makes the
//! constants and sweeps all 2^32 inputs.

use crate::simd::Simd;

/// `(e^r - 1 - r) / r^2`
const Q: [f32; 5] = [
    f32::from_bits(0x3f00_0003),
    f32::from_bits(0x3e2a_aa6d),
    f32::from_bits(0x3d2a_a21a),
    f32::from_bits(0x3c08_f7ee),
    f32::from_bits(0x3abf_e345),
];
const LOG2_E: f32 = f32::from_bits(0x3fb8_aa3b);
/// ln 2 in two parts; a product of the first with an integer below 2^9 is exact.
const LN_2_HIGH: f32 = f32::from_bits(0x3f31_7200);
const LN_2_LOW: f32 = f32::from_bits(0x35bf_be8e);
/// 1.5 * 2^23: adding it rounds to an integer, which stands in the low bits.
const TO_INTEGER: f32 = 12_582_912.0;
/// 1.5 * 2^10: adding it rounds to a multiple of 2^-13.
const TO_FRACTION: f32 = 1536.0;
/// log2(4/3) in multiples of 2^-13: where the reduced range is cut.
const CUT: f32 = 3399.0 / 8192.0;

/// The smallest `x` whose exponential is normal, and comes out as such: `log(2^-126)` rounded up.
pub(super) const SMALLEST: f32 = f32::from_bits(0xc2ae_ac4f);

/// `exp(x)`: exactly 1 at zero, 0 below -87.34, infinite from 88.73 up, NaN stays NaN.
#[inline(always)]
pub(crate) fn exp<S: Simd>(s: S, x: S::F32) -> S::F32 {
    // Bounds go first: minimum and maximum give back their second operand where that is NaN.
    let (given, x) = (x, s.min(s.splat(89.0), s.max(s.splat(SMALLEST), x)));
    let Reduced { n, n_bits, r, r2, q } = reduce(s, x, s.mul_add(x, s.splat(LOG2_E), s.splat(TO_FRACTION + CUT)));
    let v = s.mul_add(r2, q, r);
    let half = s.shift_left::<23>(s.to_bits(s.mul_add(n, s.splat(0.5), s.splat(TO_INTEGER))));
    let one = s.splat_i32(ONE);
    let scale_1 = s.with_bits(s.add_i32(half, one));
    let scale_2 = s.with_bits(s.add_i32(s.sub_i32(s.shift_left::<10>(n_bits), half), one));
    // No denormal number is ever computed: many CPUs are slow with them.
    s.select_less(given, s.splat(SMALLEST), s.splat(0.0), s.mul(s.mul_add(v, scale_1, scale_1), scale_2))
}

/// `1 + exp(-x)`, rounded once but for errors of the exponential itself, for `x` between [`SMALLEST`] and its opposite.
#[inline(always)]
pub(super) fn one_plus_exp_of_minus<S: Simd>(s: S, x: S::F32) -> S::F32 {
    let one = s.splat(1.0);
    let near = s.neg_mul_add(x, s.splat(LOG2_E), s.splat(TO_FRACTION + CUT));
    let Reduced { n_bits, r, r2, q, .. } = reduce(s, s.sub(s.splat(0.0), x), near);
    let scale_bits = s.add_i32(s.shift_left::<10>(n_bits), s.to_bits(one));
    let scale = s.with_bits(scale_bits);
    // `2^n (1 + v) + 1 = (2^n + 1) + 2^n v`, of which the first part is exact. From 2^24 on it would lose the 1, which then
    // is `2^-n` in `v`.
    let inverse = s.with_bits(s.sub_i32(s.splat_i32(2 * ONE), scale_bits));
    let lost = s.select_less(scale, s.splat(16_777_216.0), s.splat(0.0), inverse);
    let v = s.mul_add(r2, q, s.add(r, lost));
    s.mul_add(v, scale, s.add(scale, one))
}

/// The bits of 1.
const ONE: i32 = 1f32.to_bits() as i32;

/// `exp(x) = 2^n (1 + v)` with `v = r + r2 q`.
struct Reduced<F32, I32> {
    n: F32,
    /// `n` in multiples of 2^-13, in the low bits.
    n_bits: I32,
    r: F32,
    r2: F32,
    q: F32,
}

/// Given `x`, and `x log2(e)` after [`TO_FRACTION`] and [`CUT`] have been added.
#[inline(always)]
fn reduce<S: Simd>(s: S, x: S::F32, near: S::F32) -> Reduced<S::F32, S::I32> {
    let n_bits = s.and(s.to_bits(near), s.splat_i32(!8191));
    let n = s.sub(s.with_bits(n_bits), s.splat(TO_FRACTION));
    let r = s.mul_add(n, s.splat(-LN_2_LOW), s.mul_add(n, s.splat(-LN_2_HIGH), x));
    let r2 = s.mul(r, r);
    let low = s.mul_add(s.splat(Q[2]), r, s.splat(Q[1]));
    let high = s.mul_add(s.splat(Q[4]), r, s.splat(Q[3]));
    let q = s.mul_add(r, s.mul_add(r2, high, low), s.splat(Q[0]));
    Reduced { n, n_bits, r, r2, q }
}
