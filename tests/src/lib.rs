//! The tests that span crates: the conformance suite that every backend must pass, and the laws that every Meta Flow Map must obey.

pub mod conformance;
pub mod laws;

use std::fmt::Display;
use std::io::Write;

/// Says on the terminal that something was not tested, and why: past the test harness, which hides what passing tests print, and in one piece, since
/// other tests write beside it.
pub fn not_tested(what: &str, why: impl Display) {
    // Where there is no terminal, nobody could be told.
    let _ = std::io::stderr().write_all(format!("NOT TESTED: {what}: {why}\n").as_bytes());
}

/// The example in the README, as a test.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub struct Readme;
