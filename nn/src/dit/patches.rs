//! Images as tokens and back.

use super::config::DitConfig;
use crate::layer::{Source, join};
use mfm_core::tensor::Activation;
use mfm_core::{Error, Operations, Result, Shape, Tensor};

/// A linear map of patches, with its weight as that of a convolution, [hidden, channels, patch, patch].
#[derive(Clone, Debug)]
pub(super) struct PatchEmbedding<T> {
    weight: T,
    bias: T,
}

impl<T: Tensor> PatchEmbedding<T> {
    pub fn build<E: From<Error>>(name: &str, config: &DitConfig, source: &mut Source<'_, T, E>) -> Result<Self, E> {
        let weight = source(&join(name, "weight"), Shape::new(&[config.hidden, config.channels, config.patch, config.patch])?)?;
        let bias = source(&join(name, "bias"), Shape::new(&[config.hidden])?)?;
        Ok(Self { weight, bias })
    }

    /// The tokens of images, [n, ...] → [n, tokens, hidden].
    pub fn apply(&self, config: &DitConfig, images: &T) -> Result<T> {
        let (n, grid, patch) = (images.shape().batch(), config.grid(), config.patch);
        let pixels = images.reshape(Shape::new(&[n, config.channels, grid, patch, grid, patch])?)?;
        let patches = pixels.permute(&[0, 2, 4, 1, 3, 5])?.reshape(Shape::new(&[n, config.tokens(), config.patch_data()])?)?;
        let weight = self.weight.reshape(Shape::new(&[config.hidden, config.patch_data()])?)?;
        patches.linear(&weight, Some(&self.bias), Activation::Identity)
    }

    pub fn visit(&self, name: &str, f: &mut dyn FnMut(&str, &T)) {
        f(&join(name, "weight"), &self.weight);
        f(&join(name, "bias"), &self.bias);
    }

    pub fn rebuild<U: Tensor>(&self, name: &str, next: &mut dyn FnMut(&str, &T) -> Result<U>) -> Result<PatchEmbedding<U>> {
        Ok(PatchEmbedding { weight: next(&join(name, "weight"), &self.weight)?, bias: next(&join(name, "bias"), &self.bias)? })
    }
}

/// The images of tokens, of shape `images`: in a token the channel varies fastest, then the column, then the row.
pub(super) fn assemble<T: Tensor>(config: &DitConfig, tokens: &T, images: Shape) -> Result<T> {
    let (n, grid, patch) = (images.batch(), config.grid(), config.patch);
    let pixels = tokens.reshape(Shape::new(&[n, grid, grid, patch, patch, config.channels])?)?;
    pixels.permute(&[0, 5, 1, 3, 2, 4])?.reshape(images)
}
