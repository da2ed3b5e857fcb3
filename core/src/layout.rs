//! How the axes of a tensor lie in its buffer: what backends whose tensors are views share.

use crate::error::{Error, Result};
use crate::shape::{MAX_RANK, Shape};

/// Element (i, j, ...) is at offset + i · s₀ + j · s₁ + ..., s the strides, counted in elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// The lengths of the axes.
    pub shape: Shape,
    /// How far apart the neighbours along each axis are; 0 along a stretched one.
    pub strides: [usize; MAX_RANK],
    /// Where the first element is.
    pub offset: usize,
}

impl Layout {
    /// Row-major, from the beginning.
    #[inline]
    pub fn contiguous(shape: Shape) -> Self {
        let mut strides = [0; MAX_RANK];
        let mut stride = 1;
        for (slot, length) in strides.iter_mut().zip(shape.axes()).rev() {
            *slot = stride;
            stride *= length.max(&1);
        }
        Self { shape, strides, offset: 0 }
    }

    /// Whether the elements follow one another in row-major order.
    #[inline]
    pub fn is_contiguous(&self) -> bool {
        let mut expected = 1;
        for (&length, &stride) in self.shape.axes().iter().zip(&self.strides).rev() {
            if length == 0 {
                return true;
            }
            if length != 1 {
                if stride != expected {
                    return false;
                }
                expected *= length;
            }
        }
        true
    }

    /// The elements that are used, as a range of the buffer.
    #[inline]
    pub fn range(&self) -> core::ops::Range<usize> {
        if self.shape.elements() == 0 {
            return 0..0;
        }
        let last: usize = self.shape.axes().iter().zip(&self.strides).map(|(length, stride)| (length - 1) * stride).sum();
        self.offset..self.offset + last + 1
    }

    /// Where the element of a row-major `index` is.
    pub fn at(&self, index: usize) -> usize {
        let (mut at, mut rest) = (self.offset, index);
        for (&length, &stride) in self.shape.axes().iter().zip(&self.strides).rev() {
            at += rest % length.max(1) * stride;
            rest /= length.max(1);
        }
        at
    }

    /// Whether the axes are a permutation of a contiguous array's, some of them stretched: then an element-wise function may
    /// go through the buffer in order, and keep the strides.
    #[inline]
    pub fn is_dense(&self) -> bool {
        let mut stored = 1;
        for (&length, &stride) in self.shape.axes().iter().zip(&self.strides) {
            if stride != 0 {
                stored *= length;
            }
        }
        let range = self.range();
        // Without overlap (no operation makes one, other than by a stride of zero), as many elements as places are all of them.
        range.len() == stored
    }

    /// The axes in another order: axis i of the result is axis `axes[i]`.
    ///
    /// # Errors
    /// [`Error::Length`] or [`Error::Axis`] unless `axes` is a permutation.
    pub fn permute(&self, axes: &[usize]) -> Result<Self> {
        let rank = self.shape.rank();
        if axes.len() != rank {
            return Err(Error::Length { op: "permute", expected: rank, found: axes.len() });
        }
        let (mut lengths, mut strides, mut seen) = ([0; MAX_RANK], [0; MAX_RANK], [false; MAX_RANK]);
        for (i, &axis) in axes.iter().enumerate() {
            if axis >= rank || seen[axis] {
                return Err(Error::Axis { op: "permute", axis, shape: self.shape });
            }
            seen[axis] = true;
            lengths[i] = self.shape.axes()[axis];
            strides[i] = self.strides[axis];
        }
        Ok(Self { shape: Shape::new(&lengths[..rank])?, strides, offset: self.offset })
    }

    /// The entries `start .. start + length` along `axis`.
    ///
    /// # Errors
    /// [`Error::Axis`] if there is no such axis, or the range leaves it.
    #[inline]
    pub fn slice(&self, axis: usize, start: usize, length: usize) -> Result<Self> {
        let whole = *self.shape.axes().get(axis).ok_or(Error::Axis { op: "slice", axis, shape: self.shape })?;
        let end = start.checked_add(length).filter(|&end| end <= whole);
        if end.is_none() {
            return Err(Error::Axis { op: "slice", axis: start.saturating_add(length), shape: self.shape });
        }
        let offset = if length == 0 { self.offset } else { self.offset + start * self.strides[axis] };
        Ok(Self { shape: self.shape.with_axis(axis, length)?, strides: self.strides, offset })
    }

    /// Stretched to `shape`, if it can be.
    #[inline]
    pub fn broadcast(&self, shape: Shape) -> Option<Self> {
        let lead = shape.rank().checked_sub(self.shape.rank())?;
        let mut strides = [0; MAX_RANK];
        for (axis, (&from, &stride)) in self.shape.axes().iter().zip(&self.strides).enumerate() {
            strides[lead + axis] = match (from, shape.axes()[lead + axis]) {
                (a, b) if a == b => stride,
                (1, _) => 0,
                _ => return None,
            };
        }
        Some(Self { shape, strides, offset: self.offset })
    }

    /// The same elements in row-major order under another shape, if no copy is needed. The shapes have as many elements.
    #[inline]
    pub fn reshape(&self, shape: Shape) -> Option<Self> {
        if self.is_contiguous() {
            return Some(Self { offset: self.offset, ..Self::contiguous(shape) });
        }
        self.regroup(shape)
    }

    /// As [`reshape`](Self::reshape), group of axes by group of axes.
    fn regroup(&self, shape: Shape) -> Option<Self> {
        let (old, new) = (self.shape.axes(), shape.axes());
        let mut strides = [0; MAX_RANK];
        let (mut i, mut j) = (0, 0);
        while i < old.len() && j < new.len() {
            // The smallest group of old axes that makes a group of new ones.
            let (first, start) = (i, j);
            let (mut left, mut right) = (old[i], new[j]);
            while left != right {
                if left < right {
                    i += 1;
                    left *= old.get(i)?;
                } else {
                    j += 1;
                    right *= new.get(j)?;
                }
            }
            let mut stride = None;
            for axis in (first..=i).rev().filter(|&axis| old[axis] != 1) {
                match stride {
                    Some(expected) if expected != self.strides[axis] => return None,
                    _ => stride = Some(self.strides[axis] * old[axis]),
                }
            }
            let innermost = (first..=i).rev().find(|&axis| old[axis] != 1).map_or(1, |axis| self.strides[axis]);
            let mut stride = innermost;
            for axis in (start..=j).rev() {
                strides[axis] = stride;
                stride *= new[axis];
            }
            i += 1;
            j += 1;
        }
        Some(Self { shape, strides, offset: self.offset })
    }
}
