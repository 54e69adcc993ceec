//! Fused operations of four lanes and the square root, for ARM's M profile with a floating-point unit.
//!
//! Every such CPU has `vfma.f32` and `vsqrt.f32`, but stable Rust reaches neither without `std`: the functions of `core` and
//! the register class of `asm!` are unstable there. A function of assembly is stable, and the hard-float ABI passes it three
//! times four floats in registers and takes four back.

use super::Matrix;
use core::arch::naked_asm;
use wide::{f32x4, i32x4};

/// Whether [`mul_add`] rounds once.
pub(super) const FUSED: bool = true;

/// Four floats in four registers: so the ABI passes a structure of them.
#[repr(C)]
struct Four([f32; 4]);

/// `a * b + c`
#[inline(always)]
pub(super) fn mul_add(a: f32x4, b: f32x4, c: f32x4) -> f32x4 {
    f32x4::new(vfma(Four(c.to_array()), Four(a.to_array()), Four(b.to_array())).0)
}

/// `c - a * b`
#[inline(always)]
pub(super) fn neg_mul_add(a: f32x4, b: f32x4, c: f32x4) -> f32x4 {
    f32x4::new(vfms(Four(c.to_array()), Four(a.to_array()), Four(b.to_array())).0)
}

/// [`Simd::select_less`](super::Simd::select_less): moves under a condition, where `wide` makes masks.
#[inline(always)]
pub(super) fn select_less(a: f32x4, b: f32x4, then: f32x4, otherwise: f32x4) -> f32x4 {
    let (a, b, then, otherwise) = (a.to_array(), b.to_array(), then.to_array(), otherwise.to_array());
    let lane = |i: usize| if a[i] < b[i] { then[i] } else { otherwise[i] };
    f32x4::new([lane(0), lane(1), lane(2), lane(3)])
}

/// [`Simd::select_less_i32`](super::Simd::select_less_i32)
#[inline(always)]
pub(super) fn select_less_i32(a: i32x4, b: i32x4, then: f32x4, otherwise: f32x4) -> f32x4 {
    let (a, b, then, otherwise) = (a.to_array(), b.to_array(), then.to_array(), otherwise.to_array());
    let lane = |i: usize| if a[i] < b[i] { then[i] } else { otherwise[i] };
    f32x4::new([lane(0), lane(1), lane(2), lane(3)])
}

/// [`Simd::lookup_polynomial`](super::Simd::lookup_polynomial), lane by lane: the numbers of an entry lie at one address.
#[inline(always)]
pub(super) fn lookup_polynomial(base: f32x4, d: f32x4, tables: &[[f32; 16]; 7], index: i32x4) -> f32x4 {
    let (base, d, index) = (base.to_array(), d.to_array(), index.to_array());
    let lane = |i: usize| lookup_estrin(base[i], d[i], tables, index[i]);
    f32x4::new([lane(0), lane(1), lane(2), lane(3)])
}

/// [`Simd::product`](super::Simd::product): one vector after the other, its sums in registers from the start to the end.
#[inline(always)]
pub(super) fn product<M: Matrix, const P: usize>(
    start: [f32x4; P],
    x: &[f32],
    weight: &[f32],
    partial: bool,
) -> Option<[f32x4; P]> {
    let mut sums = start;
    for (p, sum) in sums.iter_mut().enumerate() {
        let start = Four(sum.to_array());
        *sum = f32x4::new(if partial && p == P - 1 {
            vector::<M, true>(start, x, &weight[4 * p..]).0
        } else {
            vector::<M, false>(start, x, &weight[4 * p..]).0
        });
    }
    Some(sums)
}

/// One vector of a product, whose weights begin with those of the first row.
#[inline(always)]
fn vector<M: Matrix, const PARTIAL: bool>(start: Four, x: &[f32], weight: &[f32]) -> Four {
    const { assert!(M::CHAINS[0] > 0 && M::COLUMNS < 1 << 29) };
    let rows = const { M::CHAINS[0] + M::CHAINS[1] + M::CHAINS[2] + M::CHAINS[3] };
    assert!(x.len() >= rows && weight.len() >= (rows - 1) * M::COLUMNS + const { lanes::<M>(PARTIAL) });
    // SAFETY: it reads a number of `x` for each row, and of the weights the numbers of as many lanes at the start of each row,
    // which begin `COLUMNS` numbers apart: both are long enough.
    unsafe { chains::<M, PARTIAL>(start, x.as_ptr(), weight.as_ptr()) }
}

/// The lanes of a vector that are needed.
const fn lanes<M: Matrix>(partial: bool) -> usize {
    if partial || M::COLUMNS < 4 { (M::COLUMNS - 1) % 4 + 1 } else { 4 }
}

/// The square root, correctly rounded.
#[inline(always)]
pub(super) fn sqrt(a: f32x4) -> f32x4 {
    f32x4::new(vsqrt(Four(a.to_array())).0)
}

// SAFETY: of the ABI's registers, `c` is s0-s3, `a` s4-s7, `b` s8-s11 and the result s0-s3, which a callee may change; it
// touches no other register, no flag and no memory. The unit is there, as the ABI passes floats in its registers.
#[unsafe(naked)]
extern "C" fn vfma(c: Four, a: Four, b: Four) -> Four {
    naked_asm!(
        ".fpu fpv4-sp-d16",
        "vfma.f32 s0, s4, s8",
        "vfma.f32 s1, s5, s9",
        "vfma.f32 s2, s6, s10",
        "vfma.f32 s3, s7, s11",
        "bx lr",
    )
}

// SAFETY: as for `vfma`.
#[unsafe(naked)]
extern "C" fn vfms(c: Four, a: Four, b: Four) -> Four {
    naked_asm!(
        ".fpu fpv4-sp-d16",
        "vfms.f32 s0, s4, s8",
        "vfms.f32 s1, s5, s9",
        "vfms.f32 s2, s6, s10",
        "vfms.f32 s3, s7, s11",
        "bx lr",
    )
}

// SAFETY: `a` and the result are s0-s3; else as for `vfma`.
#[unsafe(naked)]
extern "C" fn vsqrt(a: Four) -> Four {
    naked_asm!(
        ".fpu fpv4-sp-d16",
        "vsqrt.f32 s0, s0",
        "vsqrt.f32 s1, s1",
        "vsqrt.f32 s2, s2",
        "vsqrt.f32 s3, s3",
        "bx lr",
    )
}

// SAFETY: `base` and the result are s0, `d` is s1, the address of the tables r0 and the index r1, of which the low three bits
// count: what it reads lies in the seven tables of 64 bytes. s2-s10 and both addresses may be changed; else as for `vfma`.
#[unsafe(naked)]
extern "C" fn lookup_estrin(base: f32, d: f32, tables: &[[f32; 16]; 7], index: i32) -> f32 {
    naked_asm!(
        ".fpu fpv4-sp-d16",
        "and r1, r1, #7",
        "add r0, r0, r1, lsl #2",
        "vldr s2, [r0]",
        "vldr s3, [r0, #64]",
        "vfma.f32 s2, s3, s1",
        "vldr s4, [r0, #128]",
        "vldr s5, [r0, #192]",
        "vfma.f32 s4, s5, s1",
        "vldr s6, [r0, #256]",
        "vldr s7, [r0, #320]",
        "vfma.f32 s6, s7, s1",
        "vmul.f32 s9, s1, s1",
        "vldr s8, [r0, #384]",
        "vfma.f32 s6, s9, s8",
        "vmul.f32 s10, s9, s9",
        "vfma.f32 s2, s9, s4",
        "vfma.f32 s2, s10, s6",
        "vfma.f32 s0, s1, s2",
        "bx lr",
    )
}

/// The rows of a chain onto the sums in four registers: few one by one, more in a loop. The lanes that are not needed are
/// left out.
macro_rules! chain {
    ($rows:literal, $a:literal, $b:literal, $c:literal, $d:literal) => {
        concat!(
            ".if {",
            $rows,
            "} > 4\n movw r2, #{",
            $rows,
            "}\n .endif\n",
            ".rept 1 - ({",
            $rows,
            "} - 1) * ({",
            $rows,
            "} <= 4)\n",
            "2: vldmia r0!, {{s12}}\n",
            "vldmia r1!, {{s8-s{last}}}\n",
            ".if {skip} > 0\n add r1, r1, r3\n .endif\n",
            "vfma.f32 ",
            $a,
            ", s8, s12\n",
            ".if {last} > 8\n vfma.f32 ",
            $b,
            ", s9, s12\n .endif\n",
            ".if {last} > 9\n vfma.f32 ",
            $c,
            ", s10, s12\n .endif\n",
            ".if {last} > 10\n vfma.f32 ",
            $d,
            ", s11, s12\n .endif\n",
            ".endr\n",
            ".if {",
            $rows,
            "} > 4\n subs r2, r2, #1\n bne 2b\n .endif\n",
        )
    };
}

// SAFETY: `start` and the result are s0-s3, the addresses r0 and r1; s4-s12, r2, r3 and the flags may be changed too. It reads
// what its caller has checked; else as for `vfma`. Sums: the first of two chains are s0-s3, the second s4-s7; those of the
// first two are put by while the others are computed.
#[unsafe(naked)]
unsafe extern "C" fn chains<M: Matrix, const PARTIAL: bool>(start: Four, x: *const f32, weight: *const f32) -> Four {
    naked_asm!(
        ".fpu fpv4-sp-d16",
        ".if {skip} > 0",
        "movw r3, #{skip} & 0xffff",
        ".endif",
        ".if {skip} > 0xffff",
        "movt r3, #{skip} >> 16",
        ".endif",
        chain!("first", "s0", "s1", "s2", "s3"),
        ".if {second} > 0",
        "movs r2, #0",
        "vmov d2, r2, r2",
        "vmov d3, r2, r2",
        chain!("second", "s4", "s5", "s6", "s7"),
        "vadd.f32 s0, s0, s4",
        "vadd.f32 s1, s1, s5",
        "vadd.f32 s2, s2, s6",
        "vadd.f32 s3, s3, s7",
        ".endif",
        ".if {third} > 0",
        "vpush {{s0-s3}}",
        "movs r2, #0",
        "vmov d0, r2, r2",
        "vmov d1, r2, r2",
        "vmov d2, r2, r2",
        "vmov d3, r2, r2",
        chain!("third", "s0", "s1", "s2", "s3"),
        chain!("fourth", "s4", "s5", "s6", "s7"),
        "vadd.f32 s0, s0, s4",
        "vadd.f32 s1, s1, s5",
        "vadd.f32 s2, s2, s6",
        "vadd.f32 s3, s3, s7",
        "vpop {{s4-s7}}",
        "vadd.f32 s0, s4, s0",
        "vadd.f32 s1, s5, s1",
        "vadd.f32 s2, s6, s2",
        "vadd.f32 s3, s7, s3",
        ".endif",
        "bx lr",
        first = const M::CHAINS[0],
        second = const M::CHAINS[1],
        third = const M::CHAINS[2],
        fourth = const M::CHAINS[3],
        last = const 8 + lanes::<M>(PARTIAL) - 1,
        skip = const 4 * (M::COLUMNS - lanes::<M>(PARTIAL)),
    )
}
