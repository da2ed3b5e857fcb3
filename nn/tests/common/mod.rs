//! What several tests need: devices, tensors, and a plain network to compare with.
#![allow(dead_code)]

use mfm_core::autodiff::{Dual, jvp};
use mfm_core::{Condition, Device, Lift, MetaFlowMap, Noise, Operations, Query, Shape, Tensor};
use mfm_cpu_ref::{CpuDevice, CpuTensor};
use mfm_nn::{MlpConfig, Module};
use std::collections::HashMap;

pub type Device64 = CpuDevice<f64>;
pub type Tensor64 = CpuTensor<f64>;

pub fn tensor<D: Device>(device: &D, values: &[f64], axes: &[usize]) -> D::Tensor {
    device.from_slice(values, Shape::new(axes).unwrap()).unwrap()
}

pub fn normal<D: Device>(device: &D, seed: u64, axes: &[usize]) -> D::Tensor {
    device.normal(&Noise::new(seed), Shape::new(axes).unwrap()).unwrap()
}

pub fn values<T: Tensor>(tensor: &T) -> Vec<f64> {
    tensor.to_vec().unwrap()
}

#[track_caller]
pub fn close(a: &[f64], b: &[f64], tolerance: f64) {
    assert_eq!(a.len(), b.len());
    for (i, (a, b)) in a.iter().zip(b).enumerate() {
        let scale = 1.0f64.max(a.abs()).max(b.abs());
        assert!((a - b).abs() <= tolerance * scale, "element {i}: {a} and {b} differ by {:e}", a - b);
    }
}

pub fn ask<'a>(s: &[f64], u: &[f64], x: &Tensor64, t: &[f64], x_t: &Tensor64) -> Query<'a, Tensor64> {
    let time = |times: &[f64]| tensor(&x.device(), times, &[times.len()]);
    Query { s: time(s), u: time(u), x: x.clone(), t: time(t), x_t: x_t.clone(), condition: Condition::NONE }
}

/// The derivative of a map's velocity along random directions, in all that it is asked, against fourth-order differences.
#[track_caller]
pub fn derivatives_match_differences<M: Lift<Tensor64>>(map: &M, query: &Query<'_, Tensor64>) {
    let inputs = [&query.s, &query.u, &query.x, &query.t, &query.x_t];
    let directions: Vec<Tensor64> = inputs.iter().zip(20..).map(|(x, seed)| normal(&x.device(), seed, x.shape().axes())).collect();
    let lifted = map.lift(&mut |p| Ok(Dual::constant(p.clone()))).unwrap();
    let (value, tangent) = jvp(&inputs, &directions.iter().collect::<Vec<_>>(), |duals| {
        let [s, u, x, t, x_t] = [0, 1, 2, 3, 4].map(|i| duals[i].clone());
        lifted.velocity(&Query { s, u, x, t, x_t, condition: query.condition })
    })
    .unwrap();
    assert_eq!(values(&value), values(&map.velocity(query).unwrap()));
    let at = |h: f64| {
        let moved: Vec<Tensor64> = inputs.iter().zip(&directions).map(|(x, d)| x.add(&d.scale(h).unwrap()).unwrap()).collect();
        let [s, u, x, t, x_t] = [0, 1, 2, 3, 4].map(|i| moved[i].clone());
        values(&map.velocity(&Query { s, u, x, t, x_t, condition: query.condition }).unwrap())
    };
    let h = 1e-4;
    let (near, far): (Vec<f64>, Vec<f64>) = (
        at(h).iter().zip(at(-h)).map(|(a, b)| (a - b) / (2.0 * h)).collect(),
        at(2.0 * h).iter().zip(at(-2.0 * h)).map(|(a, b)| (a - b) / (4.0 * h)).collect(),
    );
    let slopes: Vec<f64> = near.iter().zip(far).map(|(near, far)| (4.0 * near - far) / 3.0).collect();
    close(&values(&tangent), &slopes, 1e-9);
}

/// A small network of every part: two hidden layers, three labels.
pub fn small(data: usize) -> MlpConfig {
    MlpConfig { data, width: 7, depth: 3, frequencies: 2, labels: 3, zero_output: false }
}

/// The network row by row in plain f64, as the reference writes it.
pub struct Plain {
    config: MlpConfig,
    parameters: HashMap<String, Vec<f64>>,
}

impl Plain {
    pub fn of<T: Tensor>(config: &MlpConfig, module: &impl Module<T>) -> Self {
        let mut parameters = HashMap::new();
        module.visit(&mut |name, tensor| {
            assert!(parameters.insert(name.to_string(), tensor.to_vec().unwrap()).is_none());
        });
        Self { config: config.clone(), parameters }
    }

    fn linear(&self, name: &str, x: &[f64]) -> Vec<f64> {
        let (weight, bias) = (&self.parameters[&format!("{name}.weight")], &self.parameters[&format!("{name}.bias")]);
        weight.chunks(x.len()).zip(bias).map(|(row, b)| b + row.iter().zip(x).map(|(w, x)| w * x).sum::<f64>()).collect()
    }

    pub fn velocity(&self, times: [f64; 3], x: &[f64], x_t: &[f64], label: Option<usize>) -> Vec<f64> {
        let silu = |h: Vec<f64>| -> Vec<f64> { h.into_iter().map(|h| h / (1.0 + (-h).exp())).collect() };
        let mut input = times.to_vec();
        for function in [f64::sin, f64::cos] {
            for time in times {
                input.extend((1..=self.config.frequencies).map(|k| function(std::f64::consts::PI * k as f64 * time)));
            }
        }
        input.extend(x);
        input.extend(x_t);
        let mut h = self.linear("first", &input);
        if self.config.labels > 0 {
            let row = label.unwrap_or(self.config.labels) * self.config.width;
            for (h, e) in h.iter_mut().zip(&self.parameters["labels.weight"][row..]) {
                *h += e;
            }
        }
        h = silu(h);
        for i in 1..self.config.depth {
            h = silu(self.linear(&format!("hidden.{i}"), &h));
        }
        self.linear("output", &h)
    }
}
