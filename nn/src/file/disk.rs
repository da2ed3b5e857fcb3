//! Files on a disk, written so that a crash leaves the old one or the new one, never half of either.

use super::FileError;
use alloc::format;
use alloc::string::ToString;
use alloc::vec::Vec;
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> FileError {
    let path = path.display().to_string();
    move |error| FileError::Io { what, path, message: error.to_string() }
}

/// The bytes of a file, for [`ModelFile::parse`](super::ModelFile::parse).
///
/// # Errors
/// [`FileError::Io`] if it is not a plain file, or cannot be read.
pub fn load(path: impl AsRef<Path>) -> Result<Vec<u8>, FileError> {
    let path = path.as_ref();
    let kind = fs::metadata(path).map_err(failed("reading", path))?;
    if !kind.is_file() {
        return Err(FileError::Io { what: "reading", path: path.display().to_string(), message: "this is no plain file".to_string() });
    }
    fs::read(path).map_err(failed("reading", path))
}

/// Writes a file: under a temporary name in the same folder, synced, then renamed over `path`, and the folder synced.
///
/// # Errors
/// [`FileError::Io`]; the file at `path` is then as it was, and the temporary one is removed. If only the folder could not be synced, the new file is there
/// already.
pub fn save(path: impl AsRef<Path>, bytes: &[u8]) -> Result<(), FileError> {
    let path = path.as_ref();
    let (mut file, temporary) = create_beside(path)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    drop(file);
    if let Err(error) = written.and_then(|()| fs::rename(&temporary, path)) {
        // The first error is the one to tell.
        let _ = fs::remove_file(&temporary);
        return Err(failed("writing", path)(error));
    }
    sync_folder(path)
}

/// A new file in the folder of `path`, under a name that nobody has.
fn create_beside(path: &Path) -> Result<(File, PathBuf), FileError> {
    let name = path.file_name().ok_or_else(|| failed("writing", path)(io::ErrorKind::InvalidInput.into()))?;
    let mut attempt = 0u32;
    loop {
        let mut hidden = OsString::from(".");
        hidden.push(name);
        hidden.push(format!(".{}.{attempt}.temporary", std::process::id()));
        let temporary = path.with_file_name(hidden);
        match OpenOptions::new().write(true).create_new(true).open(&temporary) {
            Ok(file) => return Ok((file, temporary)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && attempt < 1000 => attempt += 1,
            Err(error) => return Err(failed("writing", &temporary)(error)),
        }
    }
}

/// Makes the new name itself durable, where the system lets a folder be opened and synced.
fn sync_folder(path: &Path) -> Result<(), FileError> {
    if !cfg!(unix) {
        return Ok(());
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    use io::ErrorKind::{InvalidInput, PermissionDenied, Unsupported};
    match File::open(folder).and_then(|folder| folder.sync_all()) {
        Err(error) if !matches!(error.kind(), InvalidInput | PermissionDenied | Unsupported) => {
            Err(failed("syncing the folder of", path)(error))
        }
        _ => Ok(()),
    }
}
