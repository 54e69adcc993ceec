//! The look-up of four lanes, where the target has no instruction for it.

use wide::{f32x4, i32x4};

/// `table[index & 7]`
#[inline(always)]
pub(super) fn lookup(table: &[f32; 16], index: i32x4) -> f32x4 {
    let [a, b, c, d] = index.to_array();
    f32x4::new([table[(a & 7) as usize], table[(b & 7) as usize], table[(c & 7) as usize], table[(d & 7) as usize]])
}
