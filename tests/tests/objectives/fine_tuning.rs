//! Fine-tuning: the tilted drift is the minimiser, off policy, whatever constant the reward has.

use crate::gaussian_map::GaussianMap;
use crate::support::statistics::Mean;
use crate::support::{F64, device, normal, rows};
use mfm_core::autodiff::{Tape, Var};
use mfm_core::interpolant::Linear;
use mfm_core::reward::Reward;
use mfm_core::training::{
    AdaptiveWeight, Batch, FineTuning, FineTuningChoices, FineTuningLoss, FineTuningMaps, LogNormaliser, WeightSlope,
};
use mfm_core::{Error, Flow, Lift, Noise, Operations, Result, Tensor};
use mfm_toy2d::QuadraticReward;

const DEVIATION: f64 = 0.8;
const MEAN: f64 = 0.5;
const STRENGTH: f64 = 0.7;

fn base() -> Result<GaussianMap<F64>> {
    GaussianMap::new(&device(), DEVIATION, MEAN, [0.0; 4], &[0.0])
}

/// N(μ, σ_d²) tilted by λ h x is N(μ + λ σ_d² h, σ_d²).
fn tilted(slope: f64) -> Result<GaussianMap<F64>> {
    GaussianMap::new(&device(), DEVIATION, MEAN + STRENGTH * DEVIATION * DEVIATION * slope, [0.0; 4], &[0.0])
}

struct Run<'a> {
    options: FineTuning,
    map: &'a GaussianMap<F64>,
    x1: &'a F64,
    seed: u64,
}

impl Run<'_> {
    /// The loss and its gradient by μ, θ_0, θ_1 and θ_3.
    fn loss(&self, reward: &impl Reward<F64>, normaliser: Option<&mut LogNormaliser>) -> Result<(FineTuningLoss<F64>, [f64; 4])> {
        let base = base()?;
        let tape = Tape::new();
        let student = self.map.lift(&mut |p: &F64| Ok(tape.variable(p.clone())))?;
        let batch = Batch { x1: self.x1, labels: None };
        let flow = Flow::new(&base, &Linear);
        let maps = FineTuningMaps { base: flow, sampler: flow, student: &student };
        let loss = self.options.loss(&maps, reward, batch, normaliser, &Noise::new(self.seed))?;
        let one = loss.total.value().zeros_like()?.shift(1.0)?;
        let gradients = tape.backward(&loss.total, one)?;
        let (mean, theta) = (gradients.of(&student.mean)?.to_vec::<f64>()?, gradients.of(&student.theta)?.to_vec::<f64>()?);
        Ok((loss, [mean[0], theta[0], theta[1], theta[3]]))
    }
}

fn options() -> FineTuning {
    FineTuning { strength: STRENGTH, earliest: 0.05, ..FineTuning::default() }
}

/// N(μ, σ_d² I) tilted by λ (h·x − ½ k |x|²), a Gaussian again.
fn tilted_quadratically(slope: f64, curvature: f64) -> Result<GaussianMap<F64>> {
    let precision = 1.0 / (DEVIATION * DEVIATION) + STRENGTH * curvature;
    let mean = (MEAN / (DEVIATION * DEVIATION) + STRENGTH * slope) / precision;
    GaussianMap::new(&device(), 1.0 / precision.sqrt(), mean, [0.0; 4], &[0.0])
}

// Null: E of the gradient by (μ, θ) vanishes at the tilted map, and not at the base. Off policy: the batches are from a wider law than the
// base's. 150 batches of 256, 4.5 standard errors for the worst of 4 (θ_2 is not asked, at a state of zero). Raw weights: a running mean has its
// own test below.
#[test]
fn the_expected_gradient_vanishes_at_the_tilted_drift() -> Result<()> {
    let estimates = [(WeightSlope::Pathwise, 1), (WeightSlope::Pathwise, 3), (WeightSlope::Covariance, 2), (WeightSlope::Covariance, 5)];
    estimates.into_iter().try_for_each(|(estimate, draws)| expected_gradient(FineTuning { slope: estimate, draws, ..options() }))
}

fn expected_gradient(options: FineTuning) -> Result<()> {
    let (slope, curvature) = (0.9, 0.6);
    let reward = QuadraticReward::new(&[curvature, 0.0, 0.0, curvature], &[slope; 2], 0.0)?;
    let errors = |map: &GaussianMap<F64>| -> Result<f64> {
        let mut mean = Mean::default();
        for seed in 0..150 {
            let x1 = normal(&device(), 256, 2, 5000 + seed)?.scale(1.3)?.shift(0.8)?;
            mean.add(&Run { options, map, x1: &x1, seed }.loss(&reward, None)?.1);
        }
        Ok(mean.errors_from(&[0.0; 4]))
    };
    let (at_tilted, at_base) = (errors(&tilted_quadratically(slope, curvature)?)?, errors(&base()?)?);
    let FineTuning { slope, draws, .. } = options;
    println!("{slope:?}, {draws} draws: the gradient is {at_tilted:.1} standard errors from zero, {at_base:.0} at the base");
    assert!(at_tilted < 4.5 && at_base > 10.0, "{slope:?}, {draws}: {at_tilted}, {at_base}");
    Ok(())
}

// The same under a running mean, which must not know the batch that it divides. 2,000 runs of six batches of one state, each under a mean of its own, which is
// young and so moved much by each of them; 4.5 standard errors for the worst of 4. A mean that has taken in the batch first is told from zero at once.
#[test]
fn a_running_mean_leaves_no_bias() -> Result<()> {
    let slope = 1.8;
    let reward = QuadraticReward::linear(&[slope; 2], 5.0)?;
    let options = FineTuning { slope: WeightSlope::Covariance, draws: 2, ..options() };
    let (map, mut mean, mut knowing) = (tilted(slope)?, Mean::default(), Mean::default());
    for run in 0..2000 {
        let mut normaliser = LogNormaliser::default();
        let (mut sum, mut known) = ([0.0; 4], [0.0; 4]);
        for batch in 0..6 {
            let seed = 9000 + 6 * run + batch;
            let x1 = normal(&device(), 1, 2, seed)?.scale(DEVIATION)?.shift(MEAN)?;
            let run = Run { options, map: &map, x1: &x1, seed };
            let found = run.loss(&reward, Some(&mut normaliser))?.1;
            let mut again = normaliser;
            let again = run.loss(&reward, Some(&mut again))?.1;
            sum.iter_mut().zip(found).for_each(|(sum, g)| *sum += g);
            known.iter_mut().zip(again).for_each(|(sum, g)| *sum += g);
        }
        // One batch of draws of its own, for the first scale.
        assert_eq!(normaliser.count, 7);
        mean.add(&sum);
        knowing.add(&known);
    }
    let (off, known) = (mean.errors_from(&[0.0; 4]), knowing.errors_from(&[0.0; 4]));
    println!("under a running mean the gradient is {off:.1} standard errors from zero, under one that knows the batch {known:.1}");
    assert!(off < 4.5 && known > 8.0, "{off}, {known}");
    Ok(())
}

// For a linear reward (σ²/2)∇w is w times the shift of the drift, draw by draw: loss and gradient are zero, not only in expectation.
#[test]
fn a_linear_reward_leaves_no_residual() -> Result<()> {
    let reward = QuadraticReward::linear(&[0.9; 2], 0.3)?;
    let x1 = normal(&device(), 64, 2, 3)?;
    let at = |map: &GaussianMap<F64>| -> Result<f64> {
        let (loss, gradient) = Run { options: options(), map, x1: &x1, seed: 4 }.loss(&reward, None)?;
        Ok(gradient.iter().fold(loss.total.value().to_vec::<f64>()?[0], |worst, g| worst.max(g.abs())))
    };
    assert!(at(&tilted(0.9)?)? < 1e-12 && at(&base()?)? > 1e-3);
    Ok(())
}

#[test]
fn a_constant_in_the_reward_changes_nothing() -> Result<()> {
    let (map, x1) = (tilted(0.4)?, normal(&device(), 64, 2, 1)?);
    let run = Run { options: options(), map: &map, x1: &x1, seed: 2 };
    let of = |constant: f64, normalised: bool| -> Result<Vec<f64>> {
        let reward = QuadraticReward::linear(&[0.9, -0.3], constant)?;
        let mut normaliser = LogNormaliser::default();
        let mut found = Vec::new();
        // The second batch sees the first one's mean.
        for _ in 0..2 {
            let (loss, gradient) = run.loss(&reward, normalised.then_some(&mut normaliser))?;
            let total = loss.total.value().to_vec::<f64>()?[0];
            found.extend([total, gradient[0], loss.mean_reward - constant, loss.effective_sample_size]);
        }
        Ok(found)
    };
    let (plain, lifted) = (of(0.0, true)?, of(300.0, true)?);
    for (a, b) in plain.iter().zip(&lifted) {
        assert!((a - b).abs() < 1e-10 * (1.0 + a.abs()), "{plain:?} against {lifted:?}");
    }
    // Raw weights do depend on it.
    assert!((of(0.0, false)?[0] / of(1.0, false)?[0]).ln().abs() > 0.1);
    Ok(())
}

/// A linear reward that is `value` for the third sample.
struct Poisoned(f64);

impl Reward<F64> for Poisoned {
    fn value(&self, x: &F64) -> Result<F64> {
        Ok(self.value_and_gradient(x)?.0)
    }

    fn value_and_gradient(&self, x: &F64) -> Result<(F64, F64)> {
        let (value, gradient) = QuadraticReward::linear(&[1.0, 0.0], 0.0)?.value_and_gradient(x)?;
        let mut values: Vec<f64> = value.to_vec()?;
        values[2] = self.0;
        Ok((rows(&device(), &values, 1)?.reshape(value.shape())?, gradient))
    }
}

#[test]
fn a_reward_that_is_not_a_number_is_an_error_with_its_index() -> Result<()> {
    let (map, x1) = (base()?, normal(&device(), 6, 2, 1)?);
    for value in [f64::NAN, f64::INFINITY] {
        for (slope, draws) in [(WeightSlope::Pathwise, 1), (WeightSlope::Covariance, 2)] {
            for normalised in [false, true] {
                for strength in [STRENGTH, 0.0, -1.0] {
                    let run = Run { options: FineTuning { strength, slope, draws, ..options() }, map: &map, x1: &x1, seed: 2 };
                    let mut normaliser = LogNormaliser::default();
                    let outcome = run.loss(&Poisoned(value), normalised.then_some(&mut normaliser));
                    let case = format!("{value}, {slope:?}, {normalised}, {strength}");
                    assert!(matches!(outcome, Err(Error::NonFinite { index: 2, .. })), "{case}: {outcome:?}");
                    assert_eq!(normaliser.count, 0);
                }
            }
        }
    }
    // −∞ is a weight of zero, at any strength that is not negative.
    for (slope, draws, strength) in
        [(WeightSlope::Pathwise, 1, STRENGTH), (WeightSlope::Covariance, 2, STRENGTH), (WeightSlope::Covariance, 2, 0.0)]
    {
        for normalised in [false, true] {
            let run = Run { options: FineTuning { slope, draws, strength, ..options() }, map: &map, x1: &x1, seed: 2 };
            let (loss, gradient) = run.loss(&Poisoned(f64::NEG_INFINITY), normalised.then_some(&mut LogNormaliser::default()))?;
            assert!(loss.total.value().to_vec::<f64>()?[0].is_finite() && gradient.iter().all(|g| g.is_finite()));
            assert!(loss.mean_reward.is_finite() && loss.effective_sample_size <= (6 * draws - 1) as f64 + 1e-9, "{loss:?}");
        }
    }
    let negative = Run { options: FineTuning { strength: -1.0, ..options() }, map: &map, x1: &x1, seed: 2 };
    assert!(matches!(negative.loss(&Poisoned(f64::NEG_INFINITY), None), Err(Error::NonFinite { index: 2, .. })));
    // Choices that do not fit.
    let run = Run { options: FineTuning { slope: WeightSlope::Covariance, draws: 2, ..options() }, map: &map, x1: &x1, seed: 2 };
    let made = run.options.choose(&Linear, &Batch { x1: &x1, labels: None }, &Noise::new(1))?;
    let of = |choices: FineTuningChoices<F64>| -> Result<FineTuningLoss<F64>> {
        let base = base()?;
        let (flow, student) = (Flow::new(&base, &Linear), map.lift(&mut |p: &F64| Ok(Var::constant(p.clone())))?);
        let maps = FineTuningMaps { base: flow, sampler: flow, student: &student };
        run.options.loss_of(&maps, &QuadraticReward::linear(&[1.0, 0.0], 0.0)?, Batch { x1: &x1, labels: None }, None, &choices)
    };
    assert!(of(made.clone()).is_ok());
    assert!(matches!(of(FineTuningChoices { t: vec![0.5], ..made.clone() }), Err(Error::Length { .. })));
    assert!(matches!(of(FineTuningChoices { state: normal(&device(), 5, 2, 1)?, ..made.clone() }), Err(Error::Shape { .. })));
    assert!(matches!(of(FineTuningChoices { draw: normal(&device(), 7, 2, 1)?, ..made.clone() }), Err(Error::Shape { .. })));
    assert!(matches!(of(FineTuningChoices { t: vec![1.0; 6], ..made }), Err(Error::Range { .. })));
    let constant = |half_sigma_squared| FineTuning { half_sigma_squared: Some(half_sigma_squared), ..options() };
    for refused in
        [constant(0.0), constant(f64::NAN), FineTuning { weight: AdaptiveWeight { power: -1.0, ..AdaptiveWeight::NONE }, ..options() }]
    {
        assert!(matches!(refused.check(), Err(Error::Range { .. })), "{refused:?}");
    }
    for (slope, draws) in [(WeightSlope::Pathwise, 0), (WeightSlope::Covariance, 0), (WeightSlope::Covariance, 1)] {
        let run = Run { options: FineTuning { slope, draws, ..options() }, map: &map, x1: &x1, seed: 2 };
        assert!(matches!(run.loss(&Poisoned(0.0), None), Err(Error::Range { .. })), "{slope:?}, {draws}");
    }
    for earliest in [0.0, 1.0, f64::NAN] {
        let run = Run { options: FineTuning { earliest, ..options() }, map: &map, x1: &x1, seed: 2 };
        assert!(matches!(run.loss(&Poisoned(0.0), None), Err(Error::Range { .. })), "{earliest}");
    }
    Ok(())
}

#[test]
fn the_normaliser_is_a_running_log_mean() -> Result<()> {
    let mut normaliser = LogNormaliser::default();
    let batches = [[0.1, 2.0], [-700.0, 5.0], [900.0, 901.0]];
    // While it is young it is the plain mean of all batches.
    let mut sum = Vec::new();
    for (k, batch) in batches.iter().enumerate() {
        sum.extend(batch);
        let top = sum.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let expected = top + (sum.iter().map(|x| (x - top).exp()).sum::<f64>() / sum.len() as f64).ln();
        let (before, answered) = (normaliser, normaliser.update(batch)?);
        let found = normaliser.log_mean;
        assert!((found - expected).abs() < 1e-12 * (1.0 + expected.abs()), "{k}: {found} against {expected}");
        // A batch is divided by what came before it.
        assert_eq!(answered, if k == 0 { f64::INFINITY } else { before.log_mean });
    }
    assert_eq!(normaliser.count, 3);
    // Later it forgets: after 2,000 batches of another level, that level, to (1 − 1/100)^1900.
    for _ in 0..2000 {
        normaliser.update(&[895.0])?;
    }
    assert!((normaliser.log_mean - 895.0).abs() < 1e-5, "{normaliser:?}");
    assert!(matches!(normaliser.update(&[0.0, f64::NAN]), Err(Error::NonFinite { index: 1, .. })));
    // A batch of what cannot be lowers the mean, but sets no scale.
    let before = normaliser.log_mean;
    assert_eq!(normaliser.update(&[f64::NEG_INFINITY; 2])?, before);
    assert!((normaliser.log_mean - before - (1.0_f64 - 1.0 / 100.0).ln()).abs() < 1e-12);
    let mut fresh = LogNormaliser::default();
    assert_eq!((fresh.update(&[f64::NEG_INFINITY; 2])?, fresh), (f64::INFINITY, LogNormaliser::default()));
    Ok(())
}

// The loss by hand: t, x_t and the draws from forks 0 to 2. For a linear reward w = exp(λ h·x1), Jᵀ∇r = λ h ∂X/∂x_t, and κ = 1/(1 − t), beyond
// 10 of which the square weighs (10/κ)².
#[test]
fn the_loss_is_that_of_the_formula() -> Result<()> {
    use crate::gaussian_map::Plain;
    use WeightSlope::{Covariance, Pathwise};
    let (slope, n) = ([0.9, -0.3], 5);
    let reward = QuadraticReward::linear(&slope, 0.2)?;
    let (map, x1) = (tilted(0.4)?, normal(&device(), n, 2, 1)?);
    let plain = |mean: f64| Plain { deviation: DEVIATION, mean, theta: [0.0; 4], offset: 0.0 };
    let (base, trained) = (plain(MEAN), plain(MEAN + STRENGTH * DEVIATION * DEVIATION * 0.4));
    let clean: Vec<f64> = x1.to_vec()?;
    let cases = [
        (Pathwise, 1, AdaptiveWeight::NONE, None),
        (Pathwise, 3, AdaptiveWeight { offset: 0.01, power: 0.5 }, Some(0.75)),
        (Covariance, 2, AdaptiveWeight { offset: 0.01, power: 0.5 }, None),
        (Covariance, 4, AdaptiveWeight::NONE, None),
    ];
    for (estimate, draws, weight, half) in cases {
        let options = FineTuning { weight, half_sigma_squared: half, slope: estimate, draws, ..options() };
        let (loss, _) = Run { options, map: &map, x1: &x1, seed: 2 }.loss(&reward, None)?;
        let noise = Noise::new(2);
        let (mut t, mut x0, mut draw) = (vec![0.0; n], vec![0.0; 2 * n], vec![0.0; 2 * n * draws]);
        noise.fork(0).fill_uniform(&mut t);
        noise.fork(1).fill_normal(&mut x0);
        noise.fork(2).fill_normal(&mut draw);
        let mut total = 0.0;
        for i in 0..n {
            let t = 0.05 + 0.95 * t[i];
            let state = |j: usize| (1.0 - t) * x0[2 * i + j] + t * clean[2 * i + j];
            // Where draw k of this state ends, were its state at x in coordinate j.
            let end = |k: usize, j: usize, x: f64| {
                let from = draw[2 * (i * draws + k) + j];
                from + base.velocity(0.0, 1.0, from, t, x)
            };
            let weights: Vec<f64> =
                (0..draws).map(|k| (STRENGTH * (0.2 + slope[0] * end(k, 0, state(0)) + slope[1] * end(k, 1, state(1)))).exp()).collect();
            let of_draws = |f: &dyn Fn(usize) -> f64| (0..draws).map(f).sum::<f64>();
            let mean = of_draws(&|k| weights[k]) / draws as f64;
            let square: f64 = (0..2)
                .map(|j| {
                    let x = state(j);
                    let push = match estimate {
                        Pathwise => {
                            let half = half.unwrap_or((1.0 - t) / t) * STRENGTH * slope[j] / draws as f64;
                            half * of_draws(&|k| weights[k] * (end(k, j, x + 0.5) - end(k, j, x - 0.5)))
                        }
                        Covariance => of_draws(&|k| (weights[k] - mean) * end(k, j, x)) / (1.0 - t) / (draws - 1) as f64,
                    };
                    let (b, now) = (base.velocity(t, t, x, 0.0, 0.0), trained.velocity(t, t, x, 0.0, 0.0));
                    (now - (b - (mean - 1.0) * (now - b) + push)).powi(2)
                })
                .sum();
            let square = if estimate == Covariance { square * (10.0 * (1.0 - t)).min(1.0).powi(2) } else { square };
            total += square * (square + weight.offset).powf(-weight.power) / n as f64;
        }
        let found = loss.total.value().to_vec::<f64>()?[0];
        assert!((found - total).abs() < 1e-10 * (1.0 + total), "{estimate:?}, {draws}: {found} against {total}");
    }
    Ok(())
}
