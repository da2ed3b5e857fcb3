//! act(x Wᵀ + b): a product with bias and activation in its epilogue, or in one pass over it.

use super::activation::push;
use super::{Pulled, Pushed, contiguous_view, fresh, layers, number_of};
use crate::abi::EpilogueArgs;
use crate::epilogue::Epilogue;
use crate::kernels::{EPILOGUE, Grid, Suffix};
use crate::matmul::{matmul, product};
use crate::tensor::CudaTensor;
use mfm_core::tensor::{Activation, Fused, Transpose};
use mfm_core::{Operations, Result, Shape, Tensor};

const NAME: &str = "linear";

/// The layer's operands: x as rows.
pub(super) struct Layer {
    pub activation: Activation,
    x: CudaTensor,
    pub weight: CudaTensor,
    bias: Option<CudaTensor>,
    pub rows: usize,
    pub inner: usize,
    pub out: usize,
    /// Of the result.
    shape: Shape,
}

impl Layer {
    /// `None` for the wrong number of inputs.
    pub fn new(activation: Activation, inputs: &[&CudaTensor]) -> Result<Option<Self>> {
        let (x, weight, bias) = match *inputs {
            [x, weight] => (x, weight, None),
            [x, weight, bias] => (x, weight, Some(bias)),
            _ => return Ok(None),
        };
        let (rows, inner, out) = Fused::linear_shape(x.shape(), weight.shape(), bias.map(Tensor::shape))?;
        Ok(Some(Self {
            activation,
            x: x.reshape(Shape::new(&[rows, inner])?)?,
            weight: weight.clone(),
            bias: bias.map(CudaTensor::contiguous).transpose()?,
            rows,
            inner,
            out,
            shape: x.shape().with_axis(x.shape().rank() - 1, out)?,
        }))
    }

    /// act(x Wᵀ + b), and x Wᵀ + b if `keep`.
    pub fn forward(&self, keep: bool) -> Result<(CudaTensor, Option<CudaTensor>)> {
        let flat = Shape::new(&[self.rows, self.out])?;
        let pre = if keep && self.activation != Activation::Identity { Some(fresh(&self.x, NAME, flat)?) } else { None };
        let address = |x: &Option<CudaTensor>| x.as_ref().map_or(0, CudaTensor::address);
        let (bias, kept) = (address(&self.bias), address(&pre));
        let wanted = match self.activation {
            Activation::Gelu => Epilogue::Gelu { bias, pre: kept },
            _ if bias != 0 => Epilogue::Bias(bias),
            _ => Epilogue::None,
        };
        let (product, done) = product(&self.x, &self.weight, Transpose::RIGHT, wanted)?;
        // What the product left to do.
        let (bias, activation) = match done {
            Epilogue::Gelu { .. } => (0, Activation::Identity),
            Epilogue::Bias(_) => (0, self.activation),
            _ => (bias, self.activation),
        };
        if (bias != 0 || activation != Activation::Identity) && flat.elements() > 0 {
            let arguments = EpilogueArgs {
                rows: self.rows as i64,
                columns: self.out as i64,
                product: product.address(),
                bias,
                pre: kept,
                // Nothing else sees the product: the result takes its place.
                out: product.address(),
                op: number_of(activation),
                reserved: 0,
            };
            let device = product.home();
            device.launch(
                NAME,
                EPILOGUE,
                Suffix::Of(device.storage()),
                Grid::pointwise(flat.elements(), device.storage().lanes()),
                &arguments,
            )?;
        }
        Ok((contiguous_view(&product, self.shape), pre))
    }

    /// The gradients of W and of b, which is Σ g over the rows, from that of x Wᵀ + b.
    pub fn parameters(&self, g: &CudaTensor, need_bias: bool) -> Result<(CudaTensor, Option<CudaTensor>)> {
        let sums = if need_bias { Some(fresh(g, NAME, Shape::new(&[self.out])?)?) } else { None };
        let wanted = sums.as_ref().map_or(Epilogue::None, |sums| Epilogue::RowSums(sums.address()));
        let (gw, done) = product(g, &self.x, Transpose::LEFT, wanted)?;
        let sums = if done == wanted { sums } else { sums.map(|_| self.sums(g)).transpose()? };
        Ok((gw, sums))
    }

    /// Σ g over the rows.
    pub fn sums(&self, g: &CudaTensor) -> Result<CudaTensor> {
        g.sum(0)?.reshape(Shape::new(&[self.out])?)
    }
}

/// act(x Wᵀ + b).
pub(super) fn value(activation: Activation, inputs: &[&CudaTensor]) -> Result<Option<CudaTensor>> {
    let Some(layer) = Layer::new(activation, inputs)? else { return Ok(None) };
    // A product of nothing is a stretched zero, which must not be written to.
    if layer.inner == 0 {
        return Ok(None);
    }
    Ok(Some(layer.forward(false)?.0))
}

/// act(x Wᵀ + b) with its pullback.
pub(super) fn vjp(activation: Activation, inputs: &[&CudaTensor], needed: &[bool]) -> Result<Pulled> {
    let &[x, ref layer @ ..] = inputs else { return Ok(None) };
    layers::vjp(x, &[(activation, layer)], needed)
}

/// act(x Wᵀ + b) with its tangent act'(z) (x' Wᵀ + x W'ᵀ + b').
pub(super) fn jvp(activation: Activation, inputs: &[&CudaTensor], tangents: &[Option<&CudaTensor>]) -> Result<Pushed> {
    let Some(layer) = Layer::new(activation, inputs)?.filter(|layer| layer.inner > 0) else { return Ok(None) };
    let tangent = |i: usize| tangents.get(i).copied().flatten();
    let rows = Shape::new(&[layer.rows, layer.inner])?;
    let flat = Shape::new(&[layer.rows, layer.out])?;
    let mut terms = Vec::new();
    if let Some(tx) = tangent(0) {
        terms.push(matmul(&tx.reshape(rows)?, &layer.weight, Transpose::RIGHT)?);
    }
    if let Some(tw) = tangent(1) {
        terms.push(matmul(&layer.x, tw, Transpose::RIGHT)?);
    }
    if let Some(tb) = tangent(2) {
        terms.push(tb.broadcast(flat)?);
    }
    let Some(first) = terms.pop() else { return Ok(None) };
    let moved = terms.iter().try_fold(first, |sum, term| sum.add(term))?.contiguous()?;
    let (y, ty) = if layer.activation == Activation::Identity {
        (layer.forward(false)?.0, moved)
    } else {
        let linear = Layer { activation: Activation::Identity, ..layer };
        let pre = linear.forward(false)?.0;
        let (y, ty) = push(activation, &contiguous_view(&pre, flat), &moved)?;
        return Ok(Some((contiguous_view(&y, linear.shape), contiguous_view(&ty, linear.shape))));
    };
    Ok(Some((y, contiguous_view(&ty, layer.shape))))
}
