//! The transport of noise to the posterior, behind the contract of a Meta Flow Map.

use super::{MixtureDrift, untracked_times};
use crate::at_time::AtTime;
use crate::check;
use crate::linear_algebra::Matrix;
use crate::mixture::GaussianMixture;
use crate::transport::{Axes, Draw, Transport};
use core::ops::Range;
use mfm_core::drift::posterior_velocity;
use mfm_core::interpolant::Interpolant;
use mfm_core::tensor::Transpose;
use mfm_core::{Condition, Device, Error, Lift, MetaFlowMap, Operations, Query, Result, Shape, Tensor};
use std::thread;

/// X_{s,u} = K_u ∘ K_s⁻¹, where K_s carries N(0, I) to the law of I_s = α_s ε + β_s x1, x1 ~ p(x1 | x_t), by the Knothe–Rosenblatt
/// rearrangement along the principal axes between the means.
///
/// Every law of a Meta Flow Map holds exactly but, in general, one: on the diagonal v_{s,s} is the posterior velocity, as it must be, while
/// X is the flow of that velocity only for a single Gaussian, and for collinear means with one shared isotropic
/// covariance (the paper's toy); elsewhere it is another map with the same laws. At t = 1 every draw is the state itself, exactly. A draw costs about a
/// microsecond. Draws can be differentiated once by the noise and by the state (those of a single Gaussian at common times to any order), not by the times.
#[derive(Clone, Debug)]
pub struct TransportMap {
    mixture: GaussianMixture,
    drift: MixtureDrift,
    axes: Axes,
    threads: usize,
}

/// Draws of one state are a unit of work; below this many rows a thread costs more than it saves.
const ROWS_PER_THREAD: usize = 512;

impl TransportMap {
    /// The map of `mixture` on `path`, on up to `threads` threads. The result does not depend on their number.
    pub fn new(mixture: &GaussianMixture, path: &'static dyn Interpolant, threads: usize) -> Self {
        let axes = Axes::principal(mixture);
        Self { mixture: mixture.clone(), drift: MixtureDrift::new(mixture, path), axes, threads: threads.max(1) }
    }
}

/// The host's side of a query: rows of x, states and times.
struct Task<'a> {
    map: &'a TransportMap,
    s: &'a [f64],
    u: &'a [f64],
    t: &'a [f64],
    x: &'a [f64],
    x_t: &'a [f64],
    draws: usize,
    by_noise: bool,
    by_state: bool,
}

/// What some states' draws came to: the points, and the Jacobians asked for.
#[derive(Default)]
struct Outcome {
    points: Vec<f64>,
    by_noise: Vec<f64>,
    by_state: Vec<f64>,
}

impl Task<'_> {
    fn run(&self) -> Result<Outcome> {
        let states = self.x_t.len() / self.map.mixture.dimension();
        let threads = self.map.threads.min((states * self.draws).div_ceil(ROWS_PER_THREAD)).clamp(1, states);
        let share = states.div_ceil(threads);
        let parts: Vec<Range<usize>> = (0..states).step_by(share).map(|start| start..(start + share).min(states)).collect();
        let results: Vec<Result<Outcome>> = if let [part] = &parts[..] {
            vec![self.states(part.clone())]
        } else {
            thread::scope(|scope| {
                let handles: Vec<_> = parts.into_iter().map(|part| scope.spawn(move || self.states(part))).collect();
                let lost = Error::Unsupported { op: "an exact map", what: "a worker thread was lost" };
                handles.into_iter().map(|handle| handle.join().unwrap_or(Err(lost))).collect()
            })
        };
        let mut whole = Outcome::default();
        for result in results {
            let part = result?;
            whole.points.extend(part.points);
            whole.by_noise.extend(part.by_noise);
            whole.by_state.extend(part.by_state);
        }
        Ok(whole)
    }

    fn states(&self, states: Range<usize>) -> Result<Outcome> {
        let d = self.map.mixture.dimension();
        let path = self.map.drift.path();
        let mut outcome = Outcome { points: Vec::with_capacity(states.len() * self.draws * d), ..Outcome::default() };
        let mut jacobian = vec![0.0; d * d];
        // With one time for all, the covariances are factored once.
        let mut kept: Option<Laws> = None;
        for state in states {
            let x_t = &self.x_t[state * d..(state + 1) * d];
            for row in state * self.draws..(state + 1) * self.draws {
                let times = (pick(self.s, row), pick(self.u, row), pick(self.t, state));
                if is_point(times) {
                    check::finite("a state", x_t)?;
                    outcome.points.extend_from_slice(x_t);
                    if self.by_noise {
                        outcome.by_noise.extend(std::iter::repeat_n(0.0, d * d));
                    }
                    if self.by_state {
                        outcome.by_state.extend_from_slice(Matrix::diagonal(d, 1.0).data());
                    }
                    continue;
                }
                let laws = match &mut kept {
                    Some(laws) if laws.times == times => laws,
                    slot => slot.insert(Laws::new(self.map, path, times, x_t)?),
                };
                laws.condition(state, x_t)?;
                let x = &self.x[row * d..(row + 1) * d];
                laws.carry(x)?;
                outcome.points.extend_from_slice(laws.draw.point());
                if self.by_noise {
                    laws.to.noise_jacobian(&mut laws.draw, &mut jacobian)?;
                    outcome.by_noise.extend_from_slice(&jacobian);
                }
                if self.by_state {
                    laws.to.state_jacobian(&mut laws.draw, &mut jacobian)?;
                    outcome.by_state.extend_from_slice(&jacobian);
                }
            }
        }
        Ok(outcome)
    }
}

/// The entry of one item, or the one for all.
fn pick(times: &[f64], index: usize) -> f64 {
    if times.len() == 1 { times[0] } else { times[index] }
}

/// Whether a jump ends at the state itself, all that its posterior is at t = 1.
fn is_point((s, u, t): (f64, f64, f64)) -> bool {
    t == 1.0 && u == 1.0 && s < 1.0
}

/// The two laws between which a row is carried, at fixed times.
struct Laws {
    times: (f64, f64, f64),
    at: AtTime,
    posterior: crate::Posterior,
    /// The law at s; `None` at s = 0, where it is N(0, I).
    from: Option<Transport>,
    to: Transport,
    draw: Draw,
    state: Option<usize>,
}

impl Laws {
    fn new(map: &TransportMap, path: &dyn Interpolant, times: (f64, f64, f64), x_t: &[f64]) -> Result<Self> {
        let (s, u, t) = times;
        let at = AtTime::new(&map.mixture, path, t)?;
        let posterior = at.posterior(x_t)?;
        let law = |time: f64| Transport::of_posterior(&at, &posterior, &map.axes, path, time);
        let (from, to) = (if s == 0.0 { None } else { Some(law(s)?) }, law(u)?);
        let draw = Draw::new(&to);
        Ok(Self { times, posterior, from, to, draw, at, state: None })
    }

    fn condition(&mut self, state: usize, x_t: &[f64]) -> Result<()> {
        if self.state == Some(state) {
            return Ok(());
        }
        self.at.condition(x_t, &mut self.posterior)?;
        self.to.condition(&self.posterior)?;
        if let Some(from) = &mut self.from {
            from.condition(&self.posterior)?;
        }
        self.state = Some(state);
        Ok(())
    }

    fn carry(&mut self, x: &[f64]) -> Result<()> {
        match &self.from {
            None => self.to.from_noise(x, &mut self.draw),
            Some(from) => {
                from.to_noise(x, &mut self.draw)?;
                let noise = self.draw.noise().to_vec();
                self.to.from_noise(&noise, &mut self.draw)
            }
        }
    }
}

impl TransportMap {
    /// X_{0,u}(ε) of a single Gaussian, the same affine map of ε and x_t for all rows: c + J ε + G x_t, differentiable to any order.
    fn carry_affine<T: Tensor>(&self, query: &Query<'_, T>, u: f64, t: f64) -> Result<T> {
        let (shape, device) = (query.x.shape(), query.x.device());
        let (rows, d) = (shape.batch(), shape.item());
        let (mut offset, mut by_noise, mut by_state) = (vec![0.0; d], vec![0.0; d * d], Matrix::diagonal(d, 1.0).data().to_vec());
        if !is_point((0.0, u, t)) {
            let mut laws = Laws::new(self, self.drift.path(), (0.0, u, t), &offset)?;
            laws.carry(&offset)?;
            laws.to.noise_jacobian(&mut laws.draw, &mut by_noise)?;
            laws.to.state_jacobian(&mut laws.draw, &mut by_state)?;
            offset.copy_from_slice(laws.draw.point());
        }
        let square = Shape::new(&[d, d])?;
        let (by_noise, by_state) = (device.from_slice(&by_noise, square)?, device.from_slice(&by_state, square)?);
        let offset = device.from_slice(&offset, Shape::new(&[1, d])?)?;
        let states = query.x_t.shape().batch();
        let centre = query.x_t.reshape(Shape::new(&[states, d])?)?.matmul(&by_state, Transpose::RIGHT)?.add(&offset)?;
        let spread = query.x.reshape(Shape::new(&[rows, d])?)?.matmul(&by_noise, Transpose::RIGHT)?;
        let by_draw = Shape::new(&[states, rows / states, d])?;
        spread.reshape(by_draw)?.add(&centre.reshape(Shape::new(&[states, 1, d])?)?)?.reshape(shape)
    }

    /// X_{s,u}(x) with its first derivatives attached where they are taken.
    fn carry<T: Tensor>(&self, query: &Query<'_, T>, s: &[f64], u: &[f64], t: &[f64]) -> Result<T> {
        let draws = query.draws()?;
        let (expected, found) = (self.mixture.dimension(), query.x.shape().item());
        if found != expected {
            return Err(Error::Length { op: "an exact map's items", expected, found });
        }
        if let ([0.0], [u], [t], 1) = (s, u, t, self.mixture.components().len()) {
            return self.carry_affine(query, *u, *t);
        }
        let (by_noise, by_state) = (query.x.is_tracked(), query.x_t.is_tracked());
        if (by_noise || by_state) && (T::DERIVATIVES > 1 || s.iter().any(|s| *s != 0.0)) {
            return Err(Error::NotDifferentiable { op: "a transport of mixtures" });
        }
        let (x, x_t) = (query.x.to_vec::<f64>()?, query.x_t.to_vec::<f64>()?);
        let outcome = Task { map: self, s, u, t, x: &x, x_t: &x_t, draws, by_noise, by_state }.run()?;
        let (shape, device) = (query.x.shape(), query.x.device());
        let mut result = device.from_slice(&outcome.points, shape)?;
        // A constant plus J (input − its detached self): the value unchanged, the derivative exact.
        let (rows, d) = (shape.batch(), shape.item());
        let attach = |result: T, input: &T, jacobian: &[f64]| -> Result<T> {
            let jacobian = device.from_slice(jacobian, Shape::new(&[rows, d, d])?)?;
            let still = input.sub(&input.detach())?.reshape(Shape::new(&[rows, d, 1])?)?;
            result.add(&jacobian.matmul(&still, Transpose::NONE)?.reshape(shape)?)
        };
        if by_noise {
            result = attach(result, &query.x, &outcome.by_noise)?;
        }
        if by_state {
            result = attach(result, &query.x_t.repeat_items(draws)?, &outcome.by_state)?;
        }
        Ok(result)
    }
}

impl<T: Tensor> MetaFlowMap<T> for TransportMap {
    fn velocity(&self, query: &Query<'_, T>) -> Result<T> {
        let draws = query.draws()?;
        let (s, u) = (untracked_times(&query.s)?, untracked_times(&query.u)?);
        let t = untracked_times(&query.t)?;
        let count = s.len().max(u.len());
        let span: Vec<f64> = (0..count).map(|i| pick(&u, i) - pick(&s, i)).collect();
        if span.iter().all(|h| *h == 0.0) {
            let t: Vec<f64> = if t.len() == 1 { t } else { t.iter().flat_map(|t| core::iter::repeat_n(*t, draws)).collect() };
            let x_t = query.x_t.repeat_items(draws)?;
            return posterior_velocity(&self.drift, self.drift.path(), &s, &query.x, &t, &x_t, Condition::NONE);
        }
        if span.contains(&0.0) {
            return Err(Error::Unsupported { op: "a transport of mixtures", what: "jumps and velocities cannot share a query" });
        }
        let span = query.x.device().from_slice(&span, query.x.shape().per_item(span.len())?)?;
        self.carry(query, &s, &u, &t)?.sub(&query.x)?.div(&span)
    }

    /// The jump itself, which the velocity is made from.
    fn map(&self, query: &Query<'_, T>) -> Result<T> {
        query.draws()?;
        self.carry(query, &untracked_times(&query.s)?, &untracked_times(&query.u)?, &untracked_times(&query.t)?)
    }
}

impl<T: Tensor> Lift<T> for TransportMap {
    type Lifted<U: Tensor> = Self;

    fn lift<U: Tensor>(&self, _: &mut dyn FnMut(&T) -> Result<U>) -> Result<Self> {
        Ok(self.clone())
    }
}
