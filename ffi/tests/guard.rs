//! Panics end at the boundary.
#![allow(clippy::panic)]

use mfm_ffi::failure::Code;
use mfm_ffi::guard::guard;

#[test]
fn a_panic_becomes_an_error() {
    for step in [3, 4] {
        let failure = guard::<()>(|| panic!("at step {step}")).unwrap_err();
        assert_eq!(failure.code, Code::Internal);
        assert!(failure.message.ends_with(&format!("at step {step}")), "{failure}");
        assert_eq!(guard(|| Ok(1)), Ok(1));
    }
}
