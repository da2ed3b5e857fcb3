//! The posterior velocity against closed forms: in f64, in f32 at the corners, its derivatives, and the two forms of two looks.

mod support;

use mfm_core::autodiff::{jvp, vjp};
use mfm_core::drift::posterior_velocity;
use mfm_core::interpolant::{Coefficients, Interpolant, Linear, PosteriorLook, Trigonometric, VariancePreserving};
use mfm_core::tensor::Element;
use mfm_core::{Condition, Device, Error, Noise, Operations, Result, Tensor};
use mfm_cpu_ref::CpuDevice;
use mfm_toy2d::exact::MixtureDrift;
use mfm_toy2d::{AtTime, GaussianMixture};
use support::{F64, PATHS, device, finite_differences, random_mixture, relative_error, rows};

/// The velocity at (s, y) of the flow of the posterior of x_t = x, which is a mixture itself.
fn closed_form(mixture: &GaussianMixture, path: &dyn Interpolant, (s, y): (f64, &[f64]), (t, x): (f64, &[f64])) -> Result<Vec<f64>> {
    let at = AtTime::new(mixture, path, t)?;
    let mut velocity = vec![0.0; y.len()];
    AtTime::new(&at.posterior_mixture(&at.posterior(x)?)?, path, s)?.drift(y, &mut velocity)?;
    Ok(velocity)
}

/// A state, and a place on the way from noise to the same clean sample, rounded as `E` rounds.
fn place<E: Element>(mixture: &GaussianMixture, path: &dyn Interpolant, s: f64, t: f64, seed: u64) -> Result<[Vec<f64>; 2]> {
    let x1 = mixture.sample(1, &Noise::new(seed))?;
    let noise = support::normals(2 * x1.len(), seed + 500);
    let on_path = |time: f64, noise: &[f64]| -> Vec<f64> {
        let at = path.coefficients(time);
        x1.iter().zip(noise).map(|(x, z)| E::from_f64(at.beta * x + at.alpha * z).to_f64()).collect()
    };
    Ok([on_path(s, &noise[..x1.len()]), on_path(t, &noise[x1.len()..])])
}

fn velocity<D: Device>(
    device: &D,
    mixture: &GaussianMixture,
    path: &'static dyn Interpolant,
    (s, y): (f64, &[f64]),
    (t, x): (f64, &[f64]),
) -> Result<Vec<f64>> {
    let (d, teacher) = (y.len(), MixtureDrift::new(mixture, path));
    posterior_velocity(&teacher, path, &[s], &rows(device, y, d)?, &[t], &rows(device, x, d)?, Condition::NONE)?.to_vec()
}

// The paper's mixture is symmetric: near t = 0 its velocity vanishes on some paths. A size below 1e-3 counts as 1e-3.
#[test]
fn it_is_the_velocity_of_the_posterior_mixture() -> Result<()> {
    let times = [0.0, 1e-6, 0.01, 0.3, 0.5, 0.8, 0.99, 0.9999];
    for path in PATHS {
        let mut worst: f64 = 0.0;
        for mixture in [GaussianMixture::paper(), random_mixture(3, 4, 11)?] {
            for s in times.into_iter().chain([1.0]) {
                for t in times {
                    for seed in 0..3 {
                        let [y, x] = place::<f64>(&mixture, path, s, t, seed)?;
                        let found = velocity(&device(), &mixture, path, (s, &y), (t, &x))?;
                        let error = relative_error(&found, &closed_form(&mixture, path, (s, &y), (t, &x))?, 1e-3);
                        assert!(error <= 1e-10, "{path:?}, s = {s}, t = {t}: {error:e}");
                        worst = worst.max(error);
                    }
                }
            }
        }
        println!("f64, {path:?}: at most {worst:.1e}");
    }
    Ok(())
}

// At t = 1 the posterior is the point x: the flow is straight to it, v = β̇ x + (α̇/α)(y − β x).
#[test]
fn at_the_end_it_leads_to_the_state() -> Result<()> {
    let mixture = random_mixture(3, 4, 11)?;
    for path in PATHS {
        for s in [0.0, 0.4, 0.99] {
            let [y, x] = place::<f64>(&mixture, path, s, 1.0, 3)?;
            let at = path.coefficients(s);
            let expected: Vec<f64> = y.iter().zip(&x).map(|(y, x)| at.beta_dot * x + at.alpha_dot / at.alpha * (y - at.beta * x)).collect();
            let found = velocity(&device(), &mixture, path, (s, &y), (1.0, &x))?;
            let error = relative_error(&found, &expected, 0.0);
            assert!(error <= 1e-12, "{path:?}, s = {s}: {error:e}");
        }
        let corner = velocity(&device(), &mixture, path, (1.0, &[0.0; 3]), (1.0, &[0.0; 3]));
        assert!(matches!(corner, Err(Error::Range { .. })), "{corner:?}");
        // No states, and no time to go with them.
        let (none, teacher) = (rows(&device(), &[0.0; 0], 3)?, MixtureDrift::new(&mixture, path));
        let empty = posterior_velocity(&teacher, path, &[], &none, &[0.5], &none, Condition::NONE);
        assert!(matches!(empty, Err(Error::Length { .. })), "{empty:?}");
    }
    Ok(())
}

/// The largest relative error in f32 on the paper's mixture over forty places near a corner.
fn error_in_f32(path: &'static dyn Interpolant, s: f64, t: f64) -> Result<f64> {
    let (mixture, device) = (GaussianMixture::paper(), CpuDevice::<f32>::new());
    (0..40).try_fold(0.0, |worst: f64, seed| {
        let [y, x] = place::<f32>(&mixture, path, s, t, seed)?;
        let found = velocity(&device, &mixture, path, (s, &y), (t, &x))?;
        Ok(worst.max(relative_error(&found, &closed_form(&mixture, path, (s, &y), (t, &x))?, 1.0)))
    })
}

// Allowed are 2e-2, 1e-2 and 2e-6: what a form for the linear path alone was measured to err by. Inputs are rounded to f32 first, so
// the error is that of the evaluation.
#[test]
fn in_f32_it_is_precise_at_the_corners() -> Result<()> {
    println!("f32, the largest relative error near a corner (allowed are 2e-2, 1e-2 and 2e-6)");
    println!("{:>20} {:>10} {:>10} {:>10}", "path", "s -> 1", "t -> 1", "both -> 0");
    for path in PATHS {
        let (mut to_data, mut to_state, mut to_noise): (f64, f64, f64) = (0.0, 0.0, 0.0);
        for near in [1e-2, 1e-4, 1e-6] {
            for other in [1e-1, 1e-3, 1e-5] {
                to_data = to_data.max(error_in_f32(path, 1.0 - near, 1.0 - other)?);
                to_state = to_state.max(error_in_f32(path, 1.0 - other, 1.0 - near)?);
                to_noise = to_noise.max(error_in_f32(path, near, other)?);
            }
        }
        println!("{:>20} {to_data:>10.1e} {to_state:>10.1e} {to_noise:>10.1e}", path.name());
        assert!(to_data <= 2e-2 && to_state <= 1e-2 && to_noise <= 2e-6, "{path:?}: {to_data:e}, {to_state:e}, {to_noise:e}");
    }
    Ok(())
}

#[test]
fn its_derivatives_agree_with_finite_differences() -> Result<()> {
    let mixture = random_mixture(2, 3, 5)?;
    let direction = rows(&device(), &[0.3, -1.1], 2)?;
    for path in PATHS {
        let teacher = MixtureDrift::new(&mixture, path);
        for (s, t) in [(0.0, 0.3), (0.4, 0.6), (0.9, 0.0)] {
            let [y, x] = place::<f64>(&mixture, path, s, t, 7)?;
            let (y_tensor, x_tensor): (F64, F64) = (rows(&device(), &y, 2)?, rows(&device(), &x, 2)?);
            let inputs = [&y_tensor, &x_tensor];
            let (_, gradients) =
                vjp(&inputs, |v| posterior_velocity(&teacher, path, &[s], &v[0], &[t], &v[1], Condition::NONE), |_| Ok(direction.clone()))?;
            let along = |y: &[f64], x: &[f64]| -> Result<Vec<f64>> {
                let v = velocity(&device(), &mixture, path, (s, y), (t, x))?;
                Ok(vec![0.3 * v[0] - 1.1 * v[1]])
            };
            let by_y = finite_differences(&y, 1e-3, |y| along(y, &x))?;
            let by_x = finite_differences(&x, 1e-3, |x| along(&y, x))?;
            for (found, expected) in gradients.iter().zip([&by_y, &by_x]) {
                let error = relative_error(&found.to_vec()?, expected, 1.0);
                assert!(error < 1e-8, "{path:?}, s = {s}, t = {t}: {error:e}");
            }
            let (_, tangent) =
                jvp(&inputs, &[&direction, &direction], |v| posterior_velocity(&teacher, path, &[s], &v[0], &[t], &v[1], Condition::NONE))?;
            let forward = tangent.mul(&direction)?.sum_items()?.to_vec::<f64>()?;
            let backward: f64 = gradients.iter().map(|g| g.to_vec().map(|g: Vec<f64>| 0.3 * g[0] - 1.1 * g[1])).sum::<Result<f64>>()?;
            assert!((forward[0] - backward).abs() < 1e-11 * (1.0 + backward.abs()), "{forward:?} against {backward}");
        }
    }
    Ok(())
}

/// A path without the shorter form of two looks that it knows.
#[derive(Debug)]
struct Plain<I>(I);

impl<I: Interpolant> Interpolant for Plain<I> {
    fn coefficients(&self, t: f64) -> Coefficients {
        self.0.coefficients(t)
    }

    fn time_at(&self, ratio: f64) -> f64 {
        self.0.time_at(ratio)
    }

    fn name(&self) -> &'static str {
        "plain"
    }
}

fn list(look: &PosteriorLook) -> [f64; 6] {
    [look.time, look.look_y, look.look_x, look.velocity_y, look.velocity_x, look.velocity_b]
}

// Both forms are free of cancellation: some roundings of their largest entry, which is as 1/(1 − s) or 1/(1 − t).
#[test]
fn the_default_of_two_looks_is_the_one_of_each_path() -> Result<()> {
    let times = [0.0, 1e-9, 1e-3, 0.2, 0.5, 0.7, 0.999, 1.0 - 1e-7, 1.0];
    fn compare(path: impl Interpolant + Copy, times: &[f64]) {
        for &s in times {
            for &t in times.iter().filter(|t| **t < 1.0 || s < 1.0) {
                let (own, default) = (path.look(s, t), Plain(path).look(s, t));
                let error = relative_error(&list(&default), &list(&own), 1.0);
                assert!(error < 1e-13, "{path:?}, s = {s}, t = {t}: {default:?} against {own:?}");
            }
        }
    }
    compare(Linear, &times);
    compare(Trigonometric, &times);
    compare(VariancePreserving, &times);
    Ok(())
}
