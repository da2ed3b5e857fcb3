//! The learning rate over a training run.

use mfm_core::{Error, Result};
use serde::{Deserialize, Serialize};

/// What follows the warm-up.
#[derive(Clone, Copy, Debug, PartialEq, Default, Serialize, Deserialize)]
pub enum Decay {
    /// The peak until the end.
    #[default]
    Constant,
    /// The factor floor + (1 − floor)(1 + cos(πk/steps))/2, over the whole run.
    Cosine {
        /// What is left of the peak at the last step, in [0, 1].
        floor: f64,
    },
}

/// A learning rate that rises linearly for `warm_up` steps, to `peak`, times a decay.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LearningRate {
    /// The highest rate, positive.
    pub peak: f64,
    /// Over how many steps it is reached; 0 for none.
    pub warm_up: u64,
    /// What happens then.
    pub decay: Decay,
}

impl LearningRate {
    /// `peak` throughout.
    pub fn constant(peak: f64) -> Self {
        Self { peak, warm_up: 0, decay: Decay::Constant }
    }

    /// A warm-up to `peak`, then a cosine to a hundredth of it, as in the reference's 2D experiment.
    pub fn cosine(peak: f64, warm_up: u64) -> Self {
        Self { peak, warm_up, decay: Decay::Cosine { floor: 0.01 } }
    }

    /// The rate at step `step` (counted from 1) of `steps`: peak · min(1, step/warm_up) · decay.
    pub fn at(&self, step: u64, steps: u64) -> f64 {
        let rise = if step < self.warm_up { step as f64 / self.warm_up as f64 } else { 1.0 };
        let fall = match self.decay {
            Decay::Constant => 1.0,
            Decay::Cosine { floor } => {
                let share = if steps == 0 { 1.0 } else { (step as f64 / steps as f64).min(1.0) };
                floor + (1.0 - floor) * 0.5 * (1.0 + libm::cos(core::f64::consts::PI * share))
            }
        };
        self.peak * rise * fall
    }

    /// Checks that every field is in its range.
    ///
    /// # Errors
    /// [`Error::Range`], naming the field.
    pub fn check(&self) -> Result<()> {
        if !(self.peak > 0.0 && self.peak.is_finite()) {
            return Err(Error::Range { what: "the learning rate", value: self.peak, range: "positive and finite" });
        }
        match self.decay {
            Decay::Cosine { floor } if !(0.0..=1.0).contains(&floor) => {
                Err(Error::Range { what: "the learning rate's floor", value: floor, range: "between 0 and 1" })
            }
            _ => Ok(()),
        }
    }
}
