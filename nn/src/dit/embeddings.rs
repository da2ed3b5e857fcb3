//! What a network is told beside the image: times, a label, a guidance scale.

use super::config::DitConfig;
use crate::layer::{Linear, Source, join};
use alloc::vec::Vec;
use mfm_core::tensor::{Activation, Unary};
use mfm_core::{Device, Error, Operations, Result, Shape, Tensor};

/// Half the number of features of a time.
const FREQUENCIES: usize = 128;

/// 10000^(−i/128), i = 0 … 127, by which a time is multiplied in its cosines and sines.
pub(super) fn frequencies<D: Device>(device: &D) -> Result<D::Tensor> {
    let values: Vec<f64> = (0..FREQUENCIES).map(|i| libm::exp(-libm::log(10_000.0) * i as f64 / FREQUENCIES as f64)).collect();
    device.from_slice(&values, Shape::new(&[FREQUENCIES])?)
}

/// The features of times, [n] → [n, 256]: cosines, then sines.
pub(super) fn features<T: Tensor>(times: &T, frequencies: &T) -> Result<T> {
    let angles = times.reshape(Shape::new(&[times.shape().elements(), 1])?)?.mul(frequencies)?;
    T::concat(&[&angles.unary(Unary::Cos)?, &angles.unary(Unary::Sin)?], 1)
}

/// Two linear layers, a SiLU between them, of a time's features.
#[derive(Clone, Debug)]
pub(super) struct TimeEmbedding<T> {
    first: Linear<T>,
    second: Linear<T>,
}

impl<T: Tensor> TimeEmbedding<T> {
    pub fn build<E: From<Error>>(name: &str, config: &DitConfig, source: &mut Source<'_, T, E>) -> Result<Self, E> {
        let first = Linear::build(&join(name, "mlp.0"), 2 * FREQUENCIES, config.hidden, source)?;
        Ok(Self { first, second: Linear::build(&join(name, "mlp.2"), config.hidden, config.hidden, source)? })
    }

    /// [n, 256] → [n, hidden]
    pub fn apply(&self, features: &T) -> Result<T> {
        self.second.apply(&self.first.apply(features, Activation::Silu)?, Activation::Identity)
    }

    pub fn visit(&self, name: &str, f: &mut dyn FnMut(&str, &T)) {
        self.first.visit(&join(name, "mlp.0"), f);
        self.second.visit(&join(name, "mlp.2"), f);
    }

    pub fn rebuild<U: Tensor>(&self, name: &str, next: &mut dyn FnMut(&str, &T) -> Result<U>) -> Result<TimeEmbedding<U>> {
        let first = self.first.rebuild(&join(name, "mlp.0"), next)?;
        Ok(TimeEmbedding { first, second: self.second.rebuild(&join(name, "mlp.2"), next)? })
    }
}

/// The embeddings of labels, the last of which stands for none: [states, hidden], or [1, hidden] for all.
pub(super) fn label<T: Tensor>(table: Option<&T>, config: &DitConfig, labels: Option<&[usize]>) -> Result<Option<T>> {
    match (table, labels) {
        (None, None) => Ok(None),
        (None, Some(_)) => Err(Error::Unsupported { op: "dit", what: "this network knows no labels" }),
        (Some(table), None) => table.slice(0, config.labels, 1).map(Some),
        (Some(table), Some(labels)) => table.gather(0, labels).map(Some),
    }
}

/// The embeddings of guidance scales: [states, hidden], or [1, hidden] for all.
pub(super) fn guidance<T: Tensor>(table: Option<&T>, config: &DitConfig, scales: Option<&[f64]>) -> Result<Option<T>> {
    let index = |scale: &f64| {
        let known = config.guidance.iter().position(|known| known == scale);
        known.ok_or(Error::Range { what: "the guidance scale", value: *scale, range: "one of those that the network was made for" })
    };
    match (table, scales) {
        (None, None) => Ok(None),
        (None, Some(_)) => Err(Error::Unsupported { op: "dit", what: "this network takes no guidance scale" }),
        (Some(table), None) => table.slice(0, 0, 1).map(Some),
        (Some(table), Some(scales)) => table.gather(0, &scales.iter().map(index).collect::<Result<Vec<_>>>()?).map(Some),
    }
}
