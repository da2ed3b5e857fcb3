//! The value function, its gradient, and the tilted target.
#![allow(clippy::unwrap_used)] // Helpers of tests are tests.

mod common;

use common::{PATHS, assert_close, finite_differences, normals, random_mixture, random_reward, random_state};
use mfm_core::Noise;
use mfm_core::interpolant::Linear;
use mfm_toy2d::{AtTime, GaussianMixture, InverseProblemSpec, QuadraticReward, ValueAt, tilt};

fn value_of(reward: &QuadraticReward, x: &[f64]) -> f64 {
    let mut out = [0.0];
    reward.value(x, &mut out).unwrap();
    out[0]
}

fn cases() -> Vec<(GaussianMixture, QuadraticReward)> {
    let observation = QuadraticReward::observation(&normals(6, 50), &[0.4, -0.7], 0.3).unwrap();
    vec![
        (GaussianMixture::paper(), QuadraticReward::paper()),
        (random_mixture(2, 3, 51), random_reward(2, 52)),
        (random_mixture(2, 3, 53), QuadraticReward::linear(&[0.7, -1.1], 2.0).unwrap()),
        (random_mixture(3, 4, 54), random_reward(3, 55)),
        (random_mixture(3, 2, 56), observation),
    ]
}

// Both sides are sums of a few terms of size up to 1e2 (the sharpest reward): 1e-12 relative is rounding.
#[test]
fn tilting_multiplies_the_density() {
    for (mixture, reward) in cases() {
        let tilted = tilt(&mixture, &reward).unwrap();
        for x in normals(10 * mixture.dimension(), 60).chunks_exact(mixture.dimension()) {
            let expected = mixture.log_density(x).unwrap() + value_of(&reward, x) - tilted.log_normaliser;
            let found = tilted.mixture.log_density(x).unwrap();
            assert!((found - expected).abs() <= 1e-12 * expected.abs().max(1.0), "{found} against {expected}");
        }
    }
}

// Rounding.
#[test]
fn the_value_at_time_zero_is_the_log_normaliser() {
    for (mixture, reward) in cases() {
        for path in PATHS {
            let value = ValueAt::new(&AtTime::new(&mixture, path, 0.0).unwrap(), &reward).unwrap();
            let (mut values, mut gradient) = ([0.0], vec![1.0; mixture.dimension()]);
            value.values_and_gradients(&normals(mixture.dimension(), 61), &mut values, &mut gradient).unwrap();
            assert_close(&values, &[tilt(&mixture, &reward).unwrap().log_normaliser], 1e-12, path.name());
            assert_close(&gradient, &vec![0.0; gradient.len()], 1e-12, path.name());
        }
    }
}

// Two different routes to one number: per-time reward averages, and tilting the posterior as a mixture. Rounding.
#[test]
fn the_value_is_the_log_normaliser_of_the_posterior() {
    for (mixture, reward) in cases() {
        for path in PATHS {
            for t in [0.1, 0.5, 0.9] {
                let at = AtTime::new(&mixture, path, t).unwrap();
                let x = random_state(&mixture, path, t, 62);
                let posterior = at.posterior(&x).unwrap();
                let expected = tilt(&at.posterior_mixture(&posterior).unwrap(), &reward).unwrap().log_normaliser;
                let mut values = [0.0];
                ValueAt::new(&at, &reward).unwrap().values(&x, &mut values).unwrap();
                assert_close(&values, &[expected], 1e-11, path.name());
            }
        }
    }
}

// Fourth-order differences at 1e-3 α: about 1e-10 for the sharpest reward.
#[test]
fn the_gradient_is_that_of_the_value() {
    for (mixture, reward) in cases() {
        for path in PATHS {
            for t in [0.05, 0.4, 0.8, 0.97] {
                let at = AtTime::new(&mixture, path, t).unwrap();
                let value = ValueAt::new(&at, &reward).unwrap();
                let x = random_state(&mixture, path, t, 63);
                let (mut values, mut gradient) = ([0.0], vec![0.0; x.len()]);
                value.values_and_gradients(&x, &mut values, &mut gradient).unwrap();
                let of = |x: &[f64]| {
                    let mut values = vec![0.0];
                    value.values(x, &mut values).unwrap();
                    values
                };
                let expected = finite_differences(of, &x, 1e-3 * at.coefficients().alpha);
                assert_close(&gradient, &expected, 1e-8, path.name());
            }
        }
    }
}

// (σ²/2)∇V = κ (E[w x1]/E[w] − E[x1]), since (σ²/2)∇_x log p(x1 | x) = κ (x1 − E[x1]); both means in closed form. Rounding.
#[test]
fn the_gradient_is_a_difference_of_means() {
    for (mixture, reward) in cases() {
        let (t, d) = (0.45, mixture.dimension());
        for path in PATHS {
            let at = AtTime::new(&mixture, path, t).unwrap();
            let x = random_state(&mixture, path, t, 64);
            let posterior = at.posterior(&x).unwrap();
            let tilted = tilt(&at.posterior_mixture(&posterior).unwrap(), &reward).unwrap().mixture.mean();
            let c = at.coefficients();
            let expected: Vec<f64> =
                tilted.iter().zip(posterior.mean()).map(|(w, m)| c.kappa() * (w - m) / c.half_sigma_squared()).collect();
            let mut gradient = vec![0.0; d];
            ValueAt::new(&at, &reward).unwrap().of_posterior(&posterior, &mut gradient).unwrap();
            assert_close(&gradient, &expected, 1e-11, path.name());
        }
    }
}

// The reference numbers are those of the PyTorch prototype's formulas, worked out by hand for its one shared covariance.
#[test]
fn the_papers_target_is_the_prototypes() {
    let tilted = tilt(&GaussianMixture::paper(), &QuadraticReward::paper()).unwrap();
    let (variance, noise) = (0.5 * (1.2 * 1.2 + 0.8 * 0.8) + 0.04, 0.04);
    let terms: Vec<f64> = [-3.0, 0.0, 3.0].iter().map(|m| -(-1.0 - 0.4 * m) * (-1.0 - 0.4 * m) / (2.0 * variance)).map(f64::exp).collect();
    let total: f64 = terms.iter().sum();
    assert_close(tilted.mixture.weights(), &terms.iter().map(|w| w / total).collect::<Vec<_>>(), 1e-14, "weights");
    let log_normaliser = (total / 3.0).ln() + 0.5 * f64::ln(noise / variance);
    assert_close(&[tilted.log_normaliser], &[log_normaliser], 1e-14, "log Z");
}

// A whole problem in 64 dimensions: the tilted mean solves the normal equations (1e-9: their condition number is about 1e3).
#[test]
fn a_large_inverse_problem_is_solved() {
    let spec = InverseProblemSpec { dimension: 64, observations: 32, sigma: 0.1, components: 1, seed: 3 };
    let problem = spec.generate().unwrap();
    assert_eq!(problem, spec.generate().unwrap());
    let mean = tilt(&problem.prior, &problem.reward).unwrap().mixture.mean();
    let mut gradient = vec![0.0; 64];
    problem.reward.gradient(&mean, &mut gradient).unwrap();
    assert_close(&gradient, &mean, 1e-9, "the prior is standard: ∇r = x at the mode");
    let mixture = InverseProblemSpec { components: 3, ..spec }.generate().unwrap();
    let target = tilt(&mixture.prior, &mixture.reward).unwrap().mixture;
    assert_eq!(target.sample(5, &Noise::new(1)).unwrap().len(), 5 * 64);
    let value = ValueAt::new(&AtTime::new(&mixture.prior, &Linear, 0.3).unwrap(), &mixture.reward).unwrap();
    let mut values = [f64::NAN];
    value.values(&normals(64, 4), &mut values).unwrap();
    assert!(values[0].is_finite());
}
