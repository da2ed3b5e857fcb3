//! Conditions that a model does not take.

use crate::file::ModelHeader;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use mfm_core::Condition;
use mfm_core::error::Number;

/// Why a model does not take a condition.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum ConditionError {
    /// It knows no labels.
    NoLabels {
        /// The first label.
        label: usize,
    },
    /// It does not know this one.
    UnknownLabel {
        /// The label.
        label: usize,
        /// The number of those that it knows.
        labels: usize,
    },
    /// It was trained to be guided already.
    Guided {
        /// The first guidance scale.
        scale: f64,
        /// The scale that it was trained with.
        own: f64,
    },
    /// It was not made for this guidance scale.
    UnknownScale {
        /// The guidance scale.
        scale: f64,
        /// Those that it was made for.
        known: Vec<f64>,
    },
}

impl ConditionError {
    /// The sentence about a model of this name, which begins with the name and the value of what it does not take: "label 3: NAME knows no labels".
    pub fn of(&self, model: &str) -> String {
        match self {
            Self::NoLabels { label } => format!("label {label}: {model} knows no labels"),
            Self::UnknownLabel { label, labels } => format!("label {label}: {model} knows the labels 0 to {}", labels - 1),
            Self::Guided { scale, own } => {
                format!("guidance {}: {model} is guided by {} already, and takes no other scale", Number(*scale), Number(*own))
            }
            Self::UnknownScale { scale, known } => {
                let known: Vec<String> = known.iter().map(f64::to_string).collect();
                format!("guidance {}: {model} knows the scales {}", Number(*scale), known.join(", "))
            }
        }
    }
}

impl fmt::Display for ConditionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.of("the model"))
    }
}

impl core::error::Error for ConditionError {}

impl ModelHeader {
    /// Checks that the model takes a condition: it knows all labels and all guidance scales.
    ///
    /// # Errors
    /// [`ConditionError`], for the first that it does not know.
    pub fn check_condition(&self, condition: Condition<'_>) -> Result<(), ConditionError> {
        let labels = self.labels();
        match condition.labels.unwrap_or_default().iter().find(|label| **label >= labels) {
            Some(&label) if labels == 0 => return Err(ConditionError::NoLabels { label }),
            Some(&label) => return Err(ConditionError::UnknownLabel { label, labels }),
            None => {}
        }
        let scales = condition.guidance.unwrap_or_default();
        if let (Some(own), Some(&scale)) = (self.guided_by, scales.first()) {
            return Err(ConditionError::Guided { scale, own });
        }
        let known = self.model.network.guidance();
        match scales.iter().find(|scale| !known.is_empty() && !known.contains(scale)) {
            Some(&scale) => Err(ConditionError::UnknownScale { scale, known: known.to_vec() }),
            None => Ok(()),
        }
    }
}
