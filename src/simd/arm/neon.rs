//! The look-up of NEON, which picks bytes out of two registers.

use core::arch::aarch64::{
    uint8x16x2_t, vaddq_s32, vandq_s32, vdupq_n_s32, vld1q_s32, vld1q_u8, vmulq_n_s32, vqtbl2q_u8,
    vreinterpretq_f32_u8, vreinterpretq_u8_s32, vst1q_f32,
};
use wide::{f32x4, i32x4};

/// `table[index & 7]`
#[inline(always)]
pub(super) fn lookup(table: &[f32; 16], index: i32x4) -> f32x4 {
    let (index, mut numbers) = (index.to_array(), [0.0; 4]);
    // SAFETY: NEON is there, as this file is compiled for targets that have it. `index` and `numbers` are of 16 bytes, `table`
    // is of 64, of which the first 32 are read.
    unsafe {
        let bytes = table.as_ptr().cast::<u8>();
        let first = uint8x16x2_t(vld1q_u8(bytes), vld1q_u8(bytes.add(16)));
        // Number `i` is the bytes `4 i ..= 4 i + 3`.
        let index = vmulq_n_s32(vandq_s32(vld1q_s32(index.as_ptr()), vdupq_n_s32(7)), 0x0404_0404);
        let index = vreinterpretq_u8_s32(vaddq_s32(index, vdupq_n_s32(0x0302_0100)));
        vst1q_f32(numbers.as_mut_ptr(), vreinterpretq_f32_u8(vqtbl2q_u8(first, index)));
    }
    f32x4::new(numbers)
}
