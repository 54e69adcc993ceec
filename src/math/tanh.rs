//! The hyperbolic tangent: at most 0.88 ulp with fused multiply-add (1.03 without), monotone, odd; denormal numbers, below
//! 1.2e-38, become zero.
//!
//! `|x|` falls into one of eight segments, which the exponent and the first mantissa bit of `0.828 |x| + 0.5` name: they
//! grow with `|x|` as tanh flattens. A polynomial of degree 6 for each lies in tables of eight, as many as one permutation
//! of eight lanes reaches: it takes the coefficients of all lanes at once. There is no division and no approximate
//! reciprocal, so that every CPU computes the same bits. `scripts/elementary` makes the constants and sweeps all 2^32
//! inputs.

use super::{InPlace, Pointwise};
use crate::simd::{Level, Simd};

/// One number for each segment, at the low three bits of `bits(0.828 |x| + 0.5) >> 22`, twice.
const fn table(bits: [u32; 8]) -> [f32; 16] {
    let mut numbers = [0.0; 16];
    let mut i = 0;
    while i < 16 {
        numbers[i] = f32::from_bits(bits[i % 8]);
        i += 1;
    }
    numbers
}

/// The tables: one cache line each.
#[repr(C, align(64))]
struct Tables {
    /// The point that a segment is developed around, chosen so that its tanh is almost a float (Gal & Bachelis 1991).
    center: [f32; 16],
    /// tanh of the center.
    base: [f32; 16],
    /// Coefficients of `(tanh(a) - base) / (a - center)` in powers of `a - center`.
    coefficients: [[f32; 16]; 7],
}

static TABLES: Tables = Tables {
    center: table([
        0x4040_a1fb,
        0x4086_d443,
        0x40d4_04ab,
        0x410a_a12d,
        0x0000_0000,
        0x3ed1_07a6,
        0x3f4f_ba59,
        0x3fb6_405e,
    ]),
    base: table([
        0x3f7e_c23d,
        0x3f7f_e350,
        0x3f7f_ffc5,
        0x3f7f_ffff,
        0x0000_0000,
        0x3ec6_2447,
        0x3f2b_9e2d,
        0x3f63_f111,
    ]),
    coefficients: [
        table([0x3c1e_7bc4, 0x3a65_771f, 0x36f7_0dd6, 0x33d4_583a, 0x3025_7ef0, 0x3f59_a8f7, 0x3f0c_f34f, 0x3e54_2a63]),
        table([0xbc1d_f72f, 0xba65_014e, 0xb67a_e397, 0xb406_9510, 0xb43d_ab4a, 0xbea8_7787, 0xbebc_fb16, 0xbe3c_e966]),
        table([0x3bcd_280f, 0x3a1b_410e, 0x3784_17d9, 0x346e_d172, 0xbeaa_a977, 0xbe1f_d0fc, 0x3d82_dea4, 0x3dc2_f8a9]),
        table([0xbb5e_df7c, 0xb987_c756, 0x377b_3607, 0x3437_7f4f, 0xb93a_de1e, 0x3e2e_25fc, 0x3da4_19c4, 0xbcbe_9762]),
        table([0x3a47_c8be, 0x3934_64d0, 0x377b_cf4d, 0x33e7_7c10, 0x3e0a_307a, 0x3b9b_0a38, 0xbd7f_429b, 0xbbd3_a21e]),
        table([0xba35_28d8, 0x376a_6f69, 0x36bb_635e, 0x0000_0000, 0xbbea_d070, 0xbd84_0c10, 0x3bf9_aaa3, 0x3c18_c419]),
        table([0x362a_e3e9, 0x380e_91fe, 0x359c_c4c7, 0x0000_0000, 0xbd26_58d0, 0x3cb6_f9d4, 0x3c18_68cc, 0xbb7d_57d0]),
    ],
};

/// tanh is 1 to the last bit from about 9.01 on; beyond the limit every input is the limit.
const LIMIT: f32 = 9.03125;
/// What names the segments: `SCALE * |x| + OFFSET`, 0.5 to 8.
const SCALE: f32 = 0.828;
const OFFSET: f32 = 0.5;
/// The bits of the smallest number in the second segment: `SCALE * x + OFFSET` rounds to 0.75, with one rounding and with
/// two. In the first, `tanh(x) = x + x p(x)`, so that small inputs keep all their bits.
const SECOND: i32 = 0x3e9a_96e0;
/// The bits of the smallest normal number.
const NORMAL: i32 = f32::MIN_POSITIVE.to_bits() as i32;

/// `tanh(x)`: `|y| <= 1`, `tanh(-x) = -tanh(x)`, `tanh(+-inf) = +-1`, tiny numbers and signed zeros are kept, denormal numbers
/// become zeros of their sign, NaN stays NaN.
#[inline(always)]
pub(crate) fn tanh<S: Simd>(s: S, x: S::F32) -> S::F32 {
    let bits = s.to_bits(x);
    let size = s.with_bits(s.and(bits, s.splat_i32(i32::MAX)));
    // The limit goes first: the minimum gives back its second operand where that is NaN.
    let a = s.min(s.splat(LIMIT), size);
    let t = s.mul_add(a, s.splat(SCALE), s.splat(OFFSET));
    let segment = s.shift_right::<22>(s.to_bits(t));
    let d = s.sub(a, s.lookup(&TABLES.center, segment));

    // In the first segment a normal number is its own base, one comparison for both ends of them: what is below wraps around.
    // The base of a denormal number is the zero of the table, and its product with the polynomial rounds to zero. A state that
    // nothing feeds would otherwise end among them, stay there, as their rounding stops it, and slow every step to come.
    let distance = s.add_i32(s.to_bits(a), s.splat_i32(i32::MIN.wrapping_sub(NORMAL)));
    let end = s.splat_i32(i32::MIN + (SECOND - NORMAL));
    let base = s.select_less_i32(distance, end, a, s.lookup(&TABLES.base, segment));
    let y = s.lookup_polynomial(base, d, &TABLES.coefficients, segment);
    let sign = s.and(bits, s.splat_i32(i32::MIN));
    s.with_bits(s.or(s.to_bits(y), sign))
}

struct Tanh;

impl Pointwise for Tanh {
    #[inline(always)]
    fn apply<S: Simd>(s: S, x: S::F32) -> S::F32 {
        tanh(s, x)
    }
}

impl Level {
    /// Replaces every number by its hyperbolic tangent, as the layers compute it.
    ///
    /// At most 0.88 units in the last place from the exact value (1.03 without fused multiply-add), over all normal floats;
    /// monotone, odd, never beyond 1; numbers so small that `tanh(x) = x` stay as they are, but denormal ones (below 1.2e-38)
    /// become zeros of their sign; NaN stays NaN.
    ///
    /// ```
    /// use elman::Level;
    /// let mut numbers = [-f32::INFINITY, -0.0, 1e-30, -1e-40, 0.5];
    /// Level::detect().tanh(&mut numbers);
    /// assert_eq!(numbers, [-1.0, -0.0, 1e-30, -0.0, 0.462_117_16]);
    /// ```
    #[inline(never)]
    pub fn tanh(self, numbers: &mut [f32]) {
        self.run(InPlace::<Tanh>::new(numbers));
    }
}

#[cfg(all(test, feature = "std"))]
mod tests;
