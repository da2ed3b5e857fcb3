//! A network of any kind.

use crate::dit::{Dit, DitConfig, from_scratch};
use crate::layer::Source;
use crate::mlp::{Mlp, MlpConfig};
use crate::module::Module;
use alloc::vec::Vec;
use mfm_core::{Condition, Device, Error, Lift, MetaFlowMap, Noise, Operations, Query, Result, Shape, Tensor};
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
            NetworkConfig::Mlp(config) => Mlp::new(device, config, noise).map(Self::Mlp),
            NetworkConfig::Dit(config) => Dit::build(config, &mut from_scratch(device, noise)).map(Self::Dit),
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

impl<T: Tensor> Network<T> {
    fn evaluate(&self, query: &Query<'_, T>) -> Result<T> {
        match self {
            Self::Mlp(network) => network.velocity(query),
            Self::Dit(network) => network.velocity(query),
        }
    }

    /// The label that stands for none, if the network knows labels and takes no guidance scale as an input.
    fn null_label(&self) -> Option<usize> {
        let (labels, scales) = match self {
            Self::Mlp(network) => (network.config().labels, &[][..]),
            Self::Dit(network) => (network.config().labels, &network.config().guidance[..]),
        };
        (labels > 0 && scales.is_empty()).then_some(labels)
    }

    /// v(∅) + w (v(y) − v(∅)), for scales w that are not all one.
    fn extrapolate(&self, query: &Query<'_, T>, null: usize, labels: &[usize], scales: &[f64]) -> Result<T> {
        if let Some(&value) = scales.iter().find(|scale| !scale.is_finite()) {
            return Err(Error::Range { what: "the guidance scale", value, range: "finite" });
        }
        let draws = query.draws()?;
        let under = |labels| self.evaluate(&Query { condition: Condition::labels(labels), ..query.clone() });
        let with = under(labels)?;
        if scales.iter().all(|&scale| scale == 1.0) {
            return Ok(with);
        }
        let without = under(&[null])?;
        let scales: Vec<f64> = match scales {
            [all] => alloc::vec![*all],
            each => each.iter().flat_map(|&scale| core::iter::repeat_n(scale, draws)).collect(),
        };
        let scales = query.x.device().from_slice(&scales, Shape::new(&[scales.len()])?)?;
        without.gated_residual(&scales.per_item(query.x.shape())?, &with.sub(&without)?)
    }
}

/// A network that takes a guidance scale w as an input is told it. Another that knows labels is guided by itself, v = v(∅) + w (v(y) − v(∅)), at twice the price where w is
/// not 1 (Ho, Salimans, *Classifier-Free Diffusion Guidance*, 2022): it must have learned what no label means, from labels that were dropped. On the diagonal that is guidance
/// of the flow; of jumps it is an extrapolation, for which few steps may be too few.
impl<T: Tensor> MetaFlowMap<T> for Network<T> {
    fn velocity(&self, query: &Query<'_, T>) -> Result<T> {
        match (self.null_label(), query.condition.labels, query.condition.guidance) {
            (Some(null), Some(labels), Some(scales)) => self.extrapolate(query, null, labels, scales),
            _ => self.evaluate(query),
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
