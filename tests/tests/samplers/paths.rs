//! Every path is the straight one at other times (`StraightStep`), so an exact map must give the same samples on all of them, from states of the
//! same signal-to-noise ratio. (A diffusion of one's own, `sample_by_diffusion`, is another equation on each path.)

use crate::Paper;
use crate::support::{F64, PATHS, device, normal, relative_error};
use mfm_core::interpolant::Interpolant;
use mfm_core::plan::{Estimator, Plan};
use mfm_core::sample::{posterior_by_rollout, posterior_by_steps, sample_by_refinement};
use mfm_core::steer::{Dynamics, Scheme};
use mfm_core::{Noise, Operations, Result, Tensor, TimeGrid};

/// The largest difference that rounding, and the map's own accuracy, may make over a run.
const ROUNDING: f64 = 1e-7;

/// The time of a path, and the scale of its states, where the linear one is at `tau`.
fn at(path: &dyn Interpolant, tau: f64) -> (f64, f64) {
    let t = path.time_of_straight(tau);
    let at = path.coefficients(t);
    assert!((at.straight_time() - tau).abs() < 1e-14, "{path:?}: {} for {tau}", at.straight_time());
    (t, at.alpha + at.beta)
}

/// What a sampler makes on each path is what it makes on the linear one.
fn same_on_every_path(what: &str, run: &dyn Fn(&Paper) -> Result<F64>) -> Result<()> {
    let expected: Vec<f64> = run(&Paper::new(PATHS[0])?)?.to_vec()?;
    assert!(expected.iter().all(|x| x.is_finite()), "{what}");
    for path in &PATHS[1..] {
        let error = relative_error(&run(&Paper::new(*path)?)?.to_vec::<f64>()?, &expected, 1.0);
        println!("{what}, {}: {error:.1e}", path.name());
        assert!(error < ROUNDING, "{what}, {path:?}: {error:e}");
    }
    Ok(())
}

#[test]
fn every_estimator_gives_the_same_samples_on_every_path() -> Result<()> {
    for estimator in Estimator::ALL {
        for (dynamics, scheme) in [(Dynamics::Ode, Scheme::Euler), (Dynamics::Ode, Scheme::Heun), (Dynamics::Sde, Scheme::Heun)] {
            let guided = matches!(estimator, Estimator::Unsteered | Estimator::Dps | Estimator::MfmG | Estimator::MfmGf);
            if !(guided || scheme == Scheme::Euler || estimator == Estimator::MfmSmc) {
                continue;
            }
            same_on_every_path(&format!("{estimator:?}, {dynamics:?}, {scheme:?}"), &|paper| {
                let starts_later = guided || estimator == Estimator::Smc || (estimator == Estimator::MfmSmc && dynamics == Dynamics::Sde);
                let (start, scale) = at(paper.path, if starts_later { 0.1 } else { 0.0 });
                let plan = Plan { dynamics, scheme, start, moves: 2, ..Plan::new(estimator, 3, 6) };
                let x = normal(&device(), 12, 2, 4)?.scale(scale)?;
                plan.run(&paper.flow(), &paper.reward, &x, &Noise::new(5), &mut |_| Ok(()))
            })?;
        }
    }
    Ok(())
}

#[test]
fn samplers_of_the_model_give_the_same_samples_on_every_path() -> Result<()> {
    let (states, noise) = (normal(&device(), 3, 2, 6)?, normal(&device(), 12, 2, 7)?);
    let grid = TimeGrid { power: 1.5, ..TimeGrid::uniform(5) };
    same_on_every_path("refinement", &|paper| sample_by_refinement(&paper.flow(), &grid, &noise, &Noise::new(8)))?;
    for tau in [0.0, 0.4] {
        let from = |paper: &Paper| -> Result<(f64, F64)> {
            let (t, scale) = at(paper.path, tau);
            Ok((t, states.scale(scale)?))
        };
        same_on_every_path("steps of the map", &|paper| {
            let (t, states) = from(paper)?;
            posterior_by_steps(&paper.flow(), &grid, &noise, t, &states)
        })?;
        same_on_every_path("rollouts", &|paper| {
            let (t, states) = from(paper)?;
            posterior_by_rollout(&paper.flow(), &grid, &noise, t, &states)
        })?;
    }
    Ok(())
}
