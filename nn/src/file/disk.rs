//! Files on a disk.

use super::{FileError, whole};
use alloc::string::ToString;
use alloc::vec::Vec;
use std::path::Path;
use std::{fs, io};

fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> FileError {
    move |error| FileError::Io { what, path: path.display().to_string(), message: error.to_string() }
}

/// The bytes of a file, for [`ModelFile::parse`](super::ModelFile::parse).
///
/// # Errors
/// [`FileError::Io`] if it is not a plain file, or cannot be read.
pub fn load(path: impl AsRef<Path>) -> Result<Vec<u8>, FileError> {
    let path = path.as_ref();
    let read = || {
        if !fs::metadata(path)?.is_file() {
            return Err(io::Error::other("this is no plain file"));
        }
        fs::read(path)
    };
    read().map_err(failed("reading", path))
}

/// Writes a file whole or not at all; see [`whole::write`].
///
/// # Errors
/// [`FileError::Io`], naming `path`.
pub fn save(path: impl AsRef<Path>, bytes: &[u8]) -> Result<(), FileError> {
    let path = path.as_ref();
    whole::write(path, |file| file.write_all(bytes)).map_err(failed("writing", path))
}
