//! A layer at a level: one step or one vector, without a state of its own.

use crate::simd::Level;

/// A layer, and the instruction set that it computes with: `cell.at(level).step(&x, &h)`.
///
/// Without it, layers compute at [`Level::detect`].
#[derive(Debug)]
pub struct At<'a, L> {
    pub(super) layer: &'a L,
    pub(super) level: Level,
}

impl<L> Clone for At<'_, L> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<L> Copy for At<'_, L> {}

impl<'a, L> From<&'a L> for At<'a, L> {
    /// At [`Level::detect`].
    fn from(layer: &'a L) -> Self {
        At { layer, level: Level::detect() }
    }
}
