//! Objectives: zero at the exact map, and everywhere what a calculation by hand says, values and gradients.

mod by_hand;
mod consistent;
mod fine_tuning;
mod gaussian_map;
mod learned;
mod paths;
mod reflow;
#[path = "../support/mod.rs"]
mod support;
