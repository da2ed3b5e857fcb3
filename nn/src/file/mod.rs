//! Files of models and of classifiers: self-describing, checked to the last byte, readable in place.
//!
//! | bytes | what |
//! |---|---|
//! | 0–7 | `MFMMODEL`, or `MFMCLASS` for a classifier |
//! | 8–11 | format version, u32 |
//! | 12–15 | length of the header, u32 |
//! | 16–23 | length of the file, u64 |
//! | 24–27 | CRC-32 of bytes 0–23 and the header |
//! | 28–31 | zero |
//! | 32– | the header: postcard of [`ModelHeader`] or [`ClassifierHeader`], the number of tensors (u32), and an entry for each |
//! | … | tensors, each at the next multiple of 64, row-major and little-endian; gaps are zero |
//!
//! Numbers are little-endian. An entry is name, rank, six axes, type, offset, length in bytes and CRC-32. Offsets are redundant, and must be
//! those that the order implies, so tensors cannot overlap. A file ends with its last tensor. A file of another version is refused.
//!
//! [`ModelFile::parse`] borrows the bytes, so a file can be mapped, or embedded with `include_bytes!`. Whatever the bytes are, it gives a file
//! or an error, and allocates no more than a small multiple of what is really there.

mod container;
#[cfg(feature = "std")]
mod disk;
mod error;
mod header;
mod jumps;
mod model_file;
#[cfg(feature = "std")]
pub mod safetensors;
mod tensor;
#[cfg(feature = "std")]
pub mod whole;
mod write;

#[cfg(feature = "std")]
pub(crate) use disk::within;
#[cfg(feature = "std")]
pub use disk::{load, read, reason, save};
pub use error::FileError;
pub use header::{ClassifierHeader, Header, ItemShape, ModelHeader, Provenance, TrainingRecord};
pub use jumps::Jumps;
pub use model_file::{ClassifierFile, Container, ModelFile};
pub use tensor::{Precision, TensorView};
pub use write::{write_classifier, write_model};

/// What a model's file begins with.
pub const MAGIC: [u8; 8] = *b"MFMMODEL";

/// The format version that this library reads and writes.
pub const VERSION: u32 = 2;

/// This library, name and version, as files name it ([`Provenance::library`]).
pub const LIBRARY: &str = concat!("mfm ", env!("CARGO_PKG_VERSION"));

/// Tensors lie at multiples of this.
pub const ALIGNMENT: usize = 64;
