//! The hyperbolic tangent: at most 0.73 ulp with fused multiply-add (0.79 without), monotone, odd.
//!
//! `|x|` falls into one of eleven segments, which its exponent and first mantissa bit name; a polynomial of degree 6 for
//! each lies in tables of 16, from which a permutation takes the coefficients of all lanes at once. There is no
//! division and no approximate reciprocal, so that every CPU computes the same bits. `scripts/elementary` makes the
//! constants and sweeps all 2^32 inputs; its README-like header states the figures.

use crate::simd::{Kernel, Simd, load_some, store_some};

/// One number for each segment, at the low four bits of `bits(|x|) >> 22`. Slots 5 to 9 are never used.
#[repr(align(64))]
struct Table([f32; 16]);

const fn table(bits: [u32; 16]) -> Table {
    let mut numbers = [0.0; 16];
    let mut i = 0;
    while i < 16 {
        numbers[i] = f32::from_bits(bits[i]);
        i += 1;
    }
    Table(numbers)
}

/// The point that a segment is developed around, chosen so that its tanh is almost a float (Gal & Bachelis 1991).
static CENTER: Table = table([
    0x403f_78ab,
    0x407d_7efe,
    0x40bf_2e30,
    0x40ff_1412,
    0x4120_0000,
    0,
    0,
    0,
    0,
    0,
    0,
    0x3ee0_b72c,
    0x3f14_ccc4,
    0x3f5f_b86f,
    0x3fa0_0dcc,
    0x3fe0_62a2,
]);
/// tanh of the center.
static BASE: Table = table([
    0x3f7e_b686,
    0x3f7f_d078,
    0x3f7f_ff27,
    0x3f7f_fffc,
    0x3f80_0000,
    0,
    0,
    0,
    0,
    0,
    0,
    0x3ed3_515e,
    0x3f06_08e1,
    0x3f34_0f06,
    0x3f59_30da,
    0x3f71_1460,
]);
/// Coefficients of `(tanh(a) - base) / (a - center)` in powers of `a - center`.
static C0: Table = table([
    0x3c24_5285,
    0x3abe_0e4b,
    0x37da_3a01,
    0x3500_a3a3,
    0xb2a9_4b13,
    0,
    0,
    0,
    0,
    0,
    0x3155_b64b,
    0x3f54_6431,
    0x3f39_d2b4,
    0x3f01_5adf,
    0x3e8f_784a,
    0x3de7_c50d,
]);
static C1: Table = table([
    0xbc23_8a87,
    0xbabd_e641,
    0xb7c8_0c8c,
    0xb4ed_2d0a,
    0xb3d9_7cb6,
    0,
    0,
    0,
    0,
    0,
    0xb54b_ca82,
    0xbeaf_5216,
    0xbec2_957a,
    0xbeb5_f6f8,
    0xbe73_70b0,
    0xbdda_42ef,
]);
static C2: Table = table([
    0x3bd7_20fb,
    0x3a7d_700f,
    0x37da_98be,
    0x34fe_dbc0,
    0xb3b5_29de,
    0,
    0,
    0,
    0,
    0,
    0xbeaa_a67b,
    0xbe0a_6ec6,
    0xbd30_02b3,
    0x3da6_f9ec,
    0x3ddd_c737,
    0x3d80_48b3,
]);
static C3: Table = table([
    0xbb58_4b07,
    0xb9f5_f2c1,
    0x3716_2444,
    0x3429_c95f,
    0xb30f_5a2f,
    0,
    0,
    0,
    0,
    0,
    0xba03_7ee8,
    0x3e2e_0610,
    0x3e18_c351,
    0x3d7a_5427,
    0xbc4e_db19,
    0xbcc0_3e20,
]);
static C4: Table = table([
    0x3a90_9af5,
    0x3967_ce8d,
    0x37b4_4fcd,
    0x34d2_933f,
    0,
    0,
    0,
    0,
    0,
    0,
    0x3e0c_4b32,
    0xbcc1_f927,
    0xbd44_9f16,
    0xbd6c_5d1b,
    0xbc9d_1a7e,
    0x3b74_b374,
]);
static C5: Table = table([
    0xba01_7da5,
    0xb7cc_9c3a,
    0x370d_80d6,
    0x3425_dd08,
    0,
    0,
    0,
    0,
    0,
    0,
    0xbc57_41f1,
    0xbd76_7871,
    0xbd01_e463,
    0x3c55_0fa7,
    0x3c77_19ba,
    0x3b05_b1b4,
]);
static C6: Table = table([
    0x3878_8d45,
    0x382c_d857,
    0x362e_30a5,
    0x334d_59c4,
    0,
    0,
    0,
    0,
    0,
    0,
    0xbd0b_d665,
    0x401a_7f81,
    0x3cf6_0a62,
    0xbd09_d76c,
    0xbb8e_af10,
    0xbb00_8e43,
]);

/// tanh is 1 to the last bit from about 9.01 on; beyond the limit every input is the limit.
const LIMIT: f32 = 10.0;
/// Below it, `tanh(x) = x + x p(x)`, so that small inputs keep all their bits.
const NEAR_ZERO: f32 = 0.375;
/// Stands for everything below the second segment.
const FIRST_SEGMENT: i32 = 0x3e80_0000;

/// `tanh(x)`: `|y| <= 1`, `tanh(-x) = -tanh(x)`, `tanh(+-inf) = +-1`, tiny numbers and signed zeros are kept, NaN stays NaN.
#[inline(always)]
pub(crate) fn tanh<S: Simd>(s: S, x: S::F32) -> S::F32 {
    let bits = s.to_bits(x);
    let size = s.with_bits(s.and(bits, s.splat_i32(i32::MAX)));
    // The limit goes first: the minimum gives back its second operand where that is NaN.
    let a = s.min(s.splat(LIMIT), size);
    let segment = s.shift_right::<22>(s.max_i32(s.to_bits(a), s.splat_i32(FIRST_SEGMENT)));
    let d = s.sub(a, s.lookup(&CENTER.0, segment));

    let c01 = s.mul_add(s.lookup(&C1.0, segment), d, s.lookup(&C0.0, segment));
    let c23 = s.mul_add(s.lookup(&C3.0, segment), d, s.lookup(&C2.0, segment));
    let c45 = s.mul_add(s.lookup(&C5.0, segment), d, s.lookup(&C4.0, segment));
    let d2 = s.mul(d, d);
    let c46 = s.mul_add(d2, s.lookup(&C6.0, segment), c45);
    let p = s.mul_add(s.mul(d2, d2), c46, s.mul_add(d2, c23, c01));

    let base = s.select_less(a, s.splat(NEAR_ZERO), a, s.lookup(&BASE.0, segment));
    let y = s.mul_add(d, p, base);
    let sign = s.and(bits, s.splat_i32(i32::MIN));
    s.with_bits(s.or(s.to_bits(y), sign))
}

/// Replaces every number by its tanh.
pub(crate) struct TanhInPlace<'a>(pub(crate) &'a mut [f32]);

impl Kernel for TanhInPlace<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        for numbers in self.0.chunks_mut(S::LANES) {
            store_some(s, tanh(s, load_some(s, numbers)), numbers);
        }
    }
}

/// `1 - y^2`, the derivative of tanh where its value is `y`; never negative, because `|y| <= 1`.
#[inline(always)]
pub(crate) fn derivative_from_output<S: Simd>(s: S, y: S::F32) -> S::F32 {
    s.neg_mul_add(y, y, s.splat(1.0))
}
