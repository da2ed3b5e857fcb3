//! Steering to a reward: the tilted law, with exact posteriors.

use crate::Paper;
use crate::support::statistics::Mean;
use crate::support::{F64, device, distance_and_floor, gaussian, normal, rows};
use mfm_core::best_of::best_of;
use mfm_core::coupling::Coupling;
use mfm_core::guidance::MfmGradientFree;
use mfm_core::posterior_mcmc::{PosteriorMcmc, steer_by_mcmc};
use mfm_core::resample::{Resampling, steer_by_resampling};
use mfm_core::reward::{ByDifferentiation, Reward, RewardFormula};
use mfm_core::search::{Keep, Search};
use mfm_core::steer::{Dynamics, Scheme, Steering, steer};
use mfm_core::{Device, Draws, Error, Flow, Noise, Operations, Result, Shape, Tensor, TimeGrid};
use mfm_toy2d::exact::{ExactGradient, TransportMap};
use mfm_toy2d::{InverseProblemSpec, QuadraticReward, tilt};
use std::cell::RefCell;

/// The mean over `seeds` runs of the distance to the tilted law and of the floor, 8 steps × 64 draws.
fn resampled(paper: &Paper, coupling: Coupling, samples: usize, seeds: u64) -> Result<(f64, f64)> {
    let resampling = Resampling { grid: TimeGrid::uniform(8), draws: Draws::new(64), coupling };
    let (mut distances, mut floors) = (0.0, 0.0);
    for seed in 0..seeds {
        let x: F64 = normal(&device(), samples, 2, 100 + seed)?;
        let mut sizes = Vec::new();
        let run = steer_by_resampling(&paper.flow(), &paper.reward, &resampling, &x, &Noise::new(200 + seed), &mut |k, concentration| {
            assert_eq!(k, sizes.len());
            sizes.push(concentration.effective_sample_size);
            Ok(())
        })?;
        assert!(sizes.len() == 8 && sizes.iter().all(|size| (1.0..=64.0).contains(size)), "{sizes:?}");
        let (distance, floor) = distance_and_floor(&run.to_vec::<f64>()?, &paper.target, 900 + seed)?;
        (distances, floors) = (distances + distance, floors + floor);
    }
    let (distance, floor) = (distances / seeds as f64, floors / seeds as f64);
    println!("resampled, {coupling:?}, {seeds} x {samples}: sliced W2 {distance:.3}, floor {floor:.3}");
    Ok((distance, floor))
}

const COUPLINGS: [Coupling; 3] = [Coupling::Bridge, Coupling::SameNoise, Coupling::FreshNoise];

// Null: samples are of the tilted law. One run of 2,048: two floors (see `DrawLaw::EXACT`), and 0.03 for choosing among 64 draws.
#[test]
fn resampling_reaches_the_tilted_law_by_every_coupling() -> Result<()> {
    let paper = Paper::linear()?;
    for coupling in COUPLINGS {
        let (distance, floor) = resampled(&paper, coupling, 2048, 1)?;
        assert!(distance <= 2.0 * floor + 0.03, "{coupling:?}: {distance} against {floor}");
    }
    Ok(())
}

// The mean of 4 runs of 4,096 varies by a quarter of the floor, so 1.2 floors + 0.03 are 1.5 standard errors of it; eight seeds measured
// 0.107, 0.097 and 0.095 with a floor of 0.094.
#[test]
#[ignore = "25 million posterior draws: half a minute"]
fn resampling_reaches_the_floor() -> Result<()> {
    let paper = Paper::linear()?;
    for coupling in COUPLINGS {
        let (distance, floor) = resampled(&paper, coupling, 4096, 4)?;
        assert!(distance <= 1.2 * floor + 0.03, "{coupling:?}: {distance} against {floor}");
    }
    Ok(())
}

// The exact gradient by ODE and SDE, and MFM-GF by SDE, in 200 steps from 0.01: the prototype has 0.11 (its floor) and 0.13. The margin of
// 0.1 beside the floor is for the steps of the last, stiff part: the tilted law is 0.14 wide across the valley.
#[test]
fn guided_equations_reach_the_tilted_law() -> Result<()> {
    let paper = Paper::linear()?;
    let x: F64 = normal(&device(), 2048, 2, 3)?;
    let exact = ExactGradient { mixture: &paper.prior, reward: &paper.reward };
    let free = MfmGradientFree { reward: &paper.reward, draws: Draws::new(16) };
    let grid = TimeGrid::uniform(200).starting_at(0.01);
    let check = |what: &str, samples: F64, margin: f64| -> Result<()> {
        let (distance, floor) = distance_and_floor(&samples.to_vec::<f64>()?, &paper.target, 900)?;
        println!("{what}: sliced W2 {distance:.3}, floor {floor:.3}");
        assert!(distance <= 1.2 * floor + margin, "{what}: {distance} against {floor}");
        Ok(())
    };
    for dynamics in [Dynamics::Ode, Dynamics::Sde] {
        let steering = Steering { dynamics, scheme: Scheme::Euler, grid };
        let samples = steer(&paper.flow(), &exact, &steering, &x, &Noise::new(4), &mut |_| Ok(()))?;
        check(&format!("exact gradient, {dynamics:?}"), samples, 0.1)?;
    }
    let steering = Steering { dynamics: Dynamics::Sde, scheme: Scheme::Euler, grid };
    check("gradient-free, Sde", steer(&paper.flow(), &free, &steering, &x, &Noise::new(4), &mut |_| Ok(()))?, 0.15)?;
    // A caller may stop the run.
    let stopped = steer(&paper.flow(), &exact, &steering, &x, &Noise::new(4), &mut |step| {
        if step.index == 2 { Err(Error::Cancelled) } else { Ok(()) }
    });
    assert!(matches!(stopped, Err(Error::Cancelled)));
    Ok(())
}

// 16 dimensions, 4 observations with noise 0.3, 16 times × 4 moves, 1,024 chains. Null: the tilted law. Four moves do not mix fully, so
// means may be 4 standard errors + 0.03 off and variances 4 standard errors + 10 %, of a prior of variance 1; acceptance aims at 0.57 and
// is measured in the second half, once the step size has settled.
#[test]
fn posterior_mcmc_solves_an_inverse_problem() -> Result<()> {
    let problem = InverseProblemSpec { dimension: 16, observations: 4, sigma: 0.3, components: 1, seed: 3 }.generate()?;
    let target = tilt(&problem.prior, &problem.reward)?.mixture;
    let map = TransportMap::new(&problem.prior, &mfm_core::interpolant::Linear, 2);
    let flow = Flow::new(&map, &mfm_core::interpolant::Linear);
    let (mut accepted, mut step_sizes) = (Vec::new(), Vec::new());
    let x: F64 = normal(&device(), 1024, 16, 5)?;
    let samples = steer_by_mcmc(&flow, &problem.reward, &PosteriorMcmc::new(16, 4), &x, &Noise::new(6), &mut |report| {
        accepted.push(report.acceptance);
        step_sizes.push(report.step_size);
        Ok(())
    })?;
    let samples: Vec<f64> = samples.to_vec()?;
    let (distance, floor) = distance_and_floor(&samples, &target, 900)?;
    let late = accepted[8..].iter().sum::<f64>() / 8.0;
    let still = steer_by_mcmc(&flow, &problem.reward, &PosteriorMcmc::new(16, 0), &x, &Noise::new(6), &mut |_| Ok(()))?;
    let (without, _) = distance_and_floor(&still.to_vec::<f64>()?, &target, 900)?;
    println!(
        "posterior MCMC: sliced W2 {distance:.3} ({without:.3} without moves), floor {floor:.3}; acceptance {late:.3}, step size {:.3}",
        step_sizes[15]
    );
    assert!(distance <= 1.5 * floor && without > 2.0 * floor, "{distance}, {without} without moves, against {floor}");
    assert!((late - 0.57).abs() < 0.1, "{accepted:?}");
    let (mean, covariance) = (target.mean(), target.covariance());
    let found = Mean::of_rows(&samples, 16);
    let centred: Vec<f64> = samples.chunks_exact(16).flat_map(|x| x.iter().zip(&mean).map(|(x, m)| (x - m).powi(2))).collect();
    let squares = Mean::of_rows(&centred, 16);
    for i in 0..16 {
        let off = (found.mean()[i] - mean[i]).abs();
        assert!(off < 4.0 * found.standard_error()[i] + 0.03, "mean {i} is off by {off}");
        let (variance, expected) = (squares.mean()[i], covariance[i * 17]);
        assert!(
            (variance - expected).abs() < 4.0 * squares.standard_error()[i] + 0.1 * expected,
            "variance {i}: {variance} against {expected}"
        );
    }
    Ok(())
}

// Data N(0, I) in two dimensions at t = 0, where the map is the identity, and r = −2‖x − 1‖²: the tilted law is N(0.8, 0.2 I). The last 8 of 16 moves, each of
// which contracts by about a half, leave nothing of the bias of the fresh start and of the first 8; 40,000 chains, 4 standard errors of means and variances.
#[test]
fn chains_keep_the_tilted_law() -> Result<()> {
    let prior = gaussian(&[0.0, 0.0], 1.0)?;
    let map = TransportMap::new(&prior, &mfm_core::interpolant::Linear, 2);
    let flow = Flow::new(&map, &mfm_core::interpolant::Linear);
    let x: F64 = normal(&device(), 40_000, 2, 1)?;
    // At two times the step sizes of the second are each chain's own.
    for times in [1, 2] {
        let options = PosteriorMcmc::new(times, 16);
        let samples = steer_by_mcmc(&flow, &ByDifferentiation(Near), &options, &x, &Noise::new(2), &mut |_| Ok(()))?.to_vec::<f64>()?;
        let means = Mean::of_rows(&samples, 2).errors_from(&[0.8; 2]);
        let squares: Vec<f64> = samples.iter().map(|x| (x - 0.8) * (x - 0.8)).collect();
        let variances = Mean::of_rows(&squares, 2).errors_from(&[0.2; 2]);
        println!("posterior MCMC at {times} times: means {means:.2}, variances {variances:.2} standard errors off");
        assert!(means < 4.0 && variances < 4.0, "{means} and {variances} standard errors");
    }
    Ok(())
}

// Or a chain that starts where nothing is possible would hardly move by the time that something is.
#[test]
fn an_impossible_place_says_nothing_of_the_step() -> Result<()> {
    let paper = Paper::linear()?;
    let x: F64 = normal(&device(), 5, 2, 1)?;
    let options = PosteriorMcmc::new(3, 4);
    steer_by_mcmc(&paper.flow(), &ByDifferentiation(Impossible), &options, &x, &Noise::new(2), &mut |report| {
        assert_eq!((report.step_size, report.acceptance), (options.step_size, 0.0));
        Ok(())
    })?;
    Ok(())
}

/// r(x) = −∞.
struct Impossible;

impl RewardFormula for Impossible {
    fn evaluate<T: Tensor>(&self, x: &T) -> Result<T> {
        x.square_norm_items()?.scale(0.0)?.shift(f64::NEG_INFINITY)
    }
}

/// r(x) = −2‖x − 1‖².
struct Near;

impl RewardFormula for Near {
    fn evaluate<T: Tensor>(&self, x: &T) -> Result<T> {
        x.shift(-1.0)?.square_norm_items()?.scale(-2.0)
    }
}

// Two far modes with eight fresh draws and eight moves at each of eight times: 2 floors + 0.05 for chains that hardly change modes.
#[test]
fn posterior_mcmc_reaches_both_modes() -> Result<()> {
    let paper = Paper::linear()?;
    let x: F64 = normal(&device(), 2048, 2, 1)?;
    for coupling in [Coupling::Bridge, Coupling::FreshNoise] {
        let options = PosteriorMcmc { coupling, ..PosteriorMcmc::new(8, 8) };
        let samples = steer_by_mcmc(&paper.flow(), &paper.reward, &options, &x, &Noise::new(2), &mut |_| Ok(()))?;
        let (distance, floor) = distance_and_floor(&samples.to_vec::<f64>()?, &paper.target, 900)?;
        println!("posterior MCMC on the mixture, {coupling:?}: {distance:.3}, floor {floor:.3}");
        assert!(distance <= 2.0 * floor + 0.05, "{coupling:?}: {distance} against {floor}");
    }
    Ok(())
}

// Null: the best of 8 by reward among exact samples. The reward's rank among exact rewards, F(r), is then uniform^(1/8) with mean 8/9; F
// from 2^16 exact samples, 2,048 bests, 4 standard errors of both.
#[test]
fn the_best_of_eight_has_the_eighth_power_of_the_law() -> Result<()> {
    let paper = Paper::linear()?;
    let like = device().zeros(Shape::new(&[2048, 2])?)?;
    let best: F64 = best_of(&paper.flow(), &paper.reward, &TimeGrid::uniform(1), Draws::new(8), &like, &Noise::new(9), &mut |_, _| Ok(()))?;
    let mut exact = vec![0.0; 1 << 16];
    paper.reward.value(&paper.prior.sample(1 << 16, &Noise::new(10))?, &mut exact)?;
    exact.sort_unstable_by(f64::total_cmp);
    let rewards: Vec<f64> = Reward::<F64>::value(&paper.reward, &best)?.to_vec()?;
    let ranks: Vec<f64> = rewards.iter().map(|r| exact.partition_point(|e| e < r) as f64 / exact.len() as f64).collect();
    let mean = Mean::of_rows(&ranks, 1);
    let (found, error) = (mean.mean()[0], (mean.variance()[0] / 2048.0 + 0.25 / 65536.0).sqrt());
    assert!((found - 8.0 / 9.0).abs() < 4.0 * error, "{found}, standard error {error}");
    // E[F²] of U^(1/8) is 8/10.
    let squares = Mean::of_rows(&ranks.iter().map(|r| r * r).collect::<Vec<_>>(), 1);
    assert!(squares.errors_from(&[0.8]) < 4.0, "{squares:?}");
    Ok(())
}

/// A reward that keeps every value it gives.
struct Recording<'a>(&'a QuadraticReward, RefCell<Vec<Vec<f64>>>);

impl Reward<F64> for Recording<'_> {
    fn value(&self, x: &F64) -> Result<F64> {
        let value = Reward::<F64>::value(self.0, x)?;
        self.1.borrow_mut().push(value.to_vec()?);
        Ok(value)
    }
}

#[test]
fn a_search_returns_the_best_draw_that_it_made() -> Result<()> {
    let paper = Paper::linear()?;
    let particles = 64;
    let x: F64 = normal(&device(), particles, 2, 11)?;
    for keep in [Keep::PerParticle, Keep::Overall] {
        for coupling in [Coupling::Bridge, Coupling::SameNoise, Coupling::FreshNoise] {
            let mut means = Vec::new();
            for count in [1, 4, 16] {
                let search = Search { grid: TimeGrid::uniform(5), draws: Draws { count, rows: 100 }, keep, coupling };
                let reward = Recording(&paper.reward, RefCell::default());
                let mut told = Vec::new();
                let found = search.run(&paper.flow(), &reward, &x, &Noise::new(12), &mut |_, best| {
                    told.push(best);
                    Ok(())
                })?;
                // All rewards of a step, one block after another, are particles × draws.
                let all: Vec<f64> = reward.1.take().concat();
                assert_eq!(all.len(), 5 * particles * count);
                for particle in 0..particles {
                    let made = (0..5).flat_map(|step| &all[(step * particles + particle) * count..][..count]);
                    assert_eq!(found.rewards[particle], made.copied().fold(f64::NEG_INFINITY, f64::max));
                }
                let again: Vec<f64> = Reward::<F64>::value(&paper.reward, &found.samples)?.to_vec()?;
                assert!(crate::support::relative_error(&again, &found.rewards, 1.0) < 1e-12);
                assert!(told.len() == 5 && told.is_sorted());
                assert_eq!(told[4], found.rewards.iter().copied().fold(f64::NEG_INFINITY, f64::max));
                means.push(Mean::of_rows(&found.rewards, 1));
            }
            // More draws are better, by more than 4 standard errors of 64 independent particles from 1 to 16.
            let (few, many) = (&means[0], &means[2]);
            let error = few.standard_error()[0].hypot(many.standard_error()[0]);
            println!("search, {keep:?}, {coupling:?}: {:.3}, {:.3}, {:.4}", few.mean()[0], means[1].mean()[0], many.mean()[0]);
            assert!(many.mean()[0] - few.mean()[0] > 4.0 * error, "{keep:?}, {coupling:?}");
        }
    }
    Ok(())
}

/// NaN for the first call, then the reward.
struct LateReward<'a>(&'a QuadraticReward, RefCell<usize>);

impl Reward<F64> for LateReward<'_> {
    fn value(&self, x: &F64) -> Result<F64> {
        *self.1.borrow_mut() += 1;
        let value = Reward::<F64>::value(self.0, x)?;
        if *self.1.borrow() > 1 { Ok(value) } else { rows(&device(), &vec![f64::NAN; value.shape().elements()], 1)?.reshape(value.shape()) }
    }
}

#[test]
fn a_search_prefers_any_reward_to_nan() -> Result<()> {
    let paper = Paper::linear()?;
    let x: F64 = normal(&device(), 4, 2, 11)?;
    let search = Search { grid: TimeGrid::uniform(2), draws: Draws::new(3), keep: Keep::PerParticle, coupling: Coupling::Bridge };
    let found = search.run(&paper.flow(), &LateReward(&paper.reward, RefCell::new(0)), &x, &Noise::new(12), &mut |_, _| Ok(()))?;
    assert!(found.rewards.iter().all(|r| r.is_finite()), "{:?}", found.rewards);
    Ok(())
}
