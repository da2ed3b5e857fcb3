//! Fine-tuning to a reward, off policy: the drift of the tilted model by regression, unbiased with one posterior draw.

use super::objective::{Batch, interpolate, vector};
use super::weighting::{AdaptiveWeight, weighted_mean_square};
use crate::autodiff::{Tape, Var};
use crate::error::{Error, Result};
use crate::flow_map::{Condition, Flow, Lift, MetaFlowMap};
use crate::noise::Noise;
use crate::reward::Reward;
use crate::tensor::{Device, Operations, Tensor};
use alloc::vec;
use alloc::vec::Vec;

/// ‖b_θ − sg[b_base − (w−1)(b_θ − b_base) + (σ²/2)∇_x w]‖² with w = exp(λ r(X_{0,1}(ε; t, x_t)) − c), X the base's map.
///
/// Its minimiser is b_base + (σ²/2)∇V, for any c: `E[w] (b_θ − b_base) = (σ²/2)∇E[w]`. The weights are normalised by a running
/// c ≈ log E exp(λ r), so that a constant added to r changes nothing. (Meta Flow Maps, section on fine-tuning.)
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FineTuning {
    /// λ, the factor on the reward.
    pub strength: f64,
    /// The earliest time t that is trained: σ² is infinite at 0.
    pub earliest: f64,
    /// The adaptive weight.
    pub weight: AdaptiveWeight,
    /// A constant σ²/2 in place of the interpolant's own, for parity with the raw form.
    pub half_sigma_squared: Option<f64>,
}

impl Default for FineTuning {
    fn default() -> Self {
        Self { strength: 1.0, earliest: 0.02, weight: AdaptiveWeight::NONE, half_sigma_squared: None }
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

    /// Takes in the log-weights of a batch and answers the running log-mean.
    ///
    /// # Errors
    /// [`Error::NonFinite`] for a reward that is NaN or +∞, with its index, or if all are −∞.
    pub fn update(&mut self, log_weights: &[f64]) -> Result<f64> {
        check_rewards(log_weights)?;
        let top = log_weights.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        if top == f64::NEG_INFINITY {
            return Err(Error::NonFinite { what: "the reward", index: 0 });
        }
        let mean = log_weights.iter().map(|w| libm::exp(w - top)).sum::<f64>() / log_weights.len() as f64;
        let batch = top + libm::log(mean);
        let share = 1.0 / (self.count.min(Self::MEMORY - 1) + 1) as f64;
        // log((1−share) e^old + share e^batch), by the larger of the two.
        self.log_mean = if self.count == 0 {
            batch
        } else {
            let high = self.log_mean.max(batch);
            high + libm::log((1.0 - share) * libm::exp(self.log_mean - high) + share * libm::exp(batch - high))
        };
        self.count += 1;
        Ok(self.log_mean)
    }
}

/// That no reward is NaN or +∞.
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
    /// The mean reward of the posterior draws.
    pub mean_reward: f64,
    /// The effective sample size of the weights over the batch.
    pub effective_sample_size: f64,
}

impl FineTuning {
    /// The loss of `student` (a copy of the base with its parameters as variables) on samples of the base, or of anything else: off
    /// policy. `flow` is the frozen base. Fork 0 of `noise` gives t, 1 the noise of x_t, 2 the posterior draw.
    ///
    /// With `normaliser` = `None` the weights are raw, exp(λ r).
    ///
    /// # Errors
    /// Those of the maps and the reward; [`Error::NonFinite`] for a reward that is NaN or +∞; [`Error::Range`] for an empty batch or an earliest
    /// time outside (0, 1).
    #[allow(clippy::too_many_arguments)]
    pub fn loss<T: Tensor, M: Lift<T>>(
        &self,
        flow: &Flow<'_, M>,
        student: &M::Lifted<Var<T>>,
        trained: &M,
        reward: &impl Reward<T>,
        batch: Batch<'_, T>,
        normaliser: Option<&mut LogNormaliser>,
        noise: &Noise,
    ) -> Result<FineTuningLoss<T>> {
        let n = batch.x1.shape().batch();
        if n == 0 {
            return Err(Error::Range { what: "the batch size", value: 0.0, range: "at least 1" });
        }
        if !(self.earliest > 0.0 && self.earliest < 1.0) {
            return Err(Error::Range { what: "the earliest time", value: self.earliest, range: "between 0 and 1" });
        }
        let mut t = vec![0.0; n];
        noise.fork(0).fill_uniform(&mut t);
        t.iter_mut().for_each(|t| *t = self.earliest + (1.0 - self.earliest) * *t);
        let device = batch.x1.device();
        let condition = Condition { labels: batch.labels, ..flow.condition };
        let (x_t, _) = interpolate(flow.path, &t, &device.normal(&noise.fork(1), batch.x1.shape())?, batch.x1)?;
        let time = vector(&device, &t)?;

        // w, and (σ²/2)∇_x w = w (σ²/2) λ Jᵀ∇r, through the base's one-step map.
        let lifted = flow.map.lift(&mut |p: &T| Ok(Var::constant(p.clone())))?;
        let tape = Tape::new();
        let state = tape.variable(x_t.clone());
        let draw = Var::constant(device.normal(&noise.fork(2), x_t.shape())?);
        let end = lifted.posterior(&draw, &Var::constant(time.clone()), &state, condition)?;
        let (rewards, slopes) = reward.value_and_gradient(end.value())?;
        let rewards: Vec<f64> = rewards.to_vec()?;
        check_rewards(&rewards)?;
        let log_weights: Vec<f64> = rewards.iter().map(|r| self.strength * r).collect();
        let centre = match normaliser {
            Some(normaliser) => normaliser.update(&log_weights)?,
            None => 0.0,
        };
        let weights: Vec<f64> = log_weights.iter().map(|l| libm::exp(l - centre)).collect();
        let pulled = tape.backward(&end, slopes)?.of(&state)?;
        let scaled: Vec<f64> = t
            .iter()
            .zip(&weights)
            .map(|(&t, w)| w * self.strength * self.half_sigma_squared.unwrap_or_else(|| flow.path.coefficients(t).half_sigma_squared()))
            .collect();
        let like = x_t.shape();
        let push = pulled.mul(&vector(&device, &scaled)?.per_item(like)?)?;

        let base = flow.map.drift(&time, &x_t, condition)?;
        let ahead = trained.drift(&time, &x_t, condition)?.sub(&base)?;
        let excess: Vec<f64> = weights.iter().map(|w| w - 1.0).collect();
        let target = base.sub(&ahead.mul(&vector(&device, &excess)?.per_item(like)?)?)?.add(&push)?;
        let prediction = student.drift(&Var::constant(time), &Var::constant(x_t), condition)?;
        let residual = prediction.sub(&Var::constant(target))?;
        let total = weighted_mean_square(&residual, self.weight, None)?;
        let mean_reward = rewards.iter().sum::<f64>() / n as f64;
        Ok(FineTuningLoss { total, mean_reward, effective_sample_size: crate::categorical::effective_sample_size(&weights) })
    }
}
