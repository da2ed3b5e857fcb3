//! Sampling the model itself.

use crate::Paper;
use crate::support::statistics::Mean;
use crate::support::{F64, PATHS, device, distance_and_floor, normal, random_mixture};
use mfm_core::interpolant::{Interpolant, Linear};
use mfm_core::sample::{Sampler, posterior_by_steps, sample_by_diffusion, sample_by_integration, sample_by_refinement, sample_by_steps};
use mfm_core::steer::{Dynamics, Scheme, Steering};
use mfm_core::{Condition, Device, Error, Flow, MetaFlowMap, Noise, Operations, Result, Shape, Tensor, TimeGrid};
use mfm_toy2d::exact::{ExactFlowMap, TransportMap};
use mfm_toy2d::{AtTime, GaussianMixture};

/// Samples of each sampler, by number.
const SAMPLES: usize = 2048;

/// Null: samples are of `law`. Two floors (exact against exact, 2,048 each; see `DrawLaw::EXACT` for why two), and what discretisation adds.
fn reaches(what: &str, samples: &F64, law: &GaussianMixture, margin: f64) -> Result<()> {
    let (distance, floor) = distance_and_floor(&samples.to_vec::<f64>()?, law, 900)?;
    println!("{what}: sliced W2 {distance:.3}, floor {floor:.3}");
    assert!(distance <= 2.0 * floor + margin, "{what}: {distance} against {floor}");
    Ok(())
}

/// Null: the variance across the line on which the modes lie is that of each mode, ½, which sliced distances hardly see beside the shares of the modes. Four standard
/// errors, and what discretisation adds.
fn keeps_its_width(what: &str, samples: &F64, margin: f64) -> Result<()> {
    let across: Vec<f64> = samples.to_vec::<f64>()?.chunks(2).map(|x| (x[0] - x[1]).powi(2) / 2.0).collect();
    let width = Mean::of_rows(&across, 1);
    println!("{what}: variance across {:.3}", width.mean()[0]);
    let off = (width.mean()[0] - 0.5).abs();
    assert!(off < 4.0 * width.standard_error()[0] + margin, "{what}: variance across {:.3}", width.mean()[0]);
    Ok(())
}

#[test]
fn the_map_samples_in_one_step_and_in_several() -> Result<()> {
    for path in PATHS {
        let paper = Paper::new(path)?;
        let noise = normal(&device(), SAMPLES, 2, 1)?;
        let one = sample_by_steps(&paper.flow(), &TimeGrid::uniform(1), &noise)?;
        let grid = TimeGrid { power: 1.5, ..TimeGrid::uniform(5) };
        let several = sample_by_steps(&paper.flow(), &grid, &noise)?;
        reaches(&format!("one step, {}", path.name()), &one, &paper.prior, 0.0)?;
        // The map is exact, so the number of steps does not matter.
        let error = crate::support::relative_error(&several.to_vec()?, &one.to_vec::<f64>()?, 1.0);
        assert!(error < 1e-9, "{path:?}: {error:e}");
    }
    Ok(())
}

// Rounding, magnified by 1/α.
#[test]
fn a_flow_tells_its_posterior_mean_and_score() -> Result<()> {
    for path in PATHS {
        let (paper, states) = (Paper::new(path)?, normal(&device(), 5, 2, 7)?);
        for t in [0.0, 0.3, 0.9] {
            let (at, x) = (AtTime::new(&paper.prior, path, t)?, states.to_vec::<f64>()?);
            let (mut mean, mut score) = (vec![0.0; x.len()], vec![0.0; x.len()]);
            at.posterior_mean(&x, &mut mean)?;
            at.score(&x, &mut score)?;
            let found = [paper.flow().posterior_mean(t, &states)?, paper.flow().score(t, &states)?];
            for (found, expected) in found.iter().zip([mean, score]) {
                let error = crate::support::relative_error(&found.to_vec()?, &expected, 1.0);
                assert!(error < 1e-12, "{path:?}, {t}: {error:e}");
            }
        }
    }
    Ok(())
}

#[test]
fn blocks_of_samples_do_not_depend_on_how_many_follow() -> Result<()> {
    let (paper, noise) = (Paper::linear()?, Noise::new(3));
    for sampler in [Sampler::steps(1), Sampler::refinement(2), Sampler::ode(2), Sampler::sde(2)] {
        let of = |samples: usize| -> Result<Vec<Vec<f64>>> {
            let shape = Shape::new(&[samples, 2])?;
            sampler.blocks(&paper.flow(), &device(), shape, &noise).map(|block: Result<F64>| block?.to_vec()).collect()
        };
        let (few, more) = (of(Sampler::BLOCK)?, of(Sampler::BLOCK + 3)?);
        assert_eq!((few.len(), more.len(), more[1].len()), (1, 2, 6), "{sampler:?}");
        assert!(few[0] == more[0] && more[1][..] != more[0][..6], "{sampler:?}");
        let x: F64 = device().normal(&noise.fork(1).stream(1), Shape::new(&[3, 2])?)?;
        assert_eq!(more[1], sampler.sample(&paper.flow(), &x, &noise.fork(1))?.to_vec::<f64>()?, "{sampler:?}");
        assert!(of(0)?.is_empty());
    }
    Ok(())
}

#[test]
fn posterior_draws_take_any_number_of_steps() -> Result<()> {
    let paper = Paper::linear()?;
    let (state, noise) = (normal(&device(), 3, 2, 5)?, normal(&device(), 12, 2, 6)?);
    let one: Vec<f64> = paper.flow().posterior(&noise, 0.3, &state)?.to_vec()?;
    for steps in [1, 2, 7] {
        let several: Vec<f64> = posterior_by_steps(&paper.flow(), &TimeGrid::uniform(steps), &noise, 0.3, &state)?.to_vec()?;
        assert!(crate::support::relative_error(&several, &one, 1.0) < 1e-9, "{steps}");
    }
    Ok(())
}

#[test]
fn refinement_keeps_the_law() -> Result<()> {
    for path in [PATHS[0], PATHS[2]] {
        let paper = Paper::new(path)?;
        let noise = normal(&device(), SAMPLES, 2, 2)?;
        for steps in [1, 6] {
            let samples = sample_by_refinement(&paper.flow(), &TimeGrid::uniform(steps), &noise, &Noise::new(3))?;
            reaches(&format!("{steps} refinements, {}", path.name()), &samples, &paper.prior, 0.0)?;
        }
    }
    Ok(())
}

/// The root mean square error of an ODE solver's samples against the exact map's, from the same noise.
fn error_of(mixture: &GaussianMixture, path: &'static dyn Interpolant, scheme: Scheme, steps: usize) -> Result<f64> {
    let map = TransportMap::new(mixture, path, 1);
    let exact = ExactFlowMap::new(mixture, path, 16)?;
    let noise: F64 = normal(&device(), 64, mixture.dimension(), 7)?;
    let steering = Steering { dynamics: Dynamics::Ode, scheme, grid: TimeGrid::uniform(steps) };
    let samples = sample_by_integration(&Flow::new(&map, path), &steering, &noise, &Noise::new(0))?;
    let state = noise.slice(0, 0, 1)?;
    let expected = exact.posterior(&noise, &mfm_core::flow_map::time(&device(), 0.0)?, &state, Condition::NONE)?;
    Ok(samples.sub(&expected)?.square()?.mean_all()?.to_vec::<f64>()?[0].sqrt())
}

// Halving the step divides the error by 2 for Euler and by 4 for Heun; measured between 128 and 256 steps, where the next order adds a few
// per cent.
#[test]
fn euler_is_of_order_one_and_heun_of_order_two() -> Result<()> {
    for mixture in [GaussianMixture::paper(), random_mixture(3, 4, 11)?] {
        for path in PATHS {
            for (scheme, order) in [(Scheme::Euler, 1.0), (Scheme::Heun, 2.0)] {
                let (coarse, fine) = (error_of(&mixture, path, scheme, 128)?, error_of(&mixture, path, scheme, 256)?);
                let found = (coarse / fine).log2();
                println!("{} {scheme:?}: error {fine:.2e} at 256 steps, order {found:.2}", path.name());
                assert!((found - order).abs() < 0.25, "{path:?}, {scheme:?}: order {found}");
            }
        }
    }
    Ok(())
}

// Steps of 1/128 err by about their length in W2 at the modes' scale, starting at t = 0.01 by 1e-4.
#[test]
fn equations_reach_the_law() -> Result<()> {
    let paper = Paper::linear()?;
    let noise = normal(&device(), SAMPLES, 2, 4)?;
    let grid = TimeGrid::uniform(128).starting_at(0.01);
    for (dynamics, scheme) in
        [(Dynamics::Ode, Scheme::Euler), (Dynamics::Ode, Scheme::Heun), (Dynamics::Sde, Scheme::Euler), (Dynamics::Sde, Scheme::Heun)]
    {
        let steering = Steering { dynamics, scheme, grid };
        let samples = sample_by_integration(&paper.flow(), &steering, &noise, &Noise::new(8))?;
        reaches(&format!("{dynamics:?}, {scheme:?}"), &samples, &paper.prior, 0.03)?;
        keeps_its_width(&format!("{dynamics:?}, {scheme:?}"), &samples, 0.02)?;
    }
    // With few steps a Heun step of the SDE must add the noise of all of its way, not that at its start.
    let few = Steering { dynamics: Dynamics::Sde, scheme: Scheme::Heun, grid: TimeGrid::uniform(16).starting_at(0.01) };
    for path in PATHS {
        let paper = Paper::new(path)?;
        let samples = sample_by_integration(&paper.flow(), &few, &noise, &Noise::new(8))?;
        keeps_its_width(&format!("16 steps of Heun, {}", path.name()), &samples, 0.01)?;
    }
    let from_zero = Steering { dynamics: Dynamics::Sde, scheme: Scheme::Euler, grid: TimeGrid::uniform(4) };
    let refused = sample_by_integration(&paper.flow(), &from_zero, &noise, &Noise::new(8));
    assert!(matches!(refused, Err(Error::Range { .. })));
    Ok(())
}

// Ending at 0.995 leaves I = 0.005 x0 + 0.995 x1, which is 0.02 from the law of x1 at the far modes.
#[test]
fn every_diffusion_has_the_same_marginals() -> Result<()> {
    let noise = normal(&device(), SAMPLES, 2, 4)?;
    let grid = TimeGrid { end: 0.995, ..TimeGrid::uniform(128) };
    for (path, epsilon) in [(PATHS[0], 0.0), (PATHS[0], 0.3), (PATHS[0], 2.0), (PATHS[1], 1.0), (PATHS[3], 1.0)] {
        let paper = Paper::new(path)?;
        let samples = sample_by_diffusion(&paper.flow(), &grid, epsilon, &noise, &Noise::new(9))?;
        reaches(&format!("diffusion {epsilon}, {}", path.name()), &samples, &paper.prior, 0.05)?;
        keeps_its_width(&format!("diffusion {epsilon}, {}", path.name()), &samples, 0.02)?;
    }
    let paper = Paper::linear()?;
    for (grid, epsilon) in [(TimeGrid::uniform(8), 1.0), (grid, -1.0), (grid, f64::NAN)] {
        assert!(matches!(sample_by_diffusion(&paper.flow(), &grid, epsilon, &noise, &Noise::new(9)), Err(Error::Range { .. })));
    }
    Ok(())
}

#[test]
fn a_bad_grid_is_an_error() -> Result<()> {
    let paper = Paper::linear()?;
    let noise: F64 = normal(&device(), 2, 2, 4)?;
    let uniform = TimeGrid::uniform(4);
    for grid in [
        TimeGrid { steps: 0, ..uniform },
        TimeGrid { start: 0.5, end: 0.5, ..uniform },
        TimeGrid { end: 1.5, ..uniform },
        TimeGrid { start: f64::NAN, ..uniform },
        TimeGrid { power: 0.0, ..uniform },
    ] {
        assert!(matches!(sample_by_steps(&paper.flow(), &grid, &noise), Err(Error::Range { .. })), "{grid:?}");
    }
    let times = TimeGrid { power: 2.0, ..uniform }.times(&Linear)?;
    assert_eq!(times, [0.0, 0.0625, 0.25, 0.5625, 1.0]);
    Ok(())
}
