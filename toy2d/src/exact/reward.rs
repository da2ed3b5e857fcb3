//! Quadratic rewards over tensors.

use crate::reward::QuadraticReward;
use mfm_core::reward::{Reward, RewardFormula};
use mfm_core::tensor::Transpose;
use mfm_core::{Device, Error, Operations, Result, Shape, Tensor};

impl QuadraticReward {
    /// x as [n, d], and F x − f as [n, m] if there are observations.
    fn tensor_residuals<T: Tensor>(&self, x: &T) -> Result<(T, Option<T>)> {
        let (shape, d) = (x.shape(), self.dimension());
        if shape.item() != d {
            return Err(Error::Length { op: "the dimension of a reward's points", expected: d, found: shape.item() });
        }
        let flat = x.reshape(Shape::new(&[shape.batch(), d])?)?;
        if self.target.is_empty() {
            return Ok((flat, None));
        }
        let target = x.device().from_slice(&self.target, Shape::new(&[1, self.target.len()])?)?;
        let residuals = flat.matmul(&self.tensor_rows(x)?, Transpose::RIGHT)?.sub(&target)?;
        Ok((flat, Some(residuals)))
    }

    fn tensor_rows<T: Tensor>(&self, like: &T) -> Result<T> {
        like.device().from_slice(&self.rows, Shape::new(&[self.target.len(), self.dimension()])?)
    }

    fn tensor_slope<T: Tensor>(&self, like: &T) -> Result<T> {
        like.device().from_slice(&self.slope, Shape::new(&[1, self.dimension()])?)
    }
}

impl RewardFormula for QuadraticReward {
    fn evaluate<T: Tensor>(&self, x: &T) -> Result<T> {
        let (flat, residuals) = self.tensor_residuals(x)?;
        let linear = flat.mul(&self.tensor_slope(x)?)?.sum_items()?.shift(self.offset)?;
        match residuals {
            Some(residuals) => linear.sub(&residuals.square_norm_items()?.scale(0.5)?),
            None => Ok(linear),
        }
    }
}

impl<T: Tensor> Reward<T> for QuadraticReward {
    fn value(&self, x: &T) -> Result<T> {
        self.evaluate(x)
    }

    fn value_and_gradient(&self, x: &T) -> Result<(T, T)> {
        let value = self.evaluate(x)?;
        let slope = self.tensor_slope(x)?;
        let gradient = match self.tensor_residuals(x)? {
            (_, Some(residuals)) => slope.sub(&residuals.matmul(&self.tensor_rows(x)?, Transpose::NONE)?)?,
            (flat, None) => slope.broadcast(flat.shape())?,
        };
        Ok((value, gradient.reshape(x.shape())?))
    }
}
