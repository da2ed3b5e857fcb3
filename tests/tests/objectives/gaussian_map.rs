//! The Meta Flow Map of one Gaussian in closed form, differentiable by everything, with parameters that spoil it.

use mfm_core::{Condition, Device, Error, Lift, MetaFlowMap, Operations, Query, Result, Shape, Tensor};

/// How many parameters spoil the map.
pub const PARAMETERS: usize = 4;

/// v^G of `mfm_nn::Preconditioned` for p1 = N(μ, σ_d² I) on the linear path, plus θ_0 x + θ_1 (u + s²) + θ_2 t x_t + θ_3 s u x, plus an offset for each label.
/// Exact for θ = 0 and offsets 0. It acts on each coordinate alone.
#[derive(Clone, Debug)]
pub struct GaussianMap<T> {
    pub deviation: f64,
    /// μ, [1].
    pub mean: T,
    /// θ, [4].
    pub theta: T,
    /// [labels].
    pub offsets: T,
    /// Whether losses are weighed by 1 + s + 2t.
    pub weighted: bool,
}

impl<T: Tensor> GaussianMap<T> {
    pub fn new(device: &T::Device, deviation: f64, mean: f64, theta: [f64; PARAMETERS], offsets: &[f64]) -> Result<Self> {
        Ok(Self {
            deviation,
            mean: device.from_slice(&[mean], Shape::new(&[1])?)?,
            theta: device.from_slice(&theta, Shape::new(&[PARAMETERS])?)?,
            offsets: device.from_slice(offsets, Shape::new(&[offsets.len()])?)?,
            weighted: false,
        })
    }
}

impl<T: Tensor> MetaFlowMap<T> for GaussianMap<T> {
    fn velocity(&self, query: &Query<'_, T>) -> Result<T> {
        let draws = query.draws()?;
        let shape = query.x.shape();
        let row = |time: &T| time.reshape(Shape::new(&[time.shape().elements(), 1])?);
        let (s, u) = (row(&query.s)?, row(&query.u)?);
        let t = row(&query.t)?;
        let t = if t.shape().batch() == 1 { t } else { t.repeat_items(draws)? };
        let state = query.x_t.repeat_items(draws)?;
        let variance = self.deviation * self.deviation;
        let rest = t.neg()?.shift(1.0)?.square()?;
        let whole = rest.add(&t.square()?.scale(variance)?)?;
        let c = rest.div(&whole)?.scale(variance)?;
        let m = state.mul(&t)?.scale(variance)?.add(&rest.mul(&self.mean)?)?.div(&whole)?;
        let width = |time: &T| time.neg()?.shift(1.0)?.square()?.add(&time.square()?.mul(&c)?)?.sqrt();
        let (g_s, g_u) = (width(&s)?, width(&u)?);
        let above = u.add(&s)?.mul(&c.shift(1.0)?)?.shift(-2.0)?;
        let h = above.div(&g_s.mul(&g_s.add(&g_u)?)?)?;
        let exact = m.add(&h.mul(&query.x.sub(&s.mul(&m)?)?)?)?;
        let theta = |k: usize| self.theta.slice(0, k, 1);
        let mut velocity = exact
            .add(&query.x.mul(&theta(0)?)?)?
            .add(&u.add(&s.square()?)?.mul(&theta(1)?)?)?
            .add(&state.mul(&t)?.mul(&theta(2)?)?)?
            .add(&query.x.mul(&s.mul(&u)?)?.mul(&theta(3)?)?)?;
        if let Some(labels) = query.condition.labels {
            let offsets = self.offsets.gather(0, labels)?.reshape(Shape::new(&[labels.len(), 1])?)?;
            velocity = velocity.add(&if labels.len() == 1 { offsets } else { offsets.repeat_items(draws)? })?;
        }
        if velocity.shape() != shape {
            return Err(Error::Shape { op: "a Gaussian's map", left: velocity.shape(), right: shape });
        }
        Ok(velocity)
    }

    fn loss_weight(&self, s: &[f64], t: &[f64]) -> Option<Vec<f64>> {
        self.weighted.then(|| s.iter().zip(t).map(|(s, t)| 1.0 + s + 2.0 * t).collect())
    }
}

impl<T: Tensor> Lift<T> for GaussianMap<T> {
    type Lifted<U: Tensor> = GaussianMap<U>;

    fn lift<U: Tensor>(&self, carry: &mut dyn FnMut(&T) -> Result<U>) -> Result<GaussianMap<U>> {
        let (mean, theta, offsets) = (carry(&self.mean)?, carry(&self.theta)?, carry(&self.offsets)?);
        Ok(GaussianMap { deviation: self.deviation, mean, theta, offsets, weighted: self.weighted })
    }
}

/// The same on plain numbers: one coordinate of one row.
#[derive(Clone, Copy, Debug)]
pub struct Plain {
    pub deviation: f64,
    pub mean: f64,
    pub theta: [f64; PARAMETERS],
    pub offset: f64,
}

impl Plain {
    pub fn velocity(&self, s: f64, u: f64, x: f64, t: f64, state: f64) -> f64 {
        let variance = self.deviation * self.deviation;
        let rest = (1.0 - t) * (1.0 - t);
        let whole = rest + t * t * variance;
        let (c, m) = (variance * rest / whole, (variance * t * state + rest * self.mean) / whole);
        let width = |time: f64| ((1.0 - time).powi(2) + time * time * c).sqrt();
        let h = ((u + s) * (1.0 + c) - 2.0) / (width(s) * (width(s) + width(u)));
        let [a, b, d, e] = self.theta;
        m + h * (x - s * m) + a * x + b * (u + s * s) + d * t * state + e * s * u * x + self.offset
    }
}

/// The condition of a query without labels.
pub const NONE: Condition<'static> = Condition::NONE;
