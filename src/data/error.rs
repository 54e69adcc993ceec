//! What can be wrong with the data of a call.

use core::fmt;

/// Why a call was refused. Nothing was changed by it, unless the call says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// A slice has the wrong number of elements.
    Length {
        /// Which one, in PyTorch's name where it has one.
        what: &'static str,
        /// How many elements it should have.
        expected: usize,
        /// How many it has.
        given: usize,
    },
    /// A tensor of other weights has not the shape of the parameter, or not as many elements.
    Tensor {
        /// Which one, in PyTorch's name without the layer.
        name: &'static str,
        /// Which layer of a stack, the first one being 0.
        layer: Option<usize>,
        /// The shape that it should have.
        expected: Shape,
        /// The one that it has; where it is not known, its length.
        given: Shape,
    },
    /// Sequences of different shapes meet.
    Shape {
        /// Which ones.
        what: &'static str,
        /// Steps and samples that were expected.
        expected: (usize, usize),
        /// Steps and samples that were given.
        given: (usize, usize),
    },
    /// A sequence of no steps, which has no last state.
    NoSteps,
    /// A token that is not in the vocabulary.
    TokenOutOfRange {
        /// The token.
        token: usize,
        /// The size of the vocabulary; tokens are below it.
        vocabulary: usize,
        /// Where it stands: the sample.
        sample: usize,
        /// Where it stands: the step.
        step: usize,
    },
    /// A target that is not a class.
    TargetOutOfRange {
        /// The target.
        target: usize,
        /// The number of classes; targets are below it.
        classes: usize,
        /// Which target it is, counted as they were given.
        index: usize,
    },
    /// A mean over no targets at all, which has no value.
    NoTargets,
    /// Numbers that must be finite and are not.
    NotFinite {
        /// Which ones.
        what: &'static str,
    },
    /// A setting outside its range.
    Setting {
        /// Which one.
        what: &'static str,
        /// The range it has to be in.
        expected: &'static str,
    },
}

impl Error {
    /// An error unless a slice has the expected number of elements.
    pub(crate) fn check_length(what: &'static str, expected: usize, given: usize) -> Result<(), Error> {
        if expected == given { Ok(()) } else { Err(Error::Length { what, expected, given }) }
    }

    /// The same error in a layer of a stack.
    #[cfg(feature = "alloc")]
    pub(crate) fn in_layer(self, layer: usize) -> Error {
        match self {
            Error::Tensor { name, expected, given, .. } => Error::Tensor { name, layer: Some(layer), expected, given },
            other => other,
        }
    }
}

/// The shape of a tensor: up to four lengths, as PyTorch gives them.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    lengths: [usize; 4],
    axes: usize,
}

impl Shape {
    /// # Panics
    ///
    /// If there are more than four axes.
    pub(crate) const fn new(shape: &[usize]) -> Self {
        let mut lengths = [0; 4];
        let mut axis = 0;
        while axis < shape.len() {
            lengths[axis] = shape[axis];
            axis += 1;
        }
        Self { lengths, axes: shape.len() }
    }

    /// The lengths of all axes, the outermost first.
    #[must_use]
    pub fn lengths(&self) -> &[usize] {
        &self.lengths[..self.axes]
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.lengths()).finish()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Error::Length { what, expected, given } => {
                write!(f, "{what}: {expected} elements expected, {given} given")
            }
            Error::Tensor { name, layer, expected, given } => {
                f.write_str(name)?;
                if let Some(layer) = layer {
                    write!(f, "_l{layer}")?;
                }
                write!(f, ": shape {expected:?} expected, {given:?} given")
            }
            Error::Shape { what, expected, given } => write!(
                f,
                "{what} must have {} steps of {} samples, but has {} steps of {}",
                expected.0, expected.1, given.0, given.1
            ),
            Error::NoSteps => write!(f, "a sequence must have at least one step"),
            Error::TokenOutOfRange { token, vocabulary, sample, step } => write!(
                f,
                "token {token} (sample {sample}, step {step}) is not below the vocabulary's size {vocabulary}"
            ),
            Error::TargetOutOfRange { target, classes, index } => {
                write!(f, "target {target} (number {index}) is not below the number of classes {classes}")
            }
            Error::NoTargets => write!(f, "the mean over no targets has no value"),
            Error::NotFinite { what } => write!(f, "{what} is not finite"),
            Error::Setting { what, expected } => write!(f, "{what} must be {expected}"),
        }
    }
}

impl core::error::Error for Error {}
