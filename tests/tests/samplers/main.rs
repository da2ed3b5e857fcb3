//! Samplers with exact posteriors: the law that each reaches, and what each costs.

mod costs;
#[path = "../support/mod.rs"]
mod support;

mod paths;
mod populations;
mod refusals;
mod reports;
mod starts;
mod steering;
mod unit;
mod unsteered;

use mfm_core::interpolant::{Interpolant, Linear};
use mfm_core::{Flow, Result};
use mfm_toy2d::exact::TransportMap;
use mfm_toy2d::{GaussianMixture, QuadraticReward, tilt};

/// The paper's mixture and reward, with exact posteriors.
struct Paper {
    prior: GaussianMixture,
    reward: QuadraticReward,
    target: GaussianMixture,
    map: TransportMap,
    path: &'static dyn Interpolant,
}

impl Paper {
    fn new(path: &'static dyn Interpolant) -> Result<Self> {
        let (prior, reward) = (GaussianMixture::paper(), QuadraticReward::paper());
        let target = tilt(&prior, &reward)?.mixture;
        Ok(Self { map: TransportMap::new(&prior, path, 2), prior, reward, target, path })
    }

    fn linear() -> Result<Self> {
        Self::new(&Linear)
    }

    fn flow(&self) -> Flow<'_, TransportMap> {
        Flow::new(&self.map, self.path)
    }
}
