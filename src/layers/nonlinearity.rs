//! The cells that layers can be made of, and the kernels that are compiled for each of them.

use crate::cells::*;
#[cfg(feature = "alloc")]
use crate::kernels::recurrence::backward::BackwardOf;
#[cfg(feature = "alloc")]
use crate::kernels::recurrence::forward::ForwardOf;
#[cfg(feature = "alloc")]
use crate::kernels::recurrence::work::{Backward, Forward};
#[cfg(feature = "alloc")]
use crate::simd::Level;
#[cfg(feature = "alloc")]
use core::marker::PhantomData;

/// The `nonlinearity` of an [`RnnCell`](crate::RnnCell): [`Tanh`] or [`Relu`].
///
/// Sealed: the kernels are compiled for each in this crate.
#[allow(private_bounds, reason = "it seals the trait")]
pub trait Nonlinearity: BatchKernels + core::fmt::Debug + PartialEq + bytemuck::Pod {}

/// The passes over batches. Not generic functions: they are compiled once, in this crate, and not anew for every user.
pub(crate) trait BatchKernels: Activation {
    #[cfg(feature = "alloc")]
    fn forward(level: Level, work: Forward<'_>);
    #[cfg(feature = "alloc")]
    fn backward(level: Level, work: Backward<'_, '_>);
}

macro_rules! impl_nonlinearity {
    ($($cell:ident)+) => {
        $(
            impl Nonlinearity for $cell {}

            impl BatchKernels for $cell {
                #[cfg(feature = "alloc")]
                #[inline(never)]
                fn forward(level: Level, work: Forward<'_>) {
                    level.run(ForwardOf(work, $cell));
                }
                #[cfg(feature = "alloc")]
                #[inline(never)]
                fn backward(level: Level, work: Backward<'_, '_>) {
                    level.run(BackwardOf(work, PhantomData::<$cell>));
                }
            }
        )+
    };
}

for_each_cell!(impl_nonlinearity);
