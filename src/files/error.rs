//! How a file is refused.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::{self, Display, Formatter};

/// Why the weights in a file are not those of a model. Nothing has changed where a call returns it.
#[derive(Debug)]
#[non_exhaustive]
pub enum FileError {
    /// It is no safetensors file, or a truncated one.
    Format(String),
    /// A tensor of the model is not in the file.
    Missing {
        /// Its name.
        name: String,
        /// Those that the file has.
        there: Vec<String>,
    },
    /// A tensor of the file is none of the model.
    LeftOver {
        /// Its name.
        name: String,
    },
    /// A tensor has another shape.
    Shape {
        /// Its name.
        name: String,
        /// The shape that it should have.
        expected: Vec<usize>,
        /// The one that it has.
        given: Vec<usize>,
    },
    /// A tensor holds numbers of another type.
    Type {
        /// Its name.
        name: String,
        /// Their type, as the file calls it.
        given: String,
        /// Whether [`Safetensors::converting`](super::Safetensors::converting) takes it.
        convertible: bool,
    },
    /// There are more names of members than members, or two are the same.
    Members(String),
    /// The file could not be read or written.
    Io(std::io::Error),
}

impl Display for FileError {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            FileError::Format(reason) => write!(f, "not a safetensors file: {reason}"),
            FileError::Missing { name, there } => {
                write!(f, "{name} is not in the file, which has {}", there.join(", "))
            }
            FileError::LeftOver { name } => write!(f, "{name} is in the file, but not in the model"),
            FileError::Shape { name, expected, given } => {
                write!(f, "{name}: shape {expected:?} expected, {given:?} in the file")
            }
            FileError::Type { name, given, convertible: true } => {
                write!(f, "{name}: F32 expected, {given} in the file, which is converted on request only")
            }
            FileError::Type { name, given, .. } => write!(f, "{name}: F32 expected, {given} in the file"),
            FileError::Members(reason) => write!(f, "names of the members: {reason}"),
            FileError::Io(error) => write!(f, "{error}"),
        }
    }
}

impl core::error::Error for FileError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            FileError::Io(error) => Some(error),
            _ => None,
        }
    }
}

impl From<std::io::Error> for FileError {
    fn from(error: std::io::Error) -> Self {
        FileError::Io(error)
    }
}
