//! Files that are written whole or not at all: a crash leaves the old one or the new one, never half of either.

use alloc::format;
use alloc::string::String;
use std::fs::{self, File};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// Writes a file by `write`: under a temporary name in the same folder, synced, then renamed over `path`, and the folder synced. A link stays a link: the file
/// that it names is written. The permissions of a file that was there stay, too, and its owner where the system allows it; other hard links to it keep the old one.
///
/// # Errors
/// Those of `write` and of the system; also where links lead to no end, or a rename would replace what is no plain file, or one that is read-only. What is at
/// `path` is then as it was, and the temporary file is removed. If only the folder could not be synced, the new file is there already.
pub fn write(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let target = followed(path, |_| false).ok_or_else(|| io::Error::other("its links lead to no end"))?;
    let old = match fs::metadata(&target) {
        Ok(old) if !old.is_file() => return Err(io::Error::other("this is no plain file")),
        Ok(old) if old.permissions().readonly() => return Err(io::Error::other("the file is read-only")),
        old => old.ok(),
    };
    let (file, temporary) = create_beside(&target)?;
    let written = fill(file, old, write).and_then(|()| fs::rename(&temporary, &target));
    if written.is_err() {
        // The first error is the one to tell.
        let _ = fs::remove_file(&temporary);
    }
    written.and_then(|()| sync(folder(&target)))
}

/// Removes what writers of `path` that were killed left beside it. One that is still at work then fails.
pub fn remove_remains(path: &Path) {
    let Some(target) = followed(path, |_| false) else { return };
    let (prefix, Ok(entries)) = (prefix(&target), fs::read_dir(folder(&target))) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.len() == prefix.len() + RANDOM + SUFFIX.len() && name.starts_with(&prefix) && name.ends_with(SUFFIX) {
            // What cannot be removed does no harm.
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// More links one after another than any system follows.
const MOST_LINKS: usize = 64;

/// Where the links at `path` lead, be anything there or not; one that `stays` is not followed. `None` if they never end.
pub fn followed(path: &Path, stays: impl Fn(&Path) -> bool) -> Option<PathBuf> {
    let mut path = path.to_path_buf();
    for _ in 0..MOST_LINKS {
        match fs::read_link(&path) {
            Ok(next) if !stays(&path) => path = folder(&path).join(next),
            _ => return Some(path),
        }
    }
    None
}

/// The folder of a file.
pub fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The name of a temporary file is that of its target (if not too long) between a dot and so many random letters, and this.
const SUFFIX: &str = ".tmp";
const RANDOM: usize = 6;

/// What the names of temporary files for `target` begin with.
fn prefix(target: &Path) -> String {
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    format!(".{}.", name.chars().take(48).collect::<String>())
}

/// A new file in the folder of `target`, under a name that nobody has.
fn create_beside(target: &Path) -> io::Result<(File, PathBuf)> {
    let prefix = prefix(target);
    let mut attempts = 0;
    loop {
        let random = RandomState::new().hash_one(attempts) % (1 << (4 * RANDOM));
        let temporary = folder(target).join(format!("{prefix}{random:0RANDOM$x}{SUFFIX}"));
        match File::create_new(&temporary) {
            Ok(file) => return Ok((file, temporary)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && attempts < 1000 => attempts += 1,
            Err(error) => return Err(error),
        }
    }
}

/// Writes a new file to its end, and to the disk.
fn fill(file: File, old: Option<fs::Metadata>, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    #[cfg(unix)]
    if let Some(old) = old {
        use std::os::unix::fs::{MetadataExt, fchown};
        // Not even asked for where they are the same, since not every file system can change them.
        let new = file.metadata()?;
        if (new.uid(), new.gid()) != (old.uid(), old.gid()) {
            // Only root may give a file away.
            let _ = fchown(&file, Some(old.uid()), Some(old.gid()));
        }
        if file.metadata()?.permissions() != old.permissions() {
            file.set_permissions(old.permissions())?;
        }
    }
    #[cfg(not(unix))]
    let _ = old;
    let mut file = BufWriter::new(file);
    write(&mut file)?;
    file.into_inner()?.sync_all()
}

/// Makes a new name in a folder durable, where the system lets it be opened and synced.
fn sync(folder: &Path) -> io::Result<()> {
    if !cfg!(unix) {
        return Ok(());
    }
    use io::ErrorKind::{InvalidInput, PermissionDenied, Unsupported};
    match File::open(folder).and_then(|folder| folder.sync_all()) {
        Err(error) if !matches!(error.kind(), InvalidInput | PermissionDenied | Unsupported) => {
            Err(io::Error::other(format!("it is there, but its folder could not be synced: {error}")))
        }
        _ => Ok(()),
    }
}
