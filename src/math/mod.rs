//! Functions of single numbers, for one vector of them: error bounds that hold for every float, the same bits at every level.

#[cfg(all(test, feature = "std"))]
mod exhaustive;
pub(crate) mod exp;
pub(crate) mod sigmoid;
pub(crate) mod tanh;

use crate::simd::{Kernel, Simd};
use core::marker::PhantomData;

/// A function of one number.
pub(crate) trait Pointwise {
    fn apply<S: Simd>(s: S, x: S::F32) -> S::F32;
}

/// Replaces every number by what the function makes of it.
pub(crate) struct InPlace<'a, F>(&'a mut [f32], PhantomData<F>);

impl<'a, F: Pointwise> InPlace<'a, F> {
    #[inline(always)]
    pub(crate) fn new(numbers: &'a mut [f32]) -> Self {
        Self(numbers, PhantomData)
    }
}

impl<F: Pointwise> Kernel for InPlace<'_, F> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let mut vectors = self.0.chunks_exact_mut(S::LANES);
        for numbers in &mut vectors {
            s.store(F::apply(s, s.load(numbers)), numbers);
        }
        let rest = vectors.into_remainder();
        if !rest.is_empty() {
            s.store_partial(F::apply(s, s.load_partial(rest)), rest);
        }
    }
}

/// Gradients of sums and of logits below it, 7.7e-34, count as zero: 2^-110.
///
/// A gradient that dies on its way back through time would otherwise end among the denormal numbers, below 2^-126, and stay
/// there, as their rounding stops it; many CPUs take a hundred cycles longer for each multiply-add that has a denormal result.
/// A limit of 2^-126 would not do: products with weights and states, and their partial sums, fall below it first. Counted for
/// 64 neurons with PyTorch's initial weights, 200 steps and a gradient at the last one, of all vectors of multiply-adds:
///
/// | limit | none | 2^-126 | 2^-118 | 2^-114 | 2^-110 |
/// |---|---|---|---|---|---|
/// | denormal | 18 % | 5.8 % | 0.25 % | 0.012 % | 0.0004 % |
pub(crate) const SMALLEST_GRADIENT: f32 = f32::from_bits((127 - 110) << 23);

/// Zero where a gradient is below [`SMALLEST_GRADIENT`].
#[inline(always)]
pub(crate) fn flush_gradient<S: Simd>(s: S, d: S::F32) -> S::F32 {
    s.zero_small(d, s.splat(SMALLEST_GRADIENT))
}

/// Zero where a state is denormal, below 1.2e-38: one that nothing feeds would otherwise stay there, as rounding stops it, and
/// slow every step to come.
#[inline(always)]
pub(crate) fn flush_state<S: Simd>(s: S, state: S::F32) -> S::F32 {
    s.zero_small(state, s.splat(f32::MIN_POSITIVE))
}
