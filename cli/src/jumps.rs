//! What the jumps of a model are worth, by what its file says of its training.

use crate::context::Context;
use crate::model::LoadedModel;
use mfm_core::Tensor;

/// What the words of a model that was trained by no other loss begin with.
pub const DIAGONAL: &str = "diagonal loss";
/// What those of a model whose drift was tuned begin with.
pub const DRIFT: &str = "the drift of ";
/// What they go on with where the rest of the map was trained as well.
pub const FOLLOWING: &str = ", the rest of the map following by ";
/// What the words of `mfm mnist` about such a drift begin with.
const TUNING: &str = "fine-tuning of ";

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

impl Jumps {
    /// What the objective of a model's training, in the words of its file, says of them. A field of its own would tell nothing of the files that are there.
    pub fn of(objective: &str) -> Self {
        let is_tuned = objective.starts_with(DRIFT) || objective.starts_with(TUNING);
        match objective {
            _ if objective.starts_with(DIAGONAL) => Self::Untrained,
            _ if is_tuned && !objective.contains(FOLLOWING) => Self::LeftBehind,
            _ => Self::Trained,
        }
    }
}

/// Says so where draws by a model's map mean nothing; `instead` is what serves, where that is not to train its jumps.
pub fn warn<T: Tensor>(context: &Context<T>, model: &LoadedModel<T>, instead: Option<&str>) {
    let source = &model.source;
    let (why, cure) = match Jumps::of(&model.header.provenance.objective) {
        Jumps::Trained => return,
        Jumps::Untrained => (
            "was trained by velocities alone, as a flow model: draws by its map mean nothing",
            format!("distil a map from it by mfm train --teacher {source}"),
        ),
        Jumps::LeftBehind => {
            ("was fine-tuned in its drift alone: draws by its map do not follow it", "make it again by mfm finetune --follow 1".to_owned())
        }
    };
    context.say(format!("warning: {source} {why}; {}", instead.unwrap_or(&cure)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_every_command() {
        for (words, jumps) in [
            ("diagonal loss from data, guidance 1; adam at 0.001, batch 512, average 0.999, clip 1", Jumps::Untrained),
            ("diagonal loss from data: a flow model, whose jumps mean nothing", Jumps::Untrained),
            ("diagonal loss at t = 0, batch 512", Jumps::Untrained),
            ("diagonal and semigroup losses from data, guidance 1", Jumps::Trained),
            ("distillation of flow.mfm, semigroup, batch 512", Jumps::Trained),
            ("the drift of m.mfm fine-tuned to 1 times linear:1,0, normalised weights", Jumps::LeftBehind),
            ("the drift of m.mfm fine-tuned to 1 times linear:1,0, raw weights, the rest of the map following by 0.5", Jumps::Trained),
            ("fine-tuning of map.mfm to the mixture of classes, batch 2048", Jumps::LeftBehind),
            ("", Jumps::Trained),
        ] {
            assert_eq!(Jumps::of(words), jumps, "{words}");
        }
    }
}
