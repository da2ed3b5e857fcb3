//! What is known of a model's jumps by the words of its file.

use mfm_nn::file::Provenance;
use mfm_nn::file::jumps::{Jumps, fine_tuned};

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
        (&fine_tuned("m.mfm", "a reward", 0.0), Jumps::LeftBehind),
        (&fine_tuned("m.mfm", "a reward", 0.5), Jumps::Trained),
        ("", Jumps::Trained),
    ] {
        assert_eq!(Provenance { objective: words.into(), ..Provenance::default() }.jumps(), jumps, "{words}");
    }
}
