//! The model that files hold and applications use: a network, preconditioned or not.

use crate::dit::DitConfig;
use crate::layer::Source;
use crate::mlp::MlpConfig;
use crate::module::Module;
use crate::network::{Network, NetworkConfig};
use crate::precondition::{GaussianConfig, Preconditioned};
use alloc::vec::Vec;
use mfm_core::{Device, Error, Lift, MetaFlowMap, Noise, Query, Result, Tensor};
use serde::{Deserialize, Serialize};

/// The form of a [`Model`]. The mean of a preconditioned model is kept beside it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelConfig {
    /// The network.
    pub network: NetworkConfig,
    /// The preconditioning, if any.
    pub preconditioning: Option<GaussianConfig>,
}

impl ModelConfig {
    /// An [`Mlp`](crate::Mlp) without preconditioning.
    pub fn mlp(config: MlpConfig) -> Self {
        Self { network: NetworkConfig::Mlp(config), preconditioning: None }
    }

    /// A [`Dit`](crate::Dit) without preconditioning.
    pub fn dit(config: DitConfig) -> Self {
        Self { network: NetworkConfig::Dit(config), preconditioning: None }
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
    /// A network alone.
    Plain(Network<T>),
    /// A preconditioned network.
    Preconditioned(Preconditioned<Network<T>, T>),
}

impl<T: Tensor> Model<T> {
    /// A fresh model; `mean` is the mean of the data (one item), which only a preconditioned model reads.
    ///
    /// # Errors
    /// [`Error::Range`] for a bad `config`, [`Error::Length`] if the mean has another size than an item, and whatever the device reports.
    pub fn new<D: Device<Tensor = T>>(device: &D, config: &ModelConfig, mean: &[f64], noise: &Noise) -> Result<Self> {
        check(config, mean)?;
        Self::around(device, Network::new(device, &config.network, noise)?, config, mean)
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
        check(config, mean)?;
        Ok(Self::around(device, Network::build(&config.network, source)?, config, mean)?)
    }

    fn around<D: Device<Tensor = T>>(device: &D, network: Network<T>, config: &ModelConfig, mean: &[f64]) -> Result<Self> {
        Ok(match config.preconditioning {
            None => Self::Plain(network),
            Some(gaussian) => Self::Preconditioned(Preconditioned::new(device, network, gaussian, mean)?),
        })
    }

    /// The network.
    pub fn network(&self) -> &Network<T> {
        match self {
            Self::Plain(network) => network,
            Self::Preconditioned(model) => model.network(),
        }
    }

    /// The same model with [`Network::recomputing`].
    #[must_use]
    pub fn recomputing(self, recomputing: bool) -> Self {
        match self {
            Self::Plain(network) => Self::Plain(network.recomputing(recomputing)),
            Self::Preconditioned(model) => Self::Preconditioned(model.map_network(|network| network.recomputing(recomputing))),
        }
    }

    /// The model's form.
    pub fn config(&self) -> ModelConfig {
        let preconditioning = match self {
            Self::Plain(_) => None,
            Self::Preconditioned(model) => Some(model.config()),
        };
        ModelConfig { network: self.network().config(), preconditioning }
    }

    /// The mean of the data, if the model is preconditioned.
    pub fn mean(&self) -> Option<&[f64]> {
        match self {
            Self::Plain(_) => None,
            Self::Preconditioned(model) => Some(model.mean()),
        }
    }
}

/// Checks the preconditioning.
fn check(config: &ModelConfig, mean: &[f64]) -> Result<()> {
    let Some(gaussian) = &config.preconditioning else { return Ok(()) };
    gaussian.check()?;
    let expected = config.network.data();
    if mean.len() == expected { Ok(()) } else { Err(Error::Length { op: "the data's mean", expected, found: mean.len() }) }
}

impl<T: Tensor> MetaFlowMap<T> for Model<T> {
    fn velocity(&self, query: &Query<'_, T>) -> Result<T> {
        match self {
            Self::Plain(model) => model.velocity(query),
            Self::Preconditioned(model) => model.velocity(query),
        }
    }

    fn loss_weight(&self, s: &[f64], t: &[f64]) -> Option<Vec<f64>> {
        match self {
            Self::Plain(model) => model.loss_weight(s, t),
            Self::Preconditioned(model) => model.loss_weight(s, t),
        }
    }
}

impl<T: Tensor> Module<T> for Model<T> {
    type Over<U: Tensor> = Model<U>;

    fn visit(&self, f: &mut dyn FnMut(&str, &T)) {
        match self {
            Self::Plain(model) => model.visit(f),
            Self::Preconditioned(model) => model.visit(f),
        }
    }

    fn rebuild<U: Tensor>(&self, next: &mut dyn FnMut(&str, &T) -> Result<U>) -> Result<Model<U>> {
        Ok(match self {
            Self::Plain(model) => Model::Plain(model.rebuild(next)?),
            Self::Preconditioned(model) => Model::Preconditioned(model.rebuild(next)?),
        })
    }
}

impl<T: Tensor> Lift<T> for Model<T> {
    type Lifted<U: Tensor> = Model<U>;

    fn lift<U: Tensor>(&self, carry: &mut dyn FnMut(&T) -> Result<U>) -> Result<Model<U>> {
        self.rebuild(&mut |_, tensor| carry(tensor))
    }
}
