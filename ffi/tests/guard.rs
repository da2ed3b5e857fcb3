//! Panics end at the boundary.
#![allow(clippy::panic)]

use mfm_ffi::failure::Code;
use mfm_ffi::guard::{guard, outside};
use std::cell::Cell;
use std::panic::{catch_unwind, set_hook};
use std::sync::Once;

thread_local! {
    /// Panics of this thread that said something.
    static HEARD: Cell<u32> = const { Cell::new(0) };
}

/// A hook as a host has it, from before the first call.
fn listen() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| set_hook(Box::new(|_| HEARD.set(HEARD.get() + 1))));
}

#[test]
fn a_panic_becomes_an_error() {
    listen();
    for step in [3, 4] {
        let failure = guard::<()>(|| panic!("at step {step}")).unwrap_err();
        assert_eq!(failure.code, Code::Internal);
        assert!(failure.message.ends_with(&format!("at step {step}")), "{failure}");
        assert_eq!(guard(|| Ok(1)), Ok(1));
    }
    assert_eq!(HEARD.get(), 0);
}

#[test]
fn a_panic_of_the_host_s_is_heard() {
    listen();
    let hears = |expected: u32, body: &dyn Fn()| {
        let _ = guard::<()>(|| {
            body();
            Ok(())
        });
        assert_eq!(HEARD.get(), expected);
    };
    hears(1, &|| outside(|| panic!("in a callback")));
    // Inside again after it, however it ended, and in a call that a callback makes.
    hears(1, &|| {
        outside(|| ());
        panic!("of ours");
    });
    hears(2, &|| {
        assert!(catch_unwind(|| outside(|| panic!("in a callback"))).is_err());
        panic!("of ours");
    });
    hears(2, &|| {
        outside(|| assert!(guard::<()>(|| panic!("in a call of a callback's")).is_err()));
    });
    assert!(catch_unwind(|| panic!("after all of it")).is_err());
    assert_eq!(HEARD.get(), 3);
}
