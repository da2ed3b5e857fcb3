//! Files on a disk.

use super::{ClassifierHeader, FileError, Header, ModelHeader, whole};
use alloc::string::ToString;
use alloc::vec::Vec;
use mfm_core::memory;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> FileError {
    move |error| FileError::Io { what, path: path.display().to_string(), message: error.to_string() }
}

/// A plain file, with its length.
fn open(path: &Path) -> io::Result<(File, u64)> {
    let about = fs::metadata(path)?;
    if !about.is_file() {
        return Err(io::Error::other("this is no plain file"));
    }
    Ok((File::open(path)?, about.len()))
}

/// The bytes of a file of a model or of a classifier, for [`ModelFile::parse`](super::ModelFile::parse). What does not begin as one is not read any further.
///
/// # Errors
/// [`FileError::Io`] if it is not a plain file, or cannot be read; [`FileError::Foreign`] if it does not begin as any file of this library;
/// [`FileError::Tensor`] if there is no room for it.
pub fn load(path: impl AsRef<Path>) -> Result<Vec<u8>, FileError> {
    let path = path.as_ref();
    let (mut file, length) = open(path).map_err(failed("reading", path))?;
    let mut magic = Vec::new();
    file.by_ref().take(8).read_to_end(&mut magic).map_err(failed("reading", path))?;
    // What is cut off within the magic is told by who parses it.
    if ![ModelHeader::MAGIC, ClassifierHeader::MAGIC].iter().any(|known| known.starts_with(&magic)) {
        return Err(FileError::Foreign);
    }
    let mut bytes = memory::room("reading a file", usize::try_from(length).unwrap_or(usize::MAX))?;
    bytes.extend(magic);
    file.read_to_end(&mut bytes).map_err(failed("reading", path))?;
    Ok(bytes)
}

/// Writes a file whole or not at all; see [`whole::write`].
///
/// # Errors
/// [`FileError::Io`], naming `path`.
pub fn save(path: impl AsRef<Path>, bytes: &[u8]) -> Result<(), FileError> {
    let path = path.as_ref();
    whole::write(path, |file| file.write_all(bytes)).map_err(failed("writing", path))
}
