//! Samples of Gaussians and mixtures, and the laws of inverse problems.
#![allow(clippy::unwrap_used)] // Helpers of tests are tests.

mod common;

use common::{assert_close, assert_moments, random_mixture};
use mfm_core::Noise;
use mfm_toy2d::{Axes, GaussianMixture, InverseProblemSpec, tilt};

// 40,000 samples: means and covariances within four standard errors.
#[test]
fn samples_have_the_mixtures_moments() {
    for mixture in [GaussianMixture::paper(), random_mixture(3, 4, 1), random_mixture(5, 2, 2)] {
        assert_moments(&mixture.sample(40_000, &Noise::new(3)).unwrap(), &mixture);
        let gaussian = &mixture.components()[0];
        let alone = GaussianMixture::new(&[1.0], vec![gaussian.clone()]).unwrap();
        assert_moments(&gaussian.sample(40_000, &Noise::new(4)).unwrap(), &alone);
    }
}

// The share of every component, within four standard errors of a binomial.
#[test]
fn samples_have_the_components_weights() {
    let weights = [0.1, 0.6, 0.3];
    let mixture = GaussianMixture::from_parts(1, &weights, &[-10.0, 0.0, 10.0], &[1.0; 3]).unwrap();
    let samples = mixture.sample(20_000, &Noise::new(5)).unwrap();
    for (centre, weight) in [-10.0, 0.0, 10.0].into_iter().zip(weights) {
        let share = samples.iter().filter(|x| (**x - centre).abs() < 5.0).count() as f64 / 20_000.0;
        assert!((share - weight).abs() < 4.0 * (weight * (1.0 - weight) / 20_000.0).sqrt(), "{share} against {weight}");
    }
}

#[test]
fn a_sample_depends_on_its_place_alone() {
    let mixture = random_mixture(3, 4, 1);
    let (few, many) = (mixture.sample(7, &Noise::new(6)).unwrap(), mixture.sample(1000, &Noise::new(6)).unwrap());
    assert_eq!(few, many[..21]);
    assert!(mixture.sample(0, &Noise::new(6)).unwrap().is_empty());
}

// Rounding.
#[test]
fn principal_axes_are_orthonormal_and_ordered() {
    let root = 0.5f64.sqrt();
    assert_close(&Axes::principal(&GaussianMixture::paper()).rows()[..2], &[root, root], 1e-14, "along the means");
    for mixture in [random_mixture(4, 3, 7), random_mixture(4, 1, 8)] {
        let axes = Axes::principal(&mixture);
        let rows: Vec<&[f64]> = axes.rows().chunks_exact(4).collect();
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f64>();
        for (i, a) in rows.iter().enumerate() {
            for (j, b) in rows.iter().enumerate() {
                assert!((dot(a, b) - f64::from(i == j)).abs() < 1e-14);
            }
        }
        // One Gaussian: the axes diagonalise its covariance.
        if mixture.components().len() == 1 {
            let covariance = mixture.covariance();
            let image: Vec<f64> = covariance.chunks_exact(4).map(|row| dot(row, rows[0])).collect();
            assert!(dot(&image, rows[1]).abs() < 1e-13);
        }
    }
}

// y − A x is σ ε: its 200 squares average to σ² within four standard errors (√(2/200) each).
#[test]
fn an_observation_is_of_the_truth() {
    let spec = InverseProblemSpec { dimension: 20, observations: 200, sigma: 0.5, components: 2, seed: 9 };
    let problem = spec.generate().unwrap();
    let mut value = [0.0];
    problem.reward.value(&problem.truth, &mut value).unwrap();
    assert!((-2.0 * value[0] / 200.0 - 1.0).abs() < 4.0 * 0.1);
    let entries: f64 = problem.operator.iter().map(|a| a * a).sum::<f64>() / 200.0;
    assert!((entries - 1.0).abs() < 4.0 * (2.0f64 / 4000.0).sqrt());
    let other = InverseProblemSpec { seed: 10, ..spec }.generate().unwrap();
    assert_ne!(other.observed, problem.observed);
    // The target is closer to the truth than the prior is.
    let distance = |law: &GaussianMixture| law.mean().iter().zip(&problem.truth).map(|(a, b)| (a - b) * (a - b)).sum::<f64>();
    assert!(distance(&tilt(&problem.prior, &problem.reward).unwrap().mixture) < distance(&problem.prior));
}
