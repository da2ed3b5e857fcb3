//! Laws of times that change over a training run.

use super::time_law::{FlowTimes, TimeLaw};
use crate::error::Result;

/// A number that goes along a straight line in the first steps of a run and then stays: warm-up where it rises, annealing where it falls.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ramp {
    /// Before the first step.
    pub from: f64,
    /// From step `steps` on.
    pub to: f64,
    /// How many steps it takes; 0 for none.
    pub steps: u64,
}

impl Ramp {
    /// A number that does not change.
    pub const fn constant(value: f64) -> Self {
        Self { from: value, to: value, steps: 0 }
    }

    /// The number at step `step`, counted from 1.
    pub fn at(&self, step: u64) -> f64 {
        if step >= self.steps { self.to } else { self.from + (self.to - self.from) * (step as f64 / self.steps as f64) }
    }
}

/// A [`TimeLaw`] whose numbers change over a run. Short jumps come first, for example, if `span` rises from 0: a jump is made of shorter ones, which are learned before it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TimeSchedule {
    /// [`TimeLaw::power`].
    pub power: Ramp,
    /// [`TimeLaw::at_zero`].
    pub at_zero: Ramp,
    /// [`TimeLaw::span`].
    pub span: Ramp,
    /// [`TimeLaw::flow`], which stays.
    pub flow: FlowTimes,
}

impl From<TimeLaw> for TimeSchedule {
    /// The same law throughout.
    fn from(law: TimeLaw) -> Self {
        let [power, at_zero, span] = [law.power, law.at_zero, law.span].map(Ramp::constant);
        Self { power, at_zero, span, flow: law.flow }
    }
}

impl Default for TimeSchedule {
    fn default() -> Self {
        TimeLaw::default().into()
    }
}

impl TimeSchedule {
    /// The law at step `step`, counted from 1.
    pub fn at(&self, step: u64) -> TimeLaw {
        TimeLaw { power: self.power.at(step), at_zero: self.at_zero.at(step), span: self.span.at(step), flow: self.flow }
    }

    /// Checks that every number stays in its range.
    ///
    /// # Errors
    /// [`Error::Range`](crate::Error::Range), naming it.
    pub fn check(&self) -> Result<()> {
        // What is between two numbers of a range lies in it.
        TimeLaw { power: self.power.from, at_zero: self.at_zero.from, span: self.span.from, flow: self.flow }.check()?;
        self.at(u64::MAX).check()
    }
}
