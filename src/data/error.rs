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
    /// A tensor of a stack of layers has the wrong number of elements.
    LengthInLayer {
        /// Which one, in PyTorch's name without the layer.
        what: &'static str,
        /// Which layer, the first one being 0.
        layer: usize,
        /// How many elements it should have.
        expected: usize,
        /// How many it has.
        given: usize,
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
    /// A backward from a trace that no forward has filled.
    NoForward,
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
            Error::Length { what, expected, given } => Error::LengthInLayer { what, layer, expected, given },
            other => other,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Error::Length { what, expected, given } => {
                write!(f, "{what}: {expected} elements expected, {given} given")
            }
            Error::LengthInLayer { what, layer, expected, given } => {
                write!(f, "{what}_l{layer}: {expected} elements expected, {given} given")
            }
            Error::Shape { what, expected, given } => write!(
                f,
                "{what} must have {} steps of {} samples, but has {} steps of {}",
                expected.0, expected.1, given.0, given.1
            ),
            Error::NoForward => write!(f, "a backward needs a trace that a forward has filled"),
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
