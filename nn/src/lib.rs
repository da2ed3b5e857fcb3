//! Networks, optimisers, the training loop and model files of Meta Flow Maps.
#![no_std]
#![forbid(unsafe_code)]
extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

pub mod classifier;
pub mod ema;
pub mod file;
pub mod layer;
pub mod mlp;
pub mod model;
pub mod module;
pub mod optimiser;
pub mod precondition;
pub mod schedule;
pub mod train;

pub use classifier::{ClassMixtureReward, Classifier, ClassifierConfig};
pub use file::{FileError, ModelFile, ModelHeader};
pub use mlp::{Mlp, MlpConfig};
pub use model::{Model, ModelConfig, NetworkConfig};
pub use module::Module;
pub use optimiser::{Optimiser, OptimiserConfig};
pub use precondition::{GaussianConfig, Preconditioned};
pub use schedule::LearningRate;
pub use train::{Trainer, TrainingConfig, TrainingState};
