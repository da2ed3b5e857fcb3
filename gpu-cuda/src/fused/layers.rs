//! The pullback of linear layers one after another: the slope of an activation, and the gradient of the bias before it, go with the product that makes their
//! cotangent.

use super::activation::slope;
use super::linear::Layer;
use super::{Pulled, contiguous_view, fresh};
use crate::epilogue::Epilogue;
use crate::matmul::product;
use crate::tensor::CudaTensor;
use mfm_core::tensor::{Activation, Transpose};
use mfm_core::{Result, Shape, Tensor};

const NAME: &str = "layers";

/// A layer, with what it keeps for the way back.
struct Kept {
    layer: Layer,
    /// x Wᵀ + b, where there is an activation after it.
    pre: Option<CudaTensor>,
    need_weight: bool,
    /// Whether there is a bias, and whether its gradient is needed.
    need_bias: Option<bool>,
}

/// A cotangent of x Wᵀ + b, and its sums over the rows if they are there already.
struct Cotangent {
    g: CudaTensor,
    sums: Option<CudaTensor>,
}

impl Kept {
    fn is_needed(&self) -> bool {
        self.need_weight || self.need_bias == Some(true)
    }

    /// The cotangent of x Wᵀ + b from that of the layer's result.
    fn enter(&self, g: CudaTensor) -> Result<Cotangent> {
        let g = match &self.pre {
            Some(pre) => slope(self.layer.activation, pre, &g)?,
            None => g,
        };
        Ok(Cotangent { g, sums: None })
    }

    /// From the cotangent of the next layer's x Wᵀ + b to that of this one's.
    fn pull_through(&self, next: &Layer, g: &CudaTensor) -> Result<Cotangent> {
        let pre = self.pre.as_ref().filter(|_| self.layer.activation == Activation::Gelu);
        let need_sums = pre.is_some() && self.need_bias == Some(true);
        let sums = if need_sums { Some(fresh(g, NAME, Shape::new(&[self.layer.out])?)?) } else { None };
        let place = sums.as_ref().map_or(0, CudaTensor::address);
        let wanted = pre.map_or(Epilogue::None, |pre| Epilogue::GeluSlope { pre: pre.address(), sums: place });
        let (g, done) = product(g, &next.weight, Transpose::NONE, wanted)?;
        match done {
            Epilogue::GeluSlope { sums: place, .. } => Ok(Cotangent { g, sums: sums.filter(|_| place != 0) }),
            _ => self.enter(g),
        }
    }

    /// The gradients of the weight and of the bias, if there is one.
    fn parameters(&self, Cotangent { g, sums }: &Cotangent) -> Result<impl Iterator<Item = Option<CudaTensor>> + use<>> {
        let need_sums = self.need_bias == Some(true);
        let (gw, gb) = match (self.need_weight, sums) {
            (true, None) => {
                let (gw, gb) = self.layer.parameters(g, need_sums)?;
                (Some(gw), gb)
            }
            (true, Some(sums)) => (Some(self.layer.parameters(g, false)?.0), Some(sums.clone())),
            (false, None) => (None, if need_sums { Some(self.layer.sums(g)?) } else { None }),
            (false, Some(sums)) => (None, Some(sums.clone())),
        };
        Ok(core::iter::once(gw).chain(self.need_bias.map(|_| gb)))
    }
}

/// x through layers (activation, `[W]` or `[W, b]`), with the pullback to x and all of these in order.
pub(super) fn vjp(x: &CudaTensor, layers: &[(Activation, &[&CudaTensor])], needed: &[bool]) -> Result<Pulled> {
    let (shape, mut y, mut kept) = (x.shape(), x.clone(), Vec::with_capacity(layers.len()));
    let Some((&need_x, mut rest)) = needed.split_first() else { return Ok(None) };
    for (activation, parameters) in layers {
        let inputs: Vec<&CudaTensor> = core::iter::once(&y).chain(parameters.iter().copied()).collect();
        let (Some(layer), Some((own, others))) = (Layer::new(*activation, &inputs)?, rest.split_at_checked(parameters.len())) else {
            return Ok(None);
        };
        // A product of nothing is a stretched zero, which must not be written to.
        if layer.inner == 0 {
            return Ok(None);
        }
        let (result, pre) = layer.forward(true)?;
        (y, rest) = (result, others);
        kept.push(Kept { layer, pre, need_weight: own[0], need_bias: own.get(1).copied() });
    }
    let Some(last) = kept.last().filter(|_| rest.is_empty()) else { return Ok(None) };
    let flat = Shape::new(&[last.layer.rows, last.layer.out])?;
    let pull = move |g: &CudaTensor| {
        let lowest = if need_x { Some(0) } else { kept.iter().position(Kept::is_needed) };
        // In reverse order.
        let mut all = Vec::new();
        let mut cotangent = None;
        for (i, layer) in kept.iter().enumerate().rev() {
            if lowest.is_none_or(|lowest| i < lowest) {
                all.extend((0..1 + usize::from(layer.need_bias.is_some())).map(|_| None));
                continue;
            }
            let own = match (cotangent.take(), kept.get(i + 1)) {
                (Some(Cotangent { g, .. }), Some(next)) => layer.pull_through(&next.layer, &g)?,
                _ => layer.enter(contiguous_view(&g.contiguous()?, flat))?,
            };
            let mut parameters: Vec<_> = layer.parameters(&own)?.collect();
            parameters.reverse();
            all.extend(parameters);
            cotangent = Some(own);
        }
        let gx = match (kept.first(), cotangent) {
            (Some(first), Some(Cotangent { g, .. })) if need_x => {
                Some(product(&g, &first.layer.weight, Transpose::NONE, Epilogue::None)?.0.reshape(shape)?)
            }
            _ => None,
        };
        all.push(gx);
        all.reverse();
        Ok(all)
    };
    Ok(Some((y, Box::new(pull))))
}

/// As [`vjp`], of `[x, W₁, b₁, W₂, b₂, ...]`.
pub(super) fn vjp_of_all(between: Activation, last: Activation, inputs: &[&CudaTensor], needed: &[bool]) -> Result<Pulled> {
    let Some((&x, parameters)) = inputs.split_first() else { return Ok(None) };
    let (pairs, odd) = parameters.as_chunks::<2>();
    if !odd.is_empty() {
        return Ok(None);
    }
    let layers: Vec<(Activation, &[&CudaTensor])> =
        pairs.iter().enumerate().map(|(i, pair)| (if i + 1 < pairs.len() { between } else { last }, &pair[..])).collect();
    vjp(x, &layers, needed)
}
