//! The training objective: the diagonal loss, and one consistency loss off the diagonal.

use super::choices::{Choices, Diagonal, Jump};
use super::consistency::{Consistency, OffDiagonal};
use super::time_law::TimeLaw;
use super::weighting::{AdaptiveWeight, LossScale, Weighed, factors, learned_mean_square, weighted_mean_square};
use crate::autodiff::Var;
use crate::drift::{Drift, posterior_velocity};
use crate::error::{Error, Result};
use crate::flow_map::{Condition, Flow, Lift, MetaFlowMap, Query};
use crate::interpolant::{Coefficients, Interpolant};
use crate::memory;
use crate::noise::Noise;
use crate::shape::Shape;
use crate::tensor::{Device, Operations, Tensor};
use alloc::vec::Vec;
use core::fmt;

/// What a Meta Flow Map is trained by.
///
/// The diagonal loss is ‖v_{s,s}(I_s; t, x_t) − target‖², the target being İ_s = α̇_s x0 + β̇_s x1 (from data) or the posterior velocity of a
/// teacher. The consistency loss makes the jumps agree with the diagonal. On another path than the linear one both are measured along that
/// ([`straight_weights`](Coefficients::straight_weights)): weights by s and u alone, which move no minimiser, and without which the mean square of İ is infinite
/// where α̇ is so at t = 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Objective {
    /// The consistency loss.
    pub consistency: Consistency,
    /// The laws of the times.
    pub times: TimeLaw,
    /// The adaptive weight on the diagonal.
    pub diagonal_weight: AdaptiveWeight,
    /// The adaptive weight off the diagonal.
    pub consistency_weight: AdaptiveWeight,
    /// Labels are dropped, and targets guided, by this.
    pub guided: Option<Guided>,
}

/// Training with labels towards a guided model.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Guided {
    /// The label that stands for none.
    pub null_label: usize,
    /// The share of the batch whose label is dropped.
    pub dropout: f64,
    /// w ≥ 1 of model guidance: every velocity of the data moves by ω sg(v(·, y) − v(·, ∅)), ω = 1 − 1/w. One for none. A teacher is guided
    /// by itself ([`ClassifierFree`](crate::drift::ClassifierFree)).
    pub scale: f64,
    /// For a network that takes w as an input: the share of the labelled samples for which it is 1 instead, as it is where the label was
    /// dropped. `None` for a network that does not.
    pub plain: Option<f64>,
}

impl Default for Objective {
    /// Diagonal and semigroup losses from data, as for the 2D experiment.
    fn default() -> Self {
        Self {
            consistency: Consistency::Semigroup,
            times: TimeLaw::default(),
            diagonal_weight: AdaptiveWeight::NONE,
            consistency_weight: AdaptiveWeight::NONE,
            guided: None,
        }
    }
}

/// A batch of clean samples.
#[derive(Clone, Debug)]
pub struct Batch<'a, T> {
    /// The samples, `[n, ...]`.
    pub x1: &'a T,
    /// Their labels.
    pub labels: Option<&'a [usize]>,
}

/// The losses of a batch.
#[derive(Clone, Debug)]
pub struct Losses<T> {
    /// Their sum, to be differentiated; under a learned weighting of the diagonal loss, with what that is learned by.
    pub total: Var<T>,
    /// The diagonal loss, a scalar, without a learned weighting.
    pub diagonal: T,
    /// The consistency loss, a scalar; zero without one.
    pub consistency: T,
}

/// Where the velocities to learn come from.
pub enum Velocities<'a, T: Tensor> {
    /// From the data: İ.
    Data,
    /// From the data, with a learned weighting of the diagonal loss. (A teacher's velocity can be met exactly, and then the loss has no size to weigh it by.)
    Weighted(&'a dyn LossScale<Var<T>>),
    /// The posterior velocity of a teacher.
    Teacher(&'a dyn Drift<T>),
}

impl<T: Tensor> Copy for Velocities<'_, T> {}

impl<T: Tensor> Clone for Velocities<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: Tensor> fmt::Debug for Velocities<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Data => "Data",
            Self::Weighted(_) => "Weighted",
            Self::Teacher(_) => "Teacher",
        })
    }
}

impl Objective {
    /// The losses of `student` (the flow's map with its parameters as variables) on a batch.
    ///
    /// All randomness comes from `noise` ([`choose`](Self::choose)).
    ///
    /// # Errors
    /// Those of the map, the teacher and the weighting; [`Error::Range`] for an empty batch or a guidance scale below one; [`Error::Length`] unless there is
    /// one label for each sample; [`Error::Unsupported`] for a learned weighting beside an adaptive weight on the diagonal, which would undo it, and for a teacher in a Lagrangian loss whose jump
    /// carries no gradient.
    pub fn loss<T: Tensor, M: Lift<T>>(
        &self,
        flow: &Flow<'_, M>,
        student: &M::Lifted<Var<T>>,
        velocities: Velocities<'_, T>,
        batch: Batch<'_, T>,
        noise: &Noise,
    ) -> Result<Losses<T>> {
        self.loss_of(flow, student, velocities, batch.x1, &self.choose(flow.path, &batch, noise)?)
    }

    /// The losses at choices that are given.
    ///
    /// # Errors
    /// As [`loss`](Self::loss); [`Error::Length`] or [`Error::Shape`] if the choices do not fit the samples.
    pub fn loss_of<T: Tensor, M: Lift<T>>(
        &self,
        flow: &Flow<'_, M>,
        student: &M::Lifted<Var<T>>,
        velocities: Velocities<'_, T>,
        x1: &T,
        choices: &Choices<T>,
    ) -> Result<Losses<T>> {
        let (teacher, scale) = match velocities {
            Velocities::Data => (None, None),
            Velocities::Weighted(scale) => (None, Some(scale)),
            Velocities::Teacher(teacher) => (Some(teacher), None),
        };
        if scale.is_some() && self.diagonal_weight.power != 0.0 {
            return Err(Error::Unsupported { op: "training", what: "an adaptive weight undoes a learned one" });
        }
        let device = x1.device();
        let Choices { labels, t, state, diagonal, jump } = choices;
        let (x_t, _) = interpolate(flow.path, t, state, x1)?;
        let time = vector(&device, t)?;
        let guided = self.guided.filter(|_| labels.is_some());

        let Diagonal { s, noise, guidance } = diagonal;
        let states = States::new(choices, guidance.as_deref(), &time, &x_t);
        let (place, from_data) = interpolate(flow.path, s, noise, x1)?;
        let mut target = match teacher {
            Some(teacher) => posterior_velocity(teacher, flow.path, s, &place, t, &x_t, states.condition)?,
            None => from_data,
        };
        if let Some(guided) = guided.filter(|_| teacher.is_none()) {
            target = target.add(&guided.shift(flow, &states.query(s, s, &place)?)?)?;
        }
        let query = states.query(s, s, &place)?.constant();
        let residual = student.velocity(&query)?.sub(&Var::constant(target))?;
        let straight = s.iter().map(|&s| flow.path.coefficients(s).straight_weights().0);
        let weights = factors(flow.map.loss_weight(s, t), straight);
        let Weighed { total, plain: diagonal } = match scale {
            Some(scale) => learned_mean_square(&residual, weights.as_deref(), &scale.logarithm(&query.s, &query.t)?)?,
            None => {
                let total = weighted_mean_square(&residual, self.diagonal_weight, weights.as_deref())?;
                Weighed { plain: total.value().clone(), total }
            }
        };
        if self.consistency == Consistency::None {
            let consistency = diagonal.zeros_like()?;
            return Ok(Losses { total, diagonal, consistency });
        }

        let jump = jump.as_ref().ok_or(Error::Length { op: "the choices' jumps", expected: t.len(), found: 0 })?;
        let Jump { s, u, noise, split, guidance } = jump;
        let (place, from_data) = interpolate(flow.path, s, noise, x1)?;
        let states = States::new(choices, guidance.as_deref(), &time, &x_t);
        let off = OffDiagonal { flow, student, teacher, states: &states, s, u, split, place: &place, from_data: &from_data, guided };
        let residual = self.consistency.residual(&off)?;
        let straight = s.iter().zip(u).map(|(&s, &u)| self.consistency.straight_weight(flow.path, s, u));
        let weights = factors(flow.map.loss_weight(self.consistency.times_of_residual(s, u), t), straight);
        let consistency = weighted_mean_square(&residual, self.consistency_weight, weights.as_deref())?;
        Ok(Losses { diagonal, consistency: consistency.value().clone(), total: total.add(&consistency)? })
    }
}

impl Guided {
    /// ω (v(·, y) − v(·, ∅)), which is zero where the label was dropped; with the w of each sample where the query has one.
    pub(super) fn shift<T: Tensor, M: Lift<T>>(&self, flow: &Flow<'_, M>, query: &Query<'_, T>) -> Result<T> {
        let omega = |scale: f64| 1.0 - 1.0 / scale;
        if omega(self.scale) == 0.0 && query.condition.guidance.is_none() {
            return query.x.zeros_like();
        }
        let null = Condition { labels: Some(&[self.null_label]), guidance: query.condition.guidance.map(|_| &[1.0][..]) };
        let with = flow.map.velocity(query)?;
        let without = flow.map.velocity(&Query { condition: null, ..query.clone() })?;
        let difference = with.sub(&without)?;
        match query.condition.guidance {
            None => difference.scale(omega(self.scale)),
            Some(scales) => {
                let omegas: Vec<f64> = scales.iter().map(|&scale| omega(scale)).collect();
                difference.mul(&vector(&difference.device(), &omegas)?.per_item(difference.shape())?)
            }
        }
    }
}

/// The states of a batch, with their times on the host and on the device.
pub(super) struct States<'a, T> {
    pub t: &'a [f64],
    pub time: T,
    pub x_t: T,
    pub condition: Condition<'a>,
}

impl<'a, T: Tensor> States<'a, T> {
    fn new(choices: &'a Choices<T>, guidance: Option<&'a [f64]>, time: &T, x_t: &T) -> Self {
        let condition = Condition { labels: choices.labels.as_deref(), guidance };
        Self { t: &choices.t, time: time.clone(), x_t: x_t.clone(), condition }
    }

    /// A query of one draw for each state.
    pub fn query(&self, s: &[f64], u: &[f64], x: &T) -> Result<Query<'a, T>> {
        let device = x.device();
        Ok(Query {
            s: vector(&device, s)?,
            u: vector(&device, u)?,
            x: x.clone(),
            t: self.time.clone(),
            x_t: self.x_t.clone(),
            condition: self.condition,
        })
    }
}

impl<'a, T: Tensor> Query<'a, T> {
    /// The same query as constants of reverse differentiation.
    pub fn constant(&self) -> Query<'a, Var<T>> {
        let constant = |x: &T| Var::constant(x.clone());
        Query {
            s: constant(&self.s),
            u: constant(&self.u),
            x: constant(&self.x),
            t: constant(&self.t),
            x_t: constant(&self.x_t),
            condition: self.condition,
        }
    }
}

/// A list of numbers as a vector.
pub(super) fn vector<D: Device>(device: &D, values: &[f64]) -> Result<D::Tensor> {
    device.from_slice(values, Shape::new(&[values.len()])?)
}

/// I = α x0 + β x1 and İ = α̇ x0 + β̇ x1, item by item.
pub(super) fn interpolate<T: Tensor>(path: &dyn Interpolant, t: &[f64], x0: &T, x1: &T) -> Result<(T, T)> {
    let at = memory::list("interpolation", t.iter().map(|&t| path.coefficients(t)))?;
    let shape = x1.shape().per_item(t.len())?;
    let factor = |of: fn(&Coefficients) -> f64| x1.device().from_slice(&memory::list("interpolation", at.iter().map(of))?, shape);
    let mix = |noise, data| -> Result<T> { x0.mul(&factor(noise)?)?.add(&x1.mul(&factor(data)?)?) };
    Ok((mix(|c| c.alpha, |c| c.beta)?, mix(|c| c.alpha_dot, |c| c.beta_dot)?))
}
