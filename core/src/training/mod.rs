//! Objectives: what a Meta Flow Map is trained by, and how it is fine-tuned to a reward.

mod choices;
mod consistency;
mod fine_tuning;
mod objective;
mod schedule;
mod time_law;
mod weighting;

pub use choices::{Choices, Diagonal, Jump};
pub use consistency::{Consistency, StopGradient};
pub use fine_tuning::{FineTuning, FineTuningChoices, FineTuningLoss, FineTuningMaps, LogNormaliser, WeightSlope};
pub use objective::{Batch, Guided, Losses, Objective, Velocities};
pub use schedule::{Ramp, TimeSchedule};
pub use time_law::{FlowTimes, LATEST_TIME, TimeLaw};
pub use weighting::{AdaptiveWeight, LossScale};
