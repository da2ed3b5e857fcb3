//! Several operands walked together in row-major order of their common shape.

use mfm_core::{Layout, MAX_RANK, Shape};

/// Elements that one task writes.
pub(crate) const TASK: usize = 1 << 13;

/// The axes of a shape, as few and as long as the operands allow, and the operands' strides along them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Walk<const K: usize> {
    axes: [usize; MAX_RANK],
    rank: usize,
    strides: [[usize; MAX_RANK]; K],
    offsets: [usize; K],
}

/// How far apart neighbours along an axis of `shape` are in an operand that broadcasts to it; 0 where it is stretched.
#[inline]
pub(crate) fn stride_along(x: &Layout, shape: Shape, axis: usize) -> usize {
    let own = (axis + x.shape.rank()).checked_sub(shape.rank());
    own.filter(|&own| x.shape.axes()[own] != 1).map_or(0, |own| x.strides[own])
}

impl<const K: usize> Walk<K> {
    /// Each operand broadcasts to `shape`.
    #[inline]
    pub fn new(shape: Shape, operands: [&Layout; K]) -> Self {
        let mut walk = Self { axes: [1; MAX_RANK], rank: 0, strides: [[0; MAX_RANK]; K], offsets: operands.map(|x| x.offset) };
        for (axis, &length) in shape.axes().iter().enumerate() {
            if length == 1 {
                continue;
            }
            let mut strides = [0; K];
            for (stride, x) in strides.iter_mut().zip(operands) {
                *stride = stride_along(x, shape, axis);
            }
            let merges = walk.rank > 0 && walk.strides.iter().zip(strides).all(|(outer, inner)| outer[walk.rank - 1] == inner * length);
            if !merges {
                walk.rank += 1;
                walk.axes[walk.rank - 1] = 1;
            }
            walk.axes[walk.rank - 1] *= length;
            for (of_walk, stride) in walk.strides.iter_mut().zip(strides) {
                of_walk[walk.rank - 1] = stride;
            }
        }
        walk.rank = walk.rank.max(1);
        walk
    }

    /// The length of the innermost axis.
    pub fn width(&self) -> usize {
        self.axes[self.rank - 1]
    }

    /// The strides along the innermost axis.
    pub fn steps(&self) -> [usize; K] {
        core::array::from_fn(|k| self.strides[k][self.rank - 1])
    }

    /// For one operand that is a transposed matrix: how many columns it has, and the stride along a row; the rows are 1 apart.
    pub fn matrix(&self) -> Option<(usize, usize)> {
        (K == 1 && self.rank == 2 && self.strides[0][0] == 1).then(|| (self.axes[1], self.strides[0][1]))
    }

    /// Where row `index` begins in each operand.
    #[inline(always)]
    pub fn row(&self, index: usize) -> [usize; K] {
        let mut at = self.offsets;
        let mut rest = index;
        for axis in (0..self.rank - 1).rev() {
            // No division for the outermost axis, which mostly is the only one.
            let position = if axis == 0 { rest } else { rest % self.axes[axis] };
            for (at, strides) in at.iter_mut().zip(&self.strides) {
                *at += position * strides[axis];
            }
            if axis > 0 {
                rest /= self.axes[axis];
            }
        }
        at
    }
}

/// Some elements of an output: whole rows, or a part of one.
pub(crate) struct Piece<'a, E> {
    /// The first row.
    pub row: usize,
    /// Where in the row it begins; 0 for whole rows.
    pub column: usize,
    /// How long a row of it is.
    pub width: usize,
    /// The elements.
    pub out: &'a mut [E],
}

/// An output cut into pieces of some [`TASK`] elements.
pub(crate) struct Pieces<'a, E> {
    rest: &'a mut [E],
    width: usize,
    row: usize,
    column: usize,
}

impl<'a, E> Pieces<'a, E> {
    pub fn new(out: &'a mut [E], width: usize) -> Self {
        Self { rest: out, width: width.max(1), row: 0, column: 0 }
    }
}

impl<'a, E> Iterator for Pieces<'a, E> {
    type Item = Piece<'a, E>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let (row, column) = (self.row, self.column);
        let take = if self.width > 2 * TASK {
            let left = self.width - column;
            // No crumbs at the end of a row.
            let take = if left < 2 * TASK { left } else { TASK };
            (self.row, self.column) = if take == left { (row + 1, 0) } else { (row, column + take) };
            take
        } else {
            let rows = (TASK / self.width).max(1);
            self.row += rows;
            rows * self.width
        };
        let rest = core::mem::take(&mut self.rest);
        let take = take.min(rest.len());
        let (out, rest) = rest.split_at_mut(take);
        self.rest = rest;
        Some(Piece { row, column, width: take.min(self.width), out })
    }
}
