//! The context that is current on a thread, which the driver keeps for each: the caller's, and this library's.

use crate::failure::{check, check_raw};
use core::cell::Cell;
use core::ptr::null_mut;
use cust::context::{Context, CurrentContext};
use cust::sys;
use mfm_core::Result;

thread_local! {
    static SCOPE: Cell<Scope> = const { Cell::new(Scope::None) };
}

#[derive(Clone, Copy)]
enum Scope {
    /// Nobody asked for what was current.
    None,
    /// It is still current.
    Begun,
    /// It was this; null for none.
    Left(sys::CUcontext),
}

/// While it lives, work of this thread may make a device's context the current one; when it is dropped, that is current which was so before. Without one, the context
/// of the device that was used last stays current. It costs nothing before the thread uses a GPU.
#[derive(Debug)]
pub struct CallersContext {
    outer: Outer,
}

impl CallersContext {
    /// Remembers what is current on this thread once that changes.
    pub fn keep() -> Self {
        Self { outer: Outer(SCOPE.replace(Scope::Begun)) }
    }

    /// Makes current what was so when the innermost of this thread's was made, as for a call back to where it came from.
    pub fn restore() {
        if let Scope::Left(context) = SCOPE.get() {
            SCOPE.set(Scope::Begun);
            // SAFETY: a context that was current, or null. Of one that was destroyed meanwhile the driver says so, and there is nobody to tell.
            let _ = unsafe { sys::cuCtxSetCurrent(context) };
        }
    }
}

impl Drop for CallersContext {
    fn drop(&mut self) {
        Self::restore();
        SCOPE.set(self.outer.0);
    }
}

/// The scope around this one.
struct Outer(Scope);

impl core::fmt::Debug for Outer {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("..")
    }
}

/// Makes a device's context the current one.
pub(crate) fn make_current(op: &'static str, context: &Context) -> Result<()> {
    remember(op)?;
    check(op, CurrentContext::set_current(context))
}

/// Remembers what is current, before that changes.
pub(crate) fn remember(op: &'static str) -> Result<()> {
    if let Scope::Begun = SCOPE.get() {
        SCOPE.set(Scope::Left(current(op)?));
    }
    Ok(())
}

/// The current context; null for none.
pub(crate) fn current(op: &'static str) -> Result<sys::CUcontext> {
    let mut context = null_mut();
    // SAFETY: writes a handle.
    check_raw(op, unsafe { sys::cuCtxGetCurrent(&raw mut context) }).map(|()| context)
}
