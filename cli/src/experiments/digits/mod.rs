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

#[cfg(test)]
mod tests {
    use super::*;

    // Of equal classes scatter alone is left, and of endless samples what the data's shares leave: v ∝ π w, by hand.
    #[test]
    fn exact_samples_have_a_distance_of_their_own() {
        let scatter = (wanted().iter().map(|w| w * (1.0 - w)).sum::<f64>() / 1024.0).sqrt();
        assert!((l2_floor(1024, &[0.1; 10]) - scatter).abs() < 1e-15);
        // π of the nines is twice the others': v = 0.1, 0.1, 0.2, 0.2, 0.8 over 1.4.
        let mut shares = [1.0 / 11.0; 10];
        shares[9] = 2.0 / 11.0;
        let apart = (2.0 * (0.1_f64 / 1.4 - 0.1).powi(2) + 2.0 * (0.2_f64 / 1.4 - 0.2).powi(2) + (0.8_f64 / 1.4 - 0.4).powi(2)).sqrt();
        assert!((l2_floor(usize::MAX, &shares) - apart).abs() < 1e-9);
    }
}
