//! What an optimizer walks over: the parameters of a layer, or of a tuple of layers.

use super::names::{Name, TensorLayout};
use crate::data::error::Error;

/// Takes the name and the shape of a tensor.
pub(crate) type Describe<'a> = &'a mut dyn FnMut(&Name<'_>, TensorLayout);

/// Parameters that an optimizer can walk over. A gradient is a value of the same type.
pub trait Parameters {
    /// The number of parameters, for arrays of them: `[0.0; <Model as Parameters>::COUNT]`.
    const COUNT: usize;

    /// The members of a tuple; 1 of a layer alone.
    const MEMBERS: usize = 1;

    /// Calls `visitor` with the name and the shape of every tensor, in the order of [`Parameters::visit`]. They are those of the
    /// type; `within` is where the names begin.
    ///
    /// ```
    /// use elman::{Linear, Parameters, RnnCell};
    /// type Detector = (RnnCell<3, 8>, Linear<8, 2>);
    /// assert_eq!(Detector::names(&["rnn", "fc"])[4], "fc.weight");
    /// assert_eq!(Detector::names(&[])[1], "0.weight_hh");
    /// ```
    fn describe(within: &Name<'_>, visitor: &mut dyn FnMut(&Name<'_>, TensorLayout));

    /// The names of all tensors, in the order of [`Parameters::visit`]. `members` are those of the members of a tuple, or the one
    /// of a layer alone; where there are none, members are called by their index.
    #[cfg(feature = "alloc")]
    #[must_use]
    fn names(members: &[&str]) -> alloc::vec::Vec<alloc::string::String> {
        use alloc::string::ToString;
        let mut names = alloc::vec::Vec::new();
        Self::describe(&Name::model(members), &mut |name, _| names.push(name.to_string()));
        names
    }

    /// Calls `visitor` with every tensor, in PyTorch's order of `parameters()`, in the memory order of this crate.
    fn visit(&self, visitor: &mut dyn FnMut(&[f32]));

    /// Calls `visitor` with every tensor, and may change it.
    fn visit_mut(&mut self, visitor: &mut dyn FnMut(&mut [f32]));

    /// Calls `visitor` with every tensor and its counterpart in `other`.
    fn visit_with(&mut self, other: &Self, visitor: &mut dyn FnMut(&mut [f32], &[f32]));

    /// The number of parameters, [`Parameters::COUNT`].
    fn parameter_count(&self) -> usize {
        Self::COUNT
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
    /// become NaN and the others zero: [`Parameters::try_clip_norm`] refuses both. Numbers below the smallest normal one,
    /// 1.2e-38, count as zero in the norm.
    ///
    /// ```
    /// use elman::{Linear, Parameters};
    /// let mut gradients = Linear::<1, 2> { weight: [[3.0, 0.0]], bias: [0.0, 4.0] };
    /// assert_eq!(gradients.clip_norm(1.0), 5.0);
    /// assert!((gradients.bias[1] - 0.8).abs() < 1e-6);
    /// ```
    fn clip_norm(&mut self, max_norm: f32) -> f32 {
        let norm = norm(self);
        scale_to(self, norm, max_norm);
        norm as f32
    }

    /// [`Parameters::clip_norm`], but gradients that are not finite are refused.
    ///
    /// # Errors
    ///
    /// [`Error::NotFinite`] if a number is NaN or infinite; nothing has changed then.
    ///
    /// ```
    /// use elman::{Error, Linear, Parameters};
    /// let mut gradients = Linear::<1, 2> { weight: [[3.0, f32::NAN]], bias: [0.0, 4.0] };
    /// assert!(matches!(gradients.try_clip_norm(1.0), Err(Error::NotFinite { .. })));
    /// assert_eq!(gradients.bias, [0.0, 4.0]);
    /// ```
    fn try_clip_norm(&mut self, max_norm: f32) -> Result<f32, Error> {
        let norm = norm(self);
        if !norm.is_finite() {
            return Err(Error::NotFinite { what: "the norm of the gradients" });
        }
        scale_to(self, norm, max_norm);
        Ok(norm as f32)
    }

    /// Makes every denormal parameter, below 1.2e-38, a zero of its sign, and gives how many there were.
    ///
    /// Weights from elsewhere may hold some, as where they were pruned or decayed; many CPUs take tens of times longer with
    /// them, for a step or for a batch, though they add nothing that a sum would notice.
    ///
    /// ```
    /// use elman::{Linear, Parameters};
    /// let mut linear = Linear::<1, 2> { weight: [[1e-40, 0.5]], bias: [0.0; 2] };
    /// assert_eq!(linear.flush_denormals(), 1);
    /// assert_eq!(linear.weight, [[0.0, 0.5]]);
    /// ```
    fn flush_denormals(&mut self) -> usize {
        let mut count = 0;
        self.visit_mut(&mut |tensor| {
            for x in tensor {
                if x.is_subnormal() {
                    *x = 0f32.copysign(*x);
                    count += 1;
                }
            }
        });
        count
    }

    /// A value of the same shape with every parameter zero: a place for gradients.
    #[must_use]
    fn zeros_like(&self) -> Self
    where
        Self: Sized;
}

/// The Euclidean norm of all numbers, denormal ones left out.
fn norm(parameters: &(impl Parameters + ?Sized)) -> f64 {
    // Several sums, so that one does not wait for the other.
    let mut sums = [0.0f64; 8];
    parameters.visit(&mut |tensor| {
        for numbers in tensor.chunks(sums.len()) {
            for (sum, x) in sums.iter_mut().zip(numbers) {
                // Decided by the bits: some CPUs are slow to compare, convert and square denormal numbers.
                let is_denormal = x.to_bits() & 0x7fff_ffff < f32::MIN_POSITIVE.to_bits();
                let x = f64::from(f32::from_bits(if is_denormal { 0 } else { x.to_bits() }));
                *sum += x * x;
            }
        }
    });
    libm::sqrt(sums.iter().sum())
}

/// Multiplies all numbers, whose norm is given, so that it is at most `max_norm`.
fn scale_to(parameters: &mut (impl Parameters + ?Sized), norm: f64, max_norm: f32) {
    let factor = f64::from(max_norm) / (norm + 1e-6);
    // Not `min`, which would lose a NaN. A factor of 1 changes nothing.
    if factor >= 1.0 {
        return;
    }
    let factor = factor as f32;
    parameters.visit_mut(&mut |tensor| tensor.iter_mut().for_each(|x| *x *= factor));
}

/// Implements [`Parameters`] for a struct of arrays, as slices of `f32`, that are so many numbers.
macro_rules! impl_parameters {
    ([$($generics:tt)*] $layer:ty, $count:expr, { $($field:ident $($flattened:ident)?: $layout:expr),+ }) => {
        impl<$($generics)*> Parameters for $layer {
            const COUNT: usize = $count;

            fn describe(within: &crate::model::names::Name<'_>, visitor: crate::model::parameters::Describe<'_>) {
                $(visitor(&within.parameter(stringify!($field), None), $layout);)+
            }
            fn visit(&self, visitor: &mut dyn FnMut(&[f32])) {
                $(visitor(crate::model::parameters::as_slice!(self.$field $($flattened)?));)+
            }
            fn visit_mut(&mut self, visitor: &mut dyn FnMut(&mut [f32])) {
                $(visitor(crate::model::parameters::as_mut_slice!(self.$field $($flattened)?));)+
            }
            fn visit_with(&mut self, other: &Self, visitor: &mut dyn FnMut(&mut [f32], &[f32])) {
                $(visitor(
                    crate::model::parameters::as_mut_slice!(self.$field $($flattened)?),
                    crate::model::parameters::as_slice!(other.$field $($flattened)?),
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
    const COUNT: usize = L::COUNT;
    const MEMBERS: usize = L::MEMBERS;

    fn describe(within: &Name<'_>, visitor: Describe<'_>) {
        L::describe(within, visitor);
    }
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
