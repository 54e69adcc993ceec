//! Rows of numbers in a slice, so many numbers from one to the next.

/// Rows `stride` apart, the first one at the beginning.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    pub(crate) data: &'a [f32],
    pub(crate) stride: usize,
}

/// The same, to be written.
pub(crate) struct ViewMut<'a> {
    pub(crate) data: &'a mut [f32],
    pub(crate) stride: usize,
}
