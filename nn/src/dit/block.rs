//! A transformer block whose norms and gates come from the conditioning (adaLN-zero).

use super::attention::Attention;
use super::config::DitConfig;
use crate::layer::{Linear, Source, join};
use alloc::vec::Vec;
use mfm_core::tensor::{Activation, Segment};
use mfm_core::{Error, Operations, Result, Shape, Tensor};

/// ε of the layer norms.
pub(super) const EPSILON: f64 = 1e-6;

/// x ← x + g₁ attention(norm(x)(1 + k₁) + b₁), x ← x + g₂ mlp(norm(x)(1 + k₂) + b₂), with b₁, k₁, g₁, b₂, k₂, g₂ a linear map of the
/// conditioning.
#[derive(Clone, Debug)]
pub(super) struct Block<T> {
    attention: Attention<T>,
    enter: Linear<T>,
    leave: Linear<T>,
    modulation: Linear<T>,
}

/// Tokens in the two ways in which a block looks at them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tokens {
    /// [rows, tokens, hidden]: what attends to one another.
    pub rows: Shape,
    /// [groups, tokens of a group, hidden]: what shares its conditioning.
    pub groups: Shape,
}

/// A block as a function of x, the conditioning and its parameters, in this order.
#[derive(Clone)]
struct Recomputed {
    config: DitConfig,
    tokens: Tokens,
}

impl Segment for Recomputed {
    fn run<T: Tensor>(&self, inputs: &[T]) -> Result<T> {
        let missing = Error::Length { op: "block", expected: 2, found: inputs.len() };
        let [x, conditioning, parameters @ ..] = inputs else { return Err(missing) };
        let mut parameters = parameters.iter();
        let block = Block::build("", &self.config, &mut |_, _| parameters.next().cloned().ok_or(missing))?;
        block.apply(&self.config, x, conditioning, self.tokens)
    }
}

/// The parts of a modulation, [groups, N·hidden] → [groups, 1, hidden] each.
pub(super) fn parts<T: Tensor, const N: usize>(modulation: &T, hidden: usize) -> Result<[T; N]> {
    let stacked = modulation.reshape(Shape::new(&[modulation.shape().batch(), N, hidden])?)?;
    let wrong = |parts: Vec<T>| Error::Length { op: "modulation", expected: N, found: parts.len() };
    stacked.split(1, &[1; N])?.try_into().map_err(wrong)
}

impl<T: Tensor> Block<T> {
    pub fn build<E: From<Error>>(name: &str, config: &DitConfig, source: &mut Source<'_, T, E>) -> Result<Self, E> {
        let (hidden, wide) = (config.hidden, config.hidden * config.expansion);
        Ok(Self {
            attention: Attention::build(&join(name, "attn"), config, source)?,
            enter: Linear::build(&join(name, "mlp.fc1"), hidden, wide, source)?,
            leave: Linear::build(&join(name, "mlp.fc2"), wide, hidden, source)?,
            modulation: Linear::build(&join(name, "adaLN_modulation.1"), hidden, 6 * hidden, source)?,
        })
    }

    /// The block of x, seen as `tokens.groups`; `conditioning` is SiLU of the embeddings, [groups, hidden].
    pub fn apply(&self, config: &DitConfig, x: &T, conditioning: &T, tokens: Tokens) -> Result<T> {
        let modulation = self.modulation.apply(conditioning, Activation::Identity)?;
        let [b1, k1, g1, b2, k2, g2] = parts(&modulation, config.hidden)?;
        let y = x.layer_norm(&k1, &b1, EPSILON)?.reshape(tokens.rows)?;
        let x = x.gated_residual(&g1, &self.attention.apply(config, &y)?.reshape(tokens.groups)?)?;
        let y = x.layer_norm(&k2, &b2, EPSILON)?;
        let perceptron = [(&self.enter.weight, &self.enter.bias), (&self.leave.weight, &self.leave.bias)];
        let y = y.layers(perceptron, Activation::Gelu, Activation::Identity)?;
        x.gated_residual(&g2, &y)
    }

    /// The same, recomputed when it is pulled back ([`Tensor::recompute`]).
    pub fn recompute(&self, config: &DitConfig, x: &T, conditioning: &T, tokens: Tokens) -> Result<T> {
        let mut inputs = alloc::vec![x.clone(), conditioning.clone()];
        self.visit("", &mut |_, parameter| inputs.push(parameter.clone()));
        T::recompute(&Recomputed { config: config.clone(), tokens }, &inputs)
    }

    pub fn visit(&self, name: &str, f: &mut dyn FnMut(&str, &T)) {
        self.attention.visit(&join(name, "attn"), f);
        self.enter.visit(&join(name, "mlp.fc1"), f);
        self.leave.visit(&join(name, "mlp.fc2"), f);
        self.modulation.visit(&join(name, "adaLN_modulation.1"), f);
    }

    pub fn rebuild<U: Tensor>(&self, name: &str, next: &mut dyn FnMut(&str, &T) -> Result<U>) -> Result<Block<U>> {
        Ok(Block {
            attention: self.attention.rebuild(&join(name, "attn"), next)?,
            enter: self.enter.rebuild(&join(name, "mlp.fc1"), next)?,
            leave: self.leave.rebuild(&join(name, "mlp.fc2"), next)?,
            modulation: self.modulation.rebuild(&join(name, "adaLN_modulation.1"), next)?,
        })
    }
}
