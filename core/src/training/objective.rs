//! The training objective: the diagonal loss, and one consistency loss off the diagonal.

use super::consistency::{Consistency, OffDiagonal};
use super::times::TimeLaw;
use super::weighting::{AdaptiveWeight, weighted_mean_square};
use crate::autodiff::Var;
use crate::error::{Error, Result};
use crate::flow_map::{Condition, Flow, Lift, MetaFlowMap, Query};
use crate::interpolant::{Coefficients, Interpolant};
use crate::noise::Noise;
use crate::posterior_velocity::{Drift, posterior_velocity};
use crate::shape::Shape;
use crate::tensor::{Device, Operations, Tensor};
use alloc::vec;
use alloc::vec::Vec;

/// What a Meta Flow Map is trained by.
///
/// The diagonal loss is ‖v_{s,s}(I_s; t, x_t) − target‖², the target being İ_s = α̇_s x0 + β̇_s x1 (from data) or the posterior velocity of a
/// teacher. The consistency loss makes the jumps agree with the diagonal.
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
    /// w ≥ 1 of model guidance: every velocity of the data or of a teacher moves by ω sg(v(·, y) − v(·, ∅)), ω = 1 − 1/w. One for none.
    pub scale: f64,
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
    /// Their sum, to be differentiated.
    pub total: Var<T>,
    /// The diagonal loss, a scalar.
    pub diagonal: T,
    /// The consistency loss, a scalar; zero without one.
    pub consistency: T,
}

/// In place of a teacher where there is none.
#[derive(Clone, Copy, Debug)]
pub struct NoTeacher;

impl<T: Tensor> Drift<T> for NoTeacher {
    fn drift(&self, _: &[f64], _: &T, _: Condition<'_>) -> Result<T> {
        Err(Error::Unsupported { op: "training", what: "this objective needs a teacher" })
    }
}

impl Objective {
    /// The losses of `student` (the flow's map with its parameters as variables) on a batch.
    ///
    /// `teacher`, if given, replaces the data as the source of velocities. All randomness comes from `noise`: fork 0 drops labels, 1 gives
    /// t, 2 the noise of x_t, 3 the diagonal, 4 what is off it.
    ///
    /// # Errors
    /// Those of the map and the teacher; [`Error::Range`] for an empty batch or a guidance scale below one; [`Error::Length`] unless there is
    /// one label for each sample; [`Error::Unsupported`] if a teacher is needed and none given.
    pub fn loss<T: Tensor, M: Lift<T>>(
        &self,
        flow: &Flow<'_, M>,
        student: &M::Lifted<Var<T>>,
        teacher: Option<&impl Drift<T>>,
        batch: Batch<'_, T>,
        noise: &Noise,
    ) -> Result<Losses<T>> {
        let n = batch.x1.shape().batch();
        if n == 0 {
            return Err(Error::Range { what: "the batch size", value: 0.0, range: "at least 1" });
        }
        let labels = self.labels(&batch, noise)?;
        let condition = Condition { labels: labels.as_deref(), guidance: None };
        let device = batch.x1.device();
        let t = self.times.states(n, &noise.fork(1));
        let (x_t, _) = interpolate(flow.path, &t, &device.normal(&noise.fork(2), batch.x1.shape())?, batch.x1)?;
        let states = States { t: &t, time: vector(&device, &t)?, x_t: &x_t, condition };

        let here = noise.fork(3);
        let s = self.times.diagonal(n, &here);
        let (place, from_data) = interpolate(flow.path, &s, &device.normal(&here.stream(2), batch.x1.shape())?, batch.x1)?;
        let mut target = match teacher {
            Some(teacher) => posterior_velocity(teacher, flow.path, &s, &place, &t, &x_t, condition)?,
            None => from_data,
        };
        let guided = self.guided.filter(|_| labels.is_some());
        if let Some(guided) = guided {
            target = target.add(&guided.shift(flow, &states.query(&s, &s, &place)?)?)?;
        }
        let query = states.query(&s, &s, &place)?.constant();
        let residual = student.velocity(&query)?.sub(&Var::constant(target))?;
        let diagonal = weighted_mean_square(&residual, self.diagonal_weight, flow.map.loss_weight(&s, &t).as_deref())?;
        if self.consistency == Consistency::None {
            let consistency = diagonal.value().zeros_like()?;
            return Ok(Losses { diagonal: diagonal.value().clone(), total: diagonal, consistency });
        }

        let there = noise.fork(4);
        let (s, u) = self.times.pairs(n, &there);
        let (place, from_data) = interpolate(flow.path, &s, &device.normal(&there.stream(2), batch.x1.shape())?, batch.x1)?;
        let off = OffDiagonal { flow, student, teacher, states: &states, s: &s, u: &u, place: &place, from_data: &from_data, guided };
        let residual = self.consistency.residual(&off, &there.stream(3))?;
        let consistency = weighted_mean_square(&residual, self.consistency_weight, flow.map.loss_weight(&s, &t).as_deref())?;
        Ok(Losses { diagonal: diagonal.value().clone(), consistency: consistency.value().clone(), total: diagonal.add(&consistency)? })
    }

    /// The batch's labels, some of them dropped.
    fn labels<T: Tensor>(&self, batch: &Batch<'_, T>, noise: &Noise) -> Result<Option<Vec<usize>>> {
        let Some(labels) = batch.labels else { return Ok(None) };
        let n = batch.x1.shape().batch();
        if labels.len() != n {
            return Err(Error::Length { op: "the batch's labels", expected: n, found: labels.len() });
        }
        let mut labels = labels.to_vec();
        if let Some(guided) = self.guided {
            if guided.scale.is_nan() || guided.scale < 1.0 {
                return Err(Error::Range { what: "the guidance scale", value: guided.scale, range: "at least 1" });
            }
            let mut uniforms = vec![0.0; n];
            noise.fork(0).fill_uniform(&mut uniforms);
            for (label, uniform) in labels.iter_mut().zip(uniforms) {
                if uniform < guided.dropout {
                    *label = guided.null_label;
                }
            }
        }
        Ok(Some(labels))
    }
}

impl Guided {
    /// ω (v(·, y) − v(·, ∅)), which is zero where the label was dropped.
    pub(super) fn shift<T: Tensor, M: Lift<T>>(&self, flow: &Flow<'_, M>, query: &Query<'_, T>) -> Result<T> {
        let omega = 1.0 - 1.0 / self.scale;
        if omega == 0.0 {
            return query.x.zeros_like();
        }
        let null = [self.null_label];
        let with = flow.map.velocity(query)?;
        let without = flow.map.velocity(&Query { condition: Condition::labels(&null), ..query.clone() })?;
        with.sub(&without)?.scale(omega)
    }
}

/// The states of a batch, with their times on the host and on the device.
pub(super) struct States<'a, T> {
    pub t: &'a [f64],
    pub time: T,
    pub x_t: &'a T,
    pub condition: Condition<'a>,
}

impl<'a, T: Tensor> States<'a, T> {
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
    let at: Vec<Coefficients> = t.iter().map(|&t| path.coefficients(t)).collect();
    let shape = x1.shape().per_item(t.len())?;
    let mix = |of: fn(&Coefficients) -> (f64, f64)| -> Result<T> {
        let device = x1.device();
        let (noise, data): (Vec<f64>, Vec<f64>) = at.iter().map(of).unzip();
        x0.mul(&device.from_slice(&noise, shape)?)?.add(&x1.mul(&device.from_slice(&data, shape)?)?)
    };
    Ok((mix(|c| (c.alpha, c.beta))?, mix(|c| (c.alpha_dot, c.beta_dot))?))
}
