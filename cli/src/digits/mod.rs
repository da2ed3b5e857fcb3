//! Experiments on handwritten digits: steering to a mixture of their classes, judged by a classifier that the reward does not use.

mod data;
mod models;
mod pictures;
mod steered;

pub use data::Digits;
pub use models::{Experts, train, unlabelled};
pub use pictures::{classes, posteriors, samples, steered, values};
pub use steered::{Row, Run, run, run_all, table};

/// The wanted share of each class, before normalisation: exp r(x) = Σ wᵢ p(yᵢ | x).
pub const WANTED: [f64; 10] = [0.0, 1.0, 0.0, 1.0, 0.0, 2.0, 0.0, 2.0, 0.0, 4.0];

/// The wanted share of each class.
pub fn wanted() -> [f64; 10] {
    let total: f64 = WANTED.iter().sum();
    WANTED.map(|w| w / total)
}

/// √(Σ w(1−w)/n): the L2 distance to the wanted shares that `n` exact samples would have on average.
pub fn l2_floor(n: usize) -> f64 {
    (wanted().iter().map(|w| w * (1.0 - w)).sum::<f64>() / n as f64).sqrt()
}
