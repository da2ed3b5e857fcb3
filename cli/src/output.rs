//! Files that are written whole or not at all.

use crate::failure::{Failure, Result};
use mfm_nn::file::whole::{self, folder};
use mfm_picture::Picture;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// Writes a file by `write`, whole or not at all ([`whole::write`]).
///
/// A path that is no regular file (a pipe), or a name of one that is open (`/dev/stdout`), is written to directly, after what is there; that nobody reads it is no
/// failure.
///
/// # Errors
/// One sentence naming the path.
pub fn write(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<()> {
    let target = target(path)?;
    let fail = |error: io::Error| Failure::file("write", path, &error);
    if is_special(&target) {
        let mut file = BufWriter::new(direct(&target).map_err(fail)?);
        return read_or_not(write(&mut file).and_then(|()| file.flush())).map_err(fail);
    }
    whole::write(&target, write).map_err(fail)
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
        nameless(folder(&target)).map_err(|error| Failure::file("write", path, &error))?;
    }
    Ok(())
}

/// Whether two paths name one regular file, which may not be there yet.
pub fn are_one(one: &Path, other: &Path) -> bool {
    let place = |path: &Path| {
        let target = followed(path).filter(|target| !is_special(target))?;
        let folder = folder(&target);
        Some(fs::canonicalize(folder).unwrap_or_else(|_| folder.to_owned()).join(target.file_name()?))
    };
    place(one).is_some_and(|one| place(other) == Some(one))
}

/// Removes a file, if it is there.
///
/// # Errors
/// One sentence naming the path.
pub fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Failure::file("remove", path, &error)),
        _ => Ok(()),
    }
}

/// Removes what writers of `path` that were killed left beside it.
pub fn remove_remains(path: &Path) {
    if followed(path).is_some_and(|target| !is_special(&target)) {
        whole::remove_remains(path);
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
        remove(&self.file(name))
    }

    /// The directory's path.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

/// Where to write for `path`, with the complaints that a rename would not make.
fn target(path: &Path) -> Result<PathBuf> {
    let refuse = |why: &str| Err(Failure::input(format!("cannot write {}: {why}", path.display())));
    let Some(target) = followed(path) else { return refuse("its links lead to no end") };
    if target.is_dir() {
        return refuse("it is a directory");
    }
    if target.file_name().is_none() {
        return refuse("it names no file");
    }
    match fs::metadata(&target) {
        Ok(_) if is_of_the_system(&target) => return Ok(target),
        Err(error) if is_of_the_system(&target) => return Err(Failure::file("write", path, &error)),
        Ok(metadata) if metadata.permissions().readonly() => return refuse("the file is read-only"),
        // A name that is too long, say, at which only the renaming would fail.
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(Failure::file("write", path, &error)),
        _ => {}
    }
    if !folder(&target).exists() {
        return refuse(&format!("there is no directory {}", folder(&target).display()));
    }
    Ok(target)
}

/// Where the links at `path` lead, so that a link stays a link and the file that it names is written, which need not be there yet; `None` if they never end.
fn followed(path: &Path) -> Option<PathBuf> {
    whole::followed(path, is_of_the_system)
}

/// Whether a path is of a device or of a file that a process has open, which has another name too and must not be replaced there. `/dev/shm` holds files as any
/// folder does.
fn is_of_the_system(path: &Path) -> bool {
    path.starts_with("/proc") || path.starts_with("/dev") && !path.starts_with("/dev/shm")
}

/// Whether the path is to be written to directly: of the system, or there and no regular file.
fn is_special(path: &Path) -> bool {
    is_of_the_system(path) || fs::metadata(path).is_ok_and(|metadata| !metadata.is_file())
}

/// What is written to directly. The streams of this process are used as they are: opened anew, they would have a place of their own in the file.
fn direct(path: &Path) -> io::Result<Box<dyn Write>> {
    Ok(match path.to_str() {
        Some("/dev/stdout" | "/dev/fd/1" | "/proc/self/fd/1") => Box::new(io::stdout()),
        Some("/dev/stderr" | "/dev/fd/2" | "/proc/self/fd/2") => Box::new(io::stderr()),
        _ => Box::new(File::options().append(true).open(path)?),
    })
}

/// Whether files can be made in a directory: by one without a name, which a kill at this moment does not leave behind.
fn nameless(directory: &Path) -> io::Result<()> {
    tempfile::tempfile_in(directory).map(drop)
}

/// What came of writing to a pipe: that nobody reads it any more is no failure.
pub(crate) fn read_or_not(written: io::Result<()>) -> io::Result<()> {
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
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

    #[cfg(unix)]
    #[test]
    fn one_file_has_many_names() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::create_dir(path("b")).unwrap();
        std::os::unix::fs::symlink("a.csv", path("link")).unwrap();
        assert!(are_one(&path("a.csv"), &path("b/../a.csv")) && are_one(&path("link"), &path("a.csv")));
        assert!(are_one(Path::new("a"), Path::new("./a")));
        assert!(!are_one(&path("a.csv"), &path("b/a.csv")));
        // Two streams into one are no files.
        assert!(!are_one(Path::new("/dev/null"), Path::new("/dev/null")));
    }

    #[cfg(unix)]
    #[test]
    fn links_stay_and_what_they_name_is_written() {
        use std::os::unix::fs::symlink;
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::create_dir(path("far")).unwrap();
        symlink("b", path("a")).unwrap();
        symlink("far/c.txt", path("b")).unwrap();
        for text in [b"new", b"old"] {
            // At first what the links name is not there yet.
            check(&path("a")).unwrap();
            write_bytes(&path("a"), text).unwrap();
            assert_eq!(fs::read(path("far/c.txt")).unwrap(), text);
            assert!(path("a").is_symlink() && path("b").is_symlink());
        }
        fs::write(path("far/.c.txt.abcdef.tmp"), b"").unwrap();
        remove_remains(&path("a"));
        assert_eq!(fs::read_dir(path("far")).unwrap().count(), 1);
        symlink("e", path("d")).unwrap();
        symlink("d", path("e")).unwrap();
        let complaint = write_bytes(&path("d"), b"").unwrap_err().to_string();
        assert!(complaint.ends_with("d: its links lead to no end"), "{complaint}");
    }

    #[cfg(unix)]
    #[test]
    fn permissions_stay_as_they_were() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        write_bytes(&path, b"old").unwrap();
        for mode in [0o600, 0o640, 0o755] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            write_bytes(&path, b"new").unwrap();
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, mode);
        }
    }

    // Root may read it all the same.
    #[cfg(unix)]
    #[test]
    fn a_directory_that_cannot_be_opened_is_written_in() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o333)).unwrap();
        let written = write_bytes(&folder.path().join("a.txt"), b"new");
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        written.unwrap();
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
