//! Files that are written whole or not at all.

use crate::failure::{Failure, Result};
use mfm_picture::Picture;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// Writes a file by `write`: to a temporary name beside it, synced, then renamed. If anything fails, what was there before stays.
///
/// A path that is no regular file (`/dev/stdout`, a pipe) is written to directly.
///
/// # Errors
/// One sentence naming the path.
pub fn write(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<()> {
    let target = target(path)?;
    let fail = |error: io::Error| Failure::file("write", path, &error);
    if is_special(&target) {
        let mut file = BufWriter::new(File::options().write(true).open(&target).map_err(fail)?);
        return write(&mut file).and_then(|()| file.flush()).map_err(|error| quiet_pipe(&error).unwrap_or_else(|| fail(error)));
    }
    let mut file = BufWriter::new(temporary(&target).map_err(fail)?);
    write(&mut file).and_then(|()| file.flush()).map_err(fail)?;
    let file = file.into_inner().map_err(|error| fail(error.into_error()))?;
    file.as_file().sync_all().map_err(fail)?;
    file.persist(&target).map_err(|error| fail(error.error))?;
    // The new name itself is durable only once its directory is.
    if cfg!(unix) { File::open(parent(&target)).and_then(|directory| directory.sync_all()).map_err(fail) } else { Ok(()) }
}

/// Writes bytes; see [`write()`].
///
/// # Errors
/// One sentence naming the path.
pub fn write_bytes(path: &Path, bytes: &[u8]) -> Result<()> {
    write(path, |file| file.write_all(bytes))
}

/// Writes a picture as a PNG file; see [`write()`].
///
/// # Errors
/// One sentence naming the path.
pub fn picture(path: &Path, picture: &Picture) -> Result<()> {
    write_bytes(path, &picture.png()?)
}

/// Checks that a file can be written at `path`, so that a long run does not end in vain.
///
/// # Errors
/// One sentence naming the path.
pub fn check(path: &Path) -> Result<()> {
    let target = target(path)?;
    if !is_special(&target) {
        nameless(parent(&target)).map_err(|error| Failure::file("write", path, &error))?;
    }
    Ok(())
}

/// Removes what writers of `path` that were killed left beside it.
pub fn remove_remains(path: &Path) {
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let (prefix, Ok(entries)) = (prefix(&target), fs::read_dir(parent(&target))) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.len() == prefix.len() + RANDOM + SUFFIX.len() && name.starts_with(&prefix) && name.ends_with(SUFFIX) {
            // What cannot be removed does no harm.
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// A directory for several files.
#[derive(Clone, Debug)]
pub struct Directory(PathBuf);

impl Directory {
    /// The directory at `path`, created if it is missing, and checked to be writable.
    ///
    /// # Errors
    /// One sentence naming the path.
    pub fn create(path: &Path) -> Result<Self> {
        let fail = |error: io::Error| Failure::file("create the directory", path, &error);
        if path.exists() && !path.is_dir() {
            return Err(Failure::input(format!("cannot create the directory {}: it is a file", path.display())));
        }
        fs::create_dir_all(path).map_err(fail)?;
        nameless(path).map_err(|error| Failure::file("write in", path, &error))?;
        Ok(Self(path.to_owned()))
    }

    /// The path of a file in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Removes a file of it, if it is there.
    ///
    /// # Errors
    /// One sentence naming the path.
    pub fn remove(&self, name: &str) -> Result<()> {
        let path = self.file(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Failure::file("remove", &path, &error)),
            _ => Ok(()),
        }
    }

    /// The directory's path.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

/// Where to write for `path`, with the complaints that a rename would not make.
fn target(path: &Path) -> Result<PathBuf> {
    // A link stays a link: the file that it names is replaced.
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let refuse = |why: &str| Err(Failure::input(format!("cannot write {}: {why}", path.display())));
    if target.is_dir() {
        return refuse("it is a directory");
    }
    if target.file_name().is_none() {
        return refuse("it names no file");
    }
    match fs::metadata(&target) {
        Ok(metadata) if metadata.permissions().readonly() => return refuse("the file is read-only"),
        // A name that is too long, say, at which only the renaming would fail.
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(Failure::file("write", path, &error)),
        _ => {}
    }
    if !parent(&target).exists() {
        return refuse(&format!("there is no directory {}", parent(path).display()));
    }
    Ok(target)
}

/// The directory of a file.
fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Whether the path is there and no regular file.
fn is_special(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| !metadata.is_file())
}

/// The name of a temporary file is that of its target (if not too long) between a dot and so many random letters, and this.
const SUFFIX: &str = ".tmp";
const RANDOM: usize = 6;

/// What the names of temporary files for `target` begin with.
fn prefix(target: &Path) -> String {
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    format!(".{}.", name.chars().take(48).collect::<String>())
}

/// A temporary file beside `target`, gone when dropped.
fn temporary(target: &Path) -> io::Result<tempfile::NamedTempFile> {
    let prefix = prefix(target);
    let mut builder = tempfile::Builder::new();
    builder.prefix(&prefix).suffix(SUFFIX).rand_bytes(RANDOM);
    #[cfg(unix)]
    let permissions = std::os::unix::fs::PermissionsExt::from_mode(0o666);
    #[cfg(unix)]
    builder.permissions(permissions);
    builder.tempfile_in(parent(target))
}

/// Whether files can be made in a directory: by one without a name, which a kill at this moment does not leave behind.
fn nameless(directory: &Path) -> io::Result<()> {
    tempfile::tempfile_in(directory).map(drop)
}

/// A broken pipe as what it is.
pub(crate) fn quiet_pipe(error: &io::Error) -> Option<Failure> {
    (error.kind() == io::ErrorKind::BrokenPipe).then_some(Failure::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_write_leaves_what_was_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        write_bytes(&path, b"old").unwrap();
        let failed = write(&path, |file| {
            file.write_all(b"half of the new")?;
            Err(io::ErrorKind::StorageFull.into())
        });
        assert!(failed.unwrap_err().to_string().ends_with("a.txt: the disk is full"));
        assert_eq!(fs::read(&path).unwrap(), b"old");
        write_bytes(&path, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn names_that_cannot_be_are_refused_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a".repeat(300));
        assert!(check(&path).unwrap_err().to_string().contains("aaa"));
        check(&folder.path().join("a".repeat(100))).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn directories_are_made() {
        let folder = tempfile::tempdir().unwrap();
        let directory = Directory::create(&folder.path().join("a/b")).unwrap();
        write_bytes(&directory.file("c.txt"), b"").unwrap();
        let complaint = Directory::create(&folder.path().join("a/b/c.txt")).unwrap_err().to_string();
        assert!(complaint.contains("c.txt: it is a file"), "{complaint}");
        assert!(Directory::create(&folder.path().join("a/b/c.txt/d")).unwrap_err().to_string().contains("not a directory"));
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }
}
