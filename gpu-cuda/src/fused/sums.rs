//! Sums of a pullback over the rows that share a row of an operand.

use crate::buffer::Buffer;
use crate::device::CudaDevice;
use crate::kernels::MOST_BLOCKS;
use crate::reduce::sum_of_parts;
use crate::tensor::CudaTensor;
use mfm_core::{Result, Shape, Tensor};

/// How an operand is stretched over rows: `count` times, `rows` neighbours share one of its rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Groups {
    pub count: usize,
    pub rows: usize,
}

impl Groups {
    /// `None` unless an operand of the shape `shared` has the last axis of `whole`, is stretched over the axes before it from some one on, and over none
    /// before that.
    pub fn of(whole: Shape, shared: Shape) -> Option<Self> {
        let (width, rows) = whole.axes().split_last()?;
        let (last, own) = shared.axes().split_last()?;
        let missing = rows.len().checked_sub(own.len())?;
        let own = |axis: usize| axis.checked_sub(missing).map_or(1, |axis| own[axis]);
        let first = (0..rows.len()).find(|&axis| own(axis) != rows[axis]).unwrap_or(rows.len());
        let fits = last == width && (first..rows.len()).all(|axis| own(axis) == 1);
        fits.then(|| Self { count: rows[..first].iter().product(), rows: rows[first..].iter().product() })
    }

    /// The parts into which each group is cut, so that about `busy` blocks, `blocks` for each part, have work: a block's `warps` take four rows each at
    /// least, and, as long as a grid allows, sixteen at most, which f32 adds up without loss.
    pub fn parts(self, blocks: usize, busy: usize, warps: usize) -> usize {
        let (least, most) = (self.rows.div_ceil(16 * warps), self.rows.div_ceil(4 * warps));
        (busy / blocks.max(1)).clamp(least, most).clamp(1, MOST_BLOCKS)
    }
}

/// Whether every row of the contiguous `x` begins at a multiple of 16 bytes.
pub(super) fn goes_by_vectors(x: &CudaTensor) -> bool {
    let width = x.shape().axes().last().copied().unwrap_or(0);
    x.address().is_multiple_of(16) && (width * x.home().storage().bytes()).is_multiple_of(16)
}

/// Whether the rows of a stretched operand can be read by 16 bytes, or are one number each.
pub(super) fn goes_by_vectors_or_repeats(x: &CudaTensor) -> bool {
    let lanes = x.home().storage().lanes();
    let Some((last, others)) = x.layout().strides[..x.shape().rank()].split_last() else { return true };
    *last == 0 || (*last == 1 && x.address().is_multiple_of(16) && others.iter().all(|stride| stride.is_multiple_of(lanes)))
}

/// Sums in f32 of a number of parts, each of `kinds` sums of `length` numbers.
pub(super) struct Partial {
    pub buffer: Buffer,
    parts: usize,
    kinds: usize,
    length: usize,
}

impl Partial {
    pub fn new(device: &CudaDevice, op: &'static str, parts: usize, kinds: usize, length: usize) -> Result<Self> {
        Ok(Self { buffer: device.buffer(op, parts * kinds * length * 4)?, parts, kinds, length })
    }

    /// The sums over the parts, of the `count` kinds from `first` on, one after another.
    pub fn total(&self, first: usize, count: usize) -> Result<CudaTensor> {
        let from = self.buffer.address() + (first * self.length * 4) as u64;
        sum_of_parts(self.buffer.device(), from, (self.parts, self.kinds * self.length), count * self.length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_the_rows_that_share_one() {
        let of = |whole: &[usize], shared: &[usize]| {
            Groups::of(Shape::new(whole).unwrap(), Shape::new(shared).unwrap()).map(|g| (g.count, g.rows))
        };
        assert_eq!(of(&[2, 3, 5], &[2, 1, 5]), Some((2, 3)));
        assert_eq!(of(&[2, 3, 5], &[5]), Some((1, 6)));
        assert_eq!(of(&[2, 3, 5], &[1, 1, 5]), Some((1, 6)));
        assert_eq!(of(&[2, 3, 5], &[2, 3, 5]), Some((6, 1)));
        assert_eq!(of(&[2, 3, 4, 5], &[2, 3, 1, 5]), Some((6, 4)));
        assert_eq!(of(&[2, 1, 3, 5], &[2, 1, 1, 5]), Some((2, 3)));
        assert_eq!(of(&[1, 3, 5], &[3, 5]), Some((3, 1)));
        // Shared by rows that are not neighbours, or along the row.
        assert_eq!(of(&[2, 3, 5], &[3, 5]), None);
        assert_eq!(of(&[2, 3, 5], &[1, 3, 5]), None);
        assert_eq!(of(&[2, 3, 5], &[2, 1, 1]), None);
        assert_eq!(of(&[], &[]), None);
    }

    #[test]
    fn parts_keep_a_gpu_busy_and_sums_short() {
        let parts = |rows, blocks| Groups { count: 1, rows }.parts(blocks, 384, 4);
        assert_eq!(parts(256, 32), 12);
        // No less than four rows a warp, no more than sixteen.
        assert_eq!((parts(256, 1), parts(256, 1000), parts(3, 1)), (16, 4, 1));
        assert_eq!(parts(1 << 24, 1), 65_535);
    }
}
