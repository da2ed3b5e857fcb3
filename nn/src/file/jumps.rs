//! What the jumps of a model are worth, by the words of its file about its training. A field of its own would tell nothing of the files that are there.

use super::Provenance;
use alloc::format;
use alloc::string::String;

/// What the words of a model that was trained by no other loss begin with.
pub const DIAGONAL: &str = "diagonal loss";
/// What those of a model whose drift was tuned begin with.
const DRIFT: &str = "the drift of ";
/// What they go on with where the rest of the map was trained as well.
const FOLLOWING: &str = ", the rest of the map following by ";
/// What the words of `mfm mnist` about such a drift begin with.
pub const TUNING: &str = "fine-tuning of ";

/// The words of a model whose drift is that of `base`, tuned to `reward`, and whose other parts were trained to follow it with the weight `follow`, if that is not 0.
pub fn fine_tuned(base: &str, reward: &str, follow: f64) -> String {
    let follows = if follow > 0.0 { format!("{FOLLOWING}{follow}") } else { String::new() };
    format!("{DRIFT}{base} fine-tuned to {reward}{follows}")
}

/// What the jumps of a model are worth, and with them its draws in one step or a few.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Jumps {
    /// They were trained, or nothing else is known.
    Trained,
    /// They were not: it is a flow model.
    Untrained,
    /// They are those of the model before its drift was tuned.
    LeftBehind,
}

impl Provenance {
    /// What the model's jumps are worth, by its objective.
    pub fn jumps(&self) -> Jumps {
        let words = self.objective.as_str();
        let is_tuned = words.starts_with(DRIFT) || words.starts_with(TUNING);
        match words {
            _ if words.starts_with(DIAGONAL) => Jumps::Untrained,
            _ if is_tuned && !words.contains(FOLLOWING) => Jumps::LeftBehind,
            _ => Jumps::Trained,
        }
    }
}
