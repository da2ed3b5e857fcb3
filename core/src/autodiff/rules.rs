//! The derivative of each primitive, written once, in primitives, for both directions.

use crate::error::Result;
use crate::shape::Shape;
use crate::tensor::{Compare, Device, Operations, Reduce, Tensor, Transpose, Unary};
use alloc::vec::Vec;

/// g · op′(x), where y = op(x).
pub fn unary_slope<T: Tensor>(op: Unary, x: &T, y: &T, g: &T) -> Result<T> {
    match op {
        Unary::Neg => g.neg(),
        Unary::Abs => {
            let zero = x.device().zeros(Shape::SCALAR)?;
            g.mul(&zero.compare(Compare::Less, x)?.sub(&x.compare(Compare::Less, &zero)?)?)
        }
        Unary::Exp => g.mul(y),
        Unary::Log => g.div(x),
        Unary::Sqrt => g.div(&y.scale(2.0)?),
        Unary::Recip => g.mul(&y.square()?)?.neg(),
        Unary::Square => g.mul(&x.scale(2.0)?),
        Unary::Sin => g.mul(&x.unary(Unary::Cos)?),
        Unary::Cos => g.mul(&x.unary(Unary::Sin)?)?.neg(),
        Unary::Tanh => g.mul(&y.square()?.neg()?.shift(1.0)?),
        Unary::Sigmoid => g.mul(&y.mul(&y.neg()?.shift(1.0)?)?),
        Unary::Scale(c) => g.scale(c),
        Unary::Shift(_) => Ok(g.clone()),
    }
}

/// The weights by which the elements of x share the derivative of their maximum y along `axis`: 1/ties where x = y.
pub fn maximum_shares<T: Tensor>(x: &T, y: &T, axis: usize) -> Result<T> {
    let hits = x.detach().compare(Compare::Equal, &y.detach())?;
    let ties = hits.reduce(Reduce::Sum, axis)?;
    hits.div(&ties)
}

/// The cotangent of the left operand of a matrix product, before its shape is restored.
pub fn matmul_left<T: Tensor>(right: &T, transpose: Transpose, g: &T) -> Result<T> {
    // y = L R: dL = g Rᵀ; where the left operand is stored transposed, dLᵀ = R gᵀ.
    if transpose.left {
        right.matmul(g, Transpose { left: transpose.right, right: true })
    } else {
        g.matmul(right, Transpose { left: false, right: !transpose.right })
    }
}

/// The cotangent of the right operand of a matrix product, before its shape is restored.
pub fn matmul_right<T: Tensor>(left: &T, transpose: Transpose, g: &T) -> Result<T> {
    if transpose.right {
        g.matmul(left, Transpose { left: true, right: transpose.left })
    } else {
        left.matmul(g, Transpose { left: !transpose.left, right: false })
    }
}

/// `part` at `start` along `axis` among zeros: the transpose of a slice.
pub fn embed<T: Tensor>(part: &T, axis: usize, start: usize, length: usize) -> Result<T> {
    let shape = part.shape();
    let width = shape.axis(axis)?;
    let after = length - start - width;
    let zeros = |width| part.device().zeros(shape.with_axis(axis, width)?);
    match (start, after) {
        (0, 0) => Ok(part.clone()),
        (0, _) => T::concat(&[part, &zeros(after)?], axis),
        (_, 0) => T::concat(&[&zeros(start)?, part], axis),
        _ => T::concat(&[&zeros(start)?, part, &zeros(after)?], axis),
    }
}

/// The parts one after another along `axis`, zeros for one that is missing: the transpose of a split. `None` if all are.
pub fn join<T: Tensor>(parts: Vec<Option<T>>, shapes: &[Shape], axis: usize) -> Result<Option<T>> {
    let Some(device) = parts.iter().flatten().next().map(T::device) else { return Ok(None) };
    let part = |(part, shape): (Option<T>, &Shape)| part.map_or_else(|| device.zeros(*shape), Ok);
    let parts = parts.into_iter().zip(shapes).map(part).collect::<Result<Vec<_>>>()?;
    if let [whole] = &parts[..] {
        return Ok(Some(whole.clone()));
    }
    T::concat(&parts.iter().collect::<Vec<_>>(), axis).map(Some)
}

/// The permutation that undoes `axes`.
pub fn inverse_permutation(axes: &[usize], inverse: &mut [usize]) {
    for (i, &axis) in axes.iter().enumerate() {
        inverse[axis] = i;
    }
}
