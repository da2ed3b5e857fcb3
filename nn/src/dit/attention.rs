//! Multi-head self-attention.

use super::config::DitConfig;
use crate::layer::{Linear, Source, join};
use mfm_core::tensor::Activation;
use mfm_core::{Error, Operations, Result, Shape, Tensor};

/// ε of the normalisation of queries and keys.
const EPSILON: f64 = 1e-5;

/// softmax(q kᵀ/√d) v in each head, and a linear layer. The weight of q, k and v is one, [3 hidden, hidden].
#[derive(Clone, Debug)]
pub(super) struct Attention<T> {
    qkv: Linear<T>,
    projection: Linear<T>,
    /// Of queries and of keys.
    norms: Option<[Norm<T>; 2]>,
}

/// The learnt part of a layer norm of each head, w (x − mean)/√(variance + ε) + b.
#[derive(Clone, Debug)]
struct Norm<T> {
    weight: T,
    bias: T,
}

const NORMS: [&str; 2] = ["q_norm", "k_norm"];

impl<T: Tensor> Norm<T> {
    fn build<E: From<Error>>(name: &str, width: usize, source: &mut Source<'_, T, E>) -> Result<Self, E> {
        let shape = Shape::new(&[width])?;
        Ok(Self { weight: source(&join(name, "weight"), shape)?, bias: source(&join(name, "bias"), shape)? })
    }

    fn apply(&self, x: &T) -> Result<T> {
        x.layer_norm(&self.weight.shift(-1.0)?, &self.bias, EPSILON)
    }

    fn rebuild<U: Tensor>(&self, name: &str, next: &mut dyn FnMut(&str, &T) -> Result<U>) -> Result<Norm<U>> {
        Ok(Norm { weight: next(&join(name, "weight"), &self.weight)?, bias: next(&join(name, "bias"), &self.bias)? })
    }
}

impl<T: Tensor> Attention<T> {
    pub fn build<E: From<Error>>(name: &str, config: &DitConfig, source: &mut Source<'_, T, E>) -> Result<Self, E> {
        let (hidden, head) = (config.hidden, config.hidden / config.heads);
        let qkv = Linear::build(&join(name, "qkv"), hidden, 3 * hidden, source)?;
        let norms = if config.normalised_attention {
            let [q, k] = NORMS.map(|norm| Norm::build(&join(name, norm), head, source));
            Some([q?, k?])
        } else {
            None
        };
        Ok(Self { qkv, projection: Linear::build(&join(name, "proj"), hidden, hidden, source)?, norms })
    }

    /// [n, tokens, hidden] → the same.
    pub fn apply(&self, config: &DitConfig, x: &T) -> Result<T> {
        let (shape, width) = (x.shape(), config.hidden / config.heads);
        let apart = Shape::new(&[shape.batch(), config.tokens(), 3, config.heads, width])?;
        let heads = Shape::new(&[shape.batch(), config.tokens(), config.heads, width])?;
        let parts = self.qkv.apply(x, Activation::Identity)?.reshape(apart)?.split(2, &[1; 3])?;
        let part = |i: usize| -> Result<T> {
            let all = parts[i].reshape(heads)?;
            let all = match self.norms.as_ref().and_then(|norms| norms.get(i)) {
                Some(norm) => norm.apply(&all)?,
                None => all,
            };
            all.permute(&[0, 2, 1, 3])
        };
        let mixed = part(0)?.attention(&part(1)?, &part(2)?)?;
        self.projection.apply(&mixed.permute(&[0, 2, 1, 3])?.reshape(shape)?, Activation::Identity)
    }

    pub fn visit(&self, name: &str, f: &mut dyn FnMut(&str, &T)) {
        self.qkv.visit(&join(name, "qkv"), f);
        for (norm, part) in self.norms.iter().flatten().zip(NORMS) {
            let name = join(name, part);
            f(&join(&name, "weight"), &norm.weight);
            f(&join(&name, "bias"), &norm.bias);
        }
        self.projection.visit(&join(name, "proj"), f);
    }

    pub fn rebuild<U: Tensor>(&self, name: &str, next: &mut dyn FnMut(&str, &T) -> Result<U>) -> Result<Attention<U>> {
        let qkv = self.qkv.rebuild(&join(name, "qkv"), next)?;
        let norms = match &self.norms {
            Some([q, k]) => Some([q.rebuild(&join(name, NORMS[0]), next)?, k.rebuild(&join(name, NORMS[1]), next)?]),
            None => None,
        };
        Ok(Attention { qkv, norms, projection: self.projection.rebuild(&join(name, "proj"), next)? })
    }
}
