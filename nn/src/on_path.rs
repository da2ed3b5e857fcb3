//! A map on any of the library's paths, made of one on the linear path.

use crate::module::Module;
use alloc::vec::Vec;
use core::f64::consts::{FRAC_PI_2, FRAC_PI_4};
use mfm_core::interpolant::{Interpolant, Linear, Trigonometric, VariancePreserving};
use mfm_core::tensor::Unary;
use mfm_core::{Error, Lift, MetaFlowMap, Operations, Query, Result, Tensor};

/// What is added to α² on the variance-preserving path, whose velocity is infinite at s = u = 1: a step of no length must not go 0 · ∞ far.
const FLOOR: f64 = 1e-24;

/// v_{s,u}(y; t, x) = (c̄ y + W v̄)/c_s, where c = α + β, τ = β/c, and v̄ = v̄_{τ_s,τ_u}(y/c_s; τ_t, x/c_t) is that of a map on the linear path.
///
/// y/c at the time τ goes along the linear path, and x1 has the same posterior given x at t as given x/c_t at τ_t. c̄ = (c_u − c_s)/(u − s) and
/// W = (α_s β_u − α_u β_s)/(u − s) are finite at u = s, where they are ċ and α β̇ − α̇ β. If the inner map is exact, so is this one; on the linear path
/// they are the same.
///
/// The library's own; see [`StraightStep`](mfm_core::interpolant::StraightStep).
#[derive(Clone, Debug)]
pub struct OnPath<M> {
    map: M,
    /// None for the linear path.
    path: Option<Path>,
}

impl<M> OnPath<M> {
    /// `map`, which is of the linear path, on the path named `path` ([`Interpolant::name`]).
    ///
    /// # Errors
    /// [`Error::Unsupported`] for a path that is not the library's.
    pub fn new(map: M, path: &str) -> Result<Self> {
        let unknown = Error::Unsupported { op: "a map on a path", what: "it is known for the paths of the library alone" };
        let path = if path == Linear.name() { None } else { Some(Path::by_name(path).ok_or(unknown)?) };
        Ok(Self { map, path })
    }

    /// The map on the linear path.
    pub fn inner(&self) -> &M {
        &self.map
    }

    /// The same with another map of the same type.
    #[must_use]
    pub(crate) fn map_inner(self, change: impl FnOnce(M) -> M) -> Self {
        Self { map: change(self.map), path: self.path }
    }
}

/// The other paths, whose coefficients are known of tensors of times.
#[derive(Clone, Copy, Debug)]
enum Path {
    Trigonometric,
    VariancePreserving,
}

impl Path {
    fn by_name(name: &str) -> Option<Self> {
        [Self::Trigonometric, Self::VariancePreserving].into_iter().find(|path| path.interpolant().name() == name)
    }

    fn interpolant(self) -> &'static dyn Interpolant {
        match self {
            Self::Trigonometric => &Trigonometric,
            Self::VariancePreserving => &VariancePreserving,
        }
    }

    /// α and β.
    fn coefficients<T: Tensor>(self, time: &T) -> Result<(T, T)> {
        let rest = time.neg()?.shift(1.0)?;
        Ok(match self {
            Self::Trigonometric => {
                let sine = |time: &T| time.scale(FRAC_PI_2)?.unary(Unary::Sin);
                (sine(&rest)?, sine(time)?)
            }
            Self::VariancePreserving => (rest.mul(&time.shift(1.0)?)?.shift(FLOOR)?.sqrt()?, time.clone()),
        })
    }

    /// (α_u − α_s)/(u − s), where α_u + α_s is `alphas`, and (β_u − β_s)/(u − s).
    fn slopes<T: Tensor>(self, s: &T, u: &T, alphas: &T) -> Result<(T, T)> {
        let times = s.add(u)?;
        Ok(match self {
            Self::Trigonometric => {
                // sin a − sin b = 2 sin((a − b)/2) cos((a + b)/2), and likewise of cosines.
                let size = sinc(&u.sub(s)?.scale(FRAC_PI_4)?)?.scale(FRAC_PI_2)?;
                let middle = times.scale(FRAC_PI_4)?;
                (size.mul(&middle.unary(Unary::Sin)?)?.neg()?, size.mul(&middle.unary(Unary::Cos)?)?)
            }
            // α² = 1 − t².
            Self::VariancePreserving => (times.neg()?.div(alphas)?, times.zeros_like()?.shift(1.0)?),
        })
    }
}

/// (sin x)/x for |x| ≤ π/4, by its series, whose first term that is left out is below 10⁻¹⁶.
fn sinc<T: Tensor>(x: &T) -> Result<T> {
    let square = x.square()?;
    // 1 − x²/(2·3) (1 − x²/(4·5) (1 − ...)).
    let mut series = square.zeros_like()?.shift(1.0)?;
    for order in (1..=7).rev() {
        let divisor = f64::from(2 * order * (2 * order + 1));
        series = series.mul(&square)?.scale(-1.0 / divisor)?.shift(1.0)?;
    }
    Ok(series)
}

impl<M: MetaFlowMap<T>, T: Tensor> MetaFlowMap<T> for OnPath<M> {
    /// # Errors
    /// Those of the inner map.
    fn velocity(&self, query: &Query<'_, T>) -> Result<T> {
        let Some(path) = self.path else { return self.map.velocity(query) };
        // The shapes must be right before one is reshaped for another.
        query.draws()?;
        let (s, u, shape) = (&query.s, &query.u, query.x.shape());
        let [of_s, of_u, of_t] = [s, u, &query.t].map(|time| path.coefficients(time));
        let ((alpha_s, beta_s), (alpha_u, beta_u), (alpha_t, beta_t)) = (of_s?, of_u?, of_t?);
        let (alpha_slope, beta_slope) = path.slopes(s, u, &alpha_s.add(&alpha_u)?)?;
        let per_scale = |alpha: &T, beta: &T| alpha.add(beta)?.unary(Unary::Recip);
        let (per_s, per_u, per_t) = (per_scale(&alpha_s, &beta_s)?, per_scale(&alpha_u, &beta_u)?, per_scale(&alpha_t, &beta_t)?);
        let inner = Query {
            s: beta_s.mul(&per_s)?,
            u: beta_u.mul(&per_u)?,
            x: query.x.mul(&per_s.per_item(shape)?)?,
            t: beta_t.mul(&per_t)?,
            x_t: query.x_t.mul(&per_t.per_item(query.x_t.shape())?)?,
            condition: query.condition,
        };
        let weight = alpha_s.mul(&beta_slope)?.sub(&alpha_slope.mul(&beta_s)?)?.mul(&per_s)?; // W/c_s
        let velocity = self.map.velocity(&inner)?.mul(&weight.per_item(shape)?)?;
        velocity.gated_residual(&alpha_slope.add(&beta_slope)?.per_item(shape)?, &inner.x)
    }

    /// That of the inner map, at the times τ: losses are measured along the linear path.
    fn loss_weight(&self, s: &[f64], t: &[f64]) -> Option<Vec<f64>> {
        let Some(path) = self.path else { return self.map.loss_weight(s, t) };
        let straight =
            |times: &[f64]| -> Vec<f64> { times.iter().map(|&time| path.interpolant().coefficients(time).straight_time()).collect() };
        self.map.loss_weight(&straight(s), &straight(t))
    }
}

impl<M: Module<T>, T: Tensor> Module<T> for OnPath<M> {
    type Over<U: Tensor> = OnPath<M::Over<U>>;

    fn visit(&self, f: &mut dyn FnMut(&str, &T)) {
        self.map.visit(f);
    }

    fn rebuild<U: Tensor>(&self, next: &mut dyn FnMut(&str, &T) -> Result<U>) -> Result<Self::Over<U>> {
        Ok(OnPath { map: self.map.rebuild(next)?, path: self.path })
    }
}

impl<M: Lift<T>, T: Tensor> Lift<T> for OnPath<M> {
    type Lifted<U: Tensor> = OnPath<M::Lifted<U>>;

    fn lift<U: Tensor>(&self, carry: &mut dyn FnMut(&T) -> Result<U>) -> Result<Self::Lifted<U>> {
        Ok(OnPath { map: self.map.lift(carry)?, path: self.path })
    }
}
