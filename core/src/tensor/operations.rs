//! Operations composed from the primitives, so that formulas read like the paper.

use super::{Activation, Binary, Compare, Device, Fused, MAX_INPUTS, Reduce, Tensor, Transpose, Unary};
use crate::error::{Error, Result};
use crate::shape::{MAX_RANK, Shape};

/// Everything that is composed from the primitives of [`Tensor`]; implemented for all of them.
///
/// Each returns the errors of the primitives it is made of.
#[allow(missing_docs, clippy::missing_errors_doc)]
pub trait Operations: Tensor {
    /// x + y, broadcast.
    fn add(&self, other: &Self) -> Result<Self> {
        self.binary(Binary::Add, other)
    }

    /// x − y, broadcast.
    fn sub(&self, other: &Self) -> Result<Self> {
        self.binary(Binary::Sub, other)
    }

    /// x y, element by element, broadcast.
    fn mul(&self, other: &Self) -> Result<Self> {
        self.binary(Binary::Mul, other)
    }

    /// x / y, broadcast.
    fn div(&self, other: &Self) -> Result<Self> {
        self.binary(Binary::Div, other)
    }

    /// −x
    fn neg(&self) -> Result<Self> {
        self.unary(Unary::Neg)
    }

    /// eˣ
    fn exp(&self) -> Result<Self> {
        self.unary(Unary::Exp)
    }

    /// ln x: −∞ at 0, NaN below.
    fn log(&self) -> Result<Self> {
        self.unary(Unary::Log)
    }

    /// √x: NaN below 0.
    fn sqrt(&self) -> Result<Self> {
        self.unary(Unary::Sqrt)
    }

    /// x²
    fn square(&self) -> Result<Self> {
        self.unary(Unary::Square)
    }

    /// c x
    fn scale(&self, factor: f64) -> Result<Self> {
        if factor == 1.0 { Ok(self.clone()) } else { self.unary(Unary::Scale(factor)) }
    }

    /// x + c
    fn shift(&self, term: f64) -> Result<Self> {
        if term == 0.0 { Ok(self.clone()) } else { self.unary(Unary::Shift(term)) }
    }

    /// Σ over `axis`, which stays with length one.
    fn sum(&self, axis: usize) -> Result<Self> {
        self.reduce(Reduce::Sum, axis)
    }

    /// The mean over `axis`, which stays with length one; NaN over an empty axis.
    fn mean(&self, axis: usize) -> Result<Self> {
        let n = self.shape().axis(axis)?;
        self.sum(axis)?.unary(Unary::Scale(1.0 / n as f64))
    }

    /// The sum of all elements, a scalar.
    fn sum_all(&self) -> Result<Self> {
        self.reshape(Shape::new(&[self.shape().elements()])?)?.sum(0)?.reshape(Shape::SCALAR)
    }

    /// The mean of all elements, a scalar.
    fn mean_all(&self) -> Result<Self> {
        self.sum_all()?.unary(Unary::Scale(1.0 / self.shape().elements() as f64))
    }

    /// Σ over everything but the batch: `[n, ...]` → `[n]`.
    fn sum_items(&self) -> Result<Self> {
        let shape = self.shape();
        let n = shape.batch();
        self.reshape(Shape::new(&[n, shape.item()])?)?.sum(1)?.reshape(Shape::new(&[n])?)
    }

    /// ‖x‖² of each item: `[n, ...]` → `[n]`.
    fn square_norm_items(&self) -> Result<Self> {
        Fused::SquareNorm.apply(&[self])
    }

    /// ‖x‖ of each item: `[n, ...]` → `[n]`. Exact too where the squares are too large or too small for the device's numbers.
    fn norm_items(&self) -> Result<Self> {
        let (shape, device) = (self.shape(), self.device());
        let rows = self.reshape(Shape::new(&[shape.batch(), shape.item()])?)?;
        let number = |value| device.full(value, Shape::SCALAR);
        // The largest element of each item, or 1 where that is 0, infinite or NaN.
        let largest = rows.detach().unary(Unary::Abs)?.reduce(Reduce::Max, 1)?;
        let unit = largest.compare(Compare::Less, &number(f64::INFINITY)?)?.select(&largest, &number(1.0)?)?;
        let unit = number(0.0)?.compare(Compare::Less, &unit)?.select(&unit, &number(1.0)?)?;
        let norms = rows.div(&unit)?.square_norm_items()?.sqrt()?;
        norms.mul(&unit.reshape(norms.shape())?)
    }

    /// `[n]` → [n, 1, ...] of the rank of `like`, so that it multiplies item by item.
    fn per_item(&self, like: Shape) -> Result<Self> {
        self.reshape(like.per_item(self.shape().elements())?)
    }

    /// Each item `times` times in a row: `[n, ...]` → [n·times, ...].
    fn repeat_items(&self, times: usize) -> Result<Self> {
        if times == 1 {
            return Ok(self.clone());
        }
        let shape = self.shape();
        let (n, item) = (shape.batch(), shape.item());
        let stretched = self.reshape(Shape::new(&[n, 1, item])?)?.broadcast(Shape::new(&[n, times, item])?)?;
        stretched.reshape(shape.with_batch(n * times)?)
    }

    /// Zeros like `self`, as a constant.
    fn zeros_like(&self) -> Result<Self> {
        self.device().zeros(self.shape())
    }

    /// x Wᵀ + bias, then `activation`: x is [.., in], W is [out, in], bias is `[out]`.
    fn linear(&self, weight: &Self, bias: Option<&Self>, activation: Activation) -> Result<Self> {
        match bias {
            Some(bias) => Fused::Linear { activation }.apply(&[self, weight, bias]),
            None => Fused::Linear { activation }.apply(&[self, weight]),
        }
    }

    /// x through linear layers (W, b), with the non-linearity `between` after each but the last, and `last` after that.
    fn layers<'a>(&self, layers: impl IntoIterator<Item = (&'a Self, &'a Self)>, between: Activation, last: Activation) -> Result<Self>
    where
        Self: 'a,
    {
        let mut layers = layers.into_iter().peekable();
        let mut x = self.clone();
        while layers.peek().is_some() {
            let mut inputs = [&x; MAX_INPUTS];
            let mut count = 1;
            // As many as one operation takes.
            while count < inputs.len()
                && let Some((weight, bias)) = layers.next()
            {
                (inputs[count], inputs[count + 1]) = (weight, bias);
                count += 2;
            }
            let last = if layers.peek().is_some() { between } else { last };
            x = Fused::Layers { between, last }.apply(&inputs[..count])?;
        }
        Ok(x)
    }

    /// `activation` of every element.
    fn activate(&self, activation: Activation) -> Result<Self> {
        if activation == Activation::Identity { Ok(self.clone()) } else { Fused::Activate { activation }.apply(&[self]) }
    }

    /// Σ cᵢ xᵢ of up to [`MAX_TERMS`](super::MAX_TERMS) tensors that broadcast.
    fn linear_combination(terms: &[(f64, &Self)]) -> Result<Self> {
        Fused::combine(terms)
    }

    /// eˣ/Σ eˣ along `axis`.
    fn softmax(&self, axis: usize) -> Result<Self> {
        Fused::Softmax { axis }.apply(&[self])
    }

    /// log((1/n) Σ eˣ) along `axis`, which stays with length one.
    fn log_mean_exp(&self, axis: usize) -> Result<Self> {
        Fused::LogMeanExp { axis }.apply(&[self])
    }

    /// (x − mean)/√(variance + ε) · (1 + scale) + shift, with mean and variance along x's last axis; then x, `scale` and `shift` broadcast
    /// ([`Fused::LayerNorm`]).
    fn layer_norm(&self, scale: &Self, shift: &Self, epsilon: f64) -> Result<Self> {
        Fused::LayerNorm { epsilon }.apply(&[self, scale, shift])
    }

    /// softmax(q kᵀ/√d) v, with q = `self` [.., queries, d], k [.., keys, d] and v [.., keys, e]; leading axes broadcast ([`Fused::Attention`]).
    fn attention(&self, keys: &Self, values: &Self) -> Result<Self> {
        Fused::Attention.apply(&[self, keys, values])
    }

    /// x + gate · y.
    fn gated_residual(&self, gate: &Self, branch: &Self) -> Result<Self> {
        Fused::GatedResidual.apply(&[self, gate, branch])
    }

    /// The product with the right operand transposed.
    fn matmul_transposed(&self, other: &Self) -> Result<Self> {
        self.matmul(other, Transpose::RIGHT)
    }
}

impl<T: Tensor> Operations for T {}

/// Σ over the axes along which `tensor` was stretched from `shape`: the transpose of [`Tensor::broadcast`].
///
/// # Errors
/// [`Error::Shape`] unless `shape` broadcasts to the tensor's.
pub fn sum_to<T: Tensor>(tensor: &T, shape: Shape) -> Result<T> {
    let from = tensor.shape();
    if from == shape {
        return Ok(tensor.clone());
    }
    if from.broadcast(&shape, "sum_to")? != from {
        return Err(Error::Shape { op: "sum_to", left: from, right: shape });
    }
    let lead = from.rank() - shape.rank();
    let mut sum = tensor.clone();
    // Neighbouring stretched axes are one longer axis: fewer, longer reductions.
    let stretched = |axis: usize| axis < lead || shape.axes()[axis - lead] != from.axes()[axis];
    let mut axes = [1; MAX_RANK];
    let mut flags = [false; MAX_RANK];
    let mut rank = 0;
    for axis in 0..from.rank() {
        if rank > 0 && flags[rank - 1] == stretched(axis) {
            axes[rank - 1] *= from.axes()[axis];
        } else {
            axes[rank] = from.axes()[axis];
            flags[rank] = stretched(axis);
            rank += 1;
        }
    }
    sum = sum.reshape(Shape::new(&axes[..rank])?)?;
    for (axis, _) in flags[..rank].iter().enumerate().filter(|(_, stretched)| **stretched) {
        sum = sum.reduce(Reduce::Sum, axis)?;
    }
    sum.reshape(shape)
}
