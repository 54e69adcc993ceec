//! Fused operations of four lanes and the square root, for ARM's M profile with a floating-point unit.
//!
//! Every such CPU has `vfma.f32` and `vsqrt.f32`, but stable Rust reaches neither without `std`: the functions of `core` and
//! the register class of `asm!` are unstable there. A function of assembly is stable, and the hard-float ABI passes it three
//! times four floats in registers and takes four back.

use core::arch::naked_asm;
use wide::f32x4;

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
