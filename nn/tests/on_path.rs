//! A map of the linear path on the other ones. That exact maps stay exact there, `mfm-tests` shows by the laws.
#![allow(clippy::unwrap_used)]

mod common;

use common::{Device64, ask, close, derivatives_match_differences, normal, small, tensor, values};
use mfm_core::interpolant::by_name;
use mfm_core::{Condition, Error, MetaFlowMap, Noise, Query};
use mfm_cpu_ref::{CpuDevice, CpuTensor, Float};
use mfm_nn::{GaussianConfig, MlpConfig, Model, ModelConfig, Module};

const PATHS: [&str; 3] = ["linear", "trigonometric", "variance-preserving"];
const MEAN: [f64; 2] = [0.7, -1.3];

fn model<E: Float>(device: &CpuDevice<E>, path: &str) -> Model<CpuTensor<E>> {
    let network = MlpConfig { labels: 0, ..small(2) };
    let config = ModelConfig::mlp(network).preconditioned(GaussianConfig::new(0.8)).on_path(by_name(path).unwrap());
    Model::new(device, &config, &MEAN, &Noise::new(5)).unwrap()
}

#[test]
fn derivatives_along_the_flow_match_differences() {
    let device = Device64::new();
    let (x, x_t) = (normal(&device, 1, &[6, 2]), normal(&device, 2, &[3, 2]));
    let query = ask(&[0.1, 0.2, 0.3, 0.4, 0.5, 0.6], &[0.5, 0.6, 0.7, 0.9, 0.95, 0.8], &x, &[0.2, 0.7, 0.95], &x_t);
    for path in PATHS {
        derivatives_match_differences(&model(&device, path), &query);
    }
}

#[test]
fn everything_is_finite_and_no_step_goes_nowhere_even_in_single_precision() {
    let device = CpuDevice::<f32>::new();
    let (x, x_t) = (normal(&device, 1, &[2, 2]), normal(&device, 2, &[2, 2]));
    let near_one = 1.0 - f64::from(f32::EPSILON);
    let times = [0.0, f64::from(f32::EPSILON), 0.5, near_one, 1.0];
    for path in PATHS {
        let model = model(&device, path);
        for [s, u, t] in (0..125).map(|i| [times[i / 25], times[i / 5 % 5], times[i % 5]]) {
            let time = |time: f64| tensor(&device, &[time], &[1]);
            let query = Query { s: time(s), u: time(u), x: x.clone(), t: time(t), x_t: x_t.clone(), condition: Condition::NONE };
            assert!(values(&model.velocity(&query).unwrap()).iter().all(|v| v.is_finite()), "{path}: {s}, {u}, {t}");
            if s == u {
                assert_eq!(values(&model.map(&query).unwrap()), values(&x), "{path}: {s}, {t}");
            }
        }
    }
}

/// One network, asked for the same thing on each path.
#[test]
fn losses_weigh_as_on_the_linear_path() {
    let device = Device64::new();
    let linear = model(&device, "linear");
    let weights = linear.loss_weight(&[0.1, 0.5, 0.9], &[0.3, 0.7, 0.95]).unwrap();
    for path in PATHS {
        let model = model(&device, path);
        let at = |taus: &[f64]| -> Vec<f64> { taus.iter().map(|tau| by_name(path).unwrap().time_of_straight(*tau)).collect() };
        close(&model.loss_weight(&at(&[0.1, 0.5, 0.9]), &at(&[0.3, 0.7, 0.95])).unwrap(), &weights, 1e-12);
        assert_eq!(model.parameter_count(), linear.parameter_count());
        assert_eq!((model.config().interpolant.as_str(), model.mean()), (path, Some(&MEAN[..])));
    }
}

#[test]
fn a_path_of_ones_own_is_no_path_of_a_preconditioned_model() {
    let config = ModelConfig { interpolant: "crooked".into(), ..model(&Device64::new(), "linear").config() };
    let refused = Model::new(&Device64::new(), &config, &MEAN, &Noise::new(1));
    assert!(matches!(refused, Err(Error::Unsupported { .. })));
    let plain = Model::new(&Device64::new(), &ModelConfig { preconditioning: None, ..config }, &[], &Noise::new(1)).unwrap();
    assert_eq!((plain.config().interpolant.as_str(), plain.config().path().is_none()), ("crooked", true));
}

#[test]
fn wrong_questions_are_errors() {
    let device = Device64::new();
    let (x, x_t) = (normal(&device, 1, &[6, 2]), normal(&device, 2, &[3, 2]));
    for path in PATHS {
        let model = model(&device, path);
        for (s, u, t) in [(2, 1, 1), (1, 5, 1), (1, 1, 2)] {
            let outcome = model.velocity(&ask(&vec![0.1; s], &vec![0.5; u], &x, &vec![0.2; t], &x_t));
            assert!(matches!(outcome, Err(Error::Length { .. })), "{path}: {outcome:?}");
        }
        let none = normal(&device, 3, &[0, 2]);
        assert!(model.velocity(&ask(&[0.1], &[0.5], &x, &[0.2], &none)).is_err(), "{path}");
    }
}
