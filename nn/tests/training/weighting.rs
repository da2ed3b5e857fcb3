//! The learned weighting: it finds scales that it can express, and trains and resumes with its map.

use crate::common::{Device64, Tensor64, values};
use mfm_core::training::LossScale;
use mfm_core::{Device, Error, Noise, Operations, Shape, Tensor};
use mfm_nn::train::{LossInput, Samples};
use mfm_nn::{LearningRate, LossWeighting, MlpConfig, Model, ModelConfig, Module, Trainer, TrainingConfig, Weighted};

type Subject = Weighted<Model<Tensor64>, Tensor64>;

fn subject(device: &Device64, weighting: bool) -> Subject {
    let mlp = MlpConfig { data: 2, width: 4, depth: 1, frequencies: 1, labels: 0, zero_output: false };
    let map = Model::new(device, &ModelConfig::mlp(mlp), &[], &Noise::new(1)).unwrap();
    Weighted { map, weighting: weighting.then(|| LossWeighting::new(device).unwrap()) }
}

fn settings() -> TrainingConfig {
    TrainingConfig { steps: 4_000, batch: 64, rate: LearningRate::cosine(3e-2, 10), average: None, ..TrainingConfig::default() }
}

/// Makes steps up to `until` towards u = 1 + s − cos 2πt, by mean(m e^(−u) + u) with m = e^(1 + s − cos 2πt).
fn train(trainer: &mut Trainer<Tensor64, Subject>, device: &Device64, until: u64) {
    let mut data = |_: u64, size: usize, noise: &Noise| {
        let mut times = vec![0.0; 2 * size];
        noise.fill_uniform(&mut times);
        Ok(Samples { x1: device.from_slice(&times, Shape::new(&[size, 2])?)?, labels: None })
    };
    let mut loss = |input: LossInput<'_, Tensor64, Subject>| {
        let n = input.samples.x1.shape().batch();
        let time = |i: usize| input.samples.x1.slice(1, i, 1)?.reshape(Shape::new(&[n])?);
        let (s, t) = (mfm_core::autodiff::Var::constant(time(0)?), mfm_core::autodiff::Var::constant(time(1)?));
        let cosine = t.scale(2.0 * std::f64::consts::PI)?.unary(mfm_core::tensor::Unary::Cos)?;
        let size = s.sub(&cosine)?.shift(1.0)?.exp()?;
        let u = input.student.weighting.as_ref().ok_or(Error::Length { op: "test", expected: 1, found: 0 })?.logarithm(&s, &t)?;
        size.mul(&u.scale(-1.0)?.exp()?)?.add(&u)?.mean_all()
    };
    while trainer.steps_made() < until {
        trainer.advance(&mut data, &mut loss).unwrap();
    }
}

#[test]
fn it_learns_the_scale_of_a_loss() {
    let device = Device64::with_threads(1).unwrap();
    let mut trainer = Trainer::new(settings(), &subject(&device, true)).unwrap();
    train(&mut trainer, &device, 4_000);
    let learned = trainer.module().weighting.clone().unwrap();
    let times = [[0.1, 0.9], [0.5, 0.5], [0.8, 0.2], [1.0, 0.0]];
    let column = |i: usize| device.from_slice(&times.map(|pair: [f64; 2]| pair[i]), Shape::new(&[4]).unwrap()).unwrap();
    let found = values(&learned.logarithm(&column(0), &column(1)).unwrap());
    for ([s, t], u) in times.iter().zip(found) {
        let exact = 1.0 + s - (2.0 * std::f64::consts::PI * t).cos();
        assert!((u - exact).abs() < 0.05, "u({s}, {t}) is {u}, not {exact}");
    }
}

#[test]
fn a_run_goes_on_with_it_bit_by_bit() {
    let device = Device64::with_threads(1).unwrap();
    let all =
        |subject: &Subject| -> Vec<u64> { subject.parameters().iter().flat_map(|(_, tensor)| values(tensor)).map(f64::to_bits).collect() };
    let mut whole = Trainer::new(settings(), &subject(&device, true)).unwrap();
    train(&mut whole, &device, 30);
    let mut first = Trainer::new(settings(), &subject(&device, true)).unwrap();
    train(&mut first, &device, 17);
    let state = first.state();
    let plain = subject(&device, false);
    assert_eq!(state.optimiser.parameters.shape().elements(), plain.parameter_count() + 19);
    // A run without a weighting has other parameters.
    assert!(matches!(Trainer::resume(settings(), &plain, state.clone()), Err(Error::Shape { .. })));
    let mut second = Trainer::resume(settings(), &subject(&device, true), state).unwrap();
    train(&mut second, &device, 30);
    assert_eq!(all(whole.module()), all(second.module()));
}
