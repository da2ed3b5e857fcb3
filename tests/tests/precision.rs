//! What is learned on a device that rounds, products or all numbers, is kept in f32.
#![allow(clippy::unwrap_used)]

use mfm_core::interpolant::{Trigonometric, VariancePreserving};
use mfm_core::tensor::Device;
use mfm_core::tensor::OptimiserState;
use mfm_core::training::{Consistency, Objective, Velocities};
use mfm_core::{Flow, Interpolant, Noise, Result, Shape, Tensor, interpolant};
use mfm_cpu_ref::CpuDevice;
use mfm_gpu_cuda::{CudaDevice, Options, Precision};
use mfm_nn::file::{TrainingRecord, write_model};
use mfm_nn::train::{LossInput, Samples};
use mfm_nn::{
    Classifier, ClassifierConfig, Coordinates, GaussianConfig, LearningRate, MlpConfig, Model, ModelConfig, ModelFile, ModelHeader, Module,
    Trainer, TrainingConfig, TrainingState,
};

const STEPS: u64 = 24;

/// Steps of 10⁻⁵: at a weight of 0.1, neighbours in bf16 are 5 · 10⁻⁴ apart.
fn settings() -> TrainingConfig {
    let rate = LearningRate::constant(1e-5);
    TrainingConfig { steps: STEPS, batch: 64, rate, average: Some(0.5), ..TrainingConfig::default() }
}

fn model<D: Device>(device: &D) -> Model<D::Tensor> {
    let form = MlpConfig { data: 2, width: 16, depth: 2, frequencies: 2, labels: 0, zero_output: false };
    Model::new(device, &ModelConfig::mlp(form), &[], &Noise::new(3)).unwrap()
}

fn train<D: Device>(device: &D, trainer: &mut Trainer<D::Tensor, Model<D::Tensor>>, steps: u64) {
    let objective = Objective { consistency: Consistency::None, ..Objective::default() };
    let mut data = |_: u64, size: usize, noise: &Noise| {
        let x1 = device.normal(noise, Shape::new(&[size, 2])?)?;
        Ok(Samples { x1, labels: None })
    };
    for _ in 0..steps {
        let mut loss = |input: LossInput<'_, D::Tensor, Model<D::Tensor>>| {
            let flow = Flow::new(input.frozen, &interpolant::Linear);
            objective.loss(&flow, input.student, Velocities::Data, input.samples.batch(), input.noise)
        };
        trainer.advance(&mut data, &mut loss).unwrap();
    }
}

/// All numbers of a state, bit by bit.
fn bits<T: Tensor>(state: &TrainingState<T>) -> Vec<Vec<u32>> {
    let OptimiserState { parameters, first, second, average } = &state.optimiser;
    let of = |tensor: &T| tensor.to_vec::<f32>().unwrap().into_iter().map(f32::to_bits).collect();
    [parameters, first, second].into_iter().chain(average).map(of).collect()
}

/// The parameters before and after training, and their average.
fn moved<D: Device>(device: &D) -> Result<[Vec<f64>; 3]> {
    let mut trainer = Trainer::new(settings(), &model(device))?;
    let before = trainer.state().optimiser.parameters.to_vec()?;
    train(device, &mut trainer, STEPS);
    let state = trainer.state();
    Ok([before, state.optimiser.parameters.to_vec()?, state.optimiser.average.as_ref().unwrap().to_vec()?])
}

fn gpu(precision: Precision) -> Option<CudaDevice> {
    // The emulated one, also where there is a GPU.
    if let Err(reason) = mfm_cuda_emulator::install() {
        mfm_tests::not_tested("training on a GPU", reason);
        return None;
    }
    Some(CudaDevice::with_options(0, Options { precision, ..Options::default() }).unwrap())
}

/// A mean of a thousand deviations is taken into the first layer's bias without a rounding of products.
#[test]
fn a_classifier_takes_in_large_means() -> Result<()> {
    let coordinates = Coordinates::new(vec![3.3, -20_000.0], vec![0.003, 17.0])?;
    fn biases<D: Device>(device: &D, coordinates: &Coordinates) -> Result<Vec<f64>> {
        let form = ClassifierConfig { data: 2, width: 16, depth: 1, classes: 3 };
        let classifier = Classifier::new(&device.precise(), &form, &Noise::new(3))?.leaving(coordinates)?;
        classifier.parameters()[1].1.to_vec()
    }
    let wanted = biases(&CpuDevice::<f64>::new(), &coordinates)?;
    for precision in [Precision::F32, Precision::Tf32, Precision::Bf16] {
        let Some(device) = gpu(precision) else { return Ok(()) };
        let found = biases(&device, &coordinates)?;
        for (found, wanted) in found.iter().zip(&wanted) {
            assert!(wanted.abs() > 1.0 && (found - wanted).abs() < 1e-3, "{precision:?}: {found} for {wanted}");
        }
    }
    Ok(())
}

#[test]
fn small_steps_count() -> Result<()> {
    let Some(device) = gpu(Precision::Bf16) else { return Ok(()) };
    let [here, there] = [moved(&CpuDevice::<f32>::new())?, moved(&device)?];
    for k in [1, 2] {
        // Of weights at which bf16 has no room for the step.
        let steps = |run: &[Vec<f64>; 3]| -> Vec<f64> {
            let large = here[0].iter().zip(run[0].iter().zip(&run[k])).filter(|(start, _)| start.abs() > 0.1);
            large.map(|(_, (before, after))| after - before).collect()
        };
        let (ours, theirs) = (steps(&here), steps(&there));
        let norm = |x: &[f64]| x.iter().map(|x| x * x).sum::<f64>().sqrt();
        let along = ours.iter().zip(&theirs).map(|(a, b)| a * b).sum::<f64>() / (norm(&ours) * norm(&theirs));
        assert!(ours.len() > 50, "{}", ours.len());
        let ratio = norm(&theirs) / norm(&ours);
        assert!((0.8..1.25).contains(&ratio) && along > 0.8, "steps {ratio} times as long, at a cosine of {along}");
    }
    Ok(())
}

// On the variance-preserving path velocities grow like 1/α, and bf16 has no time between 0.998 and 1.
#[test]
fn late_times_must_be_told_apart_where_velocities_grow() -> Result<()> {
    let Some(device) = gpu(Precision::Bf16) else { return Ok(()) };
    let form = || ModelConfig::mlp(MlpConfig { width: 4, depth: 1, ..MlpConfig::new(2) }).preconditioned(GaussianConfig::new(1.0));
    let made = |path: &dyn Interpolant| Model::new(&device, &form().on_path(path), &[0.0; 2], &Noise::new(1)).map(|_| ());
    assert!(matches!(made(&VariancePreserving), Err(mfm_core::Error::Unsupported { .. })));
    made(&Trigonometric)?;
    Model::new(&CpuDevice::<f32>::new(), &form().on_path(&VariancePreserving), &[0.0; 2], &Noise::new(1))?;
    Ok(())
}

#[test]
fn a_run_goes_on_from_a_file_bit_by_bit() -> Result<()> {
    let Some(device) = gpu(Precision::Bf16) else { return Ok(()) };
    let mut whole = Trainer::new(settings(), &model(&device))?;
    train(&device, &mut whole, 4);
    let mut header = ModelHeader::new(whole.module().config(), Shape::new(&[2])?);
    header.training = Some(TrainingRecord { step: 4, config: settings(), average: true, memory: Vec::new() });
    let bytes = write_model(&whole.averaged_precisely()?, &header, Some(&whole.state())).unwrap();
    let file = ModelFile::parse(&bytes).unwrap();
    let state = file.to_training_state(&device).unwrap().unwrap();
    assert_eq!(bits(&state), bits(&whole.state()));
    let mut resumed = Trainer::resume(settings(), &model(&device), state)?;
    train(&device, &mut resumed, 4);
    train(&device, &mut whole, 4);
    assert_eq!(bits(&resumed.state()), bits(&whole.state()));
    // What is saved is the average as it is; what is used, as the device keeps it.
    let stored = file.to_model(&CpuDevice::<f32>::new()).unwrap();
    let used = file.to_model(&device).unwrap();
    let numbers = |module: &dyn Fn(&mut Vec<f64>)| {
        let mut all = Vec::new();
        module(&mut all);
        all
    };
    use mfm_nn::Module;
    let exact = numbers(&|all| stored.visit(&mut |_, tensor| all.extend(tensor.to_vec::<f64>().unwrap())));
    let rounded = numbers(&|all| used.visit(&mut |_, tensor| all.extend(tensor.to_vec::<f64>().unwrap())));
    assert!(exact != rounded && exact.iter().zip(&rounded).all(|(a, b)| (a - b).abs() <= a.abs() / 256.0));
    Ok(())
}
