//! The laws that hold point by point.

use crate::conformance::{Check, Failure};
use mfm_core::drift::{Drift, posterior_velocity};
use mfm_core::{Condition, Device, Interpolant, MetaFlowMap, Noise, Operations, Query, Result, Shape, Tensor};

/// Where a map is asked: n states on the path, and for each a place on the way from noise to the same clean sample.
#[derive(Clone, Debug)]
pub struct Probe<'a, T> {
    /// Three flow times s ≤ w ≤ u of each place.
    pub times: [Vec<f64>; 3],
    /// The places I_s, [n, ...].
    pub place: T,
    /// The times t of the states.
    pub t: Vec<f64>,
    /// The states x_t, [n, ...].
    pub state: T,
    /// What the map is conditioned on: one label for each state, or one for all.
    pub condition: Condition<'a>,
}

impl<'a, T: Tensor> Probe<'a, T> {
    /// A probe from clean samples `x1`, [n, ...]. All times are uniform in [0, `latest`] (the flow's three sorted), but the first
    /// probe has s = 0, u = 1 and the second t = 0. Choose `latest` below 1 for a map that loses precision where the posterior is narrow.
    ///
    /// # Errors
    /// Whatever the device reports.
    pub fn on_path(path: &dyn Interpolant, x1: &T, latest: f64, noise: &Noise) -> Result<Self> {
        let n = x1.shape().batch();
        let mut uniforms = vec![0.0; 4 * n];
        noise.fork(0).fill_uniform(&mut uniforms);
        uniforms.iter_mut().for_each(|time| *time *= latest);
        let mut times = [vec![0.0; n], vec![0.0; n], vec![0.0; n]];
        for (i, sorted) in uniforms[n..].chunks_exact_mut(3).enumerate() {
            sorted.sort_unstable_by(f64::total_cmp);
            times.iter_mut().zip(sorted).for_each(|(list, time)| list[i] = *time);
        }
        let mut t = uniforms[..n].to_vec();
        if n > 0 {
            (times[0][0], times[2][0]) = (0.0, 1.0);
            t[n.min(2) - 1] = 0.0;
        }
        let device = x1.device();
        let state = on_path(path, &t, &device.normal(&noise.fork(1), x1.shape())?, x1)?;
        let place = on_path(path, &times[0], &device.normal(&noise.fork(2), x1.shape())?, x1)?;
        Ok(Self { times, place, t, state, condition: Condition::NONE })
    }

    fn query(&self, s: &[f64], u: &[f64], place: &T) -> Result<Query<'a, T>> {
        let (s, u, t) = (vector(place, s)?, vector(place, u)?, vector(place, &self.t)?);
        Ok(Query { s, u, x: place.clone(), t, x_t: self.state.clone(), condition: self.condition })
    }
}

/// α x0 + β x1, item by item.
fn on_path<T: Tensor>(path: &dyn Interpolant, times: &[f64], x0: &T, x1: &T) -> Result<T> {
    let (alpha, beta): (Vec<f64>, Vec<f64>) = times.iter().map(|&t| (path.coefficients(t).alpha, path.coefficients(t).beta)).unzip();
    let shape = x1.shape();
    x0.mul(&vector(x1, &alpha)?.per_item(shape)?)?.add(&x1.mul(&vector(x1, &beta)?.per_item(shape)?)?)
}

fn vector<T: Tensor>(like: &T, values: &[f64]) -> Result<T> {
    like.device().from_slice(values, Shape::new(&[values.len()])?)
}

/// Checks that two tensors agree: the largest |a − b|/(1 + |b|) is at most `tolerance`.
fn agree<T: Tensor>(law: &str, found: &T, expected: &T, tolerance: f64) -> Check {
    let (found, expected) = (found.to_vec::<f64>()?, expected.to_vec::<f64>()?);
    if found.len() != expected.len() {
        return Err(Failure::new(format!("{} numbers in place of {}", found.len(), expected.len())).within(law));
    }
    for (i, (a, b)) in found.iter().zip(&expected).enumerate() {
        let error = (a - b).abs() / (1.0 + b.abs());
        // A NaN fails too.
        if error.is_nan() || error > tolerance {
            return Err(Failure::new(format!("element {i} is {a} in place of {b}: off by {error:e}, {tolerance:e} allowed")).within(law));
        }
    }
    Ok(())
}

/// X_{s,s} = id.
///
/// # Errors
/// A failure of the law, or of the map.
pub fn identity<T: Tensor>(map: &impl MetaFlowMap<T>, probe: &Probe<'_, T>, tolerance: f64) -> Check {
    let [s, _, _] = &probe.times;
    agree("X(s,s) = id", &map.map(&probe.query(s, s, &probe.place)?)?, &probe.place, tolerance)
}

/// X_{w,u} ∘ X_{s,w} = X_{s,u}, and X_{s,u}(x) = x + (u − s) v_{s,u}(x).
///
/// # Errors
/// A failure of the law, or of the map.
pub fn semigroup<T: Tensor>(map: &impl MetaFlowMap<T>, probe: &Probe<'_, T>, tolerance: f64) -> Check {
    let [s, w, u] = &probe.times;
    let whole = probe.query(s, u, &probe.place)?;
    let jump = map.map(&whole)?;
    let span = whole.u.sub(&whole.s)?.per_item(probe.place.shape())?;
    let moved = probe.place.add(&map.velocity(&whole)?.mul(&span)?)?;
    agree("X(s,u) = x + (u-s) v(s,u)", &jump, &moved, tolerance)?;
    let middle = map.map(&probe.query(s, w, &probe.place)?)?;
    agree("X(w,u) after X(s,w) = X(s,u)", &map.map(&probe.query(w, u, &middle)?)?, &jump, tolerance)
}

/// v_{s,s} = the [posterior velocity](posterior_velocity) of `teacher`.
///
/// # Errors
/// A failure of the law, or of the map.
pub fn diagonal<T: Tensor>(
    map: &impl MetaFlowMap<T>,
    teacher: &impl Drift<T>,
    path: &dyn Interpolant,
    probe: &Probe<'_, T>,
    tolerance: f64,
) -> Check {
    let [s, _, _] = &probe.times;
    let expected = posterior_velocity(teacher, path, s, &probe.place, &probe.t, &probe.state, probe.condition)?;
    agree("v(s,s) = posterior velocity", &map.velocity(&probe.query(s, s, &probe.place)?)?, &expected, tolerance)
}

/// 2 v_{s,s+h} − v_{s,s+2h} → v_{s,s}, with an error of order h²; times s above 1 − 2h are moved to 1 − 2h.
///
/// # Errors
/// A failure of the law, or of the map.
pub fn tangent<T: Tensor>(map: &impl MetaFlowMap<T>, probe: &Probe<'_, T>, step: f64, tolerance: f64) -> Check {
    let s: Vec<f64> = probe.times[0].iter().map(|s| s.min(1.0 - 2.0 * step)).collect();
    let after = |steps: f64| -> Vec<f64> { s.iter().map(|s| s + steps * step).collect() };
    let at = |u: &[f64]| map.velocity(&probe.query(&s, u, &probe.place)?);
    let limit = at(&after(1.0))?.scale(2.0)?.sub(&at(&after(2.0))?)?;
    agree("v(s,u) tends to v(s,s)", &limit, &at(&s)?, tolerance)
}

/// At t = 0 the map does not depend on the state, and one state serves all.
///
/// # Errors
/// A failure of the law, or of the map.
pub fn forgetful<T: Tensor>(map: &impl MetaFlowMap<T>, probe: &Probe<'_, T>, tolerance: f64) -> Check {
    let [s, _, u] = &probe.times;
    let query = Query { t: vector(&probe.place, &[0.0])?, ..probe.query(s, u, &probe.place)? };
    let elsewhere = map.velocity(&query)?;
    let at_zero = map.velocity(&Query { x_t: probe.state.zeros_like()?, ..query.clone() })?;
    agree("t = 0 forgets x_t", &elsewhere, &at_zero, tolerance)?;
    if !probe.condition.is_shared() {
        return Ok(());
    }
    let single = map.velocity(&Query { x_t: probe.state.slice(0, 0, 1)?, ..query })?;
    agree("t = 0 with one state for all", &single, &at_zero, tolerance)
}

/// A query of states × `draws` gives what the same query with its states repeated gives, for jumps and on the diagonal.
///
/// # Errors
/// A failure of the law, or of the map.
pub fn shared_states<T: Tensor>(map: &impl MetaFlowMap<T>, probe: &Probe<'_, T>, draws: usize, tolerance: f64) -> Check {
    fn repeat<E: Copy>(list: &[E], times: usize) -> Vec<E> {
        list.iter().flat_map(|entry| core::iter::repeat_n(*entry, times)).collect()
    }
    let [s, _, u] = &probe.times;
    let (s, u, t) = (repeat(s, draws), repeat(u, draws), repeat(&probe.t, draws));
    let kicks = probe.place.device().normal(&Noise::new(draws as u64), probe.place.shape().with_batch(s.len())?)?;
    let place = probe.place.repeat_items(draws)?.add(&kicks.scale(0.1)?)?;
    let several = |times: usize| if times == 1 { 1 } else { draws };
    let labels = probe.condition.labels.map(|all| repeat(all, several(all.len())));
    let guidance = probe.condition.guidance.map(|all| repeat(all, several(all.len())));
    let mut condition = Condition::NONE;
    (condition.labels, condition.guidance) = (labels.as_deref(), guidance.as_deref());
    for (law, s, u) in [("a state's draws are rows: jumps", &s, &u), ("a state's draws are rows: velocities", &s, &s)] {
        let shared = map.velocity(&probe.query(s, u, &place)?)?;
        let repeated = Query { x_t: probe.state.repeat_items(draws)?, t: vector(&place, &t)?, condition, ..probe.query(s, u, &place)? };
        agree(law, &shared, &map.velocity(&repeated)?, tolerance)?;
    }
    Ok(())
}
