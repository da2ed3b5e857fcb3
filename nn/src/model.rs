//! The model that files hold and applications use: a network, preconditioned or not.

use crate::dit::DitConfig;
use crate::layer::Source;
use crate::mlp::MlpConfig;
use crate::module::Module;
use crate::network::{Network, NetworkConfig};
use crate::on_path::OnPath;
use crate::precondition::{GaussianConfig, Preconditioned};
use alloc::string::String;
use alloc::vec::Vec;
use mfm_core::interpolant::{Linear, by_name};
use mfm_core::training::LATEST_TIME;
use mfm_core::{Device, Error, Interpolant, Lift, MetaFlowMap, Noise, Query, Result, Shape, Tensor};
use serde::{Deserialize, Serialize};

/// The form of a [`Model`]. The mean of a preconditioned model is kept beside it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelConfig {
    /// The network.
    pub network: NetworkConfig,
    /// The preconditioning, if any.
    pub preconditioning: Option<GaussianConfig>,
    /// The path that it is for ([`Interpolant::name`]). A preconditioned model must know it.
    pub interpolant: String,
}

impl ModelConfig {
    /// An [`Mlp`](crate::Mlp) without preconditioning, on the linear path.
    pub fn mlp(config: MlpConfig) -> Self {
        Self::plain(NetworkConfig::Mlp(config))
    }

    /// A [`Dit`](crate::Dit) without preconditioning, on the linear path.
    pub fn dit(config: DitConfig) -> Self {
        Self::plain(NetworkConfig::Dit(config))
    }

    fn plain(network: NetworkConfig) -> Self {
        Self { network, preconditioning: None, interpolant: Linear.name().into() }
    }

    /// The same with Gaussian preconditioning.
    #[must_use]
    pub fn preconditioned(self, gaussian: GaussianConfig) -> Self {
        Self { preconditioning: Some(gaussian), ..self }
    }

    /// The path, if it is one of the library's.
    pub fn path(&self) -> Option<&'static dyn Interpolant> {
        by_name(&self.interpolant)
    }

    /// The same on another path.
    #[must_use]
    pub fn on_path(self, path: &dyn Interpolant) -> Self {
        Self { interpolant: path.name().into(), ..self }
    }
}

/// A network, preconditioned or not, and the path that it is for.
#[derive(Clone, Debug)]
pub struct Model<T> {
    map: Map<T>,
    interpolant: String,
}

#[derive(Clone, Debug)]
enum Map<T> {
    Plain(Network<T>),
    Preconditioned(OnPath<Preconditioned<Network<T>, T>>),
}

impl<T: Tensor> Model<T> {
    /// A fresh model; `mean` is the mean of the data (one item), which only a preconditioned model reads.
    ///
    /// # Errors
    /// [`Error::Range`] for a bad `config`, [`Error::Length`] if the mean has another size than an item, [`Error::Unsupported`] for preconditioning on
    /// a path that is not the library's, or whose late times the device does not tell apart, and whatever the device reports.
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

    /// A network without preconditioning, for the path `path`.
    pub fn plain(network: Network<T>, path: &dyn Interpolant) -> Self {
        Self { map: Map::Plain(network), interpolant: path.name().into() }
    }

    fn around<D: Device<Tensor = T>>(device: &D, network: Network<T>, config: &ModelConfig, mean: &[f64]) -> Result<Self> {
        let map = match config.preconditioning {
            None => Map::Plain(network),
            Some(gaussian) => {
                check_times(device, config)?;
                let map = Preconditioned::new(device, network, gaussian, mean)?;
                Map::Preconditioned(OnPath::new(map, &config.interpolant)?)
            }
        };
        Ok(Self { map, interpolant: config.interpolant.clone() })
    }

    /// The network.
    pub fn network(&self) -> &Network<T> {
        match &self.map {
            Map::Plain(network) => network,
            Map::Preconditioned(map) => map.inner().network(),
        }
    }

    /// The same model with [`Network::recomputing`].
    #[must_use]
    pub fn recomputing(self, recomputing: bool) -> Self {
        let map = match self.map {
            Map::Plain(network) => Map::Plain(network.recomputing(recomputing)),
            Map::Preconditioned(map) => {
                Map::Preconditioned(map.map_inner(|model| model.map_network(|network| network.recomputing(recomputing))))
            }
        };
        Self { map, ..self }
    }

    fn preconditioned(&self) -> Option<&Preconditioned<Network<T>, T>> {
        match &self.map {
            Map::Plain(_) => None,
            Map::Preconditioned(map) => Some(map.inner()),
        }
    }

    /// The model's form.
    pub fn config(&self) -> ModelConfig {
        ModelConfig {
            network: self.network().config(),
            preconditioning: self.preconditioned().map(Preconditioned::config),
            interpolant: self.interpolant.clone(),
        }
    }

    /// The mean of the data, if the model is preconditioned.
    pub fn mean(&self) -> Option<&[f64]> {
        self.preconditioned().map(Preconditioned::mean)
    }
}

/// Checks the preconditioning.
fn check(config: &ModelConfig, mean: &[f64]) -> Result<()> {
    let Some(gaussian) = &config.preconditioning else { return Ok(()) };
    gaussian.check()?;
    let expected = config.network.data();
    if mean.len() == expected { Ok(()) } else { Err(Error::Length { op: "the data's mean", expected, found: mean.len() }) }
}

/// Checks that the device tells late times apart, where the velocity of the path is infinite at 1.
fn check_times<D: Device>(device: &D, config: &ModelConfig) -> Result<()> {
    let Some(path) = config.path().filter(|path| path.coefficients(1.0).alpha_dot.is_infinite()) else { return Ok(()) };
    let late: Vec<f64> = device.from_slice(&[LATEST_TIME], Shape::new(&[1])?)?.to_vec()?;
    let what = "times near 1 are not told apart by the device's numbers, as this path needs when it is preconditioned";
    if path.coefficients(late[0]).alpha > 0.0 { Ok(()) } else { Err(Error::Unsupported { op: "a model", what }) }
}

impl<T: Tensor> MetaFlowMap<T> for Model<T> {
    fn velocity(&self, query: &Query<'_, T>) -> Result<T> {
        match &self.map {
            Map::Plain(network) => network.velocity(query),
            Map::Preconditioned(map) => map.velocity(query),
        }
    }

    fn loss_weight(&self, s: &[f64], t: &[f64]) -> Option<Vec<f64>> {
        match &self.map {
            Map::Plain(network) => network.loss_weight(s, t),
            Map::Preconditioned(map) => map.loss_weight(s, t),
        }
    }
}

impl<T: Tensor> Module<T> for Model<T> {
    type Over<U: Tensor> = Model<U>;

    fn visit(&self, f: &mut dyn FnMut(&str, &T)) {
        match &self.map {
            Map::Plain(network) => network.visit(f),
            Map::Preconditioned(map) => map.visit(f),
        }
    }

    fn rebuild<U: Tensor>(&self, next: &mut dyn FnMut(&str, &T) -> Result<U>) -> Result<Model<U>> {
        let map = match &self.map {
            Map::Plain(network) => Map::Plain(network.rebuild(next)?),
            Map::Preconditioned(map) => Map::Preconditioned(map.rebuild(next)?),
        };
        Ok(Model { map, interpolant: self.interpolant.clone() })
    }
}

impl<T: Tensor> Lift<T> for Model<T> {
    type Lifted<U: Tensor> = Model<U>;

    fn lift<U: Tensor>(&self, carry: &mut dyn FnMut(&T) -> Result<U>) -> Result<Model<U>> {
        self.rebuild(&mut |_, tensor| carry(tensor))
    }
}
