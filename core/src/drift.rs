//! Flow models known by their drift, and their posterior velocity: what v_{s,s}(y; t, x_t) of a Meta Flow Map must equal.

use crate::error::{Error, Result};
use crate::flow_map::Condition;
use crate::interpolant::{Interpolant, check_time};
use crate::shape::Shape;
use crate::tensor::{Device, Operations, Tensor};
use alloc::vec::Vec;

/// A flow model known by its drift b_t(x): the teacher of a distillation, or the closed form of a mixture.
pub trait Drift<T: Tensor> {
    /// b_t(x) for x of `[n, ...]`; `t` holds one time, or n.
    ///
    /// # Errors
    /// Those of the operations it is made of.
    fn drift(&self, t: &[f64], x: &T, condition: Condition<'_>) -> Result<T>;
}

/// v_{s,s}(y; t, x): the velocity, at time s and place y, of the flow whose end is distributed as p(x1 | x_t = x).
///
/// Two noisy looks at x1 are worth one, at t* with SNR(t*) = SNR(s) + SNR(t), so one drift evaluation serves
/// ([`Interpolant::look`]; source: *GLASS Flows*). `y` and `x` are `[n, ...]`; `s` and `t` hold one time, or n.
///
/// # Errors
/// [`Error::Range`] for a time outside [0, 1] or for s = t = 1, [`Error::Shape`] and [`Error::Length`] if the inputs do not fit.
pub fn posterior_velocity<T: Tensor>(
    teacher: &dyn Drift<T>,
    path: &dyn Interpolant,
    s: &[f64],
    y: &T,
    t: &[f64],
    x: &T,
    condition: Condition<'_>,
) -> Result<T> {
    let n = y.shape().batch();
    if y.shape() != x.shape() {
        return Err(Error::Shape { op: "posterior_velocity", left: y.shape(), right: x.shape() });
    }
    for times in [s, t] {
        if times.is_empty() || times.len() != 1 && times.len() != n {
            return Err(Error::Length { op: "posterior_velocity's times", expected: n, found: times.len() });
        }
    }
    let looks = (0..s.len().max(t.len()))
        .map(|i| {
            let (s, t) = (s[i % s.len()], t[i % t.len()]);
            check_time("s", s)?;
            check_time("t", t)?;
            if s == 1.0 && t == 1.0 {
                return Err(Error::Range { what: "s = t", value: 1.0, range: "below 1 for one of the two" });
            }
            Ok(path.look(s, t))
        })
        .collect::<Result<Vec<_>>>()?;
    let device = y.device();
    let shape = y.shape().per_item(looks.len())?;
    let weight = |pick: fn(&crate::interpolant::PosteriorLook) -> f64| -> Result<T> {
        let values: Vec<f64> = looks.iter().map(pick).collect();
        device.from_slice(&values, shape)
    };
    let star = y.mul(&weight(|l| l.look_y)?)?.add(&x.mul(&weight(|l| l.look_x)?)?)?;
    let times: Vec<f64> = looks.iter().map(|l| l.time).collect();
    let drift = teacher.drift(&times, &star, condition)?;
    // Near s = t = 1 the two weights are large and opposite, and x − y is exact.
    let pull = x.sub(y)?.mul(&weight(|l| l.velocity_x)?)?.add(&y.mul(&weight(|l| l.velocity_x + l.velocity_y)?)?)?;
    pull.add(&drift.mul(&weight(|l| l.velocity_b)?)?)
}

/// A Meta Flow Map as a flow model: its diagonal at t = 0.
#[derive(Debug)]
pub struct AsDrift<'a, M>(
    /// The map.
    pub &'a M,
);

impl<T: Tensor, M: crate::flow_map::MetaFlowMap<T>> Drift<T> for AsDrift<'_, M> {
    fn drift(&self, t: &[f64], x: &T, condition: Condition<'_>) -> Result<T> {
        let t = x.device().from_slice(t, Shape::new(&[t.len()])?)?;
        self.0.drift(&t, x, condition)
    }
}

/// A labelled Meta Flow Map as a flow model under classifier-free guidance: b = b(∅) + (w/w₀)(b(y) − b(∅)), with w that of the condition (Ho and
/// Salimans, 2022). Without labels it is b(∅). For w ≠ 1 it is the drift of no path to one law: what
/// is exact for a model's own drift (posteriors, bridges, the SDE beside the ODE) is not for this.
#[derive(Debug)]
pub struct ClassifierFree<'a, M> {
    /// The map.
    pub map: &'a M,
    /// The label that stands for none; `None` for a map without labels, which is not guided.
    pub null_label: Option<usize>,
    /// w where the condition gives none.
    pub scale: f64,
    /// w₀, the scale of the model guidance that the map was trained with and so has already, if it was.
    pub guided_by: Option<f64>,
    /// Whether the map takes a guidance scale as an input, which then is 1.
    pub takes_scale: bool,
}

impl<T: Tensor, M: crate::flow_map::MetaFlowMap<T>> Drift<T> for ClassifierFree<'_, M> {
    fn drift(&self, t: &[f64], x: &T, condition: Condition<'_>) -> Result<T> {
        let (device, shape) = (x.device(), x.shape());
        let t = device.from_slice(t, Shape::new(&[t.len()])?)?;
        let Some(null) = self.null_label else { return self.map.drift(&t, x, Condition::NONE) };
        let null = [null];
        let under = |labels| Condition { labels: Some(labels), guidance: self.takes_scale.then_some(&[1.0][..]) };
        let without = self.map.drift(&t, x, under(&null))?;
        let Some(labels) = condition.labels else { return Ok(without) };
        let ahead = self.map.drift(&t, x, under(labels))?.sub(&without)?;
        let own = self.guided_by.unwrap_or(1.0);
        let scales: Vec<f64> = condition.guidance.unwrap_or(&[self.scale]).iter().map(|&scale| scale / own).collect();
        if scales.len() != 1 && scales.len() != shape.batch() {
            return Err(Error::Length { op: "the guidance scales", expected: shape.batch(), found: scales.len() });
        }
        without.add(&ahead.mul(&device.from_slice(&scales, shape.per_item(scales.len())?)?)?)
    }
}
