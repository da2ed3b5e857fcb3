//! Paths and the posterior velocity, at every pair of times and at every magnitude.

use super::{number, take, time};
use mfm_core::drift::{Drift, posterior_velocity};
use mfm_core::interpolant::{Coefficients, LatentScale, Linear, Trigonometric, VariancePreserving, WithLatent};
use mfm_core::{Condition, Device, Interpolant, Operations, Result, Shape, Tensor};
use mfm_cpu_ref::{CpuDevice, CpuTensor};

/// Coefficients, looks and bridges are finite wherever they are promised to be; the posterior velocity of N(0, 1) is the closed form.
pub fn all_times(input: &[u8]) {
    let _ = check(input);
}

fn check(mut input: &[u8]) -> Option<()> {
    let input = &mut input;
    let [path] = *take::<1>(input)?;
    let latent = WithLatent { path: Linear, latent: LatentScale(f64::from(path >> 4) / 16.0) };
    let paths: [&dyn Interpolant; 4] = [&Linear, &Trigonometric, &VariancePreserving, &latent];
    let path = paths[usize::from(path) % paths.len()];
    let (s, t) = (time(input)?, time(input)?);
    let (any, y, x) = (number(input)?, number(input)?, number(input)?);
    let at = [s, t].map(|t| path.coefficients(t));
    for at in at {
        assert!([at.alpha, at.beta].iter().all(|weight| (0.0..=1.5).contains(weight)), "{at:?}");
        assert!(at.beta_dot.is_finite() && at.noise_rate.is_finite() && !at.alpha_dot.is_nan(), "{at:?}");
        assert!(!at.kappa().is_nan() || at.alpha == 0.0, "{at:?}");
    }
    let bridge = path.bridge(s.min(t), s.max(t)).unwrap();
    assert!([bridge.data, bridge.state, bridge.deviation].iter().all(|weight| weight.is_finite()), "{path:?} {s:e} {t:e} {bridge:?}");
    assert!(bridge.deviation >= 0.0 && (s == t || path.bridge(s.max(t), s.min(t)).is_err()));
    let outside = !(0.0..=1.0).contains(&any);
    assert!(path.bridge(0.0, any).is_err() == outside && path.bridge(any, 1.0).is_err() == outside);
    if (s, t) != (1.0, 1.0) {
        let look = path.look(s, t);
        let all = [look.look_y, look.look_x, look.velocity_y, look.velocity_x, look.velocity_b];
        assert!((0.0..=1.0).contains(&look.time) && all.iter().all(|weight| weight.is_finite()), "{path:?} {s:e} {t:e} {look:?}");
    }
    velocity(path, [s, t], at, y, x);
    let device = CpuDevice::<f64>::with_threads(1).unwrap();
    let one = device.full(1.0, Shape::new(&[1, 1]).unwrap()).unwrap();
    assert_eq!(posterior_velocity(&Normal(path), path, &[any], &one, &[0.5], &one, Condition::NONE).is_err(), outside);
    Some(())
}

/// The drift of data of N(0, 1): b = (α̇ α + β̇ β)/(α² + β²) x.
struct Normal<'a>(&'a dyn Interpolant);

impl Drift<CpuTensor<f64>> for Normal<'_> {
    fn drift(&self, t: &[f64], x: &CpuTensor<f64>, _: Condition<'_>) -> Result<CpuTensor<f64>> {
        let slopes: Vec<f64> = t
            .iter()
            .map(|&t| {
                let at = self.0.coefficients(t);
                (at.noise_rate + at.beta_dot * at.beta) / (at.alpha * at.alpha + at.beta * at.beta)
            })
            .collect();
        x.mul(&x.device().from_slice(&slopes, Shape::new(&[slopes.len(), 1])?)?)
    }
}

/// p(x1 | x_t) = N(m, C) with C = α_t²/(α_t² + β_t²), m = β_t x/(α_t² + β_t²); then v = β̇ m + (α̇ α + β̇ β C)/(α² + β² C) (y − β m) at s.
fn velocity(path: &dyn Interpolant, [s, t]: [f64; 2], [at_s, at_t]: [Coefficients; 2], y: f64, x: f64) {
    let device = CpuDevice::<f64>::with_threads(1).unwrap();
    let one = |value| device.full(value, Shape::new(&[1, 1]).unwrap()).unwrap();
    let found = posterior_velocity(&Normal(path), path, &[s], &one(y), &[t], &one(x), Condition::NONE);
    if (s, t) == (1.0, 1.0) {
        return assert!(found.is_err());
    }
    let found = found.unwrap().to_vec::<f64>().unwrap()[0];
    let total = at_t.alpha * at_t.alpha + at_t.beta * at_t.beta;
    let (c, m) = (at_t.alpha * at_t.alpha / total, at_t.beta * x / total);
    let spread = at_s.alpha * at_s.alpha + at_s.beta * at_s.beta * c;
    let slope = (at_s.noise_rate + at_s.beta_dot * at_s.beta * c) / spread;
    let exact = at_s.beta_dot * m + slope * (y - at_s.beta * m);
    // Both are rounded in proportion to their terms, which may cancel.
    let slope_terms = (at_s.noise_rate.abs() + at_s.beta_dot * at_s.beta * c) / spread;
    let scale = (at_s.beta_dot * m).abs() + slope_terms * (y.abs() + (at_s.beta * m).abs());
    let size = x.abs() + y.abs();
    // What the formula takes of x and y is rounded in proportion to them, also where they do not count.
    let difference = 8.0 * f64::EPSILON * path.look(s, t).velocity_x.abs() * size;
    // What is below the normal numbers is a multiple of the least one: a factor, and β_s α_t and β_t α_s, whose shares of their hypotenuse are the looks' weights.
    let both = (at_s.beta * at_t.alpha).hypot(at_t.beta * at_s.alpha);
    let least = 8.0 * f64::from_bits(1) * (size + if both > 0.0 { size / both } else { 0.0 });
    // Near the largest number a sum of two terms may overflow that the closed form does not have.
    if scale < 1e300 && x.abs().max(y.abs()) < 1e300 {
        assert!(
            (found - exact).abs() <= 1e-9 * scale + difference + least + 1e-290,
            "{path:?} s = {s:e}, t = {t:e}, y = {y:e}, x = {x:e}: {found:e}, not {exact:e}"
        );
    }
}
