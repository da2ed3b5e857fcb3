//! Gaussian preconditioning: the network learns only what a Gaussian does not know already.

use crate::coordinates::moments;
use crate::module::Module;
use alloc::vec::Vec;
use mfm_core::tensor::Unary;
use mfm_core::{Device, Error, Lift, MetaFlowMap, Operations, Query, Result, Shape, Tensor};
use serde::{Deserialize, Serialize};

/// ε², which keeps g_s = √((1−s)² + s²C + ε²) away from zero at s = t = 1. Since g_u² − g_s² does not depend on it, every law of a
/// flow map stays exact; only the posterior variance C becomes C + ε².
const FLOOR: f64 = 1e-18;

/// The least c² by which [`Preconditioned`] divides its loss weight.
const LEAST_SQUARE: f64 = 1e-6;

/// The scalars of [`Preconditioned`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct GaussianConfig {
    /// σ_d, the standard deviation of the data around its mean, positive. Draws begin at noise of deviation 1, which single precision holds to 6 · 10⁻⁸: of
    /// a σ_d of 10⁻³ that is 10⁻⁴, and data that vary less should be scaled ([`Coordinates`](crate::Coordinates)).
    pub deviation: f64,
    /// a, by which the network's inputs are multiplied, positive.
    pub gain: f64,
}

impl GaussianConfig {
    /// Data of standard deviation `deviation` with the measured gain of 2.5 (a gain of 1 makes the network too smooth).
    pub fn new(deviation: f64) -> Self {
        Self { deviation, gain: 2.5 }
    }

    /// The preconditioning of data in rows of `dimension` numbers, and their mean, rounded to single precision. σ_d is the root of the mean squared
    /// distance from the mean, per column; 1 where no column varies.
    ///
    /// # Errors
    /// [`Error::Range`] for no rows or columns, [`Error::Length`] if the last row is not whole.
    pub fn of_data(rows: &[f32], dimension: usize) -> Result<(Self, Vec<f64>)> {
        let (mean, variance) = moments(rows, dimension)?;
        let variance = variance.iter().sum::<f64>() / variance.len() as f64;
        let deviation = if variance > 0.0 { libm::sqrt(variance) as f32 } else { 1.0 };
        Ok((Self::new(f64::from(deviation)), mean.into_iter().map(|value| f64::from(value as f32)).collect()))
    }

    /// Checks that both are positive and finite, with room for their squares in f32.
    ///
    /// # Errors
    /// [`Error::Range`], naming the field.
    pub fn check(&self) -> Result<()> {
        for (what, value) in [("the data's standard deviation", self.deviation), ("the gain of the preconditioning", self.gain)] {
            if !(1e-6..=1e6).contains(&value) {
                return Err(Error::Range { what, value, range: "between 1e-6 and 1e6" });
            }
        }
        Ok(())
    }

    /// c² = C/g_s², the square of the factor on the network's output.
    fn output_square(&self, s: f64, t: f64) -> f64 {
        let variance = self.deviation * self.deviation;
        let rest = (1.0 - t) * (1.0 - t);
        let c = variance * rest / (rest + t * t * variance);
        c / ((1.0 - s) * (1.0 - s) + s * s * c + FLOOR)
    }
}

/// v = v^G + c · net(a (y − s m)/g_s, a · whitened x_t; s, u, t), on the linear path; on another by [`OnPath`](crate::OnPath).
///
/// Were p1 = N(μ, σ_d² I), the whole map would be known. With D = (1−t)² + t²σ_d², C = σ_d²(1−t)²/D, m = (σ_d² t x_t + (1−t)² μ)/D and
/// g_s = √((1−s)² + s²C): v^G_{s,u}(y) = m + h (y − s m), h = [(u+s) C − (1−u) − (1−s)]/(g_s (g_s + g_u)), c = √C/g_s; the whitened
/// state is (x_t − t μ)/√D. Everything is finite for all times in [0, 1]; at s = t = 1, where nothing is left to flow, c = h = 0.
/// Nothing is differentiable by s there, and by t it never is singular.
///
/// An option of the library's own. v^G follows from x1 | x_t ~ N(m, C I): then (1−s) ε + s x1 ~ N(s m, g_s² I), the flow map is
/// X_{s,u}(y) = u m + (g_u/g_s)(y − s m), and v^G = (X_{s,u}(y) − y)/(u − s), from which u − s cancels.
#[derive(Clone, Debug)]
pub struct Preconditioned<N, T> {
    network: N,
    config: GaussianConfig,
    /// μ on the host, from which it is made anew for another tensor type.
    mean_values: Vec<f64>,
    /// μ, [1, 1, item].
    mean: T,
}

impl<N: MetaFlowMap<T>, T: Tensor> Preconditioned<N, T> {
    /// `network` for data of mean `mean` (one item, in row-major order).
    ///
    /// # Errors
    /// [`Error::Range`] for a bad `config`, [`Error::NonFinite`] for a bad mean, and whatever the device reports.
    pub fn new<D: Device<Tensor = T>>(device: &D, network: N, config: GaussianConfig, mean: &[f64]) -> Result<Self> {
        config.check()?;
        if let Some(index) = mean.iter().position(|value| !value.is_finite()) {
            return Err(Error::NonFinite { what: "the data's mean", index });
        }
        Ok(Self { network, config, mean: place(device, mean)?, mean_values: mean.to_vec() })
    }
}

impl<N, T: Tensor> Preconditioned<N, T> {
    /// The network underneath.
    pub fn network(&self) -> &N {
        &self.network
    }

    /// σ_d and a.
    pub fn config(&self) -> GaussianConfig {
        self.config
    }

    /// μ, one item in row-major order.
    pub fn mean(&self) -> &[f64] {
        &self.mean_values
    }

    /// The same with another network of the same type.
    #[must_use]
    pub(crate) fn map_network(self, change: impl FnOnce(N) -> N) -> Self {
        Self { network: change(self.network), ..self }
    }

    /// The same preconditioning of `network`; μ is made anew on `device`.
    fn around<O, U: Tensor>(
        &self,
        network: O,
        device: Option<U::Device>,
        carried: impl FnOnce(&T) -> Result<U>,
    ) -> Result<Preconditioned<O, U>> {
        let mean = match device {
            Some(device) => place(&device, &self.mean_values)?,
            // A network without a single tensor tells no device.
            None => carried(&self.mean)?,
        };
        Ok(Preconditioned { network, config: self.config, mean_values: self.mean_values.clone(), mean })
    }
}

/// μ as [1, 1, item].
fn place<D: Device>(device: &D, mean: &[f64]) -> Result<D::Tensor> {
    device.from_slice(mean, Shape::new(&[1, 1, mean.len()])?)
}

/// √((1−τ)² + τ²C + ε²).
fn spread<T: Tensor>(time: &T, variance: &T) -> Result<T> {
    time.shift(-1.0)?.square()?.add(&time.square()?.mul(variance)?)?.shift(FLOOR)?.sqrt()
}

impl<N: MetaFlowMap<T>, T: Tensor> MetaFlowMap<T> for Preconditioned<N, T> {
    /// # Errors
    /// Those of the network; [`Error::Shape`] if an item differs in size from the mean.
    fn velocity(&self, query: &Query<'_, T>) -> Result<T> {
        let draws = query.draws()?;
        let (shape, state_shape) = (query.x.shape(), query.x_t.shape());
        let (states, item) = (state_shape.batch(), shape.item());
        if item != self.mean_values.len() {
            return Err(Error::Shape { op: "preconditioned", left: shape, right: self.mean.shape() });
        }
        // Everything as [states, draws, item], so that a state broadcasts over its draws.
        let y = query.x.reshape(Shape::new(&[states, draws, item])?)?;
        let x_t = query.x_t.reshape(Shape::new(&[states, 1, item])?)?;
        let row_time = |time: &T| match time.shape().elements() {
            1 => time.reshape(Shape::new(&[1, 1, 1])?),
            _ => time.reshape(Shape::new(&[states, draws, 1])?),
        };
        let (s, u) = (row_time(&query.s)?, row_time(&query.u)?);
        let t = query.t.reshape(Shape::new(&[query.t.shape().elements(), 1, 1])?)?;

        let data_variance = self.config.deviation * self.config.deviation;
        let rest = t.shift(-1.0)?; // −(1−t)
        let square = rest.square()?;
        let per_total = T::linear_combination(&[(1.0, &square), (data_variance, &t.square()?)])?.unary(Unary::Recip)?; // 1/D
        let per_root = per_total.sqrt()?;
        let variance = square.mul(&per_total)?.scale(data_variance)?; // C
        let posterior_mean = T::linear_combination(&[(data_variance, &t.mul(&x_t)?), (1.0, &square.mul(&self.mean)?)])?.mul(&per_total)?;
        let (g_s, g_u) = (spread(&s, &variance)?, spread(&u, &variance)?);
        let per_g = g_s.unary(Unary::Recip)?;
        let numerator = T::linear_combination(&[(1.0, &s.add(&u)?.mul(&variance)?), (1.0, &s.shift(-1.0)?), (1.0, &u.shift(-1.0)?)])?;
        let slope = numerator.div(&g_s.add(&g_u)?)?; // h g_s
        let whitened = y.sub(&s.mul(&posterior_mean)?)?.mul(&per_g)?; // (y − s m)/g_s
        let white_state = x_t.sub(&t.mul(&self.mean)?)?.mul(&per_root.scale(self.config.gain)?)?;
        let inner = Query {
            s: query.s.clone(),
            u: query.u.clone(),
            x: whitened.scale(self.config.gain)?.reshape(shape)?,
            t: query.t.clone(),
            x_t: white_state.reshape(state_shape)?,
            condition: query.condition,
        };
        let learnt = self.network.velocity(&inner)?.reshape(y.shape())?;
        let factor = rest.mul(&per_root)?.scale(-self.config.deviation)?.mul(&per_g)?; // c
        let gaussian = posterior_mean.add(&slope.mul(&whitened)?)?;
        gaussian.add(&factor.mul(&learnt)?)?.reshape(shape)
    }

    /// 1/c², so that the network's own error weighs the same at all times; at most 10⁶, beyond which single precision has only
    /// rounding errors to offer (c is near zero as t → 1, where the Gaussian answer is exact).
    fn loss_weight(&self, s: &[f64], t: &[f64]) -> Option<Vec<f64>> {
        let inner = self.network.loss_weight(s, t);
        let own = s.iter().zip(t).map(|(&s, &t)| 1.0 / self.config.output_square(s, t).max(LEAST_SQUARE));
        Some(match inner {
            Some(inner) => own.zip(inner).map(|(own, inner)| own * inner).collect(),
            None => own.collect(),
        })
    }
}

impl<N: Module<T>, T: Tensor> Module<T> for Preconditioned<N, T> {
    type Over<U: Tensor> = Preconditioned<N::Over<U>, U>;

    fn visit(&self, f: &mut dyn FnMut(&str, &T)) {
        self.network.visit(f);
    }

    fn rebuild<U: Tensor>(&self, next: &mut dyn FnMut(&str, &T) -> Result<U>) -> Result<Self::Over<U>> {
        let mut device = None;
        let network = self.network.rebuild(&mut |name, old| {
            let new = next(name, old)?;
            device.get_or_insert_with(|| new.device());
            Ok(new)
        })?;
        self.around(network, device, |mean| next("mean", mean))
    }
}

impl<N: Lift<T>, T: Tensor> Lift<T> for Preconditioned<N, T> {
    type Lifted<U: Tensor> = Preconditioned<N::Lifted<U>, U>;

    fn lift<U: Tensor>(&self, carry: &mut dyn FnMut(&T) -> Result<U>) -> Result<Self::Lifted<U>> {
        let mut device = None;
        let network = self.network.lift(&mut |old| {
            let new = carry(old)?;
            device.get_or_insert_with(|| new.device());
            Ok(new)
        })?;
        self.around(network, device, carry)
    }
}
