//! The elements that a kernel goes through, with as few axes as the operands allow.

use crate::abi::{Address, Space, View};
use mfm_core::{Layout, MAX_RANK, Shape};

/// Axes with a stride for each of N operands.
pub(crate) struct Axes<const N: usize> {
    lengths: [usize; MAX_RANK],
    strides: [[usize; MAX_RANK]; N],
    rank: usize,
}

impl<const N: usize> Axes<N> {
    /// The axes of `shape`, which every operand has, less those of length one, and neighbours merged where every operand's strides allow it. The
    /// axis `apart`, if there is one, is kept as it is; its new place is the second result.
    pub fn new(shape: Shape, operands: [&Layout; N], apart: Option<usize>) -> (Self, usize) {
        let mut axes = Self { lengths: [1; MAX_RANK], strides: [[0; MAX_RANK]; N], rank: 0 };
        let mut place = None;
        for (axis, &length) in shape.axes().iter().enumerate() {
            let is_apart = apart == Some(axis);
            if length == 1 && !is_apart {
                continue;
            }
            let last = axes.rank.checked_sub(1);
            let stride = |k: usize| operands[k].strides[axis];
            let merges = |last: usize| !is_apart && place != Some(last) && (0..N).all(|k| axes.strides[k][last] == stride(k) * length);
            match last.filter(|&last| merges(last)) {
                Some(last) => {
                    axes.lengths[last] *= length;
                    (0..N).for_each(|k| axes.strides[k][last] = stride(k));
                }
                None => {
                    axes.lengths[axes.rank] = length;
                    (0..N).for_each(|k| axes.strides[k][axes.rank] = stride(k));
                    if is_apart {
                        place = Some(axes.rank);
                    }
                    axes.rank += 1;
                }
            }
        }
        (axes, place.unwrap_or(0))
    }

    /// The space, with all axes.
    pub fn space(&self) -> Space {
        let elements: usize = self.lengths[..self.rank].iter().product();
        Space { elements: elements as i64, length: self.lengths.map(|n| n as i64), rank: self.rank as i32, reserved: 0 }
    }

    /// Where operand `k`, whose first element is at `data`, has its elements.
    pub fn view(&self, k: usize, data: Address) -> View {
        View { data, stride: self.strides[k].map(|n| n as i64) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(axes: &[usize]) -> Shape {
        Shape::new(axes).unwrap()
    }

    #[test]
    fn neighbours_merge_where_all_operands_allow() {
        let whole = Layout::contiguous(shape(&[2, 1, 3, 4]));
        let (axes, _) = Axes::new(whole.shape, [&whole], None);
        assert_eq!((axes.rank, axes.lengths[0], axes.strides[0][0]), (1, 24, 1));

        // A row, stretched over the first two axes: they merge with stride 0, and apart from the last two.
        let row = Layout::contiguous(shape(&[3, 4])).broadcast(whole.shape).unwrap();
        let (axes, _) = Axes::new(whole.shape, [&whole, &row], None);
        assert_eq!((axes.rank, &axes.lengths[..2], &axes.strides[1][..2]), (2, &[2, 12][..], &[0, 1][..]));

        let (axes, place) = Axes::new(whole.shape, [&whole], Some(2));
        assert_eq!((axes.rank, place, &axes.lengths[..3], &axes.strides[0][..3]), (3, 1, &[2, 3, 4][..], &[12, 4, 1][..]));

        let turned = Layout::contiguous(shape(&[4, 3])).permute(&[1, 0]).unwrap();
        let (axes, _) = Axes::new(turned.shape, [&turned], None);
        assert_eq!((axes.rank, &axes.strides[0][..2]), (2, &[1, 3][..]));

        let scalar = Layout::contiguous(Shape::SCALAR);
        let (axes, _) = Axes::new(Shape::SCALAR, [&scalar], None);
        assert_eq!((axes.rank, axes.space().elements), (0, 1));
    }
}
