//! A warning where the jumps of a model mean nothing.

use crate::context::Context;
use crate::model::LoadedModel;
use mfm_core::Tensor;
use mfm_nn::file::Jumps;

/// Says so where draws by a model's map mean nothing; `instead` is what serves, where that is not to train its jumps.
pub fn warn<T: Tensor>(context: &Context<T>, model: &LoadedModel<T>, instead: Option<&str>) {
    let source = &model.source;
    let (why, cure) = match model.header.jumps {
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
