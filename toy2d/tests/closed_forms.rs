//! The density, score, drift and posterior of a mixture at a time.
#![allow(clippy::unwrap_used)] // Helpers of tests are tests.

mod common;

use common::{PATHS, assert_close, finite_differences, normals, random_mixture, random_reward, random_state};
use mfm_core::interpolant::VariancePreserving;
use mfm_toy2d::{AtTime, GaussianMixture, QuadraticReward, ValueAt};

const TIMES: [f64; 4] = [0.02, 0.3, 0.7, 0.97];

fn rows(f: impl Fn(&mut [f64]) -> mfm_core::Result<()>, length: usize) -> Vec<f64> {
    let mut out = vec![0.0; length];
    f(&mut out).unwrap();
    out
}

// The trapezoidal rule converges exponentially for smooth integrands that vanish at both ends; at a step of 1e-3, a
// twentieth of the narrowest deviation here, only rounding is left: 1e-11 leaves room for 40,000 terms.
#[test]
fn one_dimension_agrees_with_quadrature() {
    let mixture = GaussianMixture::from_parts(1, &[0.5, 0.2, 0.3], &[-2.0, 0.3, 1.5], &[0.3, 0.05, 1.2]).unwrap();
    let rewards = [QuadraticReward::new(&[1.7], &[0.8], -0.4).unwrap(), QuadraticReward::linear(&[-1.3], 0.2).unwrap()];
    let step = 1e-3;
    let grid: Vec<f64> = (-20_000..=20_000).map(|i| f64::from(i) * step).collect();
    let prior: Vec<f64> = grid.iter().map(|y| mixture.density(&[*y]).unwrap()).collect();
    for path in PATHS {
        for t in TIMES {
            let c = path.coefficients(t);
            for x in [-2.5, 0.1, 1.9] {
                let joint = |y: f64, p: f64| {
                    let u = (x - c.beta * y) / c.alpha;
                    p * (-0.5 * u * u).exp() / (c.alpha * (2.0 * std::f64::consts::PI).sqrt())
                };
                let integral = |f: &dyn Fn(f64) -> f64| grid.iter().zip(&prior).map(|(y, p)| joint(*y, *p) * f(*y)).sum::<f64>() * step;
                let density = integral(&|_| 1.0);
                let at = AtTime::new(&mixture, path, t).unwrap();
                let posterior = at.posterior(&[x]).unwrap();
                assert_close(&[posterior.log_density()], &[density.ln()], 1e-11, path.name());
                assert_close(posterior.mean(), &[integral(&|y| y) / density], 1e-11, path.name());
                for reward in &rewards {
                    let value = |y: f64| rows(|out| reward.value(&[y], out), 1)[0];
                    let expected = (integral(&|y| value(y).exp()) / density).ln();
                    let found = rows(|out| ValueAt::new(&at, reward).unwrap().values(&[x], out), 1);
                    assert_close(&found, &[expected], 1e-11, path.name());
                }
            }
        }
    }
}

// Fourth-order differences at 1e-3 times the noise err by about 1e-11; 1e-8 leaves room for narrow components.
#[test]
fn score_is_the_gradient_of_the_log_density() {
    for_all(|mixture, at, x| {
        let d = mixture.dimension();
        let density = |x: &[f64]| rows(|out| at.log_density(x, out), 1);
        let expected = finite_differences(density, x, 1e-3 * at.coefficients().alpha);
        assert_close(&rows(|out| at.score(x, out), d), &expected, 1e-8, "score");
    });
}

// Rounding, magnified by 1/α² ≤ 1/.0009.
#[test]
fn drift_score_and_mean_obey_their_identities() {
    for_all(|mixture, at, x| {
        let (d, c) = (mixture.dimension(), at.coefficients());
        let mean = rows(|out| at.posterior_mean(x, out), d);
        let drift: Vec<f64> = x.iter().zip(&mean).map(|(x, m)| c.alpha_dot / c.alpha * x + c.kappa() * m).collect();
        assert_close(&rows(|out| at.drift(x, out), d), &drift, 1e-11, "drift");
        let score: Vec<f64> = x.iter().zip(&mean).map(|(x, m)| (c.beta * m - x) / (c.alpha * c.alpha)).collect();
        assert_close(&rows(|out| at.score(x, out), d), &score, 1e-11, "score");
        // From the drift alone, which is what a network gives.
        let drift = rows(|out| at.drift(x, out), d);
        let mix = |weights: (f64, f64)| -> Vec<f64> { drift.iter().zip(x).map(|(b, x)| weights.0 * b + weights.1 * x).collect() };
        assert_close(&mix(c.posterior_mean_weights()), &mean, 1e-11, "mean from the drift");
        assert_close(&mix(c.score_weights()), &rows(|out| at.score(x, out), d), 1e-11, "score from the drift");
        let posterior = at.posterior(x).unwrap();
        // A sum of four terms of at most one.
        assert!((posterior.weights().iter().sum::<f64>() - 1.0).abs() < 1e-14);
    });
}

#[test]
fn the_ratio_of_data_to_noise_is_the_inverse_of_the_time() {
    for path in PATHS {
        for t in TIMES {
            assert_close(&[path.time_at(path.coefficients(t).ratio())], &[t], 1e-14, path.name());
        }
        assert_eq!([0.0, 1.0].map(|t| path.coefficients(t).ratio()), [0.0, f64::INFINITY], "{}", path.name());
    }
}

// ∂_t log p + div b + b·score = 0, which ties the drift to the density without a word about posteriors. Differences in time at
// 1e-4 err by 1e-12 to 1e-9 (the variance-preserving path is steep near 1).
#[test]
fn drift_solves_the_continuity_equation() {
    for path in PATHS {
        for (seed, t) in [(1, 0.1), (2, 0.5), (3, 0.9)] {
            let mixture = random_mixture(2, 3, seed);
            let x = random_state(&mixture, path, t, seed);
            let at = AtTime::new(&mixture, path, t).unwrap();
            let density = |t: &[f64]| rows(|out| AtTime::new(&mixture, path, t[0]).unwrap().log_density(&x, out), 1);
            let by_time = finite_differences(density, &[t], 1e-4)[0];
            let drift = |x: &[f64]| rows(|out| at.drift(x, out), 2);
            let by_state = finite_differences(drift, &x, 1e-3);
            let transport: f64 = drift(&x).iter().zip(rows(|out| at.score(&x, out), 2)).map(|(b, s)| b * s).sum();
            assert_close(&[by_time], &[-by_state[0] - by_state[3] - transport], 1e-8, path.name());
        }
    }
}

// b_0 = β̇ E[x1] + α̇ x; towards t = 1 the limit is approached at the rate of the step, 1e-9, or its root where α is one.
#[test]
fn the_ends_are_finite_and_continuous() {
    let mixture = random_mixture(3, 3, 5);
    let x = normals(3, 6);
    for path in PATHS {
        let drift = |t: f64| rows(|out| AtTime::new(&mixture, path, t).unwrap().drift(&x, out), 3);
        let c = path.coefficients(0.0);
        let expected: Vec<f64> = mixture.mean().iter().zip(&x).map(|(m, x)| c.beta_dot * m + c.alpha_dot * x).collect();
        assert_close(&drift(0.0), &expected, 1e-13, path.name());
        assert_close(&drift(1.0), &drift(1.0 - 1e-9), 1e-7, path.name());
        let last = AtTime::new(&mixture, path, 1.0).unwrap();
        assert_close(last.posterior(&x).unwrap().mean(), &x, 1e-12, path.name());
        let value = ValueAt::new(&last, &random_reward(3, 7)).unwrap();
        let (mut at_end, mut gradient) = ([0.0], [0.0; 3]);
        value.values_and_gradients(&x, &mut at_end, &mut gradient).unwrap();
        assert_close(&at_end, &rows(|out| random_reward(3, 7).value(&x, out), 1), 1e-12, path.name());
        assert_close(&gradient, &rows(|out| random_reward(3, 7).gradient(&x, out), 3), 1e-11, path.name());
    }
    assert!(
        AtTime::new(&mixture, &VariancePreserving, 1.0)
            .unwrap()
            .posterior_mixture(&AtTime::new(&mixture, &VariancePreserving, 0.5).unwrap().posterior(&x).unwrap())
            .is_err()
    );
}

// A batch is its rows, to the bit.
#[test]
fn batches_are_their_rows() {
    let mixture = random_mixture(3, 2, 9);
    let at = AtTime::new(&mixture, PATHS[1], 0.4).unwrap();
    let states = normals(15, 10);
    let batch = rows(|out| at.drift(&states, out), 15);
    for (x, expected) in states.chunks_exact(3).zip(batch.chunks_exact(3)) {
        assert_eq!(rows(|out| at.drift(x, out), 3), expected);
    }
    assert!(at.drift(&[], &mut []).is_ok());
}

fn for_all(check: impl Fn(&GaussianMixture, &AtTime, &[f64])) {
    for path in PATHS {
        for (seed, t) in TIMES.into_iter().enumerate() {
            for (dimension, components) in [(1, 2), (2, 3), (3, 4)] {
                let mixture = random_mixture(dimension, components, seed as u64 + 20);
                let at = AtTime::new(&mixture, path, t).unwrap();
                check(&mixture, &at, &random_state(&mixture, path, t, seed as u64 + 30));
            }
        }
    }
}
