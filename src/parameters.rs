//! What an optimizer walks over: the parameters of a layer, or of a tuple of layers.

/// Parameters that an optimizer can walk over. A gradient is a value of the same type.
pub trait Parameters {
    /// Calls `visitor` with every tensor, in PyTorch's order of `parameters()`, in the memory order of this crate.
    fn visit(&self, visitor: &mut dyn FnMut(&[f32]));

    /// Calls `visitor` with every tensor, and may change it.
    fn visit_mut(&mut self, visitor: &mut dyn FnMut(&mut [f32]));

    /// Calls `visitor` with every tensor and its counterpart in `other`.
    fn visit_with(&mut self, other: &Self, visitor: &mut dyn FnMut(&mut [f32], &[f32]));

    /// The number of parameters.
    fn parameter_count(&self) -> usize {
        let mut count = 0;
        self.visit(&mut |tensor| count += tensor.len());
        count
    }

    /// Sets every parameter to zero.
    fn fill_zero(&mut self) {
        self.visit_mut(&mut |tensor| tensor.fill(0.0));
    }

    /// Adds the parameters of `other`: the sum of two gradients.
    fn add(&mut self, other: &Self) {
        self.visit_with(other, &mut |tensor, other| {
            for (a, b) in tensor.iter_mut().zip(other) {
                *a += *b;
            }
        });
    }

    /// Scales gradients so that their Euclidean norm, that of all numbers together, is at most `max_norm`, and gives the
    /// norm before: PyTorch's `clip_grad_norm_` (Pascanu et al. 2013, "On the difficulty of training recurrent neural
    /// networks"), `g *= min(1, max_norm / (norm + 1e-6))`. If one number is NaN, all are then; if one is infinite, those
    /// become NaN and the others zero.
    ///
    /// ```
    /// use elman::{Linear, Parameters};
    /// let mut gradients = Linear::<1, 2> { weight: [[3.0, 0.0]], bias: [0.0, 4.0] };
    /// assert_eq!(gradients.clip_norm(1.0), 5.0);
    /// assert!((gradients.bias[1] - 0.8).abs() < 1e-6);
    /// ```
    fn clip_norm(&mut self, max_norm: f32) -> f32 {
        // Several sums, so that one does not wait for the other.
        let mut sums = [0.0f64; 8];
        self.visit(&mut |tensor| {
            for numbers in tensor.chunks(sums.len()) {
                for (sum, x) in sums.iter_mut().zip(numbers) {
                    *sum += f64::from(*x) * f64::from(*x);
                }
            }
        });
        let norm = libm::sqrt(sums.iter().sum());
        let factor = f64::from(max_norm) / (norm + 1e-6);
        // Not `min`, which would lose a NaN.
        let factor = if factor > 1.0 { 1.0 } else { factor as f32 };
        self.visit_mut(&mut |tensor| tensor.iter_mut().for_each(|x| *x *= factor));
        norm as f32
    }

    /// A value of the same shape with every parameter zero: a place for gradients.
    #[must_use]
    fn zeros_like(&self) -> Self
    where
        Self: Sized;
}

/// Implements [`Parameters`] for a struct of arrays, as slices of `f32`.
macro_rules! impl_parameters {
    ($layer:ident<$a:ident, $b:ident> { $($field:ident $($flattened:ident)?),+ }) => {
        impl<const $a: usize, const $b: usize> Parameters for $layer<$a, $b> {
            fn visit(&self, visitor: &mut dyn FnMut(&[f32])) {
                $(visitor(crate::parameters::as_slice!(self.$field $($flattened)?));)+
            }
            fn visit_mut(&mut self, visitor: &mut dyn FnMut(&mut [f32])) {
                $(visitor(crate::parameters::as_mut_slice!(self.$field $($flattened)?));)+
            }
            fn visit_with(&mut self, other: &Self, visitor: &mut dyn FnMut(&mut [f32], &[f32])) {
                $(visitor(
                    crate::parameters::as_mut_slice!(self.$field $($flattened)?),
                    crate::parameters::as_slice!(other.$field $($flattened)?),
                );)+
            }
            fn zeros_like(&self) -> Self {
                Self::zeros()
            }
        }
    };
}
macro_rules! as_slice {
    ($value:ident.$field:ident flattened) => {
        $value.$field.as_flattened()
    };
    ($value:ident.$field:ident) => {
        &$value.$field
    };
}
macro_rules! as_mut_slice {
    ($value:ident.$field:ident flattened) => {
        $value.$field.as_flattened_mut()
    };
    ($value:ident.$field:ident) => {
        &mut $value.$field
    };
}
pub(crate) use {as_mut_slice, as_slice, impl_parameters};

#[cfg(feature = "alloc")]
impl<L: Parameters + bytemuck::Zeroable> Parameters for alloc::boxed::Box<L> {
    fn visit(&self, visitor: &mut dyn FnMut(&[f32])) {
        (**self).visit(visitor);
    }
    fn visit_mut(&mut self, visitor: &mut dyn FnMut(&mut [f32])) {
        (**self).visit_mut(visitor);
    }
    fn visit_with(&mut self, other: &Self, visitor: &mut dyn FnMut(&mut [f32], &[f32])) {
        (**self).visit_with(other, visitor);
    }
    fn zeros_like(&self) -> Self {
        bytemuck::zeroed_box()
    }
}

/// Implements [`Parameters`] for a tuple.
macro_rules! impl_tuple {
    ($($layer:ident $i:tt),+) => {
        impl<$($layer: Parameters),+> Parameters for ($($layer,)+) {
            fn visit(&self, visitor: &mut dyn FnMut(&[f32])) {
                $(self.$i.visit(visitor);)+
            }
            fn visit_mut(&mut self, visitor: &mut dyn FnMut(&mut [f32])) {
                $(self.$i.visit_mut(visitor);)+
            }
            fn visit_with(&mut self, other: &Self, visitor: &mut dyn FnMut(&mut [f32], &[f32])) {
                $(self.$i.visit_with(&other.$i, visitor);)+
            }
            fn zeros_like(&self) -> Self {
                ($(self.$i.zeros_like(),)+)
            }
        }
    };
}

impl_tuple!(A 0, B 1);
impl_tuple!(A 0, B 1, C 2);
impl_tuple!(A 0, B 1, C 2, D 3);
impl_tuple!(A 0, B 1, C 2, D 3, E 4);
impl_tuple!(A 0, B 1, C 2, D 3, E 4, F 5);
