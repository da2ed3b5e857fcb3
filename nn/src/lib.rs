//! Networks, optimisers, the training loop and model files of Meta Flow Maps.
#![no_std]
#![forbid(unsafe_code)]
extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

pub mod classifier;
pub mod coordinates;
pub mod dit;
pub mod ema;
pub mod file;
pub mod layer;
pub mod mlp;
pub mod model;
pub mod module;
pub mod network;
pub mod optimiser;
pub mod precondition;
pub mod schedule;
pub mod train;
pub mod weighting;

pub use classifier::{ClassMixtureReward, Classifier, ClassifierConfig};
pub use coordinates::{Coordinates, InCoordinates};
pub use dit::{Dit, DitConfig, DitSize, Orientation};
pub use file::{FileError, ModelFile, ModelHeader};
pub use mlp::{Mlp, MlpConfig};
pub use model::{Model, ModelConfig};
pub use module::Module;
pub use network::{Network, NetworkConfig};
pub use optimiser::{Optimiser, OptimiserConfig};
pub use precondition::{GaussianConfig, Preconditioned};
pub use schedule::LearningRate;
pub use train::{Trainer, TrainingConfig, TrainingState};
pub use weighting::{LossWeighting, Weighted};
