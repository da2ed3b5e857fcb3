//! Populations of weighted particles: the tilted law, and what their weights are worth.

use crate::Paper;
use crate::support::statistics::Mean;
use crate::support::{F64, device, distance_and_floor, gaussian, normal, rows};
use mfm_core::categorical::systematic;
use mfm_core::guidance::Unsteered;
use mfm_core::population::{Bridged, Generation, GuidedSde, Potential, Proposal, SequentialMonteCarlo};
use mfm_core::reward::Reward;
use mfm_core::{Device, Draws, Flow, Linear, Noise, Result, Shape, Tensor, TimeGrid};
use mfm_toy2d::exact::{ExactGradient, TransportMap};
use mfm_toy2d::{QuadraticReward, tilt};

// One population of 4,096 particles. Resampled particles are copies, so its distance exceeds that of independent samples: 3 floors + 0.1.
// The reward at the posterior mean is a fair look-ahead for a reward as wide as the modes (σ = 1.5); for the paper's it is not, and kills
// modes early, as TDS does with a number of particles that is small beside e^60.
#[test]
fn populations_reach_the_tilted_law() -> Result<()> {
    let paper = Paper::linear()?;
    let wide = QuadraticReward::observation(&[1.2, -0.8], &[-1.0], 1.5)?;
    let wide_target = tilt(&paper.prior, &wide)?.mixture;
    let x: F64 = normal(&device(), 4096, 2, 7)?;
    let exact = ExactGradient { mixture: &paper.prior, reward: &wide };
    let grid = TimeGrid::uniform(100).starting_at(0.02);
    let population = |potential| SequentialMonteCarlo { grid, potential, threshold: 0.5 };
    let (mut generations, mut resampled, mut smallest) = (0, 0, 4096.0_f64);
    let mut count = |generation: Generation| {
        generations += 1;
        resampled += usize::from(generation.resampled);
        smallest = smallest.min(generation.weights.effective_sample_size);
        // max w ≤ √Σw² ≤ √max w, with Σw = 1.
        let (largest, least) = (generation.weights.largest_weight, 1.0 / generation.weights.effective_sample_size);
        assert!(largest >= least - 1e-12 && largest * largest <= least + 1e-12, "{generation:?}");
        let last = [7, 99].contains(&generation.index);
        assert!(generation.resampled == (generation.weights.effective_sample_size < 2048.0) || last && generation.resampled);
        Ok(())
    };
    let (mean, value) = (population(Potential::PosteriorMean), population(Potential::Value(Draws::new(16))));
    let bridged = SequentialMonteCarlo { grid: TimeGrid::uniform(8), ..value };
    let (flow, noise) = (paper.flow(), Noise::new(8));
    let runs = [
        ("unsteered, by means", &wide_target, mean.run(&flow, &wide, &GuidedSde(Unsteered), &x, &noise, &mut count)?),
        ("guided, by means", &wide_target, mean.run(&flow, &wide, &GuidedSde(exact), &x, &noise, &mut count)?),
        ("unsteered, by values", &paper.target, value.run(&flow, &paper.reward, &GuidedSde(Unsteered), &x, &noise, &mut count)?),
        ("bridged, by values", &paper.target, bridged.run(&flow, &paper.reward, &Bridged::default(), &x, &noise, &mut count)?),
    ];
    println!("SMC: {resampled} of {generations} generations resampled, smallest effective size {smallest:.0}");
    assert_eq!(generations, 308);
    for (what, target, samples) in runs {
        let (distance, floor) = distance_and_floor(&samples.to_vec::<f64>()?, target, 900)?;
        println!("SMC, {what}: sliced W2 {distance:.3}, floor {floor:.3}");
        assert!(distance <= 3.0 * floor + 0.1, "{what}: {distance} against {floor}");
    }
    Ok(())
}

/// 0 where the first coordinate is above a bound, −∞ elsewhere.
struct Above(f64);

impl Reward<F64> for Above {
    fn value(&self, x: &F64) -> Result<F64> {
        let first: Vec<f64> = x.to_vec::<f64>()?.chunks(2).map(|x| if x[0] > self.0 { 0.0 } else { f64::NEG_INFINITY }).collect();
        x.device().from_slice(&first, Shape::new(&[first.len()])?)
    }
}

// Looks that say −∞ of particles that then end where they may are taken back: without resampling on the way, the weights are those of the ends alone, whatever
// was seen before.
#[test]
fn what_looked_impossible_may_still_be() -> Result<()> {
    let paper = Paper::linear()?;
    let (flow, noise, n) = (paper.flow(), Noise::new(5), 256);
    let start: F64 = normal(&device(), n, 2, 6)?;
    let grid = TimeGrid::uniform(12).starting_at(0.05);
    let times = grid.times(flow.path)?;
    let (mut x, mut once) = (start.clone(), vec![false; n]);
    let reward = Above(0.5);
    for (k, pair) in times.windows(2).enumerate() {
        let mean = flow.posterior_mean(pair[0], &x)?;
        once.iter_mut().zip(reward.value(&mean)?.to_vec::<f64>()?).for_each(|(once, r)| *once |= r < 0.0);
        x = GuidedSde(Unsteered).propose(&flow, (pair[0], pair[1]), &x, &noise.fork(k as u64))?.0;
    }
    let rewards = reward.value(&x)?.to_vec::<f64>()?;
    let revived = (0..n).filter(|&i| once[i] && rewards[i] == 0.0).count();
    assert!(revived > n / 16, "only {revived} particles looked forbidden and then were not");
    let mut uniform = [0.0];
    noise.fork(times.len() as u64 - 2).stream(2).fill_uniform(&mut uniform);
    let expected = x.gather(0, &systematic(&rewards.iter().map(|r| r.exp()).collect::<Vec<_>>(), n, uniform[0]))?;
    for potential in [Potential::PosteriorMean, Potential::Value(Draws::new(2))] {
        let population = SequentialMonteCarlo { grid, potential, threshold: 0.0 };
        let found = population.run(&flow, &reward, &GuidedSde(Unsteered), &start, &noise, &mut |_| Ok(()))?;
        assert_eq!(found.to_vec::<f64>()?, expected.to_vec::<f64>()?, "{potential:?}");
        // With resampling all of them are allowed as well.
        let population = SequentialMonteCarlo { threshold: 0.5, ..population };
        let found = population.run(&flow, &reward, &GuidedSde(Unsteered), &start, &noise, &mut |_| Ok(()))?;
        assert!(reward.value(&found)?.to_vec::<f64>()?.iter().all(|r| *r == 0.0), "{potential:?}");
    }
    Ok(())
}

// Under the guided move the ratio of the two densities has the mean 1, for any guide: 2^16 moves of one state, 4 standard errors.
#[test]
fn the_weight_of_a_guided_move_is_a_ratio_of_densities() -> Result<()> {
    let paper = Paper::linear()?;
    let wide = QuadraticReward::observation(&[1.2, -0.8], &[-1.0], 1.5)?;
    let proposal = GuidedSde(ExactGradient { mixture: &paper.prior, reward: &wide });
    for (state, times) in [([0.3, -0.4], (0.3, 0.35)), ([2.0, 1.5], (0.7, 0.72))] {
        let x: F64 = rows(&device(), &state.repeat(1 << 16), 2)?;
        let (_, log_ratio) = proposal.propose(&paper.flow(), times, &x, &Noise::new(9))?;
        let ratio = Mean::of_rows(&log_ratio.iter().map(|ratio| ratio.exp()).collect::<Vec<_>>(), 1);
        println!("a move from {state:?}: mean ratio {:.4}, standard error {:.4}", ratio.mean()[0], ratio.standard_error()[0]);
        // The guide must matter, or anything would pass.
        assert!(ratio.variance()[0] > 1e-3 && ratio.errors_from(&[1.0]) < 4.0, "{state:?}: {:?}", ratio.mean());
    }
    Ok(())
}

// N(0, I) where the first coordinate must be above 1: E x₀ = φ(1)/Φ(−1), and the estimate of Z has the mean Φ(−1). Of a few draws often none is allowed, and a population that gave up such particles would leave
// the law with any number of them. 24 populations of 2,048, 4 standard errors.
#[test]
fn particles_that_look_forbidden_are_not_given_up() -> Result<()> {
    let law = gaussian(&[0.0, 0.0], 1.0)?;
    let map = TransportMap::new(&law, &Linear, 2);
    let flow = Flow::new(&map, &Linear);
    let by_values = SequentialMonteCarlo { grid: TimeGrid::uniform(8), potential: Potential::Value(Draws::new(4)), threshold: 0.5 };
    let by_means =
        SequentialMonteCarlo { grid: TimeGrid::uniform(60).starting_at(0.02), potential: Potential::PosteriorMean, threshold: 0.5 };
    let mut means = [Mean::default(), Mean::default()];
    for run in 0..24 {
        let (x, noise): (F64, _) = (normal(&device(), 2048, 2, 100 + run)?, Noise::new(200 + run));
        let (mut possible, mut also) = (0.0, 0.0);
        let mut tell = |generation: Generation| {
            possible = generation.log_normaliser.exp();
            Ok(())
        };
        let ends = by_values.run(&flow, &Above(1.0), &Bridged::default(), &x, &noise, &mut tell)?;
        let mut tell_also = |generation: Generation| {
            also = generation.log_normaliser.exp();
            Ok(())
        };
        let ends = [ends, by_means.run(&flow, &Above(1.0), &GuidedSde(Unsteered), &x, &noise, &mut tell_also)?];
        for ((mean, ends), possible) in means.iter_mut().zip(ends).zip([possible, also]) {
            let first = ends.to_vec::<f64>()?;
            mean.add(&[first.chunks(2).map(|x| x[0]).sum::<f64>() / 2048.0, possible]);
        }
    }
    for (mean, what) in means.iter().zip(["by values", "by means"]) {
        println!("{what}: mean and share {:?}, standard errors {:?}", mean.mean(), mean.standard_error());
        assert!(mean.errors_from(&[1.525_135_276, 0.158_655_254]) < 4.0, "{what}: {:?}", mean.mean());
    }
    Ok(())
}

// The estimate of Z = E exp r has it as its mean, however few the particles: 200 populations of 64, 4 standard errors.
#[test]
fn populations_estimate_the_normaliser_without_bias() -> Result<()> {
    let paper = Paper::linear()?;
    let wide = QuadraticReward::observation(&[1.2, -0.8], &[-1.0], 1.5)?;
    let log_normaliser = tilt(&paper.prior, &wide)?.log_normaliser;
    let population = SequentialMonteCarlo { grid: TimeGrid::uniform(6), potential: Potential::Value(Draws::new(2)), threshold: 0.7 };
    let mut mean = Mean::default();
    for run in 0..200 {
        let (x, mut last): (F64, _) = (normal(&device(), 64, 2, 100 + run)?, 0.0);
        population.run(&paper.flow(), &wide, &Bridged::default(), &x, &Noise::new(400 + run), &mut |generation| {
            last = generation.log_normaliser;
            Ok(())
        })?;
        mean.add(&[(last - log_normaliser).exp()]);
    }
    println!("Ẑ/Z: {:.4}, standard error {:.4}", mean.mean()[0], mean.standard_error()[0]);
    assert!(mean.errors_from(&[1.0]) < 4.0, "{:?}", mean.mean());
    Ok(())
}

#[test]
fn where_nothing_is_possible_particles_stay_the_models_own() -> Result<()> {
    let paper = Paper::linear()?;
    let x: F64 = normal(&device(), 64, 2, 6)?;
    for potential in [Potential::PosteriorMean, Potential::Value(Draws::new(2))] {
        let population = SequentialMonteCarlo { grid: TimeGrid::uniform(6), potential, threshold: 0.5 };
        let found = population.run(&paper.flow(), &Above(f64::INFINITY), &Bridged::default(), &x, &Noise::new(5), &mut |generation| {
            assert_eq!((generation.weights.effective_sample_size, generation.weights.largest_weight), (0.0, 0.0));
            Ok(())
        })?;
        assert!(found.to_vec::<f64>()?.iter().all(|x| x.is_finite()));
    }
    Ok(())
}
