//! What Meta Flow Maps are compared with.

mod best_of;
mod sequential_monte_carlo;

pub use best_of::best_of;
pub use sequential_monte_carlo::{Generation, Potential, SequentialMonteCarlo};
