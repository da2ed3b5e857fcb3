//! The sampling contract: what a Meta Flow Map is, and what one evaluation of it is asked.

use crate::autodiff::Var;
use crate::error::{Error, Result};
use crate::interpolant::{Interpolant, check_time};
use crate::shape::Shape;
use crate::tensor::{Device, Operations, Tensor};
use alloc::vec::Vec;

/// What a map is conditioned on beside the state: labels and a guidance scale.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Condition<'a> {
    /// One label for each state, or one for all; `None` for the unconditional map.
    pub labels: Option<&'a [usize]>,
    /// The classifier-free guidance scale, one for each state, or one for all.
    pub guidance: Option<&'a [f64]>,
}

impl<'a> Condition<'a> {
    /// No condition.
    pub const NONE: Self = Self { labels: None, guidance: None };

    /// Labels, a guidance scale, or both.
    pub fn new(labels: Option<&'a [usize]>, guidance: Option<&'a [f64]>) -> Self {
        Self { labels, guidance }
    }

    /// Conditioned on labels.
    pub fn labels(labels: &'a [usize]) -> Self {
        Self { labels: Some(labels), guidance: None }
    }

    /// Whether all states are under one condition.
    pub fn is_shared(&self) -> bool {
        self.labels.is_none_or(|labels| labels.len() == 1) && self.guidance.is_none_or(|scales| scales.len() == 1)
    }

    /// Checks that there is one label, and one scale, for each of `states`, or one for all.
    ///
    /// # Errors
    /// [`Error::Length`] if not.
    pub fn check(&self, states: usize) -> Result<()> {
        let lists = [("the labels", self.labels.map(<[_]>::len)), ("the guidance scales", self.guidance.map(<[_]>::len))];
        match lists.into_iter().find_map(|(op, length)| Some((op, length.filter(|found| *found != 1 && *found != states)?))) {
            Some((op, found)) => Err(Error::Length { op, expected: states, found }),
            None => Ok(()),
        }
    }

    /// The condition of the states `start .. start + count` of a batch.
    #[must_use]
    pub fn states(self, start: usize, count: usize) -> Self {
        Self { labels: self.labels.map(|all| part(all, start, count)), guidance: self.guidance.map(|all| part(all, start, count)) }
    }

    /// The labels and the scales of each state, as many times in a row as it has draws.
    pub(crate) fn repeat(&self, draws: usize) -> (Option<Vec<usize>>, Option<Vec<f64>>) {
        (self.labels.map(|all| repeat(all, draws)), self.guidance.map(|all| repeat(all, draws)))
    }
}

/// Each entry `times` times in a row; a list of one serves all as it is.
fn repeat<E: Copy>(all: &[E], times: usize) -> Vec<E> {
    let times = if all.len() == 1 { 1 } else { times };
    all.iter().flat_map(|&entry| core::iter::repeat_n(entry, times)).collect()
}

/// The entries of some states; a list of one serves all, and one that is too short gives an empty part, which no query accepts.
fn part<E>(all: &[E], start: usize, count: usize) -> &[E] {
    if all.len() == 1 { all } else { all.get(start..start + count).unwrap_or(&[]) }
}

/// One question to a Meta Flow Map: the average velocity v_{s,u}(x; t, x_t, c).
///
/// `x` is [rows, ...] and `x_t` is [states, ...], where rows = states × draws: row i is conditioned on state i / draws.
/// `s` and `u` are `[1]` or `[rows]`, `t` is `[1]` or `[states]`, all in [0, 1] with s ≤ u.
#[derive(Clone, Debug)]
pub struct Query<'a, T> {
    /// The time at which the flow stands.
    pub s: T,
    /// The time to which it goes.
    pub u: T,
    /// Where it stands.
    pub x: T,
    /// The time of the state.
    pub t: T,
    /// The state whose posterior is sampled.
    pub x_t: T,
    /// Labels and guidance.
    pub condition: Condition<'a>,
}

impl<T: Tensor> Query<'_, T> {
    /// The number of draws for each state, after a check of all shapes.
    ///
    /// # Errors
    /// [`Error::Shape`] or [`Error::Length`] if the shapes are not those of [`Query`].
    pub fn draws(&self) -> Result<usize> {
        let (x, state) = (self.x.shape(), self.x_t.shape());
        let (rows, states) = (x.batch(), state.batch());
        if x.rank() != state.rank() || x.rank() == 0 || x.axes()[1..] != state.axes()[1..] {
            return Err(Error::Shape { op: "query", left: x, right: state });
        }
        if states == 0 || !rows.is_multiple_of(states) {
            return Err(Error::Shape { op: "query", left: x, right: state });
        }
        for (time, count) in [(&self.s, rows), (&self.u, rows), (&self.t, states)] {
            let found = time.shape().elements();
            if time.shape().rank() != 1 || (found != 1 && found != count) {
                return Err(Error::Length { op: "query's times", expected: count, found });
            }
        }
        self.condition.check(states)?;
        Ok(rows / states)
    }
}

/// A Meta Flow Map: for each state (t, x_t) a flow in s from noise (s = 0) to the posterior p(x1 | x_t) (s = 1).
///
/// Laws (a suite in `mfm-tests` runs them on any implementation): X_{s,s} = id; X_{w,u} ∘ X_{s,w} = X_{s,u};
/// v_{s,s} is the [posterior velocity](crate::drift::posterior_velocity); X_{0,1}(ε; t, x_t) ~ p(x1 | x_t) for ε ~ N(0, I), at t = 1 the state itself; t = 0
/// forgets x_t. A network has the first built in, and satisfies the others as far as it has learned them.
pub trait MetaFlowMap<T: Tensor> {
    /// The average velocity v_{s,u}(x; t, x_t, c), of the shape of `query.x`; at s = u the velocity itself.
    ///
    /// # Errors
    /// Those of [`Query::draws`], and of the operations it is made of.
    fn velocity(&self, query: &Query<'_, T>) -> Result<T>;

    /// X_{s,u}(x) = x + (u − s) v_{s,u}(x).
    ///
    /// # Errors
    /// As [`velocity`](Self::velocity).
    fn map(&self, query: &Query<'_, T>) -> Result<T> {
        let velocity = self.velocity(query)?;
        let span = query.u.sub(&query.s)?.per_item(query.x.shape())?;
        query.x.gated_residual(&span, &velocity)
    }

    /// The unconditional drift b_t(x) = v_{t,t}(x; 0, ·); `t` is `[1]` or `[n]` for x of `[n, ...]`.
    ///
    /// # Errors
    /// As [`velocity`](Self::velocity).
    fn drift(&self, t: &T, x: &T, condition: Condition<'_>) -> Result<T> {
        let (zero, state) = (x.device().zeros(Shape::new(&[1])?)?, forgotten_state(x, condition)?);
        self.velocity(&Query { s: t.clone(), u: t.clone(), x: x.clone(), t: zero, x_t: state, condition })
    }

    /// One-step posterior draws X_{0,1}(ε; t, x_t): `noise` is [states·draws, ...], the draws of a state in a row.
    ///
    /// # Errors
    /// As [`velocity`](Self::velocity).
    fn posterior(&self, noise: &T, t: &T, x_t: &T, condition: Condition<'_>) -> Result<T> {
        let (zero, one) = (noise.device().zeros(Shape::new(&[1])?)?, noise.device().full(1.0, Shape::new(&[1])?)?);
        self.map(&Query { s: zero, u: one, x: noise.clone(), t: t.clone(), x_t: x_t.clone(), condition })
    }

    /// By what a training loss at (s, t) should be multiplied, one factor for each pair; `None` for ones.
    /// A map that scales its network's output by c answers 1/c².
    fn loss_weight(&self, s: &[f64], t: &[f64]) -> Option<Vec<f64>> {
        let _ = (s, t);
        None
    }
}

/// The state at t = 0, where the map forgets it: one of zeros serves all rows of `x`, unless labels or scales tell rows apart.
///
/// # Errors
/// Whatever the device reports.
pub(crate) fn forgotten_state<T: Tensor>(x: &T, condition: Condition<'_>) -> Result<T> {
    let states = if condition.is_shared() { 1 } else { x.shape().batch() };
    x.device().zeros(x.shape().with_batch(states)?)
}

/// A map whose constants can be carried to another tensor type, which is how derivatives are taken through it: parameters enter
/// as constants (`Var::constant`, `Dual::constant`) of a frozen map, or as variables of a map in training.
pub trait Lift<T: Tensor>: MetaFlowMap<T> {
    /// The same map over `U`.
    type Lifted<U: Tensor>: Lift<U>;

    /// The map with `carry` applied to each of its tensors, always in the same order.
    ///
    /// # Errors
    /// Those of `carry`.
    fn lift<U: Tensor>(&self, carry: &mut dyn FnMut(&T) -> Result<U>) -> Result<Self::Lifted<U>>;

    /// The map with its tensors as constants of reverse differentiation, through which gradients by its inputs are taken.
    ///
    /// # Errors
    /// Whatever the device reports.
    fn frozen(&self) -> Result<Self::Lifted<Var<T>>> {
        self.lift(&mut |tensor| Ok(Var::constant(tensor.clone())))
    }
}

/// A Meta Flow Map together with the path that it belongs to and what it is conditioned on: what every sampler takes.
#[derive(Debug)]
pub struct Flow<'a, M> {
    /// The map.
    pub map: &'a M,
    /// α and β.
    pub path: &'a dyn Interpolant,
    /// Labels and guidance, one for each state or one for all.
    pub condition: Condition<'a>,
}

impl<M> Clone for Flow<'_, M> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<M> Copy for Flow<'_, M> {}

impl<'a, M> Flow<'a, M> {
    /// An unconditional flow.
    pub fn new(map: &'a M, path: &'a dyn Interpolant) -> Self {
        Self { map, path, condition: Condition::NONE }
    }

    /// The same flow under a condition.
    #[must_use]
    pub fn with_condition(self, condition: Condition<'a>) -> Self {
        Self { condition, ..self }
    }

    /// The same flow by another form of the map.
    pub fn with_map<N>(self, map: &'a N) -> Flow<'a, N> {
        Flow { map, path: self.path, condition: self.condition }
    }

    /// The drift b_t(x) at one time for all of x.
    ///
    /// # Errors
    /// Those of the map; [`Error::Range`] for a time outside [0, 1].
    pub fn drift<T: Tensor>(&self, t: f64, x: &T) -> Result<T>
    where
        M: MetaFlowMap<T>,
    {
        check_time("the time of a drift", t)?;
        self.map.drift(&time(&x.device(), t)?, x, self.condition)
    }

    /// One-step posterior draws at one time for all states.
    ///
    /// # Errors
    /// Those of the map; [`Error::Range`] for a time outside [0, 1].
    pub fn posterior<T: Tensor>(&self, noise: &T, t: f64, x_t: &T) -> Result<T>
    where
        M: MetaFlowMap<T>,
    {
        check_time("the time of a posterior", t)?;
        self.map.posterior(noise, &time(&noise.device(), t)?, x_t, self.condition)
    }

    /// The posterior mean D_t(x) = (α b − α̇ x)/(α β̇ − α̇ β).
    ///
    /// # Errors
    /// As [`drift`](Self::drift).
    pub fn posterior_mean<T: Tensor>(&self, t: f64, x: &T) -> Result<T>
    where
        M: MetaFlowMap<T>,
    {
        let (drift_weight, state_weight) = self.path.coefficients(t).posterior_mean_weights();
        T::linear_combination(&[(drift_weight, &self.drift(t, x)?), (state_weight, x)])
    }

    /// The score ∇log p_t(x) = (β b − β̇ x)/(α (α β̇ − α̇ β)).
    ///
    /// # Errors
    /// As [`drift`](Self::drift); [`Error::Range`] at t = 1, where it is infinite.
    pub fn score<T: Tensor>(&self, t: f64, x: &T) -> Result<T>
    where
        M: MetaFlowMap<T>,
    {
        let drift = self.drift(t, x)?;
        let at = self.path.coefficients(t);
        if at.alpha == 0.0 {
            return Err(Error::Range { what: "the time of a score", value: t, range: "below 1" });
        }
        let (drift_weight, state_weight) = at.score_weights();
        T::linear_combination(&[(drift_weight, &drift), (state_weight, x)])
    }
}

/// One time as a tensor of shape `[1]`.
///
/// # Errors
/// Whatever the device reports.
pub fn time<D: Device>(device: &D, t: f64) -> Result<D::Tensor> {
    device.full(t, Shape::new(&[1])?)
}
