//! Shapes: dynamic, of rank at most six, `Copy`, without allocation.

use crate::error::{Error, Result};
use core::fmt;

/// The largest rank of a tensor.
pub const MAX_RANK: usize = 6;

/// The lengths of a tensor's axes, outermost first. A scalar has rank 0 and one element.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Shape {
    axes: [usize; MAX_RANK],
    rank: u8,
}

impl Shape {
    /// The shape of a single number.
    pub const SCALAR: Self = Self { axes: [0; MAX_RANK], rank: 0 };

    /// A shape from its axes.
    ///
    /// # Errors
    /// [`Error::Rank`] if there are more than [`MAX_RANK`] axes, and [`Error::TooLarge`] if the number of elements overflows, or
    /// would with a one in place of every zero: so the product of any of the axes can be taken.
    #[inline]
    pub fn new(axes: &[usize]) -> Result<Self> {
        if axes.len() > MAX_RANK {
            return Err(Error::Rank { op: "shape", rank: axes.len() });
        }
        let mut shape = Self { axes: [0; MAX_RANK], rank: axes.len() as u8 };
        shape.axes[..axes.len()].copy_from_slice(axes);
        let elements = axes.iter().try_fold(1usize, |product, &n| product.checked_mul(n.max(1)));
        match elements {
            // A byte count must stay within isize, whatever the element.
            Some(n) if n <= isize::MAX as usize / 8 => Ok(shape),
            _ => Err(Error::TooLarge { op: "shape", shape }),
        }
    }

    /// The lengths of the axes.
    #[inline]
    pub fn axes(&self) -> &[usize] {
        &self.axes[..self.rank as usize]
    }

    /// The number of axes.
    #[inline]
    pub fn rank(&self) -> usize {
        self.rank as usize
    }

    /// The number of elements: the product of the axes, one for a scalar.
    #[inline]
    pub fn elements(&self) -> usize {
        self.axes().iter().product()
    }

    /// The length of the first axis (the batch), one for a scalar.
    #[inline]
    pub fn batch(&self) -> usize {
        self.axes().first().copied().unwrap_or(1)
    }

    /// The number of elements in one item of the batch.
    #[inline]
    pub fn item(&self) -> usize {
        self.axes().get(1..).map_or(1, |rest| rest.iter().product())
    }

    /// The length of `axis`.
    ///
    /// # Errors
    /// [`Error::Axis`] if there is no such axis.
    #[inline]
    pub fn axis(&self, axis: usize) -> Result<usize> {
        self.axes().get(axis).copied().ok_or(Error::Axis { op: "axis", axis, shape: *self })
    }

    /// The same shape with `axis` of length `length`.
    ///
    /// # Errors
    /// [`Error::Axis`] if there is no such axis, [`Error::TooLarge`] if the number of elements overflows.
    #[inline]
    pub fn with_axis(&self, axis: usize, length: usize) -> Result<Self> {
        self.axis(axis)?;
        let mut axes = self.axes;
        axes[axis] = length;
        Self::new(&axes[..self.rank()])
    }

    /// The same shape with a batch of `batch`; a scalar becomes a vector.
    ///
    /// # Errors
    /// [`Error::TooLarge`] if the number of elements overflows.
    #[inline]
    pub fn with_batch(&self, batch: usize) -> Result<Self> {
        if self.rank == 0 { Self::new(&[batch]) } else { self.with_axis(0, batch) }
    }

    /// `[n, 1, 1, ...]` of the same rank (at least 1): the shape in which a vector of one number per item broadcasts.
    ///
    /// # Errors
    /// [`Error::TooLarge`] if the number of elements overflows.
    #[inline]
    pub fn per_item(&self, n: usize) -> Result<Self> {
        let mut axes = [1; MAX_RANK];
        axes[0] = n;
        Self::new(&axes[..self.rank().max(1)])
    }

    /// The shape that two operands take together: axes are aligned at the end, and an axis of length one stretches.
    ///
    /// # Errors
    /// [`Error::Shape`], naming `op`, if the two do not fit.
    #[inline]
    pub fn broadcast(&self, other: &Self, op: &'static str) -> Result<Self> {
        let rank = self.rank().max(other.rank());
        let mut axes = [1; MAX_RANK];
        for (back, slot) in axes[..rank].iter_mut().rev().enumerate() {
            let length = |s: &Self| if back < s.rank() { s.axes[s.rank() - 1 - back] } else { 1 };
            *slot = match (length(self), length(other)) {
                (a, b) if a == b => a,
                (1, b) => b,
                (a, 1) => a,
                _ => return Err(Error::Shape { op, left: *self, right: *other }),
            };
        }
        Self::new(&axes[..rank])
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[")?;
        for (i, n) in self.axes().iter().enumerate() {
            if i > 0 {
                f.write_str(", ")?;
            }
            write!(f, "{n}")?;
        }
        f.write_str("]")
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zero_does_not_hide_an_overflow() {
        for axes in [&[0, usize::MAX, 2][..], &[usize::MAX, 2, 0], &[1 << 40, 0, 1 << 40]] {
            assert!(matches!(Shape::new(axes), Err(Error::TooLarge { .. })), "{axes:?}");
        }
        let empty = Shape::new(&[0, 1 << 40, 3]);
        assert_eq!(empty.map(|shape| (shape.elements(), shape.item())), Ok((0, 3 << 40)));
    }
}
