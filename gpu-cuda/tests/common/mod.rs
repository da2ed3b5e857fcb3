//! What tests of the emulated driver share.

use mfm_core::Shape;
use mfm_cuda_emulator::{Machine, configure, install};
use std::io::Write;
use std::sync::{Mutex, MutexGuard, PoisonError};

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// The emulated driver, whole, for one test at a time, which may break it or count what it does; `None`, said aloud, where there is none.
pub fn alone() -> Option<MutexGuard<'static, ()>> {
    let guard = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    if let Err(reason) = install() {
        let _ = writeln!(std::io::stderr().lock(), "NOT TESTED: the emulated CUDA device: {reason}");
        return None;
    }
    configure(Machine::default());
    Some(guard)
}

pub fn shape(axes: &[usize]) -> Shape {
    Shape::new(axes).unwrap()
}
