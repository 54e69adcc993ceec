//! Slices and arrays in the forms that stay free of calls and loops whatever a program is optimized for.

/// Vectors of zeros. Not `[zero; P]`, which is compiled to a loop where programs are optimized for size.
#[inline(always)]
pub(crate) fn zeros<T: bytemuck::Zeroable>() -> T {
    T::zeroed()
}

/// `numbers[first..]`, which is a call with `opt-level = "z"`.
#[inline(always)]
pub(crate) fn starting_at(numbers: &[f32], first: usize) -> &[f32] {
    &numbers[first..numbers.len()]
}

/// The same, to be written.
#[inline(always)]
pub(crate) fn starting_at_mut(numbers: &mut [f32], first: usize) -> &mut [f32] {
    let end = numbers.len();
    &mut numbers[first..end]
}

/// The numbers of rows one after the other. `as_flattened` is a call with `lto = "off"`, and hides how many they are.
#[inline(always)]
pub(crate) fn flat<R: bytemuck::NoUninit>(rows: &[R]) -> &[f32] {
    const { assert!(align_of::<R>() == align_of::<f32>(), "rows of other numbers") };
    bytemuck::must_cast_slice(rows)
}

/// The same, to be written.
#[inline(always)]
pub(crate) fn flat_mut<R: bytemuck::Pod>(rows: &mut [R]) -> &mut [f32] {
    const { assert!(align_of::<R>() == align_of::<f32>(), "rows of other numbers") };
    bytemuck::must_cast_slice_mut(rows)
}
