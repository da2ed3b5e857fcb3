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
    move |error| refused(what, path, &error.to_string())
}

fn refused(what: &'static str, path: &Path, message: &str) -> FileError {
    FileError::Io { what, path: path.display().to_string(), message: message.to_string() }
}

/// The bytes of a file, for [`ModelFile::parse`](super::ModelFile::parse).
///
/// # Errors
/// [`FileError::Io`] if it is not a plain file, or cannot be read.
pub fn load(path: impl AsRef<Path>) -> Result<Vec<u8>, FileError> {
    let path = path.as_ref();
    let kind = fs::metadata(path).map_err(failed("reading", path))?;
    if !kind.is_file() {
        return Err(refused("reading", path, "this is no plain file"));
    }
    fs::read(path).map_err(failed("reading", path))
}

/// Writes a file: under a temporary name in the same folder, synced, then renamed over `path`, and the folder synced. A link stays a link: the file that it
/// names is written. The permissions of a file that was there stay, too.
///
/// # Errors
/// [`FileError::Io`], also where a rename would replace what is no plain file, or one that is read-only; what is at `path` is then as it was, and the temporary
/// file is removed. If only the folder could not be synced, the new file is there already.
pub fn save(path: impl AsRef<Path>, bytes: &[u8]) -> Result<(), FileError> {
    let path = path.as_ref();
    let target = followed(path).ok_or_else(|| refused("writing", path, "its links lead to no end"))?;
    let old = match fs::metadata(&target) {
        Ok(old) if !old.is_file() => return Err(refused("writing", path, "this is no plain file")),
        Ok(old) if old.permissions().readonly() => return Err(refused("writing", path, "the file is read-only")),
        old => old.ok(),
    };
    // What a caller knows is `path`, so that every error names it.
    let (mut file, temporary) = create_beside(&target).map_err(failed("writing", path))?;
    let permitted = match old {
        Some(old) if cfg!(unix) => keep_permissions(&file, old.permissions()),
        _ => Ok(()),
    };
    let written = permitted.and_then(|()| file.write_all(bytes)).and_then(|()| file.sync_all());
    drop(file);
    if let Err(error) = written.and_then(|()| fs::rename(&temporary, &target)) {
        // The first error is the one to tell.
        let _ = fs::remove_file(&temporary);
        return Err(failed("writing", path)(error));
    }
    sync_folder(&target).map_err(failed("syncing the folder of", path))
}

/// More links one after another than any system follows.
const MOST_LINKS: usize = 64;

/// Where the links at `path` lead, be anything there or not; `None` if they never end.
fn followed(path: &Path) -> Option<PathBuf> {
    let mut path = path.to_path_buf();
    for _ in 0..MOST_LINKS {
        match fs::read_link(&path) {
            Ok(next) => path = folder(&path).join(next),
            Err(_) => return Some(path),
        }
    }
    None
}

/// Not even asked for where they are the same, since not every file system can change them.
fn keep_permissions(file: &File, old: fs::Permissions) -> io::Result<()> {
    if file.metadata()?.permissions() == old { Ok(()) } else { file.set_permissions(old) }
}

/// The folder of a file.
fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// A new file in the folder of `path`, under a name that nobody has.
fn create_beside(path: &Path) -> io::Result<(File, PathBuf)> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let mut attempt = 0u32;
    loop {
        let mut hidden = OsString::from(".");
        hidden.push(name);
        hidden.push(format!(".{}.{attempt}.temporary", std::process::id()));
        let temporary = path.with_file_name(hidden);
        match OpenOptions::new().write(true).create_new(true).open(&temporary) {
            Ok(file) => return Ok((file, temporary)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && attempt < 1000 => attempt += 1,
            Err(error) => return Err(error),
        }
    }
}

/// Makes the new name itself durable, where the system lets a folder be opened and synced.
fn sync_folder(path: &Path) -> io::Result<()> {
    if !cfg!(unix) {
        return Ok(());
    }
    use io::ErrorKind::{InvalidInput, PermissionDenied, Unsupported};
    match File::open(folder(path)).and_then(|folder| folder.sync_all()) {
        Err(error) if !matches!(error.kind(), InvalidInput | PermissionDenied | Unsupported) => Err(error),
        _ => Ok(()),
    }
}
