//! The transport between noise and a mixture: inverse, law, Jacobians, and where it is the flow map.
#![allow(clippy::unwrap_used)] // Helpers of tests are tests.

mod common;

use common::{PATHS, assert_close, assert_moments, finite_differences, normals, random_mixture, random_state};
use mfm_core::interpolant::{Interpolant, Linear};
use mfm_toy2d::{AtTime, Axes, Draw, GaussianMixture, Transport};

/// Times of the state and of the flow.
const TIMES: [(f64, f64); 4] = [(0.0, 1.0), (0.3, 1.0), (0.5, 0.6), (0.9, 0.95)];

fn posterior_transport(mixture: &GaussianMixture, path: &dyn Interpolant, t: f64, s: f64, x: &[f64]) -> Transport {
    let at = AtTime::new(mixture, path, t).unwrap();
    Transport::of_posterior(&at, &at.posterior(x).unwrap(), &Axes::principal(mixture), path, s).unwrap()
}

fn push(transport: &Transport, noise: &[f64]) -> Vec<f64> {
    let mut draw = Draw::new(transport);
    transport.from_noise(noise, &mut draw).unwrap();
    draw.point().to_vec()
}

fn pull(transport: &Transport, point: &[f64]) -> Vec<f64> {
    let mut draw = Draw::new(transport);
    transport.to_noise(point, &mut draw).unwrap();
    draw.noise().to_vec()
}

fn cases() -> Vec<GaussianMixture> {
    vec![GaussianMixture::paper(), random_mixture(1, 3, 1), random_mixture(2, 3, 2), random_mixture(3, 4, 3), random_mixture(3, 1, 4)]
}

// The inversion converges to 1e-13; where a mode ends, the noise is up to 1e3 times more sensitive than the point is.
#[test]
fn there_and_back() {
    for mixture in cases() {
        let d = mixture.dimension();
        for path in PATHS {
            for (t, s) in TIMES {
                let transport = posterior_transport(&mixture, path, t, s, &random_state(&mixture, path, t, 7));
                for noise in normals(30 * d, 8).chunks_exact(d) {
                    assert_close(&pull(&transport, &push(&transport, noise)), noise, 1e-10, path.name());
                }
            }
        }
    }
}

// Relative to the noise: far out, log probabilities near −e²/2 carry all the information, in units of 1e-16 e²/2.
#[test]
fn the_far_tails_are_kept() {
    let transport = Transport::new(&GaussianMixture::paper(), &Axes::principal(&GaussianMixture::paper())).unwrap();
    let mixture = random_mixture(2, 3, 2);
    let other = Transport::new(&mixture, &Axes::principal(&mixture)).unwrap();
    for transport in [transport, other] {
        for size in [8.5, 20.0, 33.0, 34.6, 34.7, 38.0, 50.0, 1e3] {
            for noise in [[size, 0.5], [-size, -size], [0.1, size], [size, -size]] {
                assert_close(&pull(&transport, &push(&transport, &noise)), &noise, 1e-10, "tail");
            }
        }
        // Order is preserved along the first axis.
        let first = |e: f64| push(&transport, &[transport.axes().rows()[0] * e, transport.axes().rows()[1] * e]);
        let along = |x: Vec<f64>| transport.axes().rows()[0] * x[0] + transport.axes().rows()[1] * x[1];
        let images: Vec<f64> = (-400..=400).map(|i| along(first(0.1 * f64::from(i)))).collect();
        assert!(images.windows(2).all(|w| w[1] > w[0]));
    }
}

// 20,000 draws: first and second moments within four standard errors of the posterior's.
#[test]
fn draws_have_the_posterior_law() {
    for (mixture, t) in [(GaussianMixture::paper(), 0.2), (random_mixture(2, 3, 2), 0.3), (random_mixture(3, 4, 3), 0.2)] {
        let d = mixture.dimension();
        let at = AtTime::new(&mixture, &Linear, t).unwrap();
        let posterior = at.posterior(&random_state(&mixture, &Linear, t, 9)).unwrap();
        let transport = Transport::of_posterior(&at, &posterior, &Axes::principal(&mixture), &Linear, 1.0).unwrap();
        let mut samples = normals(20_000 * d, 10);
        for row in samples.chunks_exact_mut(d) {
            row.copy_from_slice(&push(&transport, row));
        }
        assert_moments(&samples, &at.posterior_mixture(&posterior).unwrap());
    }
}

// |det ∂x/∂ε| N(x-law) = N(ε; 0, I) pointwise: the law, exactly, and the Jacobian with it. Rounding through 1/density.
#[test]
fn densities_change_by_the_determinant() {
    let mixture = random_mixture(2, 3, 12);
    let transport = Transport::new(&mixture, &Axes::principal(&mixture)).unwrap();
    let mut draw = Draw::new(&transport);
    for noise in normals(100, 13).chunks_exact(2) {
        transport.from_noise(noise, &mut draw).unwrap();
        let mut j = [0.0; 4];
        transport.noise_jacobian(&mut draw, &mut j).unwrap();
        let expected = -0.5 * (noise[0] * noise[0] + noise[1] * noise[1]) - (2.0 * std::f64::consts::PI).ln();
        let found = mixture.log_density(draw.point()).unwrap() + (j[0] * j[3] - j[1] * j[2]).ln();
        assert_close(&[found], &[expected], 1e-11, "density");
    }
}

// Fourth-order differences at 1e-4: truncation below 1e-9 of the largest entry, rounding (1e-14 in the points) 1e-10.
#[test]
fn jacobians_agree_with_differences() {
    for mixture in cases() {
        let d = mixture.dimension();
        for path in PATHS {
            for (seed, (t, s)) in TIMES.into_iter().enumerate() {
                let x = random_state(&mixture, path, t, 14 + seed as u64);
                let transport = posterior_transport(&mixture, path, t, s, &x);
                for noise in normals(4 * d, 15).chunks_exact(d) {
                    let (mut draw, mut jacobian) = (Draw::new(&transport), vec![0.0; d * d]);
                    transport.from_noise(noise, &mut draw).unwrap();
                    transport.noise_jacobian(&mut draw, &mut jacobian).unwrap();
                    let by_noise = finite_differences(|e| push(&transport, e), noise, 1e-4);
                    assert_close(&jacobian, &by_noise, 1e-7, "by the noise");
                    transport.state_jacobian(&mut draw, &mut jacobian).unwrap();
                    let by_state = finite_differences(|x| push(&posterior_transport(&mixture, path, t, s, x), noise), &x, 1e-4);
                    assert_close(&jacobian, &by_state, 1e-7, "by the state");
                    // The way back leaves the same.
                    let (mut back, mut again) = (Draw::new(&transport), vec![0.0; d * d]);
                    transport.to_noise(draw.point(), &mut back).unwrap();
                    transport.state_jacobian(&mut back, &mut again).unwrap();
                    assert_close(&again, &jacobian, 1e-8, "back");
                }
            }
        }
    }
}

// Far out, Jacobians are those of log-scaled tails: differences of points of size 50 round at 1e-11.
#[test]
fn jacobians_hold_in_the_far_tails() {
    let mixture = random_mixture(2, 3, 2);
    let x = random_state(&mixture, &Linear, 0.3, 16);
    let transport = posterior_transport(&mixture, &Linear, 0.3, 1.0, &x);
    let (mut draw, mut jacobian) = (Draw::new(&transport), [0.0; 4]);
    for noise in [[9.0, -9.0], [-45.0, 12.0], [3.0, 50.0]] {
        transport.from_noise(&noise, &mut draw).unwrap();
        transport.noise_jacobian(&mut draw, &mut jacobian).unwrap();
        assert_close(&jacobian, &finite_differences(|e| push(&transport, e), &noise, 1e-3), 1e-7, "by the noise");
        transport.state_jacobian(&mut draw, &mut jacobian).unwrap();
        let by_state = finite_differences(|x| push(&posterior_transport(&mixture, &Linear, 0.3, 1.0, x), &noise), &x, 1e-3);
        assert_close(&jacobian, &by_state, 1e-7, "by the state");
    }
}

// dX_{0,s}/ds = v_{s,s}(X_{0,s}; t, x), for the paper's mixture and for one Gaussian: there the transport is the flow map. Central
// differences of fourth order at 1e-4 in s err by 1e-10 or so.
#[test]
fn the_transport_follows_the_posterior_velocity() {
    for mixture in [GaussianMixture::paper(), random_mixture(3, 1, 4)] {
        let d = mixture.dimension();
        for path in PATHS {
            for (t, s) in [(0.0, 0.5), (0.2, 0.1), (0.4, 0.8), (0.8, 0.5)] {
                let x = random_state(&mixture, path, t, 17);
                for noise in normals(5 * d, 18).chunks_exact(d) {
                    let at = |s: &[f64]| push(&posterior_transport(&mixture, path, t, s[0], &x), noise);
                    let velocity = finite_differences(at, &[s], 1e-4);
                    let (look, y) = (path.look(s, t), at(&[s]));
                    let star: Vec<f64> = y.iter().zip(&x).map(|(y, x)| look.look_y * y + look.look_x * x).collect();
                    let mut drift = vec![0.0; d];
                    AtTime::new(&mixture, path, look.time).unwrap().drift(&star, &mut drift).unwrap();
                    let blend = |i: usize| look.velocity_y * y[i] + look.velocity_x * x[i] + look.velocity_b * drift[i];
                    assert_close(&velocity, &(0..d).map(blend).collect::<Vec<_>>(), 1e-7, path.name());
                }
            }
        }
    }
}

// At s = 0 the law is the noise itself: the identity, to the solver's 1e-13.
#[test]
fn at_flow_time_zero_nothing_moves() {
    let mixture = random_mixture(2, 3, 2);
    let transport = posterior_transport(&mixture, &Linear, 0.3, 0.0, &[0.2, 0.4]);
    for noise in normals(40, 19).chunks_exact(2) {
        assert_close(&push(&transport, noise), noise, 1e-13, "identity");
    }
}

// Conditioning anew is the same as beginning anew, to the bit.
#[test]
fn a_transport_is_reused_for_another_state() {
    let mixture = random_mixture(2, 3, 2);
    let at = AtTime::new(&mixture, &Linear, 0.3).unwrap();
    let axes = Axes::principal(&mixture);
    let mut transport = Transport::of_posterior(&at, &at.posterior(&[0.0, 1.0]).unwrap(), &axes, &Linear, 1.0).unwrap();
    transport.condition(&at.posterior(&[1.0, -1.0]).unwrap()).unwrap();
    let fresh = Transport::of_posterior(&at, &at.posterior(&[1.0, -1.0]).unwrap(), &axes, &Linear, 1.0).unwrap();
    assert_eq!(push(&transport, &[0.3, -0.8]), push(&fresh, &[0.3, -0.8]));
}

// Well separated, sharp modes: every quantile is found, in the gaps too (the noise is then known to the gap's own precision).
#[test]
fn sharp_modes_are_no_obstacle() {
    let mixture = GaussianMixture::from_parts(1, &[1e-6, 0.5, 0.5], &[-1e3, 0.0, 50.0], &[1e-6, 1e-4, 1e-2]).unwrap();
    let transport = Transport::new(&mixture, &Axes::principal(&mixture)).unwrap();
    let mut last = f64::NEG_INFINITY;
    for i in -800..=800 {
        let noise = 0.01 * f64::from(i) + 1e-4;
        let x = push(&transport, &[noise]);
        assert!(x[0] > last);
        last = x[0];
        // The mode at −1000 is 1e-3 wide: a point there has 1e-13/1e-3 of noise to give.
        assert_close(&pull(&transport, &x), &[noise], 1e-8, "sharp");
    }
}
