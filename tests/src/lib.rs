//! The tests that span crates: the conformance suite that every backend must pass, and the laws that every Meta Flow Map must obey.

pub mod conformance;
pub mod laws;

/// The example in the README, as a test.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub struct Readme;
