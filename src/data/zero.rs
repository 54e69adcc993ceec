//! Zeros of states and records, as constants.

use bytemuck::Zeroable;

/// A value made of numbers that are all zero: where a state starts. A constant, so that it may be part of a `static`.
pub trait Zero: Copy + Zeroable {
    /// The value.
    const ZERO: Self;
}

impl Zero for () {
    const ZERO: Self = ();
}

impl Zero for f32 {
    const ZERO: Self = 0.0;
}

/// The first token.
impl Zero for usize {
    const ZERO: Self = 0;
}

impl<T: Zero, const N: usize> Zero for [T; N] {
    const ZERO: Self = [T::ZERO; N];
}

macro_rules! impl_tuple {
    ($($Member:ident)+) => {
        impl<$($Member: Zero),+> Zero for ($($Member,)+) {
            const ZERO: Self = ($($Member::ZERO,)+);
        }
    };
}
impl_tuple!(A);
impl_tuple!(A B);
impl_tuple!(A B C);
impl_tuple!(A B C D);
impl_tuple!(A B C D E);
impl_tuple!(A B C D E F);
