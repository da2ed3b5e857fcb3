//! What the tests of this crate share.
#![allow(dead_code)] // Each test file uses its own part.
#![allow(clippy::unwrap_used)] // Helpers of tests are tests.

use mfm_core::Noise;
use mfm_core::interpolant::{Interpolant, Linear, Trigonometric, VariancePreserving};
use mfm_toy2d::{GaussianMixture, QuadraticReward};

pub const PATHS: [&dyn Interpolant; 3] = [&Linear, &Trigonometric, &VariancePreserving];

pub fn normals(n: usize, seed: u64) -> Vec<f64> {
    let mut out = vec![0.0; n];
    Noise::new(seed).fill_normal(&mut out);
    out
}

/// Random weights, means of deviation 1.5 and full covariances with eigenvalues between about .2 and 2.
pub fn random_mixture(dimension: usize, components: usize, seed: u64) -> GaussianMixture {
    let d = dimension;
    let weights: Vec<f64> = normals(components, seed).iter().map(|z| (0.5 * z).exp()).collect();
    let means: Vec<f64> = normals(components * d, seed + 1000).iter().map(|z| 1.5 * z).collect();
    let covariances: Vec<f64> = (0..components).flat_map(|k| positive_matrix(d, seed + 2000 + k as u64, 0.2)).collect();
    GaussianMixture::from_parts(d, &weights, &means, &covariances).unwrap()
}

/// W Wᵀ/(2d) + floor I.
pub fn positive_matrix(d: usize, seed: u64, floor: f64) -> Vec<f64> {
    let w = normals(d * d, seed);
    let entry = |i: usize, j: usize| {
        let product: f64 = (0..d).map(|k| w[i * d + k] * w[j * d + k]).sum();
        product / (2 * d) as f64 + if i == j { floor } else { 0.0 }
    };
    (0..d * d).map(|n| entry(n / d, n % d)).collect()
}

/// A full curvature, a slope and an offset.
pub fn random_reward(dimension: usize, seed: u64) -> QuadraticReward {
    QuadraticReward::new(&positive_matrix(dimension, seed, 0.1), &normals(dimension, seed + 1), 0.3).unwrap()
}

/// A state that is likely at time t.
pub fn random_state(mixture: &GaussianMixture, path: &dyn Interpolant, t: f64, seed: u64) -> Vec<f64> {
    let at = path.coefficients(t);
    let clean = mixture.sample(1, &Noise::new(seed)).unwrap();
    normals(mixture.dimension(), seed + 1).iter().zip(clean).map(|(e, x)| at.alpha * e + at.beta * x).collect()
}

/// ∂f_i/∂x_j, row-major, by central differences of fourth order: truncation h⁴, rounding 1e-16/h.
pub fn finite_differences(f: impl Fn(&[f64]) -> Vec<f64>, x: &[f64], step: f64) -> Vec<f64> {
    let columns: Vec<Vec<f64>> = (0..x.len())
        .map(|j| {
            let shifted = |h: f64| {
                let mut x = x.to_vec();
                x[j] += h;
                f(&x)
            };
            let (a, b, c, d) = (shifted(-2.0 * step), shifted(-step), shifted(step), shifted(2.0 * step));
            (0..a.len()).map(|i| (a[i] - 8.0 * b[i] + 8.0 * c[i] - d[i]) / (12.0 * step)).collect()
        })
        .collect();
    let rows = columns.first().map_or(0, Vec::len);
    (0..rows).flat_map(|i| columns.iter().map(move |column| column[i])).collect()
}

/// Checks that two lists agree to `tolerance` of the larger one's largest entry, or of one.
#[track_caller]
pub fn assert_close(found: &[f64], expected: &[f64], tolerance: f64, context: &str) {
    assert_eq!(found.len(), expected.len(), "{context}");
    let scale = expected.iter().fold(1.0, |a: f64, v| a.max(v.abs()));
    for (a, b) in found.iter().zip(expected) {
        assert!((a - b).abs() <= tolerance * scale, "{context}: {found:?} against {expected:?}, off by {:e}", (a - b).abs() / scale);
    }
}

/// Checks that the mean and second moments of samples, n × d, lie within four standard errors of a law's.
#[track_caller]
pub fn assert_moments(samples: &[f64], law: &GaussianMixture) {
    let d = law.dimension();
    let (mean, covariance) = (law.mean(), law.covariance());
    let n = (samples.len() / d) as f64;
    let check = |expected: f64, term: &dyn Fn(&[f64]) -> f64| {
        let found = samples.chunks_exact(d).map(term).sum::<f64>() / n;
        let variance = samples.chunks_exact(d).map(|x| (term(x) - found).powi(2)).sum::<f64>() / n;
        let error = (variance / n).sqrt();
        assert!((found - expected).abs() < 4.0 * error, "{found} against {expected}, standard error {error}");
    };
    for i in 0..d {
        check(mean[i], &|x| x[i]);
        for j in 0..=i {
            check(covariance[i * d + j], &|x| (x[i] - mean[i]) * (x[j] - mean[j]));
        }
    }
}
