//! Steering at inference time: the guided ODE and SDE.

use crate::draws::check_samples;
use crate::error::{Error, Result};
use crate::flow_map::{Flow, MetaFlowMap};
use crate::guidance::{Guidance, Guide};
use crate::interpolant::{Coefficients, StraightStep};
use crate::noise::Noise;
use crate::tensor::{Device, Operations, Tensor};
use crate::times::TimeGrid;

/// The usual first time of an ODE or SDE, at which noise stands for the state: see [`Steering::grid`] for what that costs.
pub const FIRST_TIME: f64 = 0.01;

/// Which equation is integrated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dynamics {
    /// dx = (b + (σ²/2)∇V) dt.
    Ode,
    /// dx = (2b − (β̇/β) x + σ²∇V) dt + σ dW, with the same marginals. The grid must start after 0, where β̇/β is infinite.
    Sde,
}

/// How it is integrated: along the straight path of the same signal-to-noise ratios ([`StraightStep`]), whatever the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Scheme {
    /// One evaluation a step, order 1.
    #[default]
    Euler,
    /// Two evaluations a step, order 2 for the ODE; the last step to t = 1, where the correction is singular, is an Euler step.
    Heun,
}

/// How to steer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Steering {
    /// The equation.
    pub dynamics: Dynamics,
    /// The integrator.
    pub scheme: Scheme,
    /// The times. At a start after 0 noise is taken for a state that knows something of the data already. An ODE keeps that error, of first order in the start:
    /// for N(3, 1) on the linear path a start at 0.01 leaves the mean 0.03 too low and the deviation 1 % too large. The SDE forgets it to second order. An ODE
    /// can start at 0 itself, where the drift is finite; a guide by gradients then needs [`Adjusted::earliest`](crate::guidance::Adjusted::earliest).
    pub grid: TimeGrid,
}

impl Steering {
    /// Network evaluations for each sample, by a guide that takes `of_guide` for each state; a backward pass counts two.
    pub fn evaluations(&self, of_guide: usize) -> usize {
        let calls = match self.scheme {
            Scheme::Euler => self.grid.steps,
            Scheme::Heun => self.grid.steps.saturating_mul(2).saturating_sub(usize::from(self.grid.end >= 1.0)),
        };
        calls.saturating_mul(of_guide)
    }
}

/// What is passed to the caller after each step.
#[derive(Debug)]
pub struct Step<'a, T> {
    /// The number of the step, from 0.
    pub index: usize,
    /// The time before it.
    pub from: f64,
    /// The time after it.
    pub to: f64,
    /// What the guide said before it; see [`Guidance::concentration`].
    pub guidance: &'a Guidance<T>,
    /// The states after it.
    pub x: &'a T,
}

/// Moves `x`, which stands at the first time of the grid (for a grid from near 0: standard normal noise), to the last time.
///
/// `on_step` is called after each step, and may stop the run by an error ([`Error::Cancelled`]).
/// The noise of step k is `noise.fork(k)`: stream 0 for the Wiener increments, stream 1 for the guide's draws, so a run does not
/// depend on how it is split.
///
/// # Errors
/// Those of the map, the reward and `on_step`; [`Error::Range`] for a bad grid, no samples, or an SDE from t = 0.
pub fn steer<T: Tensor, M: MetaFlowMap<T>>(
    flow: &Flow<'_, M>,
    guide: &impl Guide<T, M>,
    steering: &Steering,
    x: &T,
    noise: &Noise,
    on_step: &mut dyn FnMut(&Step<'_, T>) -> Result<()>,
) -> Result<T> {
    let times = steering.grid.times(flow.path)?;
    check_samples(x.shape())?;
    if steering.dynamics == Dynamics::Sde {
        check_sde_time(times[0])?;
    }
    let mut x = x.clone();
    for (index, pair) in times.windows(2).enumerate() {
        let (from, to) = (pair[0], pair[1]);
        let noise = noise.fork(index as u64);
        let at = flow.path.coefficients(from);
        let guidance = guide.guide(flow, from, &x, &noise.stream(1))?;
        let slope = straight_slope(steering.dynamics, &at, &guidance, &x)?;
        let step = StraightStep::new(flow.path, from, to);
        let kick = match steering.dynamics {
            Dynamics::Ode => None,
            Dynamics::Sde => Some(x.device().normal(&noise, x.shape())?),
        };
        let deviation = || match steering.scheme {
            Scheme::Euler => step.deviation,
            Scheme::Heun => StraightStep::whole_deviation(flow.path, from, to),
        };
        let kick = kick.as_ref().map(|kick| (deviation(), kick));
        let mut next = advance(&step, &x, &slope, kick)?;
        if steering.scheme == Scheme::Heun && to < 1.0 {
            let there = guide.guide(flow, to, &next, &noise.stream(1))?;
            let there = straight_slope(steering.dynamics, &flow.path.coefficients(to), &there, &next)?;
            next = advance(&step, &x, &mean(&slope, &there)?, kick)?;
        }
        x = next;
        on_step(&Step { index, from, to, guidance: &guidance, x: &x })?;
    }
    Ok(x)
}

/// Checks that an SDE does not begin at t = 0, where its drift is infinite.
///
/// # Errors
/// [`Error::Range`] if it does.
pub(crate) fn check_sde_time(first: f64) -> Result<()> {
    if first > 0.0 { Ok(()) } else { Err(Error::Range { what: "the first time of an SDE", value: first, range: "above 0" }) }
}

/// Where a step leads from x along dy/dτ = `slope`, for an SDE with a standard normal kick, times its deviation.
///
/// # Errors
/// [`Error::Shape`] if the shapes differ.
pub(crate) fn advance<T: Tensor>(step: &StraightStep, x: &T, slope: &T, kick: Option<(f64, &T)>) -> Result<T> {
    let along = [(step.state, x), (step.slope, slope)];
    match kick {
        None => T::linear_combination(&along),
        Some(kick) => T::linear_combination(&[along[0], along[1], kick]),
    }
}

/// The mean of two slopes, by Heun.
///
/// # Errors
/// [`Error::Shape`] if the shapes differ.
pub(crate) fn mean<T: Tensor>(first: &T, second: &T) -> Result<T> {
    T::linear_combination(&[(0.5, first), (0.5, second)])
}

/// dy/dτ of the guided equation along the straight path.
///
/// # Errors
/// [`Error::Shape`] if the shapes differ.
pub(crate) fn straight_slope<T: Tensor>(dynamics: Dynamics, at: &Coefficients, guidance: &Guidance<T>, x: &T) -> Result<T> {
    straightened(at, &slope(dynamics, at, guidance, x)?, x)
}

/// The slope dy/dτ along the straight path of a slope dx/dt at x; the same, where that is the path itself.
///
/// # Errors
/// [`Error::Shape`] if the shapes differ.
pub(crate) fn straightened<T: Tensor>(at: &Coefficients, slope: &T, x: &T) -> Result<T> {
    let (of_slope, of_state) = at.straight_weights();
    if (of_slope, of_state) == (1.0, 0.0) {
        return Ok(slope.clone());
    }
    T::linear_combination(&[(of_slope, slope), (of_state, x)])
}

/// The drift of the guided equation: b + (σ²/2)∇V, or 2b − (β̇/β) x + σ²∇V.
///
/// # Errors
/// [`Error::Shape`] if the shapes differ.
pub fn slope<T: Tensor>(dynamics: Dynamics, at: &Coefficients, guidance: &Guidance<T>, x: &T) -> Result<T> {
    let Guidance { drift, correction, .. } = guidance;
    match (dynamics, correction) {
        (Dynamics::Ode, None) => Ok(drift.clone()),
        (Dynamics::Ode, Some(c)) => drift.add(c),
        (Dynamics::Sde, None) => T::linear_combination(&[(2.0, drift), (-at.beta_dot / at.beta, x)]),
        (Dynamics::Sde, Some(c)) => T::linear_combination(&[(2.0, drift), (-at.beta_dot / at.beta, x), (2.0, c)]),
    }
}
