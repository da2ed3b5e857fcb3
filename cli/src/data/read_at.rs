//! Bytes that can be read from any place: of files, of which only so many are open at once, or in memory.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt::Debug;
use std::fs::{File, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::SystemTime;

/// As many files stay open: half of what a process may have where that is least.
const OPEN_AT_ONCE: usize = 128;

/// Bytes that can be read from any place.
pub trait ReadAt: Debug {
    /// How many there are.
    ///
    /// # Errors
    /// The system's.
    fn length(&self) -> io::Result<u64>;

    /// Fills `bytes` from `offset` on.
    ///
    /// # Errors
    /// The system's; [`io::ErrorKind::UnexpectedEof`] if there are not enough.
    fn fill(&self, bytes: &mut [u8], offset: u64) -> io::Result<()>;
}

impl ReadAt for Vec<u8> {
    fn length(&self) -> io::Result<u64> {
        Ok(self.len() as u64)
    }

    fn fill(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let found = self.get(start..).and_then(|rest| rest.get(..bytes.len())).ok_or(io::ErrorKind::UnexpectedEof)?;
        bytes.copy_from_slice(found);
        Ok(())
    }
}

/// Any number of files, of which those read last are open.
#[derive(Clone, Debug)]
pub(super) struct OpenFiles {
    /// By their numbers, from the one that was read longest ago.
    open: Rc<RefCell<VecDeque<(usize, File)>>>,
    known: Rc<Cell<usize>>,
    at_once: usize,
}

impl Default for OpenFiles {
    fn default() -> Self {
        Self::new(OPEN_AT_ONCE)
    }
}

impl OpenFiles {
    fn new(at_once: usize) -> Self {
        Self { open: Rc::default(), known: Rc::default(), at_once }
    }

    /// A further file, which must not change from now on.
    ///
    /// # Errors
    /// The system's.
    pub fn file(&self, path: &Path) -> io::Result<OneOfMany> {
        let mut file = OneOfMany { number: self.known.get(), path: path.to_owned(), state: None, files: self.clone() };
        self.known.set(file.number + 1);
        file.state = Some(file.with(|open| open.metadata().map(|metadata| state(&metadata)))?);
        Ok(file)
    }
}

/// A file that is opened again for reading if it had to be closed meanwhile.
#[derive(Debug)]
pub(super) struct OneOfMany {
    number: usize,
    path: PathBuf,
    /// Its length, and when it was last written to, when it was first opened.
    state: Option<(u64, Option<SystemTime>)>,
    files: OpenFiles,
}

fn state(metadata: &Metadata) -> (u64, Option<SystemTime>) {
    (metadata.len(), metadata.modified().ok())
}

impl OneOfMany {
    fn with<R>(&self, read: impl FnOnce(&File) -> io::Result<R>) -> io::Result<R> {
        let mut open = self.files.open.borrow_mut();
        let place = open.iter().rposition(|(number, _)| *number == self.number);
        let file = match place.and_then(|place| open.remove(place)) {
            Some((_, file)) => file,
            None => {
                while open.len() >= self.files.at_once {
                    open.pop_front();
                }
                self.reopen()?
            }
        };
        let result = read(&file);
        open.push_back((self.number, file));
        result
    }

    fn reopen(&self) -> io::Result<File> {
        let file = File::open(&self.path)?;
        match &self.state {
            Some(before) if state(&file.metadata()?) != *before => Err(io::Error::other("it has changed since the start")),
            _ => Ok(file),
        }
    }
}

impl ReadAt for OneOfMany {
    fn length(&self) -> io::Result<u64> {
        self.with(|file| Ok(file.metadata()?.len()))
    }

    #[cfg(unix)]
    fn fill(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        self.with(|file| std::os::unix::fs::FileExt::read_exact_at(file, bytes, offset))
    }

    #[cfg(not(unix))]
    fn fill(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        use io::{Read, Seek};
        self.with(|mut file| {
            file.seek(io::SeekFrom::Start(offset))?;
            file.read_exact(bytes)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn files_that_were_closed_are_read_all_the_same_unless_they_have_changed() {
        let folder = tempfile::tempdir().unwrap();
        let paths: Vec<PathBuf> = (0..5).map(|i| folder.path().join(i.to_string())).collect();
        for (i, path) in paths.iter().enumerate() {
            fs::write(path, [i as u8; 9]).unwrap();
        }
        let set = OpenFiles::new(2);
        let files: Vec<OneOfMany> = paths.iter().map(|path| set.file(path).unwrap()).collect();
        let read = |i: usize| {
            let mut bytes = [0; 4];
            files[i].fill(&mut bytes, 5).map(|()| bytes)
        };
        for i in [0, 1, 2, 1, 4, 3, 0, 0, 2] {
            assert_eq!(read(i).unwrap(), [i as u8; 4]);
            let open: Vec<usize> = set.open.borrow().iter().map(|(number, _)| *number).collect();
            assert!(open.len() == 2 && open[1] == i, "{open:?} after {i}");
        }
        fs::write(&paths[1], [7; 10]).unwrap();
        assert_eq!(read(1).unwrap_err().to_string(), "it has changed since the start");
        fs::remove_file(&paths[4]).unwrap();
        assert_eq!(read(4).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!((read(3).unwrap(), files[3].length().unwrap()), ([3; 4], 9));
        assert_eq!(files[3].fill(&mut [0; 4], 6).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
