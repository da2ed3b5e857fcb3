//! Fine-tuning to a reward, off policy: the drift of the tilted model by regression, unbiased with any number of posterior draws.

use super::objective::{Batch, interpolate, vector};
use super::time_law::times_on;
use super::weighting::{AdaptiveWeight, factors, weighted_mean_square};
use crate::autodiff::{Tape, Var};
use crate::categorical::Concentration;
use crate::draws::draws_of;
use crate::error::{Error, Result};
use crate::flow_map::{Condition, Flow, Lift, MetaFlowMap};
use crate::guidance::kappa;
use crate::interpolant::Interpolant;
use crate::memory;
use crate::noise::Noise;
use crate::reward::{Reward, rewards_and_gradients_of, rewards_of};
use crate::shape::Shape;
use crate::tensor::{Device, Operations, Tensor};
use crate::weights::weighted_mean;
use alloc::vec::Vec;

/// The κ = 1/(1 − τ) of the straight path above which the residual by the covariance weighs less: on the linear path from t = 0.9 on.
const LARGEST_KAPPA: f64 = 10.0;

/// ‖b_θ − sg[b_base − (w̄−1)(b_θ − b_base) + (σ²/2)∇_x w̄]‖², w̄ the mean of w = exp(λ r(X_{0,1}(ε; t, x_t)) − c) over posterior draws of the base's map X.
///
/// Its minimiser is b_base + (σ²/2)∇V, for any number of draws and any c that does not depend on them: `E[w] (b_θ − b_base) = (σ²/2)∇E[w]`. The weights are
/// normalised by a running c ≈ log E exp(λ r) of what came before, so that a constant added to r changes nothing. (Meta Flow Maps, section on fine-tuning.)
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FineTuning {
    /// λ, the factor on the reward.
    pub strength: f64,
    /// The posterior draws of each state: at least 1, and 2 for [`WeightSlope::Covariance`]. More give less noise, not another minimiser.
    pub draws: usize,
    /// How (σ²/2)∇w̄ is estimated.
    pub slope: WeightSlope,
    /// The earliest time t that is trained, on the map's own path: σ² is infinite at 0.
    pub earliest: f64,
    /// The adaptive weight. The residual is random at any x, so a power above 0 has another minimiser, which depends on the number of draws: less noise for some bias.
    pub weight: AdaptiveWeight,
    /// A constant σ²/2 in place of the interpolant's own, for parity with the raw form; for [`WeightSlope::Pathwise`] alone.
    pub half_sigma_squared: Option<f64>,
}

/// How `(σ²/2)∇_x E[w]` is estimated from posterior draws x1_i of weights w_i: without bias up to the errors of the map, by the covariance for any reward, by
/// the path for a continuous one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WeightSlope {
    /// (σ²/2) λ mean w_i Jᵀ∇r(x1_i), through the map and the reward (Meta Flow Maps, section on fine-tuning). Nearly nothing where the reward is
    /// flat within a class and steep between, as that of a classifier sure of itself: then its draws seldom tell of other classes. Wrong where r jumps, also
    /// to −∞: it must be the integral of its gradient along every path, since what w gains at a jump is in no gradient.
    #[default]
    Pathwise,
    /// κ Σ (w_i − w̄) x1_i/(N − 1) over N ≥ 2 draws: κ Cov(w, x1 | x_t), since (σ²/2)∇_x log p(x1 | x_t) = κ (x1 − E x1) on any Gaussian path. Takes no
    /// gradient of the reward or of the map, so it serves any reward, with jumps and with −∞. κ is infinite at t = 1, where the draws of an exact map
    /// agree: where κ of the straight path, 1/(1 − τ), is above 10, the squared residual weighs (10/κ)², which moves no minimiser, and without which its mean would be
    /// infinite.
    Covariance,
}

impl Default for FineTuning {
    fn default() -> Self {
        Self {
            strength: 1.0,
            draws: 1,
            slope: WeightSlope::Pathwise,
            earliest: 0.02,
            weight: AdaptiveWeight::NONE,
            half_sigma_squared: None,
        }
    }
}

/// The running log-mean of exp(λ r), by which weights are normalised. Starts empty; save it with a training run.
#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub struct LogNormaliser {
    /// log of the running mean; meaningless while `count` is zero.
    pub log_mean: f64,
    /// The batches seen.
    pub count: u64,
}

impl LogNormaliser {
    /// The longest memory, in batches.
    const MEMORY: u64 = 100;

    /// Takes in the log-weights of a batch, and gives the log-mean from before it, by which this batch is to be divided: a mean that knew the batch would
    /// shrink its own large weights. Before the first batch that is +∞: it weighs nothing, and only sets the scale.
    ///
    /// # Errors
    /// [`Error::NonFinite`] for a reward that is NaN or +∞, with its index.
    pub fn update(&mut self, log_weights: &[f64]) -> Result<f64> {
        check_rewards(log_weights)?;
        let before = if self.count == 0 { f64::INFINITY } else { self.log_mean };
        let top = log_weights.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let batch = if top > f64::NEG_INFINITY {
            top + libm::log(log_weights.iter().map(|w| libm::exp(w - top)).sum::<f64>() / log_weights.len() as f64)
        } else if self.count == 0 {
            // A batch of r = −∞ alone has no scale; the first other one sets it.
            return Ok(before);
        } else {
            top
        };
        let share = 1.0 / (self.count.min(Self::MEMORY - 1) + 1) as f64;
        // log((1−share) e^old + share e^batch), by the larger of the two.
        self.log_mean = if self.count == 0 {
            batch
        } else {
            let high = self.log_mean.max(batch);
            high + libm::log((1.0 - share) * libm::exp(self.log_mean - high) + share * libm::exp(batch - high))
        };
        self.count += 1;
        Ok(before)
    }
}

/// Checks that no reward is NaN or +∞.
fn check_rewards(rewards: &[f64]) -> Result<()> {
    match rewards.iter().position(|r| r.is_nan() || *r == f64::INFINITY) {
        Some(index) => Err(Error::NonFinite { what: "the reward", index }),
        None => Ok(()),
    }
}

/// The loss of a batch.
#[derive(Clone, Debug)]
pub struct FineTuningLoss<T> {
    /// The loss, to be differentiated.
    pub total: Var<T>,
    /// The mean reward of the posterior draws whose reward is not −∞; 0 if there are none.
    pub mean_reward: f64,
    /// The effective sample size of the weights, over all draws of the batch.
    pub effective_sample_size: f64,
}

/// The maps of fine-tuning.
#[derive(Debug)]
pub struct FineTuningMaps<'a, T: Tensor, M: Lift<T>> {
    /// The frozen base, whose drift is to be tilted.
    pub base: Flow<'a, M>,
    /// The frozen map that draws posteriors: the base itself, or another, or under another guidance scale.
    pub sampler: Flow<'a, M>,
    /// The map in training, its parameters being variables.
    pub student: &'a M::Lifted<Var<T>>,
}

/// Every random choice of one evaluation.
#[derive(Clone, Debug)]
pub struct FineTuningChoices<T> {
    /// The time of each state: above 0 where σ² is the interpolant's, below 1 for [`WeightSlope::Covariance`].
    pub t: Vec<f64>,
    /// The noise in each state x_t, of the shape of the samples.
    pub state: T,
    /// The noise of the posterior draws, [states·draws, ...], those of a state in a row.
    pub draw: T,
}

impl FineTuning {
    /// Checks that every field is in its range.
    ///
    /// # Errors
    /// [`Error::Range`], naming the field.
    pub fn check(&self) -> Result<()> {
        if !self.strength.is_finite() {
            return Err(Error::Range { what: "the strength of the reward", value: self.strength, range: "finite" });
        }
        if !(self.earliest > 0.0 && self.earliest < 1.0) {
            return Err(Error::Range { what: "the earliest time", value: self.earliest, range: "between 0 and 1" });
        }
        self.weight.check()?;
        if let Some(value) = self.half_sigma_squared.filter(|value| !(*value > 0.0 && value.is_finite())) {
            return Err(Error::Range { what: "σ²/2 in fine-tuning", value, range: "positive and finite" });
        }
        self.check_draws(self.draws)
    }

    /// Draws the choices for a batch on `path`: times as [`TimeLaw`](super::TimeLaw) has them, from `earliest` on. Fork 0 of `noise` gives t, 1 the noise of x_t, 2 the posterior draw.
    ///
    /// # Errors
    /// [`Error::Range`] for an empty batch, too few draws, or an earliest time outside (0, 1).
    pub fn choose<T: Tensor>(&self, path: &dyn Interpolant, batch: &Batch<'_, T>, noise: &Noise) -> Result<FineTuningChoices<T>> {
        let (device, shape) = (batch.x1.device(), batch.x1.shape());
        if shape.batch() == 0 {
            return Err(Error::Range { what: "the batch size", value: 0.0, range: "at least 1" });
        }
        self.check()?;
        let mut t = memory::filled("fine-tuning", 0.0, shape.batch())?;
        noise.fork(0).fill_uniform(&mut t);
        let earliest = path.coefficients(self.earliest).straight_time();
        t.iter_mut().for_each(|t| *t = earliest + (1.0 - earliest) * *t);
        let draws = shape.with_batch(shape.batch().saturating_mul(self.draws))?;
        Ok(FineTuningChoices {
            t: times_on(path, t),
            state: device.normal(&noise.fork(1), shape)?,
            draw: device.normal(&noise.fork(2), draws)?,
        })
    }

    /// The loss on samples of the base, or of anything else: off policy. The labels of the batch condition all maps, the guidance of each flow its
    /// own. With `normaliser` = `None` the weights are raw, exp(λ r); a new one first learns its scale from draws of its own, of fork 3 of `noise`.
    ///
    /// # Errors
    /// Those of the maps and the reward, and of [`choose`](Self::choose); [`Error::NonFinite`] for a weight that is NaN or +∞, and those of
    /// [`LogNormaliser::update`].
    pub fn loss<T: Tensor, M: Lift<T>>(
        &self,
        maps: &FineTuningMaps<'_, T, M>,
        reward: &impl Reward<T>,
        batch: Batch<'_, T>,
        normaliser: Option<&mut LogNormaliser>,
        noise: &Noise,
    ) -> Result<FineTuningLoss<T>> {
        let mut normaliser = normaliser;
        if let Some(normaliser) = normaliser.as_mut().filter(|normaliser| normaliser.count == 0) {
            let FineTuningChoices { t, state, draw } = self.choose(maps.base.path, &batch, &noise.fork(3))?;
            let (x_t, _) = interpolate(maps.base.path, &t, &state, batch.x1)?;
            let of_draw = Condition { labels: batch.labels, guidance: maps.sampler.condition.guidance };
            let ends = maps.sampler.map.posterior(&draw, &vector(&draw.device(), &t)?, &x_t, of_draw)?;
            self.weights(&rewards_of(reward, &ends)?, Some(normaliser))?;
        }
        let choices = self.choose(maps.base.path, &batch, noise)?;
        self.loss_of(maps, reward, batch, normaliser, &choices)
    }

    /// The loss at choices that are given. A new normaliser has no scale yet: it takes one from these draws, whose weights are then all zero.
    ///
    /// # Errors
    /// As [`loss`](Self::loss); [`Error::Length`] or [`Error::Shape`] if the choices do not fit the samples.
    pub fn loss_of<T: Tensor, M: Lift<T>>(
        &self,
        maps: &FineTuningMaps<'_, T, M>,
        reward: &impl Reward<T>,
        batch: Batch<'_, T>,
        normaliser: Option<&mut LogNormaliser>,
        choices: &FineTuningChoices<T>,
    ) -> Result<FineTuningLoss<T>> {
        let FineTuningMaps { base, sampler, student } = maps;
        let (device, t) = (batch.x1.device(), &choices.t);
        let condition = Condition { labels: batch.labels, guidance: base.condition.guidance };
        let of_draw = Condition { labels: batch.labels, guidance: sampler.condition.guidance };
        let shape = batch.x1.shape();
        if t.len() != shape.batch() {
            return Err(Error::Length { op: "the times of fine-tuning", expected: shape.batch(), found: t.len() });
        }
        if choices.state.shape() != shape {
            return Err(Error::Shape { op: "the noise in the states of fine-tuning", left: choices.state.shape(), right: shape });
        }
        let (x_t, _) = interpolate(base.path, t, &choices.state, batch.x1)?;
        let time = vector(&device, t)?;

        let draws = draws_of(choices.draw.shape(), shape)?;
        self.check_draws(draws)?;
        let (weights, push) = match self.slope {
            WeightSlope::Pathwise => {
                let lifted = sampler.map.frozen()?;
                let tape = Tape::new();
                let state = tape.variable(x_t.clone());
                let draw = Var::constant(choices.draw.clone());
                let end = lifted.posterior(&draw, &Var::constant(time.clone()), &state, of_draw)?;
                let (rewards, slopes) = rewards_and_gradients_of(reward, end.value())?;
                let found = self.weights(&rewards, normaliser)?;
                let factor = |t: f64| self.half_sigma_squared.unwrap_or_else(|| base.path.coefficients(t).half_sigma_squared());
                let scaled = found.of_states(draws).zip(t).flat_map(|(own, &t)| {
                    let factor = self.strength * factor(t) / draws as f64;
                    own.iter().map(move |w| factor * w)
                });
                let scaled = vector(&device, &scaled.collect::<Vec<_>>())?.per_item(slopes.shape())?;
                (found, tape.backward(&end, slopes.mul(&scaled)?)?.of(&state)?)
            }
            WeightSlope::Covariance => {
                let ends = sampler.map.posterior(&choices.draw, &time, &x_t, of_draw)?;
                let found = self.weights(&rewards_of(reward, &ends)?, normaliser)?;
                let mut centred = Vec::with_capacity(found.weights.len());
                for (own, &t) in found.of_states(draws).zip(t) {
                    let (mean, factor) = (mean(own), kappa(base.path, t)? / (draws - 1) as f64);
                    centred.extend(own.iter().map(|w| factor * (w - mean)));
                }
                let centred = device.from_slice(&centred, Shape::new(&[t.len(), draws])?)?;
                (found, weighted_mean(&centred, &ends)?)
            }
        };

        let path = base.path;
        let base = base.map.drift(&time, &x_t, condition)?;
        let prediction = student.drift(&Var::constant(time), &Var::constant(x_t), condition)?;
        let ahead = prediction.value().sub(&base)?;
        let excess: Vec<f64> = weights.of_states(draws).map(|own| mean(own) - 1.0).collect();
        let target = base.sub(&ahead.mul(&vector(&device, &excess)?.per_item(ahead.shape())?)?)?.add(&push)?;
        let residual = prediction.sub(&Var::constant(target))?;
        let weight = |t: &f64| {
            let at = path.coefficients(*t);
            let (straight, kappa) = (at.straight_weights().0, 1.0 / (1.0 - at.straight_time()));
            if self.slope == WeightSlope::Covariance { straight * f64::min(LARGEST_KAPPA / kappa, 1.0) } else { straight }
        };
        let factors = factors(None, t.iter().map(weight));
        let total = weighted_mean_square(&residual, self.weight, factors.as_deref())?;
        let Weights { mean_reward, effective_sample_size, .. } = weights;
        Ok(FineTuningLoss { total, mean_reward, effective_sample_size })
    }

    /// The weights of all draws by their rewards.
    fn weights<T: Tensor>(&self, rewards: &T, normaliser: Option<&mut LogNormaliser>) -> Result<Weights> {
        let rewards: Vec<f64> = rewards.to_vec()?;
        check_rewards(&rewards)?;
        // What cannot be stays so at any strength, also at none.
        let log_weight = |r: &f64| if *r == f64::NEG_INFINITY && self.strength >= 0.0 { *r } else { self.strength * r };
        let log_weights: Vec<f64> = rewards.iter().map(log_weight).collect();
        check_rewards(&log_weights)?;
        let centre = match normaliser {
            Some(normaliser) => normaliser.update(&log_weights)?,
            None => 0.0,
        };
        let possible: Vec<f64> = rewards.into_iter().filter(|r| *r > f64::NEG_INFINITY).collect();
        let weights: Vec<f64> = log_weights.iter().map(|l| libm::exp(l - centre)).collect();
        match weights.iter().position(|w| *w == f64::INFINITY) {
            Some(index) => Err(Error::NonFinite { what: "the weight of a posterior draw, exp(λ r) over its running mean,", index }),
            None => Ok(Weights {
                weights,
                mean_reward: mean(&possible),
                effective_sample_size: Concentration::of_logarithms(&log_weights).effective_sample_size,
            }),
        }
    }

    /// Checks that there are enough draws for each state.
    fn check_draws(&self, draws: usize) -> Result<()> {
        let (least, range) = match self.slope {
            WeightSlope::Pathwise => (1, "at least 1"),
            WeightSlope::Covariance => (2, "at least 2 without gradients"),
        };
        if draws >= least { Ok(()) } else { Err(Error::Range { what: "the number of draws", value: draws as f64, range }) }
    }
}

/// The weights of the draws of a batch, those of a state in a row.
struct Weights {
    weights: Vec<f64>,
    mean_reward: f64,
    effective_sample_size: f64,
}

impl Weights {
    fn of_states(&self, draws: usize) -> impl Iterator<Item = &[f64]> {
        self.weights.chunks(draws)
    }
}

/// 0 of none.
fn mean(numbers: &[f64]) -> f64 {
    numbers.iter().sum::<f64>() / numbers.len().max(1) as f64
}
