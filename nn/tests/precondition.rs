//! Gaussian preconditioning: with a silent network it is the exact map of a Gaussian, and obeys every law.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::{Device64, Tensor64, ask, close, derivatives_match_differences, normal, small, tensor, values};
use mfm_core::drift::{Drift, posterior_velocity};
use mfm_core::interpolant::Linear;
use mfm_core::{Condition, Device, Error, Lift, MetaFlowMap, Noise, Operations, Query, Tensor};
use mfm_cpu_ref::{CpuDevice, CpuTensor};
use mfm_nn::{GaussianConfig, Mlp, MlpConfig, Module, Preconditioned};

const MEAN: [f64; 2] = [0.7, -1.3];

/// A network that always answers zero.
struct Silent;

impl<T: Tensor> MetaFlowMap<T> for Silent {
    fn velocity(&self, query: &Query<'_, T>) -> mfm_core::Result<T> {
        query.x.zeros_like()
    }
}

impl<T: Tensor> Lift<T> for Silent {
    type Lifted<U: Tensor> = Self;

    fn lift<U: Tensor>(&self, _: &mut dyn FnMut(&T) -> mfm_core::Result<U>) -> mfm_core::Result<Self> {
        Ok(Self)
    }
}

/// b_t(x) = κ D − x/(1−t), in a form without cancellation: μ + ((σ² + 1) t − 1) (x − t μ)/D for data N(μ, σ² I).
struct Gaussian(f64);

impl Drift<Tensor64> for Gaussian {
    fn drift(&self, t: &[f64], x: &Tensor64, _: Condition<'_>) -> mfm_core::Result<Tensor64> {
        let variance = self.0 * self.0;
        let out: Vec<f64> = values(x)
            .iter()
            .enumerate()
            .map(|(i, x)| {
                let (t, mean) = (t[(i / 2) % t.len()], MEAN[i % 2]);
                mean + ((variance + 1.0) * t - 1.0) * (x - t * mean) / ((1.0 - t) * (1.0 - t) + t * t * variance)
            })
            .collect();
        Ok(tensor(&x.device(), &out, x.shape().axes()))
    }
}

fn silent(deviation: f64) -> Preconditioned<Silent, Tensor64> {
    Preconditioned::new(&Device64::new(), Silent, GaussianConfig::new(deviation), &MEAN).unwrap()
}

const DEVIATIONS: [f64; 3] = [0.2, 1.0, 3.0];
const TIMES: [f64; 7] = [0.0, 1e-3, 0.2, 0.5, 0.9, 0.999, 1.0];

#[test]
fn the_gaussian_map_is_a_semigroup_and_stands_still() {
    let device = Device64::new();
    let (x, x_t) = (normal(&device, 1, &[3, 2]), normal(&device, 2, &[3, 2]));
    for deviation in DEVIATIONS {
        let map = silent(deviation);
        for t in TIMES {
            for (i, &s) in TIMES.iter().enumerate() {
                close(&values(&map.map(&ask(&[s], &[s], &x, &[t], &x_t)).unwrap()), &values(&x), 1e-15);
                for (j, &w) in TIMES.iter().enumerate().skip(i) {
                    for &u in &TIMES[j..] {
                        // At s = t = 1 there is no information left to jump from.
                        if t == 1.0 && w == 1.0 {
                            continue;
                        }
                        let once = map.map(&ask(&[s], &[u], &x, &[t], &x_t)).unwrap();
                        let middle = map.map(&ask(&[s], &[w], &x, &[t], &x_t)).unwrap();
                        let twice = map.map(&ask(&[w], &[u], &middle, &[t], &x_t)).unwrap();
                        close(&values(&once), &values(&twice), 1e-10);
                    }
                }
            }
        }
    }
}

#[test]
fn the_end_is_the_posterior() {
    let device = Device64::new();
    let x_t = normal(&device, 2, &[1, 2]);
    let noise = tensor(&device, &[0.0, 0.0, 1.0, -2.0], &[2, 2]);
    for deviation in DEVIATIONS {
        let map = silent(deviation);
        for t in TIMES {
            let time = tensor(&device, &[t], &[1]);
            let ends = values(&map.posterior(&noise, &time, &x_t, Condition::NONE).unwrap());
            let variance = deviation * deviation;
            let total = (1.0 - t) * (1.0 - t) + t * t * variance;
            for axis in 0..2 {
                let mean = (variance * t * values(&x_t)[axis] + (1.0 - t) * (1.0 - t) * MEAN[axis]) / total;
                let root = deviation * (1.0 - t) / total.sqrt();
                // At t = 1 the spread is the floor, 10⁻⁹.
                close(&[ends[axis], ends[2 + axis]], &[mean, mean + root * values(&noise)[2 + axis]], if t == 1.0 { 1e-8 } else { 1e-10 });
            }
        }
    }
}

#[test]
fn the_diagonal_is_the_posterior_velocity() {
    let device = Device64::new();
    let (y, x_t) = (normal(&device, 1, &[3, 2]), normal(&device, 2, &[3, 2]));
    for deviation in DEVIATIONS {
        let map = silent(deviation);
        for s in TIMES {
            for t in TIMES {
                if s == 1.0 && t == 1.0 {
                    continue;
                }
                let found = map.velocity(&ask(&[s], &[s], &y, &[t], &x_t)).unwrap();
                let wanted = posterior_velocity(&Gaussian(deviation), &Linear, &[s], &y, &[t], &x_t, Condition::NONE).unwrap();
                // Near s = t = 1 velocities reach 10³, and divide by 1 − s.
                let tolerance = if s.min(t) > 0.99 { 1e-6 } else { 1e-10 };
                close(&values(&found), &values(&wanted), tolerance);
            }
        }
    }
}

#[test]
fn derivatives_along_the_flow_match_differences() {
    let device = Device64::new();
    let inner = Mlp::new(&device, &small(2), &Noise::new(5)).unwrap();
    let map = Preconditioned::new(&device, inner, GaussianConfig::new(0.8), &MEAN).unwrap();
    let (x, x_t) = (normal(&device, 1, &[6, 2]), normal(&device, 2, &[3, 2]));
    let query = ask(&[0.1, 0.2, 0.3, 0.4, 0.5, 0.6], &[0.5, 0.6, 0.7, 0.9, 0.95, 0.8], &x, &[0.2, 0.7, 0.95], &x_t);
    derivatives_match_differences(&map, &query);
}

#[test]
fn shared_states_equal_repeated_ones() {
    let device = Device64::new();
    let inner = Mlp::new(&device, &small(2), &Noise::new(5)).unwrap();
    let map = Preconditioned::new(&device, inner, GaussianConfig::new(0.8), &MEAN).unwrap();
    let (x, x_t) = (normal(&device, 1, &[6, 2]), normal(&device, 2, &[2, 2]));
    let shared = map.velocity(&ask(&[0.2], &[0.9], &x, &[0.3, 0.6], &x_t)).unwrap();
    let repeated = x_t.repeat_items(3).unwrap();
    let alone = map.velocity(&ask(&[0.2; 6], &[0.9; 6], &x, &[0.3, 0.3, 0.3, 0.6, 0.6, 0.6], &repeated)).unwrap();
    close(&values(&shared), &values(&alone), 1e-13);
}

#[test]
fn everything_is_finite_even_in_single_precision() {
    let device = CpuDevice::<f32>::new();
    let inner = Mlp::new(&device, &MlpConfig { labels: 0, ..small(2) }, &Noise::new(5)).unwrap();
    let map = Preconditioned::new(&device, inner, GaussianConfig::new(1.5), &MEAN).unwrap();
    let (x, x_t) = (normal(&device, 1, &[2, 2]), normal(&device, 2, &[2, 2]));
    let near_one = 1.0 - f64::from(f32::EPSILON);
    for s in [0.0, 0.5, near_one, 1.0] {
        for u in [0.0, 0.5, near_one, 1.0] {
            for t in [0.0, 0.5, near_one, 1.0] {
                let time = |time: f64| tensor(&device, &[time], &[1]);
                let (s, u, t, x, x_t) = (time(s), time(u), time(t), x.clone(), x_t.clone());
                let velocity = map.velocity(&Query { s, u, x, t, x_t, condition: Condition::NONE }).unwrap();
                assert!(values(&velocity).iter().all(|v| v.is_finite()));
            }
        }
    }
}

#[test]
fn weights_are_inverse_squares_with_a_limit() {
    let map = silent(0.5);
    let weights = MetaFlowMap::<Tensor64>::loss_weight(&map, &[0.0, 0.0, 0.5, 1.0, 0.3], &[0.0, 0.5, 0.5, 0.5, 1.0]).unwrap();
    // At t = 0.5, C = σ²/(1 + σ²) = 0.2.
    close(&weights, &[4.0, 5.0, 0.3 / 0.2, 1.0, 1e6], 1e-12);
}

#[test]
fn only_the_network_has_parameters() {
    let device = Device64::new();
    let inner = Mlp::new(&device, &small(2), &Noise::new(5)).unwrap();
    let count = inner.parameter_count();
    let map = Preconditioned::new(&device, inner, GaussianConfig::new(0.8), &MEAN).unwrap();
    assert_eq!(map.parameter_count(), count);
    let other: Preconditioned<Mlp<CpuTensor<f32>>, CpuTensor<f32>> =
        map.rebuild(&mut |_, p| CpuDevice::<f32>::new().from_slice(&p.to_vec::<f64>()?, p.shape())).unwrap();
    assert_eq!(other.mean(), MEAN);
    for bad in [f64::NAN, 0.0, -1.0, f64::INFINITY] {
        let made = Preconditioned::new(&device, Silent, GaussianConfig::new(bad), &MEAN);
        assert!(matches!(made.map(|_: Preconditioned<Silent, Tensor64>| ()), Err(Error::Range { .. })));
    }
}
