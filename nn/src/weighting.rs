//! A learned weighting of the diagonal loss, in training beside a map.

use crate::mlp::frequencies;
use crate::module::Module;
use mfm_core::tensor::{Activation, Unary};
use mfm_core::training::LossScale;
use mfm_core::{Device, Operations, Result, Shape, Tensor};

/// K: each time enters with K sines and cosines.
const FREQUENCIES: usize = 4;
/// 1, two times, and their sines and cosines.
const FEATURES: usize = 3 + 4 * FREQUENCIES;

/// u(s, t) = w · [1, s, t, sin πks, sin πkt, cos πks, cos πkt], k = 1 … 4; zero at first.
#[derive(Clone, Debug)]
pub struct LossWeighting<T> {
    /// w, [1, 19].
    weight: T,
    /// πk: a constant.
    frequencies: T,
}

impl<T: Tensor> LossWeighting<T> {
    /// The weighting that weighs all times alike.
    ///
    /// # Errors
    /// Whatever the device reports.
    pub fn new<D: Device<Tensor = T>>(device: &D) -> Result<Self> {
        Self::of(device.zeros(Shape::new(&[1, FEATURES])?)?)
    }

    fn of(weight: T) -> Result<Self> {
        let frequencies = frequencies(&weight.device(), FREQUENCIES)?;
        Ok(Self { weight, frequencies })
    }
}

impl<T: Tensor> LossScale<T> for LossWeighting<T> {
    fn logarithm(&self, s: &T, t: &T) -> Result<T> {
        let n = s.shape().elements();
        let column = Shape::new(&[n, 1])?;
        let times = T::concat(&[&s.reshape(column)?, &t.reshape(column)?], 1)?;
        let angles = times.reshape(Shape::new(&[n, 2, 1])?)?.mul(&self.frequencies)?.reshape(Shape::new(&[n, 2 * FREQUENCIES])?)?;
        let one = times.device().full(1.0, column)?;
        let features = T::concat(&[&one, &times, &angles.unary(Unary::Sin)?, &angles.unary(Unary::Cos)?], 1)?;
        features.linear(&self.weight, None, Activation::Identity)?.reshape(Shape::new(&[n])?)
    }
}

/// A map, and the weighting of its loss that is learned with it, if there is one.
#[derive(Clone, Debug)]
pub struct Weighted<M, T> {
    /// The map.
    pub map: M,
    /// The weighting.
    pub weighting: Option<LossWeighting<T>>,
}

/// The map's parameters, then that of the weighting.
impl<T: Tensor, M: Module<T>> Module<T> for Weighted<M, T> {
    type Over<U: Tensor> = Weighted<M::Over<U>, U>;

    fn visit(&self, f: &mut dyn FnMut(&str, &T)) {
        self.map.visit(f);
        if let Some(weighting) = &self.weighting {
            f("loss_weighting.weight", &weighting.weight);
        }
    }

    fn rebuild<U: Tensor>(&self, next: &mut dyn FnMut(&str, &T) -> Result<U>) -> Result<Self::Over<U>> {
        let map = self.map.rebuild(next)?;
        let weighting = self.weighting.as_ref().map(|own| LossWeighting::of(next("loss_weighting.weight", &own.weight)?)).transpose()?;
        Ok(Weighted { map, weighting })
    }
}
