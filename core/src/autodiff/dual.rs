//! Forward mode: a value with its derivative along one direction.

use super::rules;
use crate::error::{Error, Result};
use crate::noise::Noise;
use crate::shape::Shape;
use crate::tensor::{Binary, Compare, Device, Element, Fused, MAX_INPUTS, Operations, Reduce, Tensor, Transpose, Unary};
use alloc::vec::Vec;

/// A value and its tangent. A tangent that is known to be zero is absent, and costs nothing.
#[derive(Clone, Debug)]
pub struct Dual<T> {
    value: T,
    tangent: Option<T>,
}

impl<T: Tensor> Dual<T> {
    /// A value that moves along `tangent`.
    ///
    /// # Errors
    /// [`Error::Shape`] if the two differ in shape.
    pub fn new(value: T, tangent: T) -> Result<Self> {
        if value.shape() != tangent.shape() {
            return Err(Error::Shape { op: "dual", left: value.shape(), right: tangent.shape() });
        }
        Ok(Self { value, tangent: Some(tangent) })
    }

    /// A value that does not move.
    pub fn constant(value: T) -> Self {
        Self { value, tangent: None }
    }

    /// The value.
    pub fn value(&self) -> &T {
        &self.value
    }

    /// The tangent, unless it is known to be zero.
    pub fn tangent(&self) -> Option<&T> {
        self.tangent.as_ref()
    }

    /// The value and the tangent.
    pub fn into_parts(self) -> (T, Option<T>) {
        (self.value, self.tangent)
    }

    /// A linear operation, the same on value and tangent.
    fn linear_map(&self, f: impl Fn(&T) -> Result<T>) -> Result<Self> {
        Ok(Self { value: f(&self.value)?, tangent: self.tangent.as_ref().map(f).transpose()? })
    }

    /// The tangent, or zeros.
    fn tangent_or_zeros(&self) -> Result<T> {
        self.tangent.as_ref().map_or_else(|| self.value.zeros_like(), |t| Ok(t.clone()))
    }
}

/// The sum of two tangents, either of which may be absent; both are stretched to `shape`.
fn sum_tangents<T: Tensor>(a: Option<T>, b: Option<T>, shape: Shape) -> Result<Option<T>> {
    let sum = match (a, b) {
        (Some(a), Some(b)) => a.add(&b)?,
        (Some(one), None) | (None, Some(one)) => one,
        (None, None) => return Ok(None),
    };
    Ok(Some(if sum.shape() == shape { sum } else { sum.broadcast(shape)? }))
}

/// The device of [`Dual`] tensors: its creations do not move.
#[derive(Clone, Debug)]
pub struct DualDevice<D>(
    /// The device underneath.
    pub D,
);

impl<D: Device> Device for DualDevice<D> {
    type Tensor = Dual<D::Tensor>;

    fn from_slice<E: Element>(&self, values: &[E], shape: Shape) -> Result<Self::Tensor> {
        self.0.from_slice(values, shape).map(Dual::constant)
    }

    fn full(&self, value: f64, shape: Shape) -> Result<Self::Tensor> {
        self.0.full(value, shape).map(Dual::constant)
    }

    fn sync(&self) -> Result<()> {
        self.0.sync()
    }

    fn normal(&self, noise: &Noise, shape: Shape) -> Result<Self::Tensor> {
        self.0.normal(noise, shape).map(Dual::constant)
    }
}

impl<T: Tensor> Tensor for Dual<T> {
    type Device = DualDevice<T::Device>;

    const DERIVATIVES: usize = T::DERIVATIVES + 1;

    fn device(&self) -> Self::Device {
        DualDevice(self.value.device())
    }

    fn shape(&self) -> Shape {
        self.value.shape()
    }

    fn to_vec<E: Element>(&self) -> Result<Vec<E>> {
        self.value.to_vec()
    }

    fn detach(&self) -> Self {
        Self::constant(self.value.detach())
    }

    fn is_tracked(&self) -> bool {
        self.tangent.is_some() || self.value.is_tracked()
    }

    fn unary(&self, op: Unary) -> Result<Self> {
        let value = self.value.unary(op)?;
        let tangent = match &self.tangent {
            Some(t) => Some(rules::unary_slope(op, &self.value, &value, t)?),
            None => None,
        };
        Ok(Self { value, tangent })
    }

    fn binary(&self, op: Binary, other: &Self) -> Result<Self> {
        let value = self.value.binary(op, &other.value)?;
        let (a, b) = (&self.tangent, &other.tangent);
        let (left, right) = match op {
            Binary::Add => (a.clone(), b.clone()),
            Binary::Sub => (a.clone(), b.as_ref().map(T::neg).transpose()?),
            Binary::Mul => (a.as_ref().map(|t| t.mul(&other.value)).transpose()?, b.as_ref().map(|t| t.mul(&self.value)).transpose()?),
            Binary::Div => (
                a.as_ref().map(|t| t.div(&other.value)).transpose()?,
                b.as_ref().map(|t| t.mul(&value)?.div(&other.value)?.neg()).transpose()?,
            ),
        };
        let tangent = sum_tangents(left, right, value.shape())?;
        Ok(Self { value, tangent })
    }

    fn compare(&self, op: Compare, other: &Self) -> Result<Self> {
        self.value.compare(op, &other.value).map(Self::constant)
    }

    fn select(&self, yes: &Self, no: &Self) -> Result<Self> {
        let value = self.value.select(&yes.value, &no.value)?;
        let tangent = if yes.tangent.is_none() && no.tangent.is_none() {
            None
        } else {
            Some(self.value.select(&yes.tangent_or_zeros()?, &no.tangent_or_zeros()?)?)
        };
        Ok(Self { value, tangent })
    }

    fn reduce(&self, op: Reduce, axis: usize) -> Result<Self> {
        let value = self.value.reduce(op, axis)?;
        let tangent = match (&self.tangent, op) {
            (None, _) => None,
            (Some(t), Reduce::Sum) => Some(t.reduce(Reduce::Sum, axis)?),
            (Some(t), Reduce::Max) => Some(t.mul(&rules::maximum_shares(&self.value, &value, axis)?)?.sum(axis)?),
        };
        Ok(Self { value, tangent })
    }

    fn broadcast(&self, shape: Shape) -> Result<Self> {
        self.linear_map(|x| x.broadcast(shape))
    }

    fn reshape(&self, shape: Shape) -> Result<Self> {
        self.linear_map(|x| x.reshape(shape))
    }

    fn permute(&self, axes: &[usize]) -> Result<Self> {
        self.linear_map(|x| x.permute(axes))
    }

    fn slice(&self, axis: usize, start: usize, length: usize) -> Result<Self> {
        self.linear_map(|x| x.slice(axis, start, length))
    }

    fn concat(parts: &[&Self], axis: usize) -> Result<Self> {
        let values: Vec<&T> = parts.iter().map(|p| &p.value).collect();
        let value = T::concat(&values, axis)?;
        if parts.iter().all(|p| p.tangent.is_none()) {
            return Ok(Self::constant(value));
        }
        let tangents = parts.iter().map(|p| p.tangent_or_zeros()).collect::<Result<Vec<_>>>()?;
        let tangents: Vec<&T> = tangents.iter().collect();
        Ok(Self { value, tangent: Some(T::concat(&tangents, axis)?) })
    }

    fn matmul(&self, other: &Self, transpose: Transpose) -> Result<Self> {
        let value = self.value.matmul(&other.value, transpose)?;
        let left = self.tangent.as_ref().map(|t| t.matmul(&other.value, transpose)).transpose()?;
        let right = other.tangent.as_ref().map(|t| self.value.matmul(t, transpose)).transpose()?;
        let tangent = sum_tangents(left, right, value.shape())?;
        Ok(Self { value, tangent })
    }

    fn gather(&self, axis: usize, index: &[usize]) -> Result<Self> {
        self.linear_map(|x| x.gather(axis, index))
    }

    fn scatter_add(&self, axis: usize, index: &[usize], length: usize) -> Result<Self> {
        self.linear_map(|x| x.scatter_add(axis, index, length))
    }

    // Not by slices, so that a tape underneath sees what belongs together.
    fn split(&self, axis: usize, lengths: &[usize]) -> Result<Vec<Self>> {
        let values = self.value.split(axis, lengths)?;
        let Some(tangent) = &self.tangent else { return Ok(values.into_iter().map(Self::constant).collect()) };
        let both = values.into_iter().zip(tangent.split(axis, lengths)?);
        Ok(both.map(|(value, tangent)| Self { value, tangent: Some(tangent) }).collect())
    }

    fn fused(op: &Fused, inputs: &[&Self]) -> Result<Option<Self>> {
        let Some(first) = inputs.first().filter(|_| inputs.len() <= MAX_INPUTS) else { return Ok(None) };
        let (mut values, mut tangents) = ([&first.value; MAX_INPUTS], [None; MAX_INPUTS]);
        for (i, input) in inputs.iter().enumerate() {
            values[i] = &input.value;
            tangents[i] = input.tangent.as_ref();
        }
        let (values, tangents) = (&values[..inputs.len()], &tangents[..inputs.len()]);
        if tangents.iter().all(Option::is_none) {
            return op.apply(values).map(|value| Some(Self::constant(value)));
        }
        let both = T::fused_jvp(op, values, tangents)?;
        Ok(both.map(|(value, tangent)| Self { value, tangent: Some(tangent) }))
    }
}
