//! What the jumps of a model are worth.

use mfm_core::training::Consistency;
use serde::{Deserialize, Serialize};

/// What the jumps of a model are worth, and with them its draws in one step or a few.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Jumps {
    /// They were trained, or nothing else is known.
    #[default]
    Trained,
    /// They were not: it is a flow model.
    Untrained,
    /// They are those of the model before its drift was tuned.
    LeftBehind,
}

impl Jumps {
    /// Those of a map that was trained by this loss off the diagonal.
    pub fn trained_by(consistency: Consistency) -> Self {
        if consistency == Consistency::None { Self::Untrained } else { Self::Trained }
    }

    /// Those of a map whose drift was tuned, while the rest followed by a loss of this weight.
    pub fn following(weight: f64) -> Self {
        if weight > 0.0 { Self::Trained } else { Self::LeftBehind }
    }
}
