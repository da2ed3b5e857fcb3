//! What a call leaves as it was: no panic leaves the library (it becomes an error with its message, and nothing is printed), and the host's CUDA context stays current.

use crate::failure::{Code, Failure, Result};
use mfm_gpu_cuda::CallersContext;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;

thread_local! {
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// Runs the body of a call.
///
/// # Errors
/// Those of the body; [`Code::Internal`] for a panic.
pub fn guard<T>(body: impl FnOnce() -> Result<T>) -> Result<T> {
    silence();
    let before = INSIDE.replace(true);
    let _callers = CallersContext::keep();
    // A call borrows models, which are immutable, and devices, whose state is whole at every point at which it can be seen.
    let result = catch_unwind(AssertUnwindSafe(body));
    INSIDE.set(before);
    result.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
        Err(Failure::new(
            Code::Internal,
            format!("a bug in the library, please report it: {}", text.unwrap_or("a panic without a message")),
        ))
    })
}

/// Calls a function of the host's: a panic there is not ours to silence, though it ends the process at the host's own boundary.
pub fn outside<T>(call: impl FnOnce() -> T) -> T {
    struct Back(bool);
    impl Drop for Back {
        fn drop(&mut self) {
            INSIDE.set(self.0);
        }
    }
    let _back = Back(INSIDE.replace(false));
    CallersContext::restore();
    call()
}

/// Panics inside the library say nothing on standard error; those of a host that is itself written in Rust go where they always went.
fn silence() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = take_hook();
        set_hook(Box::new(move |info| {
            let ours = INSIDE.get() || std::thread::current().name().is_some_and(|name| name.starts_with("mfm-"));
            if !ours {
                before(info);
            }
        }));
    });
}
