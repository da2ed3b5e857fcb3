//! From tokens to patches of the velocity.

use super::block::{EPSILON, parts};
use super::config::DitConfig;
use crate::layer::{Linear, Source, join};
use mfm_core::tensor::Activation;
use mfm_core::{Error, Operations, Result, Tensor};

/// A linear map of norm(x)(1 + k) + b, with b and k a linear map of the conditioning.
#[derive(Clone, Debug)]
pub(super) struct FinalLayer<T> {
    linear: Linear<T>,
    modulation: Linear<T>,
}

impl<T: Tensor> FinalLayer<T> {
    pub fn build<E: From<Error>>(name: &str, config: &DitConfig, source: &mut Source<'_, T, E>) -> Result<Self, E> {
        let linear = Linear::build(&join(name, "linear"), config.hidden, config.patch_data(), source)?;
        Ok(Self { linear, modulation: Linear::build(&join(name, "adaLN_modulation.1"), config.hidden, 2 * config.hidden, source)? })
    }

    /// [groups, tokens of a group, hidden] → [groups, tokens of a group, numbers of a patch]
    pub fn apply(&self, config: &DitConfig, x: &T, conditioning: &T) -> Result<T> {
        let modulation = self.modulation.apply(conditioning, Activation::Identity)?;
        let [b, k] = parts(&modulation, config.hidden)?;
        self.linear.apply(&x.layer_norm(&k, &b, EPSILON)?, Activation::Identity)
    }

    pub fn visit(&self, name: &str, f: &mut dyn FnMut(&str, &T)) {
        self.linear.visit(&join(name, "linear"), f);
        self.modulation.visit(&join(name, "adaLN_modulation.1"), f);
    }

    pub fn rebuild<U: Tensor>(&self, name: &str, next: &mut dyn FnMut(&str, &T) -> Result<U>) -> Result<FinalLayer<U>> {
        let linear = self.linear.rebuild(&join(name, "linear"), next)?;
        Ok(FinalLayer { linear, modulation: self.modulation.rebuild(&join(name, "adaLN_modulation.1"), next)? })
    }
}
