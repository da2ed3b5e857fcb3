//! A network of any kind.

use crate::dit::{Dit, DitConfig, from_scratch};
use crate::layer::{Source, fresh};
use crate::mlp::{Mlp, MlpConfig};
use crate::module::Module;
use mfm_core::{Device, Error, Lift, MetaFlowMap, Noise, Query, Result, Tensor};
use serde::{Deserialize, Serialize};

/// The form of a [`Network`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum NetworkConfig {
    /// An [`Mlp`].
    Mlp(MlpConfig),
    /// A [`Dit`].
    Dit(DitConfig),
}

impl NetworkConfig {
    /// The number of numbers in one item of data.
    pub fn data(&self) -> usize {
        match self {
            Self::Mlp(config) => config.data,
            Self::Dit(config) => config.data(),
        }
    }

    /// The number of labels, 0 for none.
    pub fn labels(&self) -> usize {
        match self {
            Self::Mlp(config) => config.labels,
            Self::Dit(config) => config.labels,
        }
    }

    /// The guidance scales that the network takes as an input, if any.
    pub fn guidance(&self) -> &[f64] {
        match self {
            Self::Mlp(_) => &[],
            Self::Dit(config) => &config.guidance,
        }
    }
}

/// A network of any kind.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Network<T> {
    /// A multi-layer perceptron.
    Mlp(Mlp<T>),
    /// A transformer.
    Dit(Dit<T>),
}

impl<T: Tensor> Network<T> {
    /// A fresh network.
    ///
    /// # Errors
    /// [`Error::Range`] for a bad `config`, and whatever the device reports.
    pub fn new<D: Device<Tensor = T>>(device: &D, config: &NetworkConfig, noise: &Noise) -> Result<Self> {
        match config {
            NetworkConfig::Mlp(mlp) => {
                let zeros: &[&str] = if mlp.zero_output { &["output."] } else { &[] };
                Self::build(config, &mut fresh(device, noise, zeros))
            }
            NetworkConfig::Dit(_) => Self::build(config, &mut from_scratch(device, noise)),
        }
    }

    /// A network of the parameters that `source` gives for their names and shapes.
    ///
    /// # Errors
    /// [`Error::Range`] for a bad `config`, and those of `source`.
    pub fn build<E: From<Error>>(config: &NetworkConfig, source: &mut Source<'_, T, E>) -> Result<Self, E> {
        Ok(match config {
            NetworkConfig::Mlp(config) => Self::Mlp(Mlp::build(config, source)?),
            NetworkConfig::Dit(config) => Self::Dit(Dit::build(config, source)?),
        })
    }

    /// The same network, gradients of which are taken with less memory and more time where it knows how ([`Dit::recomputing`]).
    #[must_use]
    pub fn recomputing(self, recomputing: bool) -> Self {
        match self {
            Self::Mlp(network) => Self::Mlp(network),
            Self::Dit(network) => Self::Dit(network.recomputing(recomputing)),
        }
    }

    /// The network's form.
    pub fn config(&self) -> NetworkConfig {
        match self {
            Self::Mlp(network) => NetworkConfig::Mlp(network.config().clone()),
            Self::Dit(network) => NetworkConfig::Dit(network.config().clone()),
        }
    }
}

impl<T: Tensor> MetaFlowMap<T> for Network<T> {
    fn velocity(&self, query: &Query<'_, T>) -> Result<T> {
        match self {
            Self::Mlp(network) => network.velocity(query),
            Self::Dit(network) => network.velocity(query),
        }
    }
}

impl<T: Tensor> Module<T> for Network<T> {
    type Over<U: Tensor> = Network<U>;

    fn visit(&self, f: &mut dyn FnMut(&str, &T)) {
        match self {
            Self::Mlp(network) => network.visit(f),
            Self::Dit(network) => network.visit(f),
        }
    }

    fn rebuild<U: Tensor>(&self, next: &mut dyn FnMut(&str, &T) -> Result<U>) -> Result<Network<U>> {
        Ok(match self {
            Self::Mlp(network) => Network::Mlp(network.rebuild(next)?),
            Self::Dit(network) => Network::Dit(network.rebuild(next)?),
        })
    }
}

impl<T: Tensor> Lift<T> for Network<T> {
    type Lifted<U: Tensor> = Network<U>;

    fn lift<U: Tensor>(&self, carry: &mut dyn FnMut(&T) -> Result<U>) -> Result<Network<U>> {
        self.rebuild(&mut |_, tensor| carry(tensor))
    }
}
