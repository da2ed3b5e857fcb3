//! Training whose work goes to the GPU as graphs, on the emulated driver: the same numbers, few launches, and after the first steps hardly a change.
#![allow(clippy::unwrap_used)]

use mfm_core::training::{Objective, Velocities};
use mfm_core::{Device, Flow, Noise, Result, Shape, Tensor, interpolant};
use mfm_cuda_emulator::{Graphs, graphs, launches};
use mfm_gpu_cuda::{CudaDevice, CudaTensor, Options};
use mfm_nn::train::{LossInput, Samples};
use mfm_nn::{DitConfig, MlpConfig, Model, ModelConfig, Trainer, TrainingConfig};

/// What the driver had done after a step.
#[derive(Clone, Copy, Debug)]
struct Done {
    graphs: Graphs,
    kernels: i32,
}

/// The parameters after some steps of training, and what the driver had done after each.
fn train(graphs_too: bool, config: &ModelConfig, size: usize, steps: u64) -> Result<(Vec<f32>, Vec<Done>)> {
    let device = CudaDevice::with_options(0, Options { graphs: graphs_too, ..Options::default() }).unwrap();
    let settings = TrainingConfig { steps, batch: 4, average: Some(0.9), ..TrainingConfig::default() };
    let model = Model::<CudaTensor>::new(&device, config, &[], &Noise::new(3)).unwrap();
    let mut trainer = Trainer::new(settings, &model)?;
    let mut data =
        |_: u64, batch: usize, noise: &Noise| Ok(Samples { x1: device.normal(noise, Shape::new(&[batch, size])?)?, labels: None });
    let mut loss = |input: LossInput<'_, CudaTensor, Model<CudaTensor>>| {
        let flow = Flow::new(input.frozen, &interpolant::Linear);
        Objective::default().loss(&flow, input.student, Velocities::Data, input.samples.batch(), input.noise)
    };
    let mut done = Vec::new();
    for _ in 0..steps {
        trainer.advance(&mut data, &mut loss).unwrap();
        done.push(Done { graphs: graphs(), kernels: launches() });
    }
    if let Some(graphs) = device.graphs() {
        assert_eq!(graphs.refused, 0, "{graphs:?}");
    }
    Ok((trainer.state().optimiser.parameters.to_vec()?, done))
}

#[test]
fn training_has_the_same_graphs_again() -> Result<()> {
    if let Err(reason) = mfm_cuda_emulator::install() {
        mfm_tests::not_tested("training in graphs", reason);
        return Ok(());
    }
    let perceptron = MlpConfig { data: 2, width: 16, depth: 3, frequencies: 2, labels: 0, zero_output: false };
    let transformer = DitConfig::custom([16, 2, 2], 4, 4, 1);
    let size = transformer.data();
    for (config, size) in [(ModelConfig::mlp(perceptron), 2), (ModelConfig::dit(transformer), size)] {
        let (plain, _) = train(false, &config, size, 24)?;
        let (found, done) = train(true, &config, size, 24)?;
        assert_eq!(plain, found);
        // A graph for each of the few places that products come by in turns is there by then.
        for pair in done[16..].windows(2) {
            let (kernels, before, after) = (pair[1].kernels - pair[0].kernels, pair[0].graphs, pair[1].graphs);
            assert_eq!(after.made, before.made);
            assert!((1..=1 + kernels / 256).contains(&(after.launches - before.launches)), "{pair:?}");
            // Noise, times and rates.
            assert!(4 * (after.changes - before.changes) < kernels, "{pair:?}");
        }
    }
    Ok(())
}
