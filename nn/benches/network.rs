//! How long the network of the 2D experiment takes, and a step of its training: `cargo bench -p mfm-nn --bench network`.
#![allow(clippy::unwrap_used)]

#[path = "../tests/common/mod.rs"]
mod common;

use common::normal;
use mfm_core::tensor::Device;
use mfm_core::training::Objective;
use mfm_core::{Condition, Flow, MetaFlowMap, Noise, Query, Shape, interpolant};
use mfm_cpu_ref::{CpuDevice, CpuTensor};
use mfm_nn::train::{LossInput, Samples};
use mfm_nn::{GaussianConfig, Mlp, MlpConfig, Model, ModelConfig, Trainer, TrainingConfig};
use std::time::Instant;

/// The least time of one call, in microseconds, over blocks of calls.
fn least(blocks: usize, calls: usize, mut f: impl FnMut()) -> f64 {
    f();
    let block = |f: &mut dyn FnMut()| {
        let start = Instant::now();
        (0..calls).for_each(|_| f());
        start.elapsed().as_secs_f64() * 1e6 / calls as f64
    };
    (0..blocks).map(|_| block(&mut f)).fold(f64::INFINITY, f64::min)
}

fn query(device: &CpuDevice<f32>, rows: usize, times: usize) -> Query<'static, CpuTensor<f32>> {
    let time = |value: f64| device.full(value, Shape::new(&[times]).unwrap()).unwrap();
    let (x, x_t) = (normal(device, 1, &[rows, 2]), normal(device, 2, &[rows, 2]));
    Query { s: time(0.0), u: time(1.0), x, t: time(0.3), x_t, condition: Condition::NONE }
}

fn forward() {
    for threads in [1, 2] {
        let device = CpuDevice::<f32>::with_threads(threads).unwrap();
        let network = Mlp::new(&device, &MlpConfig::new(2), &Noise::new(0)).unwrap();
        let config = ModelConfig::mlp(MlpConfig::new(2)).preconditioned(GaussianConfig::new(2.5));
        let model = Model::new(&device, &config, &[0.0, 0.0], &Noise::new(0)).unwrap();
        // Short blocks, so that on a busy machine some are left undisturbed.
        for (rows, times, blocks, calls) in [(1, 1, 3000, 20), (64, 1, 200, 5), (65_536, 1, 10, 1), (65_536, 65_536, 10, 1)] {
            let query = query(&device, rows, times);
            let bare = least(blocks, calls, || drop(network.velocity(&query).unwrap()));
            let preconditioned = least(blocks, calls, || drop(model.velocity(&query).unwrap()));
            println!("{threads} threads, {rows} rows, {times} times: network {bare:.2} µs, preconditioned {preconditioned:.2} µs");
        }
    }
}

fn training_step() {
    for (threads, preconditioned) in [(1, false), (2, false), (2, true)] {
        let device = CpuDevice::<f32>::with_threads(threads).unwrap();
        let mut config = ModelConfig::mlp(MlpConfig::new(2));
        if preconditioned {
            config = config.preconditioned(GaussianConfig::new(2.5));
        }
        let model = Model::new(&device, &config, &[0.0, 0.0], &Noise::new(0)).unwrap();
        let mut trainer = Trainer::new(TrainingConfig::default(), &model).unwrap();
        let mut data =
            |_: u64, size: usize, noise: &Noise| Ok(Samples { x1: device.normal(noise, Shape::new(&[size, 2])?)?, labels: None });
        let mut loss = |input: LossInput<'_, CpuTensor<f32>, Model<CpuTensor<f32>>>| {
            let flow = Flow::new(input.frozen, &interpolant::Linear);
            Objective::default().loss(&flow, input.student, mfm_core::training::Velocities::Data, input.samples.batch(), input.noise)
        };
        let time = least(8, 2, || drop(trainer.advance(&mut data, &mut loss).unwrap()));
        println!("{threads} threads, preconditioned {preconditioned}: a training step of 4,096 takes {:.1} ms", time / 1e3);
    }
}

fn main() {
    forward();
    training_step();
}
