//! Sampling the model itself: in one step, in K steps of the map, by refinement, by ODE or SDE.

use crate::draws::draws_of;
use crate::drift::{AsDrift, posterior_velocity};
use crate::error::{Error, Result};
use crate::flow_map::{Condition, Flow, MetaFlowMap, Query, forgotten_state, time};
use crate::guidance::Unsteered;
use crate::interpolant::{StraightStep, check_time};
use crate::noise::Noise;
use crate::shape::Shape;
use crate::steer::{Dynamics, FIRST_TIME, Scheme, Steering, advance, mean, steer, straightened};
use crate::tensor::{Device, Operations, Tensor};
use crate::times::TimeGrid;

/// A way to sample the model itself.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Sampler {
    /// [`sample_by_steps`] of the map.
    Steps(TimeGrid),
    /// [`sample_by_refinement`].
    Refinement(TimeGrid),
    /// [`sample_by_integration`] of the drift.
    Integration(Steering),
}

impl Sampler {
    /// The samples of a block; see [`blocks`](Self::blocks).
    pub const BLOCK: usize = 8192;

    /// By even steps of the map.
    pub fn steps(steps: usize) -> Self {
        Self::Steps(TimeGrid::uniform(steps))
    }

    /// By rounds of refinement, at even times.
    pub fn refinement(rounds: usize) -> Self {
        Self::Refinement(TimeGrid::uniform(rounds))
    }

    /// By even steps of Heun along the ODE.
    pub fn ode(steps: usize) -> Self {
        Self::Integration(Steering { dynamics: Dynamics::Ode, scheme: Scheme::Heun, grid: TimeGrid::uniform(steps) })
    }

    /// By even steps of Euler–Maruyama along the SDE, from [`FIRST_TIME`].
    pub fn sde(steps: usize) -> Self {
        Self::Integration(Steering {
            dynamics: Dynamics::Sde,
            scheme: Scheme::Euler,
            grid: TimeGrid::uniform(steps).starting_at(FIRST_TIME),
        })
    }

    /// The times that it goes through.
    pub fn grid(&self) -> &TimeGrid {
        match self {
            Self::Steps(grid) | Self::Refinement(grid) => grid,
            Self::Integration(steering) => &steering.grid,
        }
    }

    /// Network evaluations for each sample.
    pub fn evaluations(&self) -> usize {
        match self {
            Self::Steps(grid) | Self::Refinement(grid) => grid.steps,
            Self::Integration(steering) => steering.evaluations(1),
        }
    }

    /// Whether it asks for jumps of the map, not only for its drift.
    pub fn needs_jumps(&self) -> bool {
        !matches!(self, Self::Integration(_))
    }

    /// Samples from standard normal `x` of the shape `[n, ...]`.
    ///
    /// # Errors
    /// Those of the function that it stands for.
    pub fn sample<T: Tensor, M: MetaFlowMap<T>>(&self, flow: &Flow<'_, M>, x: &T, noise: &Noise) -> Result<T> {
        match self {
            Self::Steps(grid) => sample_by_steps(flow, grid, x),
            Self::Refinement(grid) => sample_by_refinement(flow, grid, x, noise),
            Self::Integration(steering) => sample_by_integration(flow, steering, x, noise),
        }
    }

    /// Samples of `shape`, `[n, ...]`, in blocks of [`BLOCK`](Self::BLOCK), all under one condition. Block k has `noise.fork(k)`, in whose stream 1 its samples
    /// start, so the first samples do not depend on how many follow.
    ///
    /// # Errors
    /// Each block may have those of [`sample`](Self::sample).
    pub fn blocks<'a, T: Tensor, M: MetaFlowMap<T>>(
        &'a self,
        flow: &'a Flow<'_, M>,
        device: &'a T::Device,
        shape: Shape,
        noise: &'a Noise,
    ) -> impl Iterator<Item = Result<T>> + 'a {
        (0..shape.batch()).step_by(Self::BLOCK).enumerate().map(move |(k, first)| {
            let noise = noise.fork(k as u64);
            let block = shape.with_batch(Self::BLOCK.min(shape.batch() - first))?;
            self.sample(flow, &device.normal(&noise.stream(1), block)?, &noise)
        })
    }
}

/// Draws of p(x1 | x_t) by the map along a grid of flow times from 0 to 1: one network evaluation a step, none of it approximate
/// for an exact map. `noise` is [states·draws, ...]. One step is [`Flow::posterior`]; t = 0 samples the model itself.
///
/// # Errors
/// Those of the map; [`Error::Range`] for a bad grid, one that does not go from 0 to 1, or a time outside [0, 1].
pub fn posterior_by_steps<T: Tensor, M: MetaFlowMap<T>>(flow: &Flow<'_, M>, grid: &TimeGrid, noise: &T, t: f64, x_t: &T) -> Result<T> {
    check_time("the time of a posterior", t)?;
    let device = noise.device();
    let t = time(&device, t)?;
    whole(grid)?.times(flow.path)?.windows(2).try_fold(noise.clone(), |x, pair| {
        let (s, u) = (time(&device, pair[0])?, time(&device, pair[1])?);
        flow.map.map(&Query { s, u, x, t: t.clone(), x_t: x_t.clone(), condition: flow.condition })
    })
}

/// A grid that takes noise to data.
///
/// # Errors
/// [`Error::Range`] unless it goes from 0 to 1.
fn whole(grid: &TimeGrid) -> Result<&TimeGrid> {
    match (grid.start, grid.end) {
        (0.0, 1.0) => Ok(grid),
        (0.0, value) => Err(Error::Range { what: "the end of a grid from noise to data", value, range: "1" }),
        (value, _) => Err(Error::Range { what: "the start of a grid from noise to data", value, range: "0" }),
    }
}

/// Draws of p(x1 | x_t) by a long rollout: Heun along the posterior velocity of the drift alone, over a grid of flow times from 0 to 1 whose last step is
/// one of Euler. It asks nothing of the map off its diagonal at t = 0, and so judges one-step draws. `noise` is [states·draws, ...].
///
/// # Errors
/// As [`posterior_by_steps`]; [`Error::Shape`] unless there are as many draws for each state.
pub fn posterior_by_rollout<T: Tensor, M: MetaFlowMap<T>>(flow: &Flow<'_, M>, grid: &TimeGrid, noise: &T, t: f64, x_t: &T) -> Result<T> {
    let draws = draws_of(noise.shape(), x_t.shape())?;
    let x_t = x_t.repeat_items(draws)?;
    let (labels, guidance) = flow.condition.repeat(draws);
    let condition = Condition { labels: labels.as_deref(), guidance: guidance.as_deref() };
    let slope = |s: f64, x: &T| {
        let velocity = posterior_velocity(&AsDrift(flow.map), flow.path, &[s], x, &[t], &x_t, condition)?;
        straightened(&flow.path.coefficients(s), &velocity, x)
    };
    whole(grid)?.times(flow.path)?.windows(2).try_fold(noise.clone(), |x, pair| {
        let (s, u) = (pair[0], pair[1]);
        let (step, first) = (StraightStep::new(flow.path, s, u), slope(s, &x)?);
        let end = advance(&step, &x, &first, None)?;
        if u >= 1.0 { Ok(end) } else { advance(&step, &x, &mean(&first, &slope(u, &end)?)?, None) }
    })
}

/// Samples of the model by the map along a grid of flow times from 0 to 1; `noise` is `[n, ...]`.
///
/// # Errors
/// As [`posterior_by_steps`].
pub fn sample_by_steps<T: Tensor, M: MetaFlowMap<T>>(flow: &Flow<'_, M>, grid: &TimeGrid, noise: &T) -> Result<T> {
    posterior_by_steps(flow, grid, noise, 0.0, &forgotten_state(noise, flow.condition)?)
}

/// Samples by refinement: at each time of the grid but the last, x1 ~ p(x1 | x_t) by one step of the map, then
/// x_u = α_u z + β_u x1 with fresh z for the next time u. The noise of step k is `noise.fork(k)`.
///
/// # Errors
/// Those of the map; [`Error::Range`] for a bad grid.
pub fn sample_by_refinement<T: Tensor, M: MetaFlowMap<T>>(flow: &Flow<'_, M>, grid: &TimeGrid, x: &T, noise: &Noise) -> Result<T> {
    let device = x.device();
    let mut x = x.clone();
    for (k, pair) in grid.times(flow.path)?.windows(2).enumerate() {
        let noise = noise.fork(k as u64);
        let end = flow.posterior(&device.normal(&noise, x.shape())?, pair[0], &x)?;
        let at = flow.path.coefficients(pair[1]);
        let fresh = device.normal(&noise.stream(1), x.shape())?;
        x = if at.alpha == 0.0 { end } else { T::linear_combination(&[(at.alpha, &fresh), (at.beta, &end)])? };
    }
    Ok(x)
}

/// Samples by integrating the drift, from x at the first time of the grid.
///
/// # Errors
/// As [`steer`].
pub fn sample_by_integration<T: Tensor, M: MetaFlowMap<T>>(flow: &Flow<'_, M>, steering: &Steering, x: &T, noise: &Noise) -> Result<T> {
    steer(flow, &Unsteered, steering, x, noise, &mut |_| Ok(()))
}

/// The SDE dx = (b + ε score) dt + √(2ε) dW of any diffusion ε ≥ 0, by Euler–Maruyama; score = (β D − x)/α².
/// Its marginals are the interpolant's for every ε (*Stochastic Interpolants*, theorem 2.8). The grid must end before 1.
///
/// # Errors
/// Those of the map; [`Error::Range`] for a bad grid, one that ends at 1, or a negative ε.
pub fn sample_by_diffusion<T: Tensor, M: MetaFlowMap<T>>(
    flow: &Flow<'_, M>,
    grid: &TimeGrid,
    epsilon: f64,
    x: &T,
    noise: &Noise,
) -> Result<T> {
    if !(epsilon >= 0.0 && epsilon.is_finite()) {
        return Err(Error::Range { what: "the diffusion", value: epsilon, range: "at least 0 and finite" });
    }
    if grid.end >= 1.0 {
        return Err(Error::Range { what: "the last time of a diffusion", value: grid.end, range: "below 1, where the score is infinite" });
    }
    let mut x = x.clone();
    for (k, pair) in grid.times(flow.path)?.windows(2).enumerate() {
        let (t, span) = (pair[0], pair[1] - pair[0]);
        let at = flow.path.coefficients(t);
        let drift = flow.drift(t, &x)?;
        let (score_drift, score_state) = at.score_weights();
        let kick = x.device().normal(&noise.fork(k as u64), x.shape())?;
        let root = libm::sqrt(2.0 * epsilon * span);
        x = T::linear_combination(&[
            (1.0 + span * epsilon * score_state, &x),
            (span * (1.0 + epsilon * score_drift), &drift),
            (root, &kick),
        ])?;
    }
    Ok(x)
}
