//! The consistency losses: how jumps off the diagonal are made to agree with it.

use super::objective::{Guided, States, vector};
use crate::autodiff::{Dual, Var};
use crate::drift::{Drift, posterior_velocity};
use crate::error::{Error, Result};
use crate::flow_map::{Flow, Lift, MetaFlowMap, Query};
use crate::interpolant::{Interpolant, StraightStep};
use crate::tensor::{Operations, Tensor};
use alloc::vec::Vec;

/// Which side of the Lagrangian loss carries no gradient.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum StopGradient {
    /// ∂_u X_{s,u}; the gradient flows through the velocity and its argument.
    #[default]
    Jump,
    /// The velocity at X_{s,u}; the gradient flows through ∂_u X_{s,u}.
    Velocity,
    /// Neither.
    Neither,
}

/// The loss off the diagonal. With I_s on the path and s ≤ u:
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Consistency {
    /// None: a flow model, whose jumps mean nothing.
    None,
    /// v_{s,u} → sg[γ v_{s,w} + (1−γ) v_{w,u}(X_{s,w})], w = s + γ(u − s), γ uniform (*SplitMeanFlow*; progressive self-distillation).
    #[default]
    Semigroup,
    /// v_{s,u} → sg[İ_s + (u−s) d/ds v_{s,u}] along (1, 0, İ_s) (*Mean Flows*); with a teacher the Eulerian loss.
    MeanFlow,
    /// v_{s,u} → sg[w + (u−s) d/ds v_{s,u}] along (1, 0, w), with w the teacher's velocity at s, or without a teacher v_{s,s}
    /// (Eulerian map distillation).
    Eulerian,
    /// ∂_u X_{s,u} against the velocity at (u, X_{s,u}): the teacher's, or without one v_{u,u} (Lagrangian map distillation). A teacher's
    /// velocity never carries a gradient.
    Lagrangian(StopGradient),
}

/// What a consistency loss is made from: a batch of places I_s, off the diagonal.
pub(super) struct OffDiagonal<'a, T: Tensor, M: Lift<T>> {
    pub flow: &'a Flow<'a, M>,
    pub student: &'a M::Lifted<Var<T>>,
    pub teacher: Option<&'a dyn Drift<T>>,
    pub states: &'a States<'a, T>,
    pub s: &'a [f64],
    pub u: &'a [f64],
    pub split: &'a [f64],
    pub place: &'a T,
    pub from_data: &'a T,
    pub guided: Option<Guided>,
}

impl Consistency {
    /// The name, as the command line and model files have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Semigroup => "semigroup",
            Self::MeanFlow => "mean-flow",
            Self::Eulerian => "eulerian",
            Self::Lagrangian(_) => "lagrangian",
        }
    }

    /// Prediction minus target, item by item.
    pub(super) fn residual<T: Tensor, M: Lift<T>>(&self, off: &OffDiagonal<'_, T, M>) -> Result<Var<T>> {
        let target = match self {
            Self::None => return Err(Error::Unsupported { op: "training", what: "there is no consistency loss to take" }),
            Self::Lagrangian(stop) => return off.lagrangian(*stop),
            Self::Semigroup => off.semigroup_target()?,
            Self::MeanFlow => off.eulerian_target(&off.velocity_at_s(|| off.guided_data())?)?,
            Self::Eulerian => off.eulerian_target(&off.velocity_at_s(|| off.diagonal_at_s())?)?,
        };
        let query = off.states.query(off.s, off.u, off.place)?.constant();
        off.student.velocity(&query)?.sub(&Var::constant(target))
    }

    /// The times at which its residual is a velocity, or from which it is an average one.
    pub(super) fn times_of_residual<'a>(&self, s: &'a [f64], u: &'a [f64]) -> &'a [f64] {
        if let Self::Lagrangian(_) = self { u } else { s }
    }

    /// By what its residual is multiplied to be that of the straight path: of an average velocity from s to u, or of the velocity at u.
    pub(super) fn straight_weight(&self, path: &dyn Interpolant, s: f64, u: f64) -> f64 {
        let slope = StraightStep::new(path, s, u).slope;
        match self {
            Self::Lagrangian(_) => path.coefficients(u).straight_weights().0,
            _ if slope > 0.0 => (u - s) / slope,
            _ => path.coefficients(s).straight_weights().0,
        }
    }
}

impl<T: Tensor, M: Lift<T>> OffDiagonal<'_, T, M> {
    fn semigroup_target(&self) -> Result<T> {
        let gamma = self.split;
        let w: Vec<f64> = self.s.iter().zip(self.u).zip(gamma).map(|((s, u), gamma)| s + gamma * (u - s)).collect();
        let map = self.flow.map;
        let first = map.velocity(&self.states.query(self.s, &w, self.place)?)?;
        let device = self.place.device();
        let like = self.place.shape();
        let span: Vec<f64> = w.iter().zip(self.s).map(|(w, s)| w - s).collect();
        let middle = self.place.add(&first.mul(&vector(&device, &span)?.per_item(like)?)?)?;
        let second = map.velocity(&self.states.query(&w, self.u, &middle)?)?;
        let gamma = vector(&device, gamma)?.per_item(like)?;
        // γ a + (1−γ) b = b + γ (a − b)
        second.add(&first.sub(&second)?.mul(&gamma)?)
    }

    /// w + (u−s) d/ds v_{s,u} along (1, 0, w), by one forward pass with tangents.
    fn eulerian_target(&self, w: &T) -> Result<T> {
        let query = self.states.query(self.s, self.u, self.place)?;
        let ones = query.s.zeros_like()?.shift(1.0)?;
        let (_, slope) = self.velocity_along(&query, Some(ones), None, Some(w))?;
        w.add(&slope.mul(&query.u.sub(&query.s)?.per_item(w.shape())?)?)
    }

    /// The velocity at s: the teacher's, or without one as `otherwise` has it.
    fn velocity_at_s(&self, otherwise: impl FnOnce() -> Result<T>) -> Result<T> {
        match self.teacher {
            Some(teacher) => {
                let states = self.states;
                posterior_velocity(teacher, self.flow.path, self.s, self.place, states.t, &states.x_t, states.condition)
            }
            None => otherwise(),
        }
    }

    fn diagonal_at_s(&self) -> Result<T> {
        self.flow.map.velocity(&self.states.query(self.s, self.s, self.place)?)
    }

    /// The data's velocity, moved as the diagonal's target is.
    fn guided_data(&self) -> Result<T> {
        match self.guided {
            Some(guided) => self.from_data.add(&guided.shift(self.flow, &self.states.query(self.s, self.s, self.place)?)?),
            None => Ok(self.from_data.clone()),
        }
    }

    /// v and its derivative along the given tangents of s, u and x, with frozen parameters.
    fn velocity_along(&self, query: &Query<'_, T>, s: Option<T>, u: Option<T>, x: Option<&T>) -> Result<(T, T)> {
        let map = self.flow.map.lift(&mut |p: &T| Ok(Dual::constant(p.clone())))?;
        let (value, tangent) = map.velocity(&dual_query(query, s, u, x)?)?.into_parts();
        let tangent = tangent.ok_or(Error::Independent { op: "velocity" })?;
        Ok((value, tangent))
    }

    fn lagrangian(&self, stop: StopGradient) -> Result<Var<T>> {
        let query = self.states.query(self.s, self.u, self.place)?;
        let like = self.place.shape();
        let span = query.u.sub(&query.s)?.per_item(like)?;
        let ones = query.u.zeros_like()?.shift(1.0)?;
        // v_{s,u} and ∂_u X = v + (u−s) ∂_u v, tracked or not.
        let (velocity, jump) = match stop {
            StopGradient::Jump => {
                let (velocity, slope) = self.velocity_along(&query, None, Some(ones), None)?;
                let jump = Var::constant(velocity.add(&slope.mul(&span)?)?);
                let tracked = if self.teacher.is_none() { self.student.velocity(&query.constant())? } else { Var::constant(velocity) };
                (tracked, jump)
            }
            StopGradient::Velocity | StopGradient::Neither => {
                let map = self.student.lift(&mut |p: &Var<T>| Ok(Dual::constant(p.clone())))?;
                let (velocity, slope) = map.velocity(&dual_query(&query.constant(), None, Some(Var::constant(ones)), None)?)?.into_parts();
                let slope = slope.ok_or(Error::Independent { op: "velocity" })?;
                let jump = velocity.add(&slope.mul(&Var::constant(span.clone()))?)?;
                (velocity, jump)
            }
        };
        let end = Var::constant(self.place.clone()).add(&velocity.mul(&Var::constant(span))?)?;
        let states = self.states;
        let there = match self.teacher {
            Some(_) if stop == StopGradient::Jump => {
                return Err(Error::Unsupported { op: "Lagrangian loss", what: "with a teacher the gradient must flow through the jump" });
            }
            Some(teacher) => {
                let end = end.value();
                Var::constant(posterior_velocity(teacher, self.flow.path, self.u, end, states.t, &states.x_t, states.condition)?)
            }
            None if stop == StopGradient::Velocity => {
                Var::constant(self.flow.map.velocity(&states.query(self.u, self.u, end.value())?)?)
            }
            None => {
                let query = states.query(self.u, self.u, self.place)?.constant();
                self.student.velocity(&Query { x: end, ..query })?
            }
        };
        there.sub(&jump)
    }
}

/// A query whose s, u and x move along the given tangents.
fn dual_query<'a, T: Tensor>(query: &Query<'a, T>, s: Option<T>, u: Option<T>, x: Option<&T>) -> Result<Query<'a, Dual<T>>> {
    let dual = |value: &T, tangent: Option<T>| match tangent {
        Some(tangent) => Dual::new(value.clone(), tangent),
        None => Ok(Dual::constant(value.clone())),
    };
    Ok(Query {
        s: dual(&query.s, s)?,
        u: dual(&query.u, u)?,
        x: dual(&query.x, x.cloned())?,
        t: dual(&query.t, None)?,
        x_t: dual(&query.x_t, None)?,
        condition: query.condition,
    })
}
