//! A shared library that may be absent.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether the environment has no say.
static IGNORED: AtomicBool = AtomicBool::new(false);

/// From now on no library is looked for in environment variables: for hosts whose environment is not to be read.
pub fn ignore_environment() {
    IGNORED.store(true, Ordering::Relaxed);
}

/// A shared library, opened at its first use and never closed.
#[derive(Debug)]
pub struct Library {
    variable: &'static str,
    names: &'static [&'static str],
    /// Whether the names end with the release of CUDA that they are of.
    has_releases: bool,
    chosen: OnceLock<PathBuf>,
    opened: OnceLock<Result<(libloading::Library, OsString), String>>,
}

impl Library {
    /// The first library that can be opened: the one in the environment variable alone, if it is set; else those of these names.
    pub(crate) const fn new(variable: &'static str, names: &'static [&'static str]) -> Self {
        Self { variable, names, has_releases: false, chosen: OnceLock::new(), opened: OnceLock::new() }
    }

    /// As [`new`](Self::new), of names that end with a release of CUDA: those that are newer than the driver, under which they may load and then fail, come last.
    pub(crate) const fn of_releases(variable: &'static str, names: &'static [&'static str]) -> Self {
        let mut library = Self::new(variable, names);
        library.has_releases = true;
        library
    }

    /// Takes the library at `path` and no other. False if one was chosen or opened before.
    pub fn choose(&self, path: impl Into<PathBuf>) -> bool {
        self.opened.get().is_none() && self.chosen.set(path.into()).is_ok()
    }

    /// The library.
    ///
    /// # Errors
    /// Why it cannot be opened.
    pub fn library(&self) -> Result<&libloading::Library, &str> {
        self.open().map(|(library, _)| library)
    }

    /// The name under which the library was found.
    ///
    /// # Errors
    /// Why it cannot be opened.
    pub fn name(&self) -> Result<String, &str> {
        self.open().map(|(_, name)| name.to_string_lossy().into_owned())
    }

    fn named(&self) -> Option<OsString> {
        if IGNORED.load(Ordering::Relaxed) { None } else { std::env::var_os(self.variable) }
    }

    fn open(&self) -> Result<(&libloading::Library, &OsString), &str> {
        let opened = self.opened.get_or_init(|| {
            let one = self.chosen.get().map(|path| path.clone().into_os_string()).or_else(|| self.named());
            let names = match one {
                Some(name) => vec![name],
                None if self.has_releases => in_order(self.names, crate::driver_release()).into_iter().map(OsString::from).collect(),
                None => self.names.iter().map(OsString::from).collect(),
            };
            let mut reasons = Vec::new();
            for name in names {
                // SAFETY: NVIDIA's libraries (or one that the user put in their place) may be loaded anywhere.
                match unsafe { libloading::Library::new(&name) } {
                    Ok(library) => return Ok((library, name)),
                    Err(error) => reasons.push(error.to_string()),
                }
            }
            Err(reasons.join("; "))
        });
        opened.as_ref().map(|(library, name)| (library, name)).map_err(String::as_str)
    }

    /// The function `name`, if the library is there and has it.
    ///
    /// # Safety
    /// `F` is the type of a pointer to that function.
    pub unsafe fn function<F: Copy + 'static>(&self, name: &str) -> Option<F> {
        // SAFETY: the caller knows the type.
        unsafe { self.library().ok()?.get::<F>(name.as_bytes()) }.ok().map(|symbol| *symbol)
    }
}

/// Names that end with a release of CUDA, those last that are newer than the driver's.
fn in_order(names: &[&'static str], driver: Option<i32>) -> Vec<&'static str> {
    let release = |name: &str| name.rsplit('.').next().and_then(|end| end.parse().ok());
    let mut names = names.to_vec();
    names.sort_by_key(|name| driver.is_some_and(|driver| release(name).is_some_and(|release: i32| release > driver)));
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_release_before_the_drivers() {
        let order = |driver| in_order(&["libx.so.13", "libx.so.12"], driver);
        assert_eq!(order(Some(12)), ["libx.so.12", "libx.so.13"]);
        for driver in [None, Some(13), Some(14)] {
            assert_eq!(order(driver), ["libx.so.13", "libx.so.12"]);
        }
    }
}
