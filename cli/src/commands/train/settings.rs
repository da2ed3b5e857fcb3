//! What the options of `mfm train` come to: its objective, the settings of its run, and both in words.

use super::arguments::{Arguments, Optimiser};
use crate::data::Source;
use clap::ValueEnum;
use mfm_core::training::{AdaptiveWeight, FlowTimes, Guided, Objective, Ramp, TimeSchedule};
use mfm_nn::optimiser::{Method, OptimiserConfig};
use mfm_nn::schedule::{Decay, LearningRate};
use mfm_nn::train::losses_in_words;
use mfm_nn::{ModelHeader, TrainingConfig};

/// The share of labelled samples at which a network that takes a guidance scale learns the unguided model.
const UNGUIDED: f64 = 0.3;

/// The objective, at the usual times.
pub(super) fn objective(arguments: &Arguments, data: &Source, header: &ModelHeader) -> Objective {
    let adaptive = AdaptiveWeight { power: arguments.adaptive_power, ..AdaptiveWeight::NONE };
    let plain = header.takes_scale().then_some(UNGUIDED);
    let guided = Guided { null_label: data.label_count(), dropout: arguments.label_dropout, scale: arguments.guidance, plain };
    Objective {
        consistency: arguments.consistency.consistency(arguments.teacher.is_some()),
        diagonal_weight: adaptive,
        consistency_weight: adaptive,
        guided: arguments.labels.then_some(guided),
        ..Objective::default()
    }
}

/// The settings of the run.
pub(super) fn settings(arguments: &Arguments, seed: u64) -> TrainingConfig {
    let method = match arguments.optimiser {
        Optimiser::Adam => Method::Adam,
        Optimiser::Radam => Method::RAdam,
    };
    let decay = if arguments.constant_rate { Decay::Constant } else { Decay::Cosine { floor: 0.01 } };
    TrainingConfig {
        steps: arguments.steps,
        batch: arguments.batch,
        rate: LearningRate { peak: arguments.learning_rate, warm_up: arguments.warm_up.min(arguments.steps / 2), decay },
        optimiser: OptimiserConfig { method, weight_decay: arguments.weight_decay, ..OptimiserConfig::default() },
        clip: (arguments.clip > 0.0).then_some(arguments.clip),
        average: (arguments.ema > 0.0).then_some(arguments.ema),
        seed,
    }
}

/// The objective in words, for the file.
pub(super) fn describe(arguments: &Arguments) -> String {
    let of = |value: &dyn ToString| value.to_string();
    let method = arguments.optimiser.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
    let source = arguments.teacher.as_ref().map_or("data".into(), |teacher| teacher.display().to_string());
    let losses = losses_in_words(arguments.consistency.consistency(arguments.teacher.is_some()));
    let batch = if arguments.accumulate == 1 { String::new() } else { format!(" in {} parts", arguments.accumulate) };
    let mut weighting = if arguments.learned_weighting { ", learned weighting".to_owned() } else { String::new() };
    if arguments.labels {
        weighting += &format!(", label dropout {}", arguments.label_dropout);
    }
    if arguments.adaptive_power > 0.0 {
        weighting += &format!(", adaptive power {}", arguments.adaptive_power);
    }
    let usual = TimeSchedule::default();
    for (what, ramp, usual) in [
        ("the longest jump", arguments.longest_jump, usual.span),
        ("the share at t = 0", arguments.at_zero, usual.at_zero),
        ("the power of the state times", arguments.state_power, usual.power),
    ] {
        let Ramp { from, to, steps } = ramp;
        if ramp != usual {
            weighting += &if steps == 0 { format!(", {what} {to}") } else { format!(", {what} from {from} to {to} over {steps} steps") };
        }
    }
    if let FlowTimes::LogitNormal { mean, deviation } = arguments.flow_times {
        weighting += &format!(", logit-normal flow times ({mean}, {deviation})");
    }
    let start = arguments.initial.as_ref().map(|model| format!("; started from {}", model.display())).unwrap_or_default();
    format!(
        "{losses} from {source}, guidance {}{weighting}; {} at {}, batch {}{batch}, average {}, clip {}{start}",
        of(&arguments.guidance),
        method,
        of(&arguments.learning_rate),
        arguments.batch,
        of(&arguments.ema),
        of(&arguments.clip),
    )
}
