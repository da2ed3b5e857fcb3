//! The subcommands that show the method, on digits and on mixtures in the plane.

pub mod demo;
mod digits;
pub mod mnist;
pub mod toy2d;
