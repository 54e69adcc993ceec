//! The hyperbolic tangent: at most 0.75 ulp with fused multiply-add (0.79 without), monotone, odd.
//!
//! `|x|` falls into one of eleven segments, which its exponent and first mantissa bit name; a polynomial of degree 6 for
//! each lies in tables of 16, from which a permutation takes the coefficients of all lanes at once. There is no
//! division and no approximate reciprocal, so that every CPU computes the same bits. `scripts/elementary` makes the
//! constants and sweeps all 2^32 inputs; its README-like header states the figures.

use crate::simd::Simd;

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
    0x407e_97e1,
    0x40bf_2e30,
    0x40ff_1412,
    0x4120_0000,
    0,
    0,
    0,
    0,
    0,
    0,
    0x3ee1_0404,
    0x3f13_3c0c,
    0x3f5f_b86f,
    0x3f9f_8f1d,
    0x3fde_e9ee,
]);
/// tanh of the center.
static BASE: Table = table([
    0x3f7e_b686,
    0x3f7f_d212,
    0x3f7f_ff27,
    0x3f7f_fffc,
    0x3f80_0000,
    0,
    0,
    0,
    0,
    0,
    0,
    0x3ed3_911b,
    0x3f04_e514,
    0x3f34_0f06,
    0x3f58_e99f,
    0x3f70_be2f,
]);
/// Coefficients of `(tanh(a) - base) / (a - center)` in powers of the distance from the middle of the half binade.
static C0: Table = table([
    0x3c8b_3e15,
    0x3b19_b996,
    0x38a7_9182,
    0x35c4_de4e,
    0xb2a9_4b13,
    0,
    0,
    0,
    0,
    0,
    0xbd00_52b3,
    0x3f54_7662,
    0x3f36_2547,
    0x3f01_4171,
    0x3e8f_fe1e,
    0x3dea_f561,
]);
static C1: Table = table([
    0xbc9f_d7bf,
    0xbb31_9308,
    0xb8da_d47e,
    0xb600_782a,
    0xb3d9_7cb6,
    0,
    0,
    0,
    0,
    0,
    0xbe45_9ae8,
    0xbeaf_2adc,
    0xbec3_fb4c,
    0xbeb5_df99,
    0xbe73_f667,
    0xbddc_84ff,
]);
static C2: Table = table([
    0x3c60_08d5,
    0x3afd_8e8d,
    0x38a6_8c31,
    0x35c3_8581,
    0xb3b5_29de,
    0,
    0,
    0,
    0,
    0,
    0xbe86_579a,
    0xbe0b_0f10,
    0xbccb_7b88,
    0x3da7_6842,
    0x3ddd_e834,
    0x3d81_45b6,
]);
static C3: Table = table([
    0xbbdf_0323,
    0xba83_7b44,
    0xb833_6a31,
    0xb552_9989,
    0xb30f_5a2f,
    0,
    0,
    0,
    0,
    0,
    0x3e0c_6362,
    0x3e2e_3785,
    0x3e0f_ed7c,
    0x3d79_46b3,
    0xbc4d_1c99,
    0xbcc0_f437,
]);
static C4: Table = table([
    0x3b25_fac1,
    0x39d5_1ae3,
    0x3791_b44d,
    0x34ab_0855,
    0,
    0,
    0,
    0,
    0,
    0,
    0x3d88_24c4,
    0xbcc1_be58,
    0xbd5d_b6f4,
    0xbd71_9971,
    0xbc9d_8908,
    0x3b71_6064,
]);
static C5: Table = table([
    0xba2f_568f,
    0xb910_368c,
    0xb6e2_2dc5,
    0xb405_4a42,
    0,
    0,
    0,
    0,
    0,
    0,
    0xbd9e_45bb,
    0xbdbd_0ee1,
    0xbcc6_546a,
    0x3c55_97cd,
    0x3c77_a5ec,
    0x3b09_43aa,
]);
static C6: Table = table([
    0x3878_e399,
    0x382e_2267,
    0x362e_3119,
    0x334d_5ad6,
    0,
    0,
    0,
    0,
    0,
    0,
    0xbd0d_0996,
    0x401b_6642,
    0x3d19_ee94,
    0x3c79_5e8b,
    0xbb98_53d3,
    0xbb02_9647,
]);

/// tanh is 1 to the last bit from about 9.01 on; beyond the limit every input is the limit.
const LIMIT: f32 = 10.0;
/// Below it, `tanh(x) = x + x p(x)`, so that small inputs keep all their bits.
const NEAR_ZERO: f32 = 0.375;
/// Stand for everything below the second and above the last segment.
const FIRST_SEGMENT: i32 = 0x3e80_0000;
const LAST_SEGMENT: i32 = 0x4100_0000;
/// The middle of a half binade, and the bits that name one.
const MIDDLE: i32 = 0x0020_0000;
const HALF_BINADE: i32 = 0x7fc0_0000;

/// `tanh(x)`: `|y| <= 1`, `tanh(-x) = -tanh(x)`, `tanh(+-inf) = +-1`, tiny numbers and signed zeros are kept, NaN stays NaN.
///
/// The segment and the distance `e` from its middle come from the bits of `x` alone, while the exactly centered distance
/// `d`, which keeps NaN, is needed only at the very end: that keeps the chain of dependent operations short.
#[inline(always)]
pub(crate) fn tanh<S: Simd>(s: S, x: S::F32) -> S::F32 {
    let bits = s.to_bits(x);
    let sign = s.and(bits, s.splat_i32(i32::MIN));
    let size = s.and(bits, s.splat_i32(i32::MAX));
    let (first, last) = (s.splat_i32(FIRST_SEGMENT), s.splat_i32(LAST_SEGMENT));
    let segment = s.shift_right::<22>(s.min_i32(s.max_i32(size, first), last));
    let middle = s.or(s.and(bits, s.splat_i32(HALF_BINADE)), s.splat_i32(MIDDLE));
    let (first, last) = (s.splat_i32(FIRST_SEGMENT | MIDDLE), s.splat_i32(LAST_SEGMENT | MIDDLE));
    let middle = s.with_bits(s.min_i32(s.max_i32(middle, first), last));
    let limited = s.with_bits(s.min_i32(size, s.splat_i32(LIMIT.to_bits() as i32)));
    let e = s.sub(limited, middle);

    let c01 = s.mul_add(s.lookup(&C1.0, segment), e, s.lookup(&C0.0, segment));
    let c23 = s.mul_add(s.lookup(&C3.0, segment), e, s.lookup(&C2.0, segment));
    let c45 = s.mul_add(s.lookup(&C5.0, segment), e, s.lookup(&C4.0, segment));
    let e2 = s.mul(e, e);
    let c46 = s.mul_add(e2, s.lookup(&C6.0, segment), c45);
    let p = s.mul_add(s.mul(e2, e2), c46, s.mul_add(e2, c23, c01));

    // The limit goes first: the minimum gives back its second operand where that is NaN.
    let a = s.min(s.splat(LIMIT), s.with_bits(size));
    let d = s.sub(a, s.lookup(&CENTER.0, segment));
    let base = s.select_less(a, s.splat(NEAR_ZERO), a, s.lookup(&BASE.0, segment));
    let d = s.with_bits(s.xor(s.to_bits(d), sign));
    let base = s.with_bits(s.or(s.to_bits(base), sign));
    s.mul_add(d, p, base)
}

/// `1 - y^2`, the derivative of tanh where its value is `y`; never negative, because `|y| <= 1`.
#[inline(always)]
pub(crate) fn derivative_from_output<S: Simd>(s: S, y: S::F32) -> S::F32 {
    s.neg_mul_add(y, y, s.splat(1.0))
}
