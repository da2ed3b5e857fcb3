//! The training loop: it learns, and does so bit by bit alike on any number of threads and across a stop.

use crate::common::values;
use mfm_core::training::{Objective, Velocities};
use mfm_core::{Device, Error, Flow, Noise, Operations, Shape, Tensor, interpolant};
use mfm_cpu_ref::{CpuDevice, CpuTensor, Float};
use mfm_nn::file::{self, ModelFile, ModelHeader, TrainingRecord};
use mfm_nn::train::{Flat, LossInput, Outcome, Samples, Step, StepLoss, TrainError, random_rows};
use mfm_nn::{GaussianConfig, LearningRate, MlpConfig, Model, ModelConfig, Module, OptimiserConfig, Trainer, TrainingConfig};
use std::ops::ControlFlow;

type Run<E> = Trainer<CpuTensor<E>, Model<CpuTensor<E>>>;

fn config() -> TrainingConfig {
    TrainingConfig {
        steps: 60,
        batch: 96,
        rate: LearningRate::cosine(1e-2, 5),
        optimiser: OptimiserConfig::radam(),
        clip: Some(5.0),
        average: Some(0.9),
        seed: 7,
    }
}

fn model<E: Float>(device: &CpuDevice<E>) -> Model<CpuTensor<E>> {
    let mlp = MlpConfig { data: 2, width: 24, depth: 2, frequencies: 2, labels: 2, zero_output: false };
    let config = ModelConfig::mlp(mlp).preconditioned(GaussianConfig::new(2.0));
    Model::new(device, &config, &[0.5, 0.0], &Noise::new(1)).unwrap()
}

/// Two blobs with labels, at ±2.
fn blobs<E: Float>(device: &CpuDevice<E>) -> impl FnMut(u64, usize, &Noise) -> mfm_core::Result<Samples<CpuTensor<E>>> {
    let device = device.clone();
    move |_, size, noise| {
        let mut labels = vec![0; size];
        noise.fork(1).fill_below(2, &mut labels);
        let mut numbers = vec![0.0; 2 * size];
        noise.fill_normal(&mut numbers);
        for (pair, label) in numbers.chunks_mut(2).zip(&labels) {
            pair[0] = 0.3 * pair[0] + 4.0 * *label as f64 - 2.0;
            pair[1] *= 0.3;
        }
        Ok(Samples { x1: device.from_slice(&numbers, Shape::new(&[size, 2])?)?, labels: Some(labels) })
    }
}

fn loss<T: Tensor>(input: LossInput<'_, T, Model<T>>) -> mfm_core::Result<mfm_core::training::Losses<T>> {
    let flow = Flow::new(input.frozen, &interpolant::Linear);
    Objective::default().loss(&flow, input.student, Velocities::Data, input.samples.batch(), input.noise)
}

fn train<E: Float>(run: &mut Run<E>, device: &CpuDevice<E>, until: u64) -> Vec<f64> {
    let mut losses = Vec::new();
    let outcome = run
        .run(&mut blobs(device), loss, |_, step: &Step<CpuTensor<E>>| {
            losses.push(step.loss_value().unwrap());
            if step.step == until { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
        .unwrap();
    assert_eq!(outcome, if until < 60 { Outcome::Stopped } else { Outcome::Finished });
    losses
}

fn all<T: Tensor>(module: &impl Module<T>) -> Vec<u64> {
    let mut bits = Vec::new();
    module.visit(&mut |_, tensor| bits.extend(values(tensor).iter().map(|v| v.to_bits())));
    bits
}

/// The loss of a model on a batch that it was not trained on.
fn test_loss(device: &CpuDevice<f64>, model: &Model<CpuTensor<f64>>) -> f64 {
    let samples = blobs(device)(0, 8192, &Noise::new(99)).unwrap();
    let student = model.rebuild(&mut |_, p| Ok(mfm_core::autodiff::Var::constant(p.clone()))).unwrap();
    let losses = loss(LossInput { frozen: model, student: &student, samples: &samples, noise: &Noise::new(98), step: 1 }).unwrap();
    values(losses.total.value())[0]
}

#[test]
fn the_loss_falls() {
    let device = CpuDevice::<f64>::new();
    let preconditioned = model(&device);
    let plain = Model::new(&device, &ModelConfig { preconditioning: None, ..preconditioned.config() }, &[], &Noise::new(1)).unwrap();
    // Before: 6.2 and 1.85, most of which is the variance of the target, which no model can predict. Run of 60 steps of 96.
    for (model, share) in [(plain, 0.6), (preconditioned, 0.98)] {
        let before = test_loss(&device, &model);
        // Adam, because RAdam holds its first hundreds of steps back.
        let mut run = Trainer::new(TrainingConfig { optimiser: OptimiserConfig::default(), ..config() }, &model).unwrap();
        train(&mut run, &device, 60);
        let after = test_loss(&device, &run.averaged().unwrap());
        println!("{before} {after}");
        assert!(after < share * before, "{before} became {after}");
        assert!(all(run.module()) != all(&run.averaged().unwrap()));
    }
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    let run = |threads: usize| {
        let device = CpuDevice::<f32>::with_threads(threads).unwrap();
        let mut run = Trainer::new(TrainingConfig { batch: 600, steps: 60, ..config() }, &model(&device)).unwrap();
        let losses = train(&mut run, &device, 8);
        (losses, all(run.module()), all(&run.averaged().unwrap()))
    };
    assert_eq!(run(1), run(2));
}

#[test]
fn a_stopped_run_goes_on_bit_by_bit() {
    fn check<E: Float>() {
        let device = CpuDevice::<E>::new();
        let mut whole = Trainer::new(config(), &model(&device)).unwrap();
        let losses = train(&mut whole, &device, 60);

        let mut first = Trainer::new(config(), &model(&device)).unwrap();
        let mut halves = train(&mut first, &device, 23);
        let mut header = ModelHeader::new(first.module().config(), Shape::new(&[2]).unwrap());
        header.training = Some(TrainingRecord { step: 0, config: config(), average: false, memory: Vec::new() });
        let bytes = file::write_model(&first.averaged().unwrap(), &header, Some(&first.state())).unwrap();
        drop(first);

        let file = ModelFile::parse(&bytes).unwrap();
        let record = file.header().training.clone().unwrap();
        assert_eq!((record.step, record.average, record.config), (23, true, config()));
        let form = file.to_model(&device).unwrap();
        let state = file.to_training_state(&device).unwrap().unwrap();
        let mut second = Trainer::resume(record.config, &form, state).unwrap();
        halves.extend(train(&mut second, &device, 60));
        assert_eq!(losses, halves);
        assert_eq!(all(whole.module()), all(second.module()));
        assert_eq!(all(&whole.averaged().unwrap()), all(&second.averaged().unwrap()));
    }
    check::<f32>();
    check::<f64>();
}

#[test]
fn a_bad_gradient_names_its_parameter_and_changes_nothing() {
    let device = CpuDevice::<f64>::new();
    let mut run = Trainer::new(config(), &model(&device)).unwrap();
    train(&mut run, &device, 3);
    let before = all(run.module());
    let mut poisoned = |input: LossInput<'_, CpuTensor<f64>, Model<CpuTensor<f64>>>| {
        let mut total = None;
        input.student.visit(&mut |name, parameter| {
            if name == "hidden.1.bias" {
                // The root of zero has an infinite slope.
                let element = parameter.slice(0, 5, 1).unwrap();
                let zero = element.sub(&element.detach()).unwrap();
                total = Some(zero.sqrt().unwrap());
            }
        });
        let anchor = loss(input)?.total.reshape(Shape::new(&[1])?)?;
        Ok(StepLoss::from(anchor.add(&total.ok_or(Error::Cancelled)?)?))
    };
    let error = run.advance(&mut blobs(&device), &mut poisoned).unwrap_err();
    assert_eq!(error, TrainError::Gradient { parameter: "hidden.1.bias".into(), index: 5, step: 4 });
    assert!(error.to_string().contains("step 4") && error.to_string().contains("hidden.1.bias"));
    assert_eq!((run.steps_made(), all(run.module())), (3, before));
    // The source's and the loss's own errors pass through, and the run can go on.
    let cancelled = run.advance(&mut blobs(&device), &mut |_| Err::<StepLoss<CpuTensor<f64>>, _>(Error::Cancelled));
    assert_eq!(cancelled.unwrap_err(), TrainError::Tensor(Error::Cancelled));
    assert!(run.advance(&mut blobs(&device), &mut loss).is_ok());
}

#[test]
fn a_loss_that_is_not_finite_is_named_and_changes_nothing() {
    let device = CpuDevice::<f64>::new();
    let mut run = Trainer::new(config(), &model(&device)).unwrap();
    train(&mut run, &device, 2);
    let before = all(run.module());
    // The gradient is finite throughout.
    let mut step = |total: f64, part: f64| {
        let mut shifted = |input: LossInput<'_, CpuTensor<f64>, Model<CpuTensor<f64>>>| {
            let losses = loss(input)?;
            Ok(StepLoss { total: losses.total.shift(total)?, parts: vec![("consistency loss", losses.consistency.shift(part)?)] })
        };
        run.advance(&mut blobs(&device), &mut shifted).unwrap_err()
    };
    assert_eq!(step(f64::INFINITY, 0.0), TrainError::Loss { what: "loss", value: f64::INFINITY, step: 3 });
    assert_eq!(step(0.0, f64::NAN).to_string(), "step 3: the consistency loss is NaN; nothing was changed");
    assert_eq!((run.steps_made(), all(run.module())), (2, before));
    assert!(run.advance(&mut blobs(&device), &mut loss).is_ok());
}

#[test]
fn adaptive_weights_see_the_residual_of_the_network() {
    // With p = 1 no item's loss passes 1, though the preconditioned map weighs its residuals by up to 10⁶.
    let device = CpuDevice::<f64>::new();
    let model = model(&device);
    let samples = blobs(&device)(0, 512, &Noise::new(99)).unwrap();
    let student = model.rebuild(&mut |_, p| Ok(mfm_core::autodiff::Var::constant(p.clone()))).unwrap();
    let adaptive = mfm_core::training::AdaptiveWeight { offset: 0.01, power: 1.0 };
    let objective = Objective { diagonal_weight: adaptive, consistency_weight: adaptive, ..Objective::default() };
    let flow = Flow::new(&model, &interpolant::Linear);
    let losses = objective.loss(&flow, &student, Velocities::Data, samples.batch(), &Noise::new(98)).unwrap();
    let values = [&losses.diagonal, &losses.consistency].map(|loss| values(loss)[0]);
    assert!(values.iter().all(|loss| *loss > 0.0 && *loss <= 1.0), "{values:?}");
}

#[test]
fn clipping_shortens_the_gradient() {
    let device = CpuDevice::<f64>::new();
    let step = |clip| {
        let mut run = Trainer::new(TrainingConfig { clip, ..config() }, &model(&device)).unwrap();
        let step = run.advance(&mut blobs(&device), &mut loss).unwrap();
        let first = values(&run.state().optimiser.first);
        (step.gradient_norm, first.iter().map(|v| v * v).sum::<f64>().sqrt())
    };
    let (norm, moment) = step(None);
    // After one step the first moment is a tenth of the gradient.
    assert!((moment - 0.1 * norm).abs() < 1e-12 * norm);
    let (same, moment) = step(Some(norm / 4.0));
    assert!(same == norm && (moment - 0.025 * norm).abs() < 1e-12 * norm);
    assert_eq!(step(Some(norm * 1.01)).1, step(None).1);
}

// The gradient of the mean over 13 samples from parts of other sizes, weighed by them; and losses and their parts as of the whole. So it is where the source gives
// other sizes than it is asked for, of a batch that is asked to have 12 samples.
#[test]
fn parts_of_a_batch_have_the_gradient_of_the_whole() {
    let device = CpuDevice::<f64>::new();
    let samples = blobs(&device)(0, 13, &Noise::new(3)).unwrap();
    let labels = samples.labels.clone().unwrap();
    let step = |parts: usize, batch: usize| {
        let config = TrainingConfig { batch, clip: None, ..config() };
        let mut run = Trainer::new(config, &model(&device)).unwrap().accumulating(parts).unwrap();
        let (mut start, mut sizes) = (0, Vec::new());
        let mut source = |_: u64, size: usize, _: &Noise| {
            let size = if start == 0 { size + 13 - batch } else { size };
            let x1 = samples.x1.slice(0, start, size)?;
            start += size;
            sizes.push(size);
            Ok(Samples { x1, labels: Some(labels[start - size..start].to_vec()) })
        };
        // A mean over the samples that draws nothing.
        let mut loss = |input: LossInput<'_, CpuTensor<f64>, Model<CpuTensor<f64>>>| {
            let x = mfm_core::autodiff::Var::constant(input.samples.x1.clone());
            let time = |t: f64| Ok::<_, Error>(mfm_core::autodiff::Var::constant(mfm_core::flow_map::time(&device, t)?));
            let condition = mfm_core::Condition::labels(input.samples.labels.as_deref().unwrap_or(&[]));
            let query = mfm_core::Query { s: time(0.2)?, u: time(0.7)?, x: x.clone(), t: time(0.4)?, x_t: x, condition };
            let squares = mfm_core::MetaFlowMap::velocity(input.student, &query)?.square_norm_items()?;
            let part = input.samples.x1.square_norm_items()?.mean_all()?;
            Ok(StepLoss { total: squares.mean_all()?, parts: vec![("squares", part)] })
        };
        let step = run.advance(&mut source, &mut loss).unwrap();
        assert_eq!((sizes.len(), sizes.iter().sum::<usize>(), start), (parts, 13, 13));
        // After one step the first moment is a tenth of the gradient.
        let gradient = values(&run.state().optimiser.first);
        (gradient, vec![step.loss_value().unwrap(), step.part_values().unwrap()[0].1, step.gradient_norm])
    };
    let (gradient, numbers) = step(1, 13);
    let size = gradient.iter().fold(0.0f64, |most, g| most.max(g.abs()));
    assert!(size > 1e-3);
    for (parts, batch) in [(2, 13), (3, 13), (5, 13), (13, 13), (1, 12), (2, 12), (5, 12), (12, 12)] {
        let (found, others) = step(parts, batch);
        let worst = found.iter().zip(&gradient).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        println!("{parts} parts of {batch}: the gradients differ by {:.1e} of the largest", worst / size);
        assert!(worst < 1e-14 * size * 13.0, "{parts} parts of {batch}: {worst:e} of {size:e}");
        crate::common::close(&others, &numbers, 1e-13);
    }
    let run = Trainer::new(TrainingConfig { batch: 13, ..config() }, &model(&device)).unwrap();
    assert!(matches!(run.accumulating(14), Err(Error::Range { .. })));
}

// The gradient is finite, but the step is not: in f32 a rate beyond its range.
#[test]
fn a_step_to_what_is_not_finite_is_not_made() {
    let device = CpuDevice::<f32>::new();
    let rate = LearningRate::constant(1e39);
    let mut run = Trainer::new(TrainingConfig { rate, optimiser: OptimiserConfig::default(), ..config() }, &model(&device)).unwrap();
    let before = all(run.module());
    let error = run.advance(&mut blobs(&device), &mut loss).unwrap_err();
    assert!(matches!(&error, TrainError::Parameter { step: 1, .. }), "{error:?}");
    assert!(error.to_string().contains("it would make first.weight NaN or infinite"), "{error}");
    assert_eq!((run.steps_made(), all(run.module()), values(&run.state().optimiser.first).iter().all(|m| *m == 0.0)), (0, before, true));
}

#[test]
fn flat_vectors_split_into_what_they_were_joined_from() {
    let device = CpuDevice::<f64>::new();
    let model = model(&device);
    let flat = Flat::of(&model);
    let tensors: Vec<_> = model.parameters().into_iter().map(|(_, tensor)| tensor).collect();
    let vector = flat.join(&tensors).unwrap();
    assert_eq!(vector.shape().axes(), [model.parameter_count()]);
    assert_eq!(all(&model.with_parameters(&flat.split(&vector).unwrap()).unwrap()), all(&model));
    assert!(matches!(flat.split(&tensors[0]), Err(Error::Shape { .. })));
    assert!(matches!(flat.join(&tensors[1..]), Err(Error::Length { .. })));
}

#[test]
fn wrong_settings_and_states_are_errors() {
    let device = CpuDevice::<f64>::new();
    let model = model(&device);
    let good = config();
    for bad in [
        TrainingConfig { steps: 0, ..good },
        TrainingConfig { batch: 0, ..good },
        TrainingConfig { clip: Some(0.0), ..good },
        TrainingConfig { average: Some(1.0), ..good },
        TrainingConfig { rate: LearningRate::constant(-1.0), ..good },
    ] {
        assert!(matches!(Trainer::new(bad, &model), Err(Error::Range { .. })), "{bad:?}");
    }
    let state = Trainer::new(TrainingConfig { average: None, ..good }, &model).unwrap().state();
    assert!(matches!(Trainer::resume(good, &model, state.clone()), Err(Error::Unsupported { .. })));
    let mut short = state.clone();
    short.optimiser.first = state.optimiser.first.slice(0, 0, 3).unwrap();
    assert!(matches!(Trainer::resume(TrainingConfig { average: None, ..good }, &model, short), Err(Error::Shape { .. })));
}

#[test]
fn a_batch_of_no_rows_says_so() {
    let nothing = CpuDevice::<f64>::new().zeros(Shape::new(&[0, 2]).unwrap()).unwrap();
    let of = |size| random_rows(&nothing, None, size, &Noise::new(1));
    assert_eq!(of(3).unwrap_err().to_string(), "the number of rows is 0, but must be at least 1");
    assert_eq!(of(0).unwrap().x1.shape().axes(), [0, 2]);
}
