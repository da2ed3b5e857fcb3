//! Experiments on handwritten digits: steering to a mixture of their classes, judged by a classifier that the reward does not use.

mod data;
mod distortion;
mod models;
mod pictures;
mod steered;

pub use data::Digits;
pub use models::{Experts, Schooling, unlabelled};
pub use pictures::{classes, posteriors, samples, steered, values};
pub use steered::{Row, Run, run, run_all, table};

/// The wanted share of each class, before normalisation: exp r(x) = Σ wᵢ p(yᵢ | x).
pub const WANTED: [f64; 10] = [0.0, 1.0, 0.0, 1.0, 0.0, 2.0, 0.0, 2.0, 0.0, 4.0];

/// The wanted share of each class.
pub fn wanted() -> [f64; 10] {
    let total: f64 = WANTED.iter().sum();
    WANTED.map(|w| w / total)
}

/// The share of each class among samples of these classes, each of which counts its weight.
pub fn shares(classes: &[usize], weights: &[f64]) -> [f64; 10] {
    let total: f64 = weights.iter().sum();
    let mut shares = [0.0; 10];
    for (class, weight) in classes.iter().zip(weights) {
        shares[*class] += weight / total;
    }
    shares
}

/// The L2 distance of such shares to the wanted ones.
pub fn l2(shares: &[f64; 10]) -> f64 {
    shares.iter().zip(wanted()).map(|(share, w)| (share - w) * (share - w)).sum::<f64>().sqrt()
}

/// The L2 distance to the wanted shares w that `n` exact samples would have, as a root of its mean square: √(Σ (v − w)² + Σ v(1 − v)/n). Classes that have the shares π in the
/// data have v ∝ π w under exp r.
pub fn l2_floor(n: usize, data: &[f64; 10]) -> f64 {
    let total: f64 = data.iter().zip(wanted()).map(|(share, w)| share * w).sum();
    let term = |(share, w): (&f64, f64)| {
        let exact = share * w / total;
        (exact - w).powi(2) + exact * (1.0 - exact) / n as f64
    };
    data.iter().zip(wanted()).map(term).sum::<f64>().sqrt()
}
