//! Choices among weights, and bridges: laws in closed form.

use crate::Paper;
use crate::support::statistics::Mean;
use crate::support::{F64, PATHS, device, normal};
use mfm_core::categorical::{Concentration, best, choose, effective_sample_size, normalise, systematic};
use mfm_core::coupling::{Coupling, renoise};
use mfm_core::interpolant::{Linear, StraightStep};
use mfm_core::{Error, Noise, Operations, Result, Tensor, TimeGrid};

fn uniforms(n: usize, seed: u64) -> Vec<f64> {
    let mut out = vec![0.0; n];
    Noise::new(seed).fill_uniform(&mut out);
    out
}

#[test]
fn a_choice_is_the_inverse_of_the_cumulated_weights() {
    let weights = [2.0, 0.0, 1.0, 5.0];
    for (uniform, expected) in [(0.0, 0), (0.2499, 0), (0.25, 2), (0.3749, 2), (0.375, 3), (0.999, 3)] {
        assert_eq!(choose(&weights, uniform), expected, "{uniform}");
    }
    // What cannot be chosen is not: trailing zeros, NaN; and nothing at all is the first.
    assert_eq!(choose(&[1.0, 0.0, f64::NAN], 1.0 - 1e-16), 0);
    assert_eq!(choose(&[f64::NAN, 1.0], 0.0), 1);
    assert_eq!(choose(&[0.0, 0.0], 0.7), 0);
    // Weights whose sum would be infinite.
    assert_eq!((choose(&[1e308; 2], 0.1), choose(&[1e308; 2], 0.9)), (0, 1));
    // Null: index 2 with probability 1/8. 2^16 choices, 4 standard errors.
    let hits = uniforms(1 << 16, 1).into_iter().filter(|u| choose(&weights, *u) == 2).count() as f64;
    let n = f64::from(1 << 16);
    assert!((hits / n - 0.125).abs() < 4.0 * (0.125 * 0.875 / n).sqrt(), "{hits}");
}

#[test]
fn systematic_resampling_takes_each_index_by_its_share() {
    let weights = [0.1, 2.0, 0.0, 0.7, 1.2];
    let total: f64 = weights.iter().sum();
    for count in [1, 4, 100] {
        let mut mean = Mean::default();
        for uniform in uniforms(4096, 2) {
            let chosen = systematic(&weights, count, uniform);
            assert!(chosen.len() == count && chosen.is_sorted());
            let copies: Vec<f64> = (0..5).map(|i| chosen.iter().filter(|c| **c == i).count() as f64).collect();
            for (copies, weight) in copies.iter().zip(&weights) {
                // Up to rounding by one, always.
                assert!((copies - count as f64 * weight / total).abs() < 1.0, "{copies} of {weight}");
            }
            mean.add(&[copies[0], copies[1], copies[3], copies[4]]);
        }
        // Null: unbiased. 4,096 uniform numbers, 4.5 standard errors for the worst of 12.
        let expected = [0.1, 2.0, 0.7, 1.2].map(|w| count as f64 * w / total);
        // At a count of 100 the copies of an index may hardly vary, and then they are its share.
        let off = mean.mean().iter().zip(mean.standard_error()).zip(&expected).all(|((m, e), x)| (m - x).abs() < 4.5 * e + 1e-9);
        assert!(off, "{count}: {mean:?} against {expected:?}");
    }
    assert_eq!(systematic(&[0.0, 1.0, 0.0], 3, 0.999_999_999), [1, 1, 1]);
    assert_eq!(systematic(&[1e308; 2], 4, 0.5), [0, 0, 1, 1]);
}

#[test]
fn weights_are_normalised_and_counted() {
    assert_eq!(effective_sample_size(&[0.25; 4]), 4.0);
    assert_eq!(effective_sample_size(&[0.0, 3.0, 0.0]), 1.0);
    assert!((effective_sample_size(&[1.0, 2.0]) - 9.0 / 5.0).abs() < 1e-15);
    assert_eq!(effective_sample_size(&[]), 0.0);
    let weights = normalise(&[1000.0, 1000.0 - core::f64::consts::LN_2, f64::NEG_INFINITY]);
    assert!(weights[0] == 1.0 && (weights[1] - 0.5).abs() < 1e-12 && weights[2] == 0.0, "{weights:?}");
    assert_eq!(normalise(&[f64::NEG_INFINITY, f64::NAN]), [1.0, 1.0]);
    assert_eq!(normalise(&[f64::NEG_INFINITY, f64::INFINITY, 0.0, f64::NAN]), [0.0, 1.0, 0.0, 0.0]);
    for scale in [1e-300, 1e300] {
        assert!((effective_sample_size(&[scale, 2.0 * scale]) - 9.0 / 5.0).abs() < 1e-15, "{scale}");
    }
    assert_eq!(effective_sample_size(&[0.0; 3]), 0.0);
    let size = |logarithms: &[f64]| Concentration::of_logarithms(logarithms).effective_sample_size;
    assert_eq!((size(&[f64::NEG_INFINITY; 3]), size(&[f64::NEG_INFINITY, f64::NAN]), size(&[])), (0.0, 0.0, 0.0));
    assert_eq!((size(&[-1e300; 3]), size(&[800.0, f64::NEG_INFINITY, 800.0]), size(&[1e300, 0.0])), (3.0, 2.0, 1.0));
    let share = |logarithms: &[f64]| Concentration::of_logarithms(logarithms).largest_weight;
    assert_eq!((share(&[f64::NEG_INFINITY; 3]), share(&[f64::NEG_INFINITY, f64::NAN]), share(&[])), (0.0, 0.0, 0.0));
    assert_eq!((share(&[-1e300; 4]), share(&[800.0, f64::NEG_INFINITY, 800.0]), share(&[1e300, 0.0])), (0.25, 0.5, 1.0));
    assert_eq!(normalise(&[0.0, f64::NAN])[1], 0.0);
    assert_eq!((best(&[1.0, 3.0, f64::NAN, 3.0]), best(&[f64::NAN, -1.0]), best(&[f64::NAN; 2])), (1, 1, 1));
}

#[test]
fn bridges_compose_and_keep_the_marginal() -> Result<()> {
    let times = [0.0, 1e-6, 0.2, 0.5, 0.9, 1.0 - 1e-9, 1.0];
    for path in PATHS {
        for (i, &t) in times.iter().enumerate() {
            for (j, &w) in times.iter().enumerate().skip(i) {
                // x_t = α_t z + β_t x1 goes to α_w z' + β_w x1.
                let (at, next, bridge) = (path.coefficients(t), path.coefficients(w), path.bridge(t, w)?);
                let data = bridge.data + bridge.state * at.beta;
                let variance = (bridge.state * at.alpha).powi(2) + bridge.deviation.powi(2);
                assert!((data - next.beta).abs() < 1e-12, "{path:?}, {t}, {w}: {bridge:?}");
                assert!((variance - next.alpha.powi(2)).abs() < 1e-14, "{path:?}, {t}, {w}: {bridge:?}");
                for &u in &times[j..] {
                    let (second, whole) = (path.bridge(w, u)?, path.bridge(t, u)?);
                    let composed = [
                        second.data + second.state * bridge.data,
                        second.state * bridge.state,
                        (second.state * bridge.deviation).hypot(second.deviation),
                    ];
                    for (found, expected) in composed.iter().zip([whole.data, whole.state, whole.deviation]) {
                        assert!((found - expected).abs() < 1e-8, "{path:?}, {t}, {w}, {u}: {composed:?} against {whole:?}");
                    }
                }
            }
        }
        assert!(matches!(path.bridge(0.5, 0.4), Err(Error::Range { .. })));
        assert!(matches!(path.bridge(0.5, f64::NAN), Err(Error::Range { .. })));
    }
    Ok(())
}

// The noise of many small steps of Euler–Maruyama, carried to the end, is that of one whole step, to first order in theirs.
#[test]
fn the_noise_of_a_whole_step_is_that_of_its_parts() {
    for path in PATHS {
        for (t, u) in [(0.05, 0.3), (0.4, 0.9), (0.7, 1.0)] {
            let parts = 20_000;
            let at = |k: usize| if k == parts { u } else { t + (u - t) * k as f64 / parts as f64 };
            let carried = |k: usize| StraightStep::new(path, at(k), at(k + 1)).deviation * StraightStep::new(path, at(k + 1), u).state;
            let parts = (0..parts).map(|k| carried(k).powi(2));
            let (found, expected) = (StraightStep::whole_deviation(path, t, u).powi(2), parts.sum::<f64>());
            assert!((found / expected - 1.0).abs() < 1e-3, "{}, {t} to {u}: {found} against {expected}", path.name());
        }
    }
}

// A step of no length would divide by zero somewhere.
#[test]
fn no_time_of_a_grid_comes_twice() -> Result<()> {
    for grid in [TimeGrid::uniform(1), TimeGrid { power: 4.0, ..TimeGrid::uniform(1000).starting_at(0.01) }] {
        assert!(grid.times(&Linear)?.windows(2).all(|pair| pair[0] < pair[1]));
    }
    for grid in [TimeGrid { power: 10.0, ..TimeGrid::uniform(100).starting_at(0.01) }, TimeGrid { power: 1e-20, ..TimeGrid::uniform(4) }] {
        assert!(matches!(grid.times(&Linear), Err(Error::Range { what: "the grid's power", .. })), "{grid:?}");
    }
    Ok(())
}

#[test]
fn couplings_go_forward_in_time() -> Result<()> {
    let paper = Paper::linear()?;
    let x: F64 = normal(&device(), 3, 2, 1)?;
    for coupling in [Coupling::Bridge, Coupling::SameNoise, Coupling::FreshNoise] {
        for times in [(0.5, 0.4), (1.0, 0.9), (7.0, 1.0), (f64::NAN, 1.0), (0.5, 1.5), (-0.5, 0.5)] {
            let outcome = renoise(&paper.flow(), coupling, times, &x, &x, &Noise::new(1));
            assert!(matches!(outcome, Err(Error::Range { .. })), "{coupling:?}, {times:?}");
        }
    }
    Ok(())
}

// Null: with x1 from the prior and x_t on the path, every coupling gives x_u on the path given x1: mean β_u x1, variance α_u², and with the
// bridge covariance with x_t as in closed form. 2^16 numbers, 4.5 standard errors for the worst of 24.
#[test]
fn couplings_keep_the_marginal() -> Result<()> {
    for path in PATHS {
        let paper = Paper::new(path)?;
        let (t, u) = (0.3, 0.6);
        let (at, next) = (path.coefficients(t), path.coefficients(u));
        let n = 1 << 15;
        let (x1, z): (F64, F64) = (normal(&device(), n, 2, 20)?, normal(&device(), n, 2, 21)?);
        let x_t = F64::linear_combination(&[(at.alpha, &z), (at.beta, &x1)])?;
        let clean: Vec<f64> = x1.to_vec()?;
        for coupling in [Coupling::Bridge, Coupling::SameNoise, Coupling::FreshNoise] {
            let moved: Vec<f64> = renoise(&paper.flow(), coupling, (t, u), &x_t, &x1, &Noise::new(22))?.to_vec()?;
            let noise: Vec<f64> = moved.iter().zip(&clean).map(|(x, x1)| (x - next.beta * x1) / next.alpha).collect();
            let terms: Vec<f64> = noise.iter().zip(&clean).flat_map(|(z, x1)| [*z, z * z, z * x1]).collect();
            let off = Mean::of_rows(&terms, 3).errors_from(&[0.0, 1.0, 0.0]);
            assert!(off < 4.5, "{path:?}, {coupling:?}: {off}");
            if coupling == Coupling::SameNoise {
                assert!(crate::support::relative_error(&noise, &z.to_vec::<f64>()?, 1.0) < 1e-12);
            }
            let end: Vec<f64> = renoise(&paper.flow(), coupling, (t, 1.0), &x_t, &x1, &Noise::new(22))?.to_vec()?;
            assert_eq!(end, clean);
        }
    }
    Ok(())
}
