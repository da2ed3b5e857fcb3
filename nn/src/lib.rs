//! Networks, optimisers, the training loop and model files of Meta Flow Maps.
//!
//! | module | what is there |
//! |---|---|
//! | [`model`] | what files hold and applications use: a network, with its preconditioning and its path |
//! | [`network`], [`mlp`], [`dit`] | networks: a multi-layer perceptron, a diffusion transformer |
//! | [`precondition`], [`on_path`] | a Gaussian's velocity beside the network's, and a map of the linear path on any other |
//! | [`module`], [`layer`] | named parameters, and the layer that networks are made of |
//! | [`coordinates`], [`condition`] | standardised coordinates of data; conditions that a model does not take |
//! | [`train`], [`optimiser`], [`schedule`], [`weighting`] | the training loop and fine-tuning, optimisers, learning rates, and a learned weighting of the loss |
//! | [`classifier`] | a classifier of clean data, and the reward of a mixture of its classes |
//! | [`saved`], [`file`](mod@file) | a model with what its file says; model files, and weights in safetensors |
//!
//! A model of one's own data, from training to steering. It works in standardised [`Coordinates`], which its file keeps (`mfm train` does the same with a
//! table): states and rewards go in through them, and samples come out.
//!
//! ```
//! use mfm_core::reward::{ByDifferentiation, Checked, RewardFormula};
//! use mfm_core::training::{Objective, Velocities};
//! use mfm_core::{Condition, Device, Estimator, Flow, Linear, Noise, Operations, Plan, Result, Shape, Tensor};
//! use mfm_cpu_ref::{CpuDevice, CpuTensor};
//! use mfm_nn::train::{LossInput, random_rows};
//! use mfm_nn::{Coordinates, MlpConfig, Model, ModelConfig, ModelHeader, SavedModel, Trainer, TrainingConfig};
//! use std::ops::ControlFlow;
//!
//! /// r(x) = −(x₀ − 2)²/2, in the units of the data. Its gradient follows.
//! struct NearTwo;
//!
//! impl RewardFormula for NearTwo {
//!     fn evaluate<T: Tensor>(&self, x: &T) -> Result<T> {
//!         x.slice(1, 0, 1)?.shift(-2.0)?.square_norm_items()?.scale(-0.5)
//!     }
//! }
//!
//! fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
//!     let device = CpuDevice::<f32>::new();
//!     let rows: Vec<f32> = (0..512).flat_map(|k| [(k % 16) as f32 / 4.0, (k / 16) as f32]).collect(); // two columns
//!     let coordinates = Coordinates::of_data(&rows, 2)?;
//!     let data = device.from_slice(&coordinates.enter_rows(&rows)?, Shape::new(&[512, 2])?)?;
//!
//!     // A real run takes some thousand steps of a network 4 × 256.
//!     let config = ModelConfig::mlp(MlpConfig { width: 16, depth: 1, ..MlpConfig::new(2) });
//!     let model = Model::new(&device, &config, &[], &Noise::new(1))?;
//!     let settings = TrainingConfig { steps: 20, batch: 32, ..TrainingConfig::default() };
//!     let mut trainer = Trainer::new(settings, &model)?;
//!     trainer.run(
//!         &mut |_: u64, size: usize, noise: &Noise| random_rows(&data, None, size, noise),
//!         |input: LossInput<'_, CpuTensor<f32>, Model<_>>| {
//!             let flow = Flow::new(input.frozen, &Linear);
//!             Objective::default().loss(&flow, input.student, Velocities::Data, input.samples.batch(), input.noise)
//!         },
//!         |_, _| ControlFlow::Continue(()),
//!     )?;
//!     let mut header = ModelHeader::new(config, Shape::new(&[2])?);
//!     header.coordinates = coordinates;
//!     let saved = SavedModel::new(trainer.averaged()?, header)?; // `save` puts it on a disk, and `load` reads it
//!
//!     let reward = saved.reward(Checked(ByDifferentiation(NearTwo)));
//!     let noise = device.normal(&Noise::new(2), Shape::new(&[1000, 2])?)?;
//!     let plan = Plan { steps: 4, ..Plan::usual(Estimator::Resampled) };
//!     let samples = plan.run(&saved.flow(Condition::NONE)?, &reward, &noise, &Noise::new(3), &mut |_| Ok(()))?;
//!     let samples = saved.rows(&samples)?; // near 2 in the first column
//!     let distance = samples.chunks(2).map(|row| (row[0] - 2.0).abs()).sum::<f64>() / 1000.0;
//!     assert!(distance < 0.75); // about 0.62; without steering 0.91
//!     Ok(())
//! }
//! ```
#![no_std]
#![forbid(unsafe_code)]
extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

pub mod classifier;
pub mod condition;
pub mod coordinates;
pub mod dit;
pub mod file;
pub mod layer;
pub mod mlp;
pub mod model;
pub mod module;
pub mod network;
pub mod on_path;
pub mod optimiser;
pub mod precondition;
pub mod saved;
pub mod schedule;
pub mod train;
pub mod weighting;

pub use classifier::{ClassMixtureReward, Classifier, ClassifierConfig};
pub use condition::ConditionError;
pub use coordinates::{Coordinates, InCoordinates};
pub use dit::{Dit, DitConfig, DitSize, Orientation};
pub use file::{FileError, ModelFile, ModelHeader};
pub use mlp::{Mlp, MlpConfig};
pub use model::{Model, ModelConfig};
pub use module::Module;
pub use network::{Network, NetworkConfig};
pub use on_path::OnPath;
pub use optimiser::OptimiserConfig;
pub use precondition::{GaussianConfig, Preconditioned};
pub use saved::SavedModel;
pub use schedule::LearningRate;
pub use train::{Trainer, TrainingConfig, TrainingState};
pub use weighting::{LossWeighting, Weighted};
