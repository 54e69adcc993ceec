//! What a call answers.

/// What a call answers. All but OK have changed nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
#[must_use]
pub enum Code {
    /// Done.
    Ok = 0,
    /// A pointer is null that must not be. That of an array of no numbers may be.
    NullPointer = 1,
    /// A pointer is not aligned to what it points to.
    Misaligned = 2,
    /// The memory is smaller than the model needs.
    TooSmall = 3,
    /// The memory was not initialized, or by the init of another model.
    Uninitialized = 4,
    /// An array has not as many numbers as it should have.
    WrongLength = 5,
    /// An array lies in the memory of the model.
    Overlap = 6,
    /// A token is not in the vocabulary.
    TokenOutOfRange = 7,
    /// The environment variable ELMAN_LEVEL names an instruction set that this CPU does not have.
    UnknownLevel = 8,
}

impl From<Result<(), Code>> for Code {
    #[inline]
    fn from(result: Result<(), Code>) -> Self {
        result.err().unwrap_or(Code::Ok)
    }
}
