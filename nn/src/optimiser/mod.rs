//! Optimisers. Their state is two moments of the shape of what they update, so one operation on one flat vector of all parameters does.

mod rectification;

use mfm_core::tensor::OptimiserStep;
use mfm_core::{Error, Result};
use rectification::rectification;
use serde::{Deserialize, Serialize};

/// Which optimiser.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Method {
    /// Adam (Kingma, Ba, 2015); with a weight decay AdamW (Loshchilov, Hutter, 2019).
    #[default]
    Adam,
    /// RAdam (Liu et al., 2020): Adam whose step is rectified while the second moment is uncertain.
    RAdam,
}

/// The settings of an optimiser; the defaults are PyTorch's.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct OptimiserConfig {
    /// The method.
    pub method: Method,
    /// β₁ in [0, 1), the memory of the first moment.
    pub first_decay: f64,
    /// β₂ in [0, 1), the memory of the second moment.
    pub second_decay: f64,
    /// ε > 0, added to the root of the second moment.
    pub epsilon: f64,
    /// Decoupled weight decay, at least 0: parameters shrink by the factor 1 − rate · decay at each step.
    pub weight_decay: f64,
}

impl Default for OptimiserConfig {
    fn default() -> Self {
        Self { method: Method::Adam, first_decay: 0.9, second_decay: 0.999, epsilon: 1e-8, weight_decay: 0.0 }
    }
}

impl OptimiserConfig {
    /// RAdam with PyTorch's defaults.
    pub fn radam() -> Self {
        Self { method: Method::RAdam, ..Self::default() }
    }

    /// Checks that every field is in its range.
    ///
    /// # Errors
    /// [`Error::Range`], naming the field.
    pub fn check(&self) -> Result<()> {
        for (what, value) in [("the first moment's decay", self.first_decay), ("the second moment's decay", self.second_decay)] {
            if !(0.0..1.0).contains(&value) {
                return Err(Error::Range { what, value, range: "at least 0 and below 1" });
            }
        }
        if !(self.epsilon > 0.0 && self.epsilon.is_finite()) {
            return Err(Error::Range { what: "the optimiser's epsilon", value: self.epsilon, range: "positive and finite" });
        }
        if !(self.weight_decay >= 0.0 && self.weight_decay.is_finite()) {
            return Err(Error::Range { what: "the weight decay", value: self.weight_decay, range: "finite and not negative" });
        }
        Ok(())
    }

    /// The factors of step `k` (counted from 1) at learning rate `rate`, to be applied to an [`OptimiserState`](mfm_core::tensor::OptimiserState); `average` is the
    /// decay of the moving average ([`average_decay`]), if there is one. With m, v the decaying means of g, g²:
    ///
    /// Adam: θ ← (1 − rate λ) θ − rate m̂/(√v̂ + ε), m̂ = m/(1 − β₁ᵏ), v̂ = v/(1 − β₂ᵏ).
    /// RAdam: θ ← (1 − rate λ) θ − rate r m̂ √(1 − β₂ᵏ)/(√v + ε), where r is the rectification if its degrees of freedom ρ exceed 5, and
    /// θ ← (1 − rate λ) θ − rate m̂ before (as in PyTorch).
    pub fn step(&self, k: u64, rate: f64, average: Option<f64>) -> OptimiserStep {
        let Self { method, first_decay, second_decay, epsilon, weight_decay } = *self;
        let left_first = 1.0 - libm::pow(first_decay, k as f64);
        let left_second = 1.0 - libm::pow(second_decay, k as f64);
        let root = libm::sqrt(left_second);
        let (epsilon, factor) = match method {
            // m̂/(√v̂ + ε) = √(1 − β₂ᵏ)/(1 − β₁ᵏ) · m/(√v + ε √(1 − β₂ᵏ))
            Method::Adam => (Some(epsilon * root), root / left_first),
            Method::RAdam => match rectification(second_decay, k) {
                Some(r) => (Some(epsilon), r * root / left_first),
                None => (None, 1.0 / left_first),
            },
        };
        OptimiserStep {
            first_decay,
            second_decay,
            epsilon,
            size: rate * factor,
            keep: 1.0 - rate * weight_decay,
            average_decay: average.map_or(0.0, |decay| average_decay(decay, k)),
        }
    }
}

/// The decay d at step k (counted from 1) of the moving average of the parameters, θ̄ ← d θ̄ + (1 − d) θ, from which samples are drawn:
/// min(`decay`, (1 + k)/(10 + k)), so that the start is soon forgotten.
pub fn average_decay(decay: f64, step: u64) -> f64 {
    let k = step as f64;
    decay.min((1.0 + k) / (10.0 + k))
}
