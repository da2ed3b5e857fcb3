//! The drifts of steering by every estimator, under two dynamics, as they are, rescaled and clipped.

use crate::file::{Bench, Real};
use crate::network::Inputs;
use mfm_core::autodiff::Var;
use mfm_core::guidance::{Dps, Guidance, Guide, Unsteered, clip_to, correction_of_draws, gradient_of_draws, rescale_to};
use mfm_core::interpolant::Linear;
use mfm_core::reward::{ByDifferentiation, RewardFormula};
use mfm_core::steer::{Dynamics, slope};
use mfm_core::{Device, Flow, Interpolant, Lift, Noise, Operations, Result, Shape, Tensor};
use mfm_cpu_ref::CpuTensor;

/// r(z) = −½‖A z − b‖².
pub struct Quadratic {
    a: Vec<f64>,
    b: Vec<f64>,
}

impl Quadratic {
    pub fn new<E: Real>(bench: &Bench<'_, E>) -> Self {
        Self { a: bench.golden.host("reward.A"), b: bench.golden.host("reward.b") }
    }
}

impl RewardFormula for Quadratic {
    fn evaluate<T: Tensor>(&self, x: &T) -> Result<T> {
        let (device, n, d) = (x.device(), x.shape().batch(), x.shape().item());
        let k = self.b.len();
        let a = device.from_slice(&self.a, Shape::new(&[k, d])?)?;
        let b = device.from_slice(&self.b, Shape::new(&[1, k])?)?;
        x.reshape(Shape::new(&[n, d])?)?.matmul_transposed(&a)?.sub(&b)?.square_norm_items()?.scale(-0.5)
    }
}

/// What the reference adds to a norm, or a time, by which it divides.
const EPSILON: f64 = 1e-8;
/// The reference's bound on σ²/2.
const LARGEST: f64 = 25.0;

pub fn check<E: Real>(bench: &Bench<'_, E>) -> Result<()> {
    let (inputs, student) = (Inputs::new(bench)?, bench.network("student")?);
    let reward = ByDifferentiation(Quadratic::new(bench));
    let x = &inputs.query[4];
    let times = bench.golden.host("steer.t");
    let t = times[0];
    assert!(times.iter().all(|time| *time == t), "{times:?}");
    // The reference's σ²/2, by which it multiplies gradients.
    let half_sigma_squared = (1.0 / (t + EPSILON) - 1.0).min(LARGEST);
    let flow = Flow::new(&student, &Linear).with_condition(inputs.condition());
    let at = Linear.coefficients(t);
    let drift = flow.drift(t, x)?;
    for (dynamics, name) in [(Dynamics::Ode, "ode"), (Dynamics::Sde, "sde")] {
        let unsteered = Guidance { drift: drift.clone(), correction: None, weights: None };
        let base = slope(dynamics, &at, &unsteered, x)?;
        bench.compare(&format!("steer.{name}.base.raw.drift"), &base)?;
        let by_guide = slope(dynamics, &at, &Unsteered.guide(&flow, t, x, &Noise::new(0))?, x)?;
        bench.compare(&format!("steer.{name}.base.raw.drift"), &by_guide)?;
        for estimator in ["dps", "iwae", "sne"] {
            for form in ["raw", "rescale", "clip"] {
                let draws = || bench.tensor(&format!("steer.{name}.{estimator}.{form}.draw.00.randn_like"));
                let correction: CpuTensor<E> = match estimator {
                    "dps" => {
                        let guidance = Dps { reward: &reward }.guide(&flow, t, x, &Noise::new(0))?;
                        let correction = guidance.correction.unwrap_or(guidance.drift);
                        correction.scale(half_sigma_squared / at.half_sigma_squared())?
                    }
                    "iwae" => {
                        let lifted = student.lift(&mut |p| Ok(Var::constant(p.clone())))?;
                        let flow = Flow::new(&lifted, &Linear).with_condition(inputs.condition());
                        let gradient = gradient_of_draws(&flow, &reward, t, x, &draws()?)?.gradient;
                        gradient.scale(half_sigma_squared)?
                    }
                    _ => correction_of_draws(&flow, &reward, t, x, &draws()?)?[0].clone(),
                };
                let guided = slope(dynamics, &at, &Guidance { drift: drift.clone(), correction: Some(correction), weights: None }, x)?;
                // The reference measures the whole change of the drift against the drift of the same dynamics.
                let change = guided.sub(&base)?;
                let guided = match form {
                    "raw" => guided,
                    "rescale" => base.add(&rescale_to(&change, &base, EPSILON)?)?,
                    _ => base.add(&clip_to(&change, &base, EPSILON)?)?,
                };
                bench.compare(&format!("steer.{name}.{estimator}.{form}.drift"), &guided)?;
            }
        }
    }
    Ok(())
}
