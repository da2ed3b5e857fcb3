//! Files on a disk.

use super::{ClassifierHeader, FileError, Header, ModelHeader, whole};
use alloc::boxed::Box;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use mfm_core::memory;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> FileError {
    move |error| FileError::Io { what, path: path.display().to_string(), message: reason(&error) }
}

/// Adds to an error the file that it is about.
pub(crate) fn within(path: &Path) -> impl FnOnce(FileError) -> FileError {
    move |error| FileError::In { path: path.display().to_string(), source: Box::new(error) }
}

/// A plain file, with its length.
fn open(path: &Path) -> io::Result<(File, u64)> {
    let about = fs::metadata(path)?;
    if !about.is_file() {
        return Err(io::Error::other("this is no plain file"));
    }
    Ok((File::open(path)?, about.len()))
}

/// The bytes of a file, which is read no further than its first eight if it may not begin by them.
fn read_if(path: &Path, may_begin: impl FnOnce(&[u8]) -> bool) -> Result<Vec<u8>, FileError> {
    let (mut file, length) = open(path).map_err(failed("read", path))?;
    let mut start = Vec::new();
    file.by_ref().take(8).read_to_end(&mut start).map_err(failed("read", path))?;
    if !may_begin(&start) {
        return Err(within(path)(FileError::Foreign));
    }
    let room = memory::room("reading a file", usize::try_from(length).unwrap_or(usize::MAX));
    let mut bytes: Vec<u8> = room.map_err(|error| within(path)(error.into()))?;
    bytes.extend(start);
    file.read_to_end(&mut bytes).map_err(failed("read", path))?;
    Ok(bytes)
}

/// The bytes of any file.
///
/// # Errors
/// [`FileError::Io`] if it is not a plain file, or cannot be read; [`FileError::In`] if there is no room for it.
pub fn read(path: impl AsRef<Path>) -> Result<Vec<u8>, FileError> {
    read_if(path.as_ref(), |_| true)
}

/// The bytes of a file of a model or of a classifier, for [`ModelFile::parse`](super::ModelFile::parse). What does not begin as one is not read any further.
///
/// # Errors
/// As [`read`]; [`FileError::In`] if it does not begin as any file of this library.
pub fn load(path: impl AsRef<Path>) -> Result<Vec<u8>, FileError> {
    // What is cut off within the magic is told by who parses it.
    read_if(path.as_ref(), |start| [ModelHeader::MAGIC, ClassifierHeader::MAGIC].iter().any(|known| known.starts_with(start)))
}

/// Writes a file whole or not at all; see [`whole::write`].
///
/// # Errors
/// [`FileError::Io`], naming `path`.
pub fn save(path: impl AsRef<Path>, bytes: &[u8]) -> Result<(), FileError> {
    let path = path.as_ref();
    whole::write(path, |file| file.write_all(bytes)).map_err(failed("write", path))
}

/// What the system said, in plain words.
pub fn reason(error: &io::Error) -> String {
    use io::ErrorKind;
    match error.kind() {
        ErrorKind::NotFound => "there is no such file or directory".into(),
        ErrorKind::PermissionDenied => "permission denied".into(),
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "the disk is full".into(),
        ErrorKind::FileTooLarge => "the file would be larger than the system allows".into(),
        ErrorKind::ReadOnlyFilesystem => "the file system is read-only".into(),
        ErrorKind::IsADirectory => "it is a directory".into(),
        ErrorKind::NotADirectory => "a part of the path is not a directory".into(),
        ErrorKind::InvalidFilename => "the file system does not allow this name".into(),
        _ => error.to_string(),
    }
}
