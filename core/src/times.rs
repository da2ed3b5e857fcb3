//! Grids of times.

use crate::error::{Error, Result};
use crate::interpolant::{Interpolant, check_time};
use crate::memory;
use alloc::vec::Vec;
use libm::pow;

/// A strictly increasing grid of times, for k = 0 … steps. On the linear path t_k = start + (end − start)(k/steps)^power; on another they are the times of
/// the same signal-to-noise ratios, from its own start to its own end ([`Coefficients::straight_time`](crate::interpolant::Coefficients::straight_time)), so that an
/// exact map gives the same samples on every path where these ratios agree.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TimeGrid {
    /// The first time, in [0, 1).
    pub start: f64,
    /// The last time, above `start`, at most 1.
    pub end: f64,
    /// The number of steps, at least 1.
    pub steps: usize,
    /// Above 1 the grid is finer at its start, below 1 at its end.
    pub power: f64,
}

impl TimeGrid {
    /// `steps` even steps from 0 to 1.
    pub fn uniform(steps: usize) -> Self {
        Self { start: 0.0, end: 1.0, steps, power: 1.0 }
    }

    /// The same grid from another first time.
    #[must_use]
    pub fn starting_at(self, start: f64) -> Self {
        Self { start, ..self }
    }

    /// Checks that every field is in its range.
    ///
    /// # Errors
    /// [`Error::Range`], naming the field.
    pub fn check(&self) -> Result<()> {
        check_time("the grid's start", self.start)?;
        check_time("the grid's end", self.end)?;
        if self.end <= self.start {
            return Err(Error::Range { what: "the grid's end", value: self.end, range: "after its start" });
        }
        if self.steps == 0 {
            return Err(Error::Range { what: "the number of steps", value: 0.0, range: "at least 1" });
        }
        if !(self.power > 0.0 && self.power.is_finite()) {
            return Err(Error::Range { what: "the grid's power", value: self.power, range: "positive and finite" });
        }
        Ok(())
    }

    /// The times on a path, one more than there are steps.
    ///
    /// # Errors
    /// As [`check`](Self::check); [`Error::Range`] for steps or a power by which a time comes twice, [`Error::OutOfMemory`] for more steps than there is memory for.
    pub fn times(&self, path: &dyn Interpolant) -> Result<Vec<f64>> {
        self.check()?;
        let last = self.steps;
        let [start, end] = [self.start, self.end].map(|time| path.coefficients(time).straight_time());
        let at = |k: usize| path.time_of_straight(start + (end - start) * pow(k as f64 / last as f64, self.power));
        let mut times = memory::room("a grid of times", last.saturating_add(1))?;
        times.push(self.start);
        times.extend((1..last).map(at));
        times.push(self.end);
        // Steps of no length would divide by zero.
        match times.windows(2).all(|pair| pair[0] < pair[1]) {
            true => Ok(times),
            false if self.power == 1.0 => {
                Err(Error::Range { what: "the number of steps", value: last as f64, range: "such that no time comes twice" })
            }
            false => Err(Error::Range { what: "the grid's power", value: self.power, range: "such that no time comes twice" }),
        }
    }
}
