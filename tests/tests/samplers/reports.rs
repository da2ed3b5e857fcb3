//! What a run reports of its steps, and that it can be stopped at each.

use crate::Paper;
use crate::support::{F64, device, normal};
use mfm_core::best_of::best_of;
use mfm_core::coupling::Coupling;
use mfm_core::plan::{Diagnostics, Estimator, Plan};
use mfm_core::posterior_mcmc::{PosteriorMcmc, steer_by_mcmc};
use mfm_core::resample::{Resampling, steer_by_resampling};
use mfm_core::reward::Reward;
use mfm_core::{Draws, Error, Noise, Result, Tensor, TimeGrid};
use mfm_toy2d::QuadraticReward;

/// What a plan reports of its steps until the step `last`, at which it is stopped.
fn told(plan: &Plan, samples: usize, last: usize) -> Result<Vec<Diagnostics>> {
    let paper = Paper::linear()?;
    let x: F64 = normal(&device(), samples, 2, 1)?;
    let mut steps = Vec::new();
    let run = plan.run(&paper.flow(), &paper.reward, &x, &Noise::new(2), &mut |step| {
        steps.push(step);
        if step.step == last { Err(Error::Cancelled) } else { Ok(()) }
    });
    match run {
        Ok(_) => assert_eq!(steps.len(), plan.reports(x.shape())?, "{plan:?}"),
        Err(error) => assert!(error == Error::Cancelled && steps.len() == last, "{plan:?}: {error}"),
    }
    Ok(steps)
}

// Estimators that weigh draws or particles report how concentrated the weights are.
#[test]
fn every_plan_tells_of_its_steps_and_can_be_stopped() -> Result<()> {
    use Estimator::{BestOfN, Dps, Mcmc, MfmG, MfmGf, MfmSmc, Resampled, Search, Smc};
    for estimator in Estimator::ALL {
        let plan = Plan { moves: 1, ..Plan::new(estimator, 4, 3) };
        // 16,384 draws are made at once: two blocks for the best of several.
        let samples = if estimator == BestOfN { 4097 } else { 16 };
        let steps = told(&plan, samples, usize::MAX)?;
        assert_eq!(steps.len(), if estimator == BestOfN { 2 } else { 3 }, "{estimator:?}");
        let is_weighed = matches!(estimator, MfmG | MfmGf | Resampled | Mcmc | Smc | MfmSmc);
        let most = if matches!(estimator, Smc | MfmSmc) { 16.0 } else { 4.0 };
        for (index, step) in steps.iter().enumerate() {
            assert_eq!(step.step, index + 1, "{estimator:?}");
            assert_eq!(step.effective_sample_size.is_some(), is_weighed, "{step:?}");
            assert_eq!(step.largest_weight.is_some(), is_weighed, "{step:?}");
            assert!(step.effective_sample_size.is_none_or(|size| (1.0 - 1e-12..=most + 1e-12).contains(&size)), "{step:?}");
            assert!(step.largest_weight.is_none_or(|weight| (1.0 / most - 1e-12..=1.0 + 1e-12).contains(&weight)), "{step:?}");
            assert_eq!(step.acceptance.is_some(), estimator == Mcmc, "{step:?}");
            assert_eq!(step.best_reward.is_some(), matches!(estimator, BestOfN | Search), "{step:?}");
            assert_eq!(step.correction_norm.is_some(), matches!(estimator, Dps | MfmG | MfmGf), "{step:?}");
        }
        told(&plan, samples, 1)?;
    }
    Ok(())
}

// At the first time the fresh starts of the chains are the draws of resampling, weighed alike.
#[test]
fn chains_tell_how_concentrated_their_starts_were() -> Result<()> {
    let paper = Paper::linear()?;
    let x: F64 = normal(&device(), 32, 2, 1)?;
    for rows in [16_384, 20] {
        let draws = Draws { count: 8, rows };
        let (mut starts, mut weights) = (Vec::new(), Vec::new());
        let options = PosteriorMcmc { fresh: draws, ..PosteriorMcmc::new(1, 2) };
        steer_by_mcmc(&paper.flow(), &paper.reward, &options, &x, &Noise::new(3), &mut |report| {
            starts.push(report.start);
            Ok(())
        })?;
        let resampling = Resampling { grid: TimeGrid::uniform(1), draws, coupling: Coupling::Bridge };
        steer_by_resampling(&paper.flow(), &paper.reward, &resampling, &x, &Noise::new(3), &mut |_, concentration| {
            weights.push(concentration);
            Ok(())
        })?;
        assert_eq!(starts, weights);
    }
    // Of a reward that falls by thousands from draw to draw, one survives.
    let steep = QuadraticReward::linear(&[1e4, 0.0], 0.0)?;
    steer_by_mcmc(&paper.flow(), &steep, &PosteriorMcmc::new(4, 0), &x, &Noise::new(3), &mut |report| {
        assert!(report.start.effective_sample_size < 1.2 && report.start.largest_weight > 0.9, "{report:?}");
        Ok(())
    })?;
    Ok(())
}

#[test]
fn the_best_of_several_tells_of_the_best_reward_so_far() -> Result<()> {
    let paper = Paper::linear()?;
    let like: F64 = normal(&device(), 10, 2, 1)?;
    let mut told = Vec::new();
    // Four samples at once.
    let draws = Draws { count: 3, rows: 12 };
    let samples = best_of(&paper.flow(), &paper.reward, &TimeGrid::uniform(2), draws, &like, &Noise::new(4), &mut |block, best| {
        told.push((block, best));
        Ok(())
    })?;
    let rewards: Vec<f64> = Reward::<F64>::value(&paper.reward, &samples)?.to_vec()?;
    let best = |until: usize| rewards[..until].iter().copied().fold(f64::NEG_INFINITY, f64::max);
    for ((found, until), block) in told.iter().zip([4, 8, 10]).zip(0..) {
        assert!(found.0 == block && (found.1 - best(until)).abs() < 1e-12 * best(until).abs(), "{told:?}");
    }
    assert_eq!(told.len(), 3);
    Ok(())
}
