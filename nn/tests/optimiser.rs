//! Optimisers against scalar arithmetic, schedules and averages against their formulas.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::{Device64, Tensor64, close, normal, tensor, values};
use mfm_core::tensor::OptimiserState;
use mfm_core::{Error, Operations};
use mfm_nn::optimiser::{Method, OptimiserConfig, average_decay};
use mfm_nn::schedule::{Decay, LearningRate};

/// One number under PyTorch's rules, as its documentation writes them.
struct Scalar {
    value: f64,
    first: f64,
    second: f64,
}

impl Scalar {
    fn step(&mut self, config: &OptimiserConfig, gradient: f64, rate: f64, k: i32) {
        let OptimiserConfig { method, first_decay: b1, second_decay: b2, epsilon, weight_decay } = *config;
        self.value -= rate * weight_decay * self.value;
        self.first = b1 * self.first + (1.0 - b1) * gradient;
        self.second = b2 * self.second + (1.0 - b2) * gradient * gradient;
        let mean = self.first / (1.0 - b1.powi(k));
        match method {
            Method::Adam => self.value -= rate * mean / ((self.second / (1.0 - b2.powi(k))).sqrt() + epsilon),
            Method::RAdam => {
                let limit = 2.0 / (1.0 - b2) - 1.0;
                let length = limit - 2.0 * f64::from(k) * b2.powi(k) / (1.0 - b2.powi(k));
                if length > 5.0 {
                    let r = (length - 4.0) * (length - 2.0) * limit / ((limit - 4.0) * (limit - 2.0) * length);
                    self.value -= rate * mean * r.sqrt() * (1.0 - b2.powi(k)).sqrt() / (self.second.sqrt() + epsilon);
                } else {
                    self.value -= rate * mean;
                }
            }
        }
    }
}

#[test]
fn twenty_steps_equal_the_scalar_rules() {
    let device = Device64::new();
    for method in [Method::Adam, Method::RAdam] {
        for (weight_decay, second_decay) in [(0.0, 0.999), (0.1, 0.99)] {
            let config = OptimiserConfig { method, weight_decay, second_decay, ..OptimiserConfig::default() };
            let mut state = OptimiserState::new(normal(&device, 1, &[5]), false).unwrap();
            let mut scalars: Vec<Scalar> =
                values(&state.parameters).into_iter().map(|value| Scalar { value, first: 0.0, second: 0.0 }).collect();
            for k in 1..=20 {
                // The gradient of a quartic, and noise.
                let noise = normal(&device, 100 + k, &[5]);
                let gradient = state.parameters.mul(&state.parameters.square().unwrap()).unwrap().add(&noise).unwrap();
                let rate = 0.01 * k as f64;
                for (scalar, gradient) in scalars.iter_mut().zip(values(&gradient)) {
                    scalar.step(&config, gradient, rate, k as i32);
                }
                state = config.step(k, rate, None).apply(&state, &gradient).unwrap().state;
                close(&values(&state.parameters), &scalars.iter().map(|s| s.value).collect::<Vec<_>>(), 1e-12);
            }
        }
    }
}

#[test]
fn wrong_settings_and_shapes_are_errors() {
    let device = Device64::new();
    let parameters: Tensor64 = normal(&device, 1, &[5]);
    let good = OptimiserConfig::default();
    for bad in [
        OptimiserConfig { first_decay: 1.0, ..good },
        OptimiserConfig { second_decay: -0.1, ..good },
        OptimiserConfig { epsilon: 0.0, ..good },
        OptimiserConfig { weight_decay: f64::NAN, ..good },
    ] {
        assert!(matches!(bad.check(), Err(Error::Range { .. })), "{bad:?}");
    }
    let state = OptimiserState::new(parameters, false).unwrap();
    assert!(matches!(good.step(1, 0.1, None).apply(&state, &normal(&device, 1, &[1])), Err(Error::Shape { .. })));
}

#[test]
fn learning_rates() {
    let rate = LearningRate { peak: 2.0, warm_up: 4, decay: Decay::Cosine { floor: 0.1 } };
    let cosine = |k: f64| 0.1 + 0.9 * 0.5 * (1.0 + (std::f64::consts::PI * k / 8.0).cos());
    close(&[rate.at(1, 8), rate.at(4, 8), rate.at(8, 8)], &[2.0 * 0.25 * cosine(1.0), 2.0 * cosine(4.0), 0.2], 1e-14);
    assert_eq!(LearningRate::constant(0.5).at(7, 8), 0.5);
    assert!(LearningRate::constant(f64::NAN).check().is_err());
    assert!(LearningRate { decay: Decay::Cosine { floor: 2.0 }, ..rate }.check().is_err());
}

#[test]
fn averages() {
    let device = Device64::new();
    let (parameters, old) = (tensor(&device, &[3.5, -2.5], &[2]), tensor(&device, &[1.0, 2.0], &[2]));
    let gradient = tensor(&device, &[1.0, -1.0], &[2]);
    let config = OptimiserConfig { epsilon: 1e-30, ..OptimiserConfig::default() };
    let state = OptimiserState { average: Some(old), ..OptimiserState::new(parameters, false).unwrap() };
    // The first step of Adam goes the whole rate along the gradient's sign.
    let updated = config.step(1, 0.5, Some(0.999)).apply(&state, &gradient).unwrap().state;
    close(&values(&updated.parameters), &[3.0, -2.0], 1e-14);
    // At step 1 the average's decay is 2/11; in the long run the one asked for.
    close(&values(&updated.average.unwrap()), &[1.0 * 2.0 / 11.0 + 3.0 * 9.0 / 11.0, 4.0 / 11.0 - 18.0 / 11.0], 1e-14);
    assert_eq!(average_decay(0.999, 1_000_000), 0.999);
}
