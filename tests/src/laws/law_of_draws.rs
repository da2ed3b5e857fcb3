//! The law that holds in distribution.

use crate::conformance::{Check, Failure};
use mfm_core::{Condition, Device, MetaFlowMap, Noise, Result, Shape, Tensor};
use mfm_toy2d::{Directions, sliced_wasserstein};

/// How posterior draws are compared with exact ones.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DrawLaw {
    /// How many draws of the map, and in each set of exact ones.
    pub draws: usize,
    /// How many standard errors each mean and each second moment may be off; infinite for a map that is only roughly right.
    pub standard_errors: f64,
    /// The most that the sliced W2 distance may be, in units of the floor (exact against exact, the mean of four pairs) ...
    pub floors: f64,
    /// ... plus this.
    pub margin: f64,
}

impl DrawLaw {
    /// For an exact map: four standard errors, and two floors. Between sets of a law with two far modes W2 is as √|Z|, Z the error of
    /// their shares in its standard deviations, whose mean is 0.82: two floors mean |Z| > 2.7, once in 140. Other laws vary less.
    pub const EXACT: Self = Self { draws: 2048, standard_errors: 4.0, floors: 2.0, margin: 0.0 };
}

/// X_{0,1}(ε; t, x_t) ~ p(x1 | x_t) for one state, `[1, ...]`: moments within standard errors, sliced W2 within the floor.
/// `exact(n, noise)` gives n exact posterior samples, row-major.
///
/// # Errors
/// A failure of the law, of the map, or of the samples.
pub fn posterior<T: Tensor>(
    map: &impl MetaFlowMap<T>,
    (t, state): (f64, &T),
    condition: Condition<'_>,
    exact: impl Fn(usize, &Noise) -> Result<Vec<f64>>,
    law: &DrawLaw,
    noise: &Noise,
) -> Check {
    let (device, d) = (state.device(), state.shape().item());
    let epsilon = device.normal(&noise.fork(0), state.shape().with_batch(law.draws)?)?;
    let time = device.full(t, Shape::new(&[1])?)?;
    let found = map.posterior(&epsilon, &time, state, condition)?.to_vec::<f64>()?;
    let sets = (1..=5).map(|k| exact(law.draws, &noise.fork(k))).collect::<Result<Vec<_>>>()?;
    let law_name = "X(0,1) draws from the posterior";
    moments(d, &found, &sets[0], law.standard_errors).map_err(|failure| failure.within(law_name))?;
    let directions = Directions::standard(d, &noise.fork(6))?;
    let distance = sliced_wasserstein(&found, &sets[0], &directions)?;
    let mut floor = 0.0;
    for pair in sets.windows(2) {
        floor += 0.25 * sliced_wasserstein(&pair[0], &pair[1], &directions)?;
    }
    let allowed = law.floors * floor + law.margin;
    // A distance that is NaN fails too.
    if distance <= allowed {
        return Ok(());
    }
    Err(Failure::new(format!("sliced W2 {distance}, floor {floor}, {allowed} allowed")).within(law_name))
}

/// Checks that all first and second moments of two sets of equal size agree within standard errors of their difference.
fn moments(d: usize, found: &[f64], exact: &[f64], standard_errors: f64) -> Check {
    let n = (exact.len() / d) as f64;
    let centre: Vec<f64> = (0..d).map(|i| exact.iter().skip(i).step_by(d).sum::<f64>() / n).collect();
    let statistic = |set: &[f64], term: &dyn Fn(&[f64]) -> f64| {
        let mean = set.chunks_exact(d).map(term).sum::<f64>() / n;
        let variance = set.chunks_exact(d).map(|x| (term(x) - mean).powi(2)).sum::<f64>() / n;
        (mean, variance / n)
    };
    let compare = |what: String, term: &dyn Fn(&[f64]) -> f64| -> Check {
        let ((a, variance_a), (b, variance_b)) = (statistic(found, term), statistic(exact, term));
        let errors = (a - b).abs() / (variance_a + variance_b).sqrt();
        if errors.is_nan() || errors > standard_errors {
            return Err(Failure::new(format!("{what} is {a} in place of {b}, {errors} standard errors off")));
        }
        Ok(())
    };
    for i in 0..d {
        compare(format!("mean {i}"), &|x| x[i])?;
        for j in 0..=i {
            compare(format!("covariance {i}, {j}"), &|x| (x[i] - centre[i]) * (x[j] - centre[j]))?;
        }
    }
    Ok(())
}
