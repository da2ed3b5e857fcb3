//! The laws of the times in training.

use crate::error::{Error, Result};
use crate::interpolant::Interpolant;
use crate::memory;
use crate::noise::Noise;
use alloc::vec::Vec;

/// How the times (t; s) and (t; s, u) of a training batch are drawn: on the linear path as it says, on another at the same signal-to-noise ratios
/// ([`Interpolant::time_of_straight`]), so that a map put on that path learns the same, up to the weights of the Eulerian and mean flow losses.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TimeLaw {
    /// t = U^power with probability 1 − `at_zero`, else 0, where the map is the unconditional one.
    pub power: f64,
    /// The share of the batch at t = 0.
    pub at_zero: f64,
    /// The longest jump u − s off the diagonal, 1 for all. A pair of sorted uniforms is shortened to
    /// u ← s + `span` (u − s).
    pub span: f64,
    /// The law of s on the diagonal.
    pub flow: FlowTimes,
}

/// How the flow times s on the diagonal are drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum FlowTimes {
    /// Uniformly in [0, 1).
    #[default]
    Uniform,
    /// s = 1/(1 + e^−z), z ~ N(mean, deviation²): mostly from the middle, where velocities are hardest to learn (Esser et al., 2024, equation 19).
    LogitNormal {
        /// The mean of z; s has the median 1/(1 + e^−mean).
        mean: f64,
        /// The deviation of z, above 0.
        deviation: f64,
    },
}

impl Default for TimeLaw {
    /// t = U² with probability 0.9, else 0; any jump; s uniform.
    fn default() -> Self {
        Self { power: 2.0, at_zero: 0.1, span: 1.0, flow: FlowTimes::Uniform }
    }
}

impl TimeLaw {
    /// Checks that every field is in its range.
    ///
    /// # Errors
    /// [`Error::Range`], naming the field.
    pub fn check(&self) -> Result<()> {
        let range = |what, value: f64, within, range| if within { Ok(()) } else { Err(Error::Range { what, value, range }) };
        let share = |what, value| range(what, value, (0.0..=1.0).contains(&value), "between 0 and 1");
        let positive = |what, value: f64| range(what, value, value > 0.0 && value.is_finite(), "positive and finite");
        positive("the power of the state times", self.power)?;
        share("the share of the batch at t = 0", self.at_zero)?;
        share("the longest jump", self.span)?;
        if let FlowTimes::LogitNormal { mean, deviation } = self.flow {
            range("the mean of the flow times", mean, mean.is_finite(), "finite")?;
            positive("the deviation of the flow times", deviation)?;
        }
        Ok(())
    }

    /// `n` state times t. The noise's stream 0 gives U, its stream 1 the choice of zero.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] if there is no memory for so many.
    pub fn states(&self, n: usize, noise: &Noise) -> Result<Vec<f64>> {
        let (mut t, zero) = (uniforms(n, &noise.stream(0))?, uniforms(n, &noise.stream(1))?);
        for (t, zero) in t.iter_mut().zip(zero) {
            *t = if zero < self.at_zero { 0.0 } else { libm::pow(*t, self.power) };
        }
        Ok(t)
    }

    /// `n` flow times s on the diagonal.
    ///
    /// # Errors
    /// As [`states`](Self::states).
    pub fn diagonal(&self, n: usize, noise: &Noise) -> Result<Vec<f64>> {
        let FlowTimes::LogitNormal { mean, deviation } = self.flow else { return uniforms(n, noise) };
        let mut s = memory::filled("training times", 0.0, n)?;
        noise.fill_normal(&mut s);
        s.iter_mut().for_each(|s| *s = 1.0 / (1.0 + libm::exp(-mean - deviation * *s)));
        Ok(s)
    }

    /// `n` pairs s ≤ u off the diagonal, sorted uniforms.
    ///
    /// # Errors
    /// As [`states`](Self::states).
    pub fn pairs(&self, n: usize, noise: &Noise) -> Result<(Vec<f64>, Vec<f64>)> {
        let (mut a, mut b) = (uniforms(n, &noise.stream(0))?, uniforms(n, &noise.stream(1))?);
        for (a, b) in a.iter_mut().zip(b.iter_mut()) {
            let (s, u) = (a.min(*b), a.max(*b));
            (*a, *b) = (s, s + self.span * (u - s));
        }
        Ok((a, b))
    }
}

/// `n` uniform numbers in [0, 1).
pub(super) fn uniforms(n: usize, noise: &Noise) -> Result<Vec<f64>> {
    let mut values = memory::filled("training times", 0.0, n)?;
    noise.fill_uniform(&mut values);
    Ok(values)
}

/// The latest time at which velocities are trained on a path whose α̇ is infinite at 1. Of α = √(1 − t²) a time in single precision leaves 0.2 % in doubt there.
pub const LATEST_TIME: f64 = 1.0 - 1e-5;

/// The times on `path` of the signal-to-noise ratios that the linear path has at `times`; before 1, where velocities may be infinite.
pub(super) fn times_on(path: &dyn Interpolant, times: Vec<f64>) -> Vec<f64> {
    let latest = if path.coefficients(1.0).alpha_dot.is_finite() { 1.0_f64.next_down() } else { LATEST_TIME };
    let mut times = ends_on(path, times);
    times.iter_mut().for_each(|time| *time = time.min(latest));
    times
}

/// The same, of times that may be 1.
pub(super) fn ends_on(path: &dyn Interpolant, mut times: Vec<f64>) -> Vec<f64> {
    times.iter_mut().for_each(|time| *time = path.time_of_straight(*time));
    times
}

/// The share of a jump's time on `path` at which it is split where it is at the share `gamma` on the linear path, from `s` to `u` there.
pub(super) fn split_on(path: &dyn Interpolant, s: f64, u: f64, gamma: f64) -> f64 {
    let [from, at, to] = [s, s + gamma * (u - s), u].map(|tau| path.time_of_straight(tau));
    if to > from { (at - from) / (to - from) } else { gamma }
}
