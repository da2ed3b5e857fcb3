//! The limits of one execution: 4 × input + 64 MiB of memory, and one second of processor time.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// The system's allocator, which counts.
pub struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);
/// What may be live; no limit between executions.
static LIMIT: AtomicUsize = AtomicUsize::new(usize::MAX);

/// What was asked for has come to `place`; what the system refused takes nothing.
fn taken(place: *mut u8, bytes: usize) -> *mut u8 {
    if !place.is_null() && LIVE.fetch_add(bytes, Relaxed) + bytes > LIMIT.load(Relaxed) {
        // Printing allocates; an allocator must not unwind.
        LIMIT.store(usize::MAX, Relaxed);
        eprintln!("more memory than 4 x input + 64 MiB: {bytes} bytes more");
        std::process::abort();
    }
    place
}

// SAFETY: every call is passed on unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as the caller promises.
        taken(unsafe { System.alloc(layout) }, layout.size())
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as the caller promises.
        taken(unsafe { System.alloc_zeroed(layout) }, layout.size())
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: as the caller promises.
        let moved = taken(unsafe { System.realloc(place, layout, size) }, size);
        if !moved.is_null() {
            LIVE.fetch_sub(layout.size(), Relaxed);
        }
        moved
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(place, layout) }
    }
}

/// Runs `work` on an input of `length` bytes.
///
/// # Panics
/// If it takes more than it may.
pub fn within(length: usize, work: impl FnOnce()) {
    let start = processor_seconds();
    LIMIT.store(LIVE.load(Relaxed) + 4 * length + (64 << 20), Relaxed);
    work();
    LIMIT.store(usize::MAX, Relaxed);
    let seconds = processor_seconds() - start;
    assert!(seconds <= 1.0, "{seconds} seconds of processor time");
}

/// The processor time of this thread, which does not depend on what else the machine does.
fn processor_seconds() -> f64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is there to be written.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    time.tv_sec as f64 + 1e-9 * time.tv_nsec as f64
}
