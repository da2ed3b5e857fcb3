//! What can be wrong with a file.

use super::VERSION;
use alloc::boxed::Box;
use alloc::string::String;
use core::fmt;
use mfm_core::{Error, Shape};

/// Why a file could not be read or written.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum FileError {
    /// It does not begin with the magic of any file of this library.
    Foreign,
    /// It is a file of another kind.
    Kind {
        /// What it holds.
        found: &'static str,
        /// What it must hold.
        expected: &'static str,
    },
    /// Its format is not the one that this library reads, [`VERSION`].
    Version {
        /// Its version.
        found: u32,
    },
    /// It ends too early.
    Truncated {
        /// What is cut off.
        what: String,
        /// The length that is needed.
        needed: u64,
        /// The length that there is.
        found: u64,
    },
    /// The checksum of a part is wrong: bytes have changed.
    Checksum {
        /// The part.
        what: String,
        /// Where it begins.
        offset: u64,
    },
    /// Something is not as the format has it.
    Malformed {
        /// What.
        what: &'static str,
        /// Where.
        offset: u64,
    },
    /// What a header says does not belong together.
    Header {
        /// What is wrong.
        what: &'static str,
    },
    /// What is to be written does not belong together.
    Unwritable {
        /// What is wrong.
        what: &'static str,
    },
    /// A model is of a path that no reader knows by its name.
    Path {
        /// The name.
        name: String,
    },
    /// Two tensors have one name.
    Duplicate {
        /// The name.
        tensor: String,
    },
    /// A tensor that the model needs is not there.
    Missing {
        /// Its name.
        tensor: String,
    },
    /// A tensor that the model does not know.
    Unknown {
        /// Its name.
        tensor: String,
    },
    /// A tensor has another shape than the model needs.
    TensorShape {
        /// Its name.
        tensor: String,
        /// The shape that the model needs.
        expected: Shape,
        /// The shape in the file.
        found: Shape,
    },
    /// It is no safetensors file, or holds something that is no weight.
    Safetensors {
        /// What is wrong.
        message: String,
    },
    /// The tensor type or the model refused what the file holds.
    Tensor(Error),
    /// Something is wrong with the file at a path.
    In {
        /// The path.
        path: String,
        /// What is wrong.
        source: Box<FileError>,
    },
    /// The operating system refused.
    Io {
        /// What could not be done, "read" or "write".
        what: &'static str,
        /// The path.
        path: String,
        /// Why, in plain words.
        message: String,
    },
}

impl From<Error> for FileError {
    fn from(error: Error) -> Self {
        Self::Tensor(error)
    }
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Foreign => f.write_str("this is no model file: it begins with neither MFMMODEL nor MFMCLASS"),
            Self::Kind { found, expected } => write!(f, "the file holds {found}, where {expected} is needed"),
            Self::Version { found } => write!(f, "the file has format version {found}, and this library reads version {VERSION} alone"),
            Self::Truncated { what, needed, found } => {
                write!(f, "the file is cut off in {what}: {needed} bytes are needed, there are {found}")
            }
            Self::Checksum { what, offset } => write!(f, "{what} (at byte {offset}) is corrupt: its checksum is wrong"),
            Self::Malformed { what, offset } => write!(f, "malformed at byte {offset}: {what}"),
            Self::Header { what } => write!(f, "the header contradicts itself: {what}"),
            Self::Unwritable { what } => write!(f, "this cannot be written: {what}"),
            Self::Path { name } => {
                write!(f, "the path \"{name}\" is none of the library's, by whose names files and their readers know them")
            }
            Self::Duplicate { tensor } => write!(f, "there are two tensors of the name {tensor}"),
            Self::Missing { tensor } => write!(f, "the tensor {tensor} is missing"),
            Self::Unknown { tensor } => write!(f, "the model has no use for the tensor {tensor}"),
            Self::TensorShape { tensor, expected, found } => {
                write!(f, "the tensor {tensor} has the shape {found}, where the model needs {expected}")
            }
            Self::Safetensors { message } => f.write_str(message),
            Self::Tensor(error) => error.fmt(f),
            Self::In { path, source } => write!(f, "{path}: {source}"),
            Self::Io { what, path, message } => write!(f, "cannot {what} {path}: {message}"),
        }
    }
}

impl core::error::Error for FileError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::In { source, .. } => Some(source.as_ref()),
            Self::Tensor(error) => Some(error),
            _ => None,
        }
    }
}
