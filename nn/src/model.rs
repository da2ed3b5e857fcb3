//! The model that files hold and applications use: a network, preconditioned or not.

use crate::layer::{Source, fresh};
use crate::mlp::{Mlp, MlpConfig};
use crate::module::Module;
use crate::precondition::{GaussianConfig, Preconditioned};
use alloc::vec::Vec;
use mfm_core::{Device, Error, Lift, MetaFlowMap, Noise, Query, Result, Tensor};
use serde::{Deserialize, Serialize};

/// The form of a model's network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum NetworkConfig {
    /// An [`Mlp`].
    Mlp(MlpConfig),
}

impl NetworkConfig {
    /// The number of numbers in one item of data.
    pub fn data(&self) -> usize {
        match self {
            Self::Mlp(config) => config.data,
        }
    }

    /// The number of labels, 0 for none.
    pub fn labels(&self) -> usize {
        match self {
            Self::Mlp(config) => config.labels,
        }
    }
}

/// The form of a [`Model`]. The mean of a preconditioned model is kept beside it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelConfig {
    /// The network.
    pub network: NetworkConfig,
    /// The preconditioning, if any.
    pub preconditioning: Option<GaussianConfig>,
}

impl ModelConfig {
    /// An [`Mlp`] without preconditioning.
    pub fn mlp(config: MlpConfig) -> Self {
        Self { network: NetworkConfig::Mlp(config), preconditioning: None }
    }

    /// The same with Gaussian preconditioning.
    #[must_use]
    pub fn preconditioned(self, gaussian: GaussianConfig) -> Self {
        Self { preconditioning: Some(gaussian), ..self }
    }
}

/// A network, preconditioned or not.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Model<T> {
    /// A bare [`Mlp`].
    Mlp(Mlp<T>),
    /// A preconditioned [`Mlp`].
    PreconditionedMlp(Preconditioned<Mlp<T>, T>),
}

impl<T: Tensor> Model<T> {
    /// A fresh model; `mean` is the mean of the data (one item), which only a preconditioned model reads.
    ///
    /// # Errors
    /// [`Error::Range`] for a bad `config`, [`Error::Length`] if the mean has another size than an item, and whatever the device reports.
    pub fn new<D: Device<Tensor = T>>(device: &D, config: &ModelConfig, mean: &[f64], noise: &Noise) -> Result<Self> {
        let NetworkConfig::Mlp(mlp) = &config.network;
        let zeros: &[&str] = if mlp.zero_output { &["output."] } else { &[] };
        Self::build(device, config, mean, &mut fresh(device, noise, zeros))
    }

    /// A model of the parameters that `source` gives for their names and shapes.
    ///
    /// # Errors
    /// As [`new`](Self::new), and those of `source`.
    pub fn build<D: Device<Tensor = T>, E: From<Error>>(
        device: &D,
        config: &ModelConfig,
        mean: &[f64],
        source: &mut Source<'_, T, E>,
    ) -> Result<Self, E> {
        let NetworkConfig::Mlp(mlp) = &config.network;
        if let Some(gaussian) = &config.preconditioning {
            gaussian.check()?;
            if mean.len() != mlp.data {
                return Err(Error::Length { op: "the data's mean", expected: mlp.data, found: mean.len() }.into());
            }
        }
        let network = Mlp::build(mlp, source)?;
        Ok(match config.preconditioning {
            None => Self::Mlp(network),
            Some(gaussian) => Self::PreconditionedMlp(Preconditioned::new(device, network, gaussian, mean)?),
        })
    }

    /// The model's form.
    pub fn config(&self) -> ModelConfig {
        match self {
            Self::Mlp(mlp) => ModelConfig::mlp(mlp.config().clone()),
            Self::PreconditionedMlp(model) => ModelConfig::mlp(model.network().config().clone()).preconditioned(model.config()),
        }
    }

    /// The mean of the data, if the model is preconditioned.
    pub fn mean(&self) -> Option<&[f64]> {
        match self {
            Self::Mlp(_) => None,
            Self::PreconditionedMlp(model) => Some(model.mean()),
        }
    }
}

impl<T: Tensor> MetaFlowMap<T> for Model<T> {
    fn velocity(&self, query: &Query<'_, T>) -> Result<T> {
        match self {
            Self::Mlp(model) => model.velocity(query),
            Self::PreconditionedMlp(model) => model.velocity(query),
        }
    }

    fn loss_weight(&self, s: &[f64], t: &[f64]) -> Option<Vec<f64>> {
        match self {
            Self::Mlp(_) => None,
            Self::PreconditionedMlp(model) => model.loss_weight(s, t),
        }
    }
}

impl<T: Tensor> Module<T> for Model<T> {
    type Over<U: Tensor> = Model<U>;

    fn visit(&self, f: &mut dyn FnMut(&str, &T)) {
        match self {
            Self::Mlp(model) => model.visit(f),
            Self::PreconditionedMlp(model) => model.visit(f),
        }
    }

    fn rebuild<U: Tensor>(&self, next: &mut dyn FnMut(&str, &T) -> Result<U>) -> Result<Model<U>> {
        Ok(match self {
            Self::Mlp(model) => Model::Mlp(model.rebuild(next)?),
            Self::PreconditionedMlp(model) => Model::PreconditionedMlp(model.rebuild(next)?),
        })
    }
}

impl<T: Tensor> Lift<T> for Model<T> {
    type Lifted<U: Tensor> = Model<U>;

    fn lift<U: Tensor>(&self, carry: &mut dyn FnMut(&T) -> Result<U>) -> Result<Model<U>> {
        self.rebuild(&mut |_, tensor| carry(tensor))
    }
}
