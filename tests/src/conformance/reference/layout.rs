//! Where the elements of a view lie.

use mfm_core::Shape;

/// The distance between neighbours along each axis of a contiguous tensor.
pub fn row_major(shape: Shape) -> Vec<usize> {
    let mut strides = vec![1; shape.rank()];
    for axis in (1..shape.rank()).rev() {
        strides[axis - 1] = strides[axis] * shape.axes()[axis];
    }
    strides
}

/// The strides by which a contiguous tensor of shape `from` is read as if stretched to `to`.
pub fn stretched(from: Shape, to: Shape) -> Vec<usize> {
    let own = row_major(from).into_iter().zip(from.axes()).map(|(stride, &n)| if n == 1 { 0 } else { stride });
    std::iter::repeat_n(0, to.rank() - from.rank()).chain(own).collect()
}

/// The position of every element of a view, in row-major order.
pub fn positions(shape: Shape, strides: &[usize], start: usize) -> Vec<usize> {
    if shape.elements() == 0 {
        return Vec::new(); // before an axis that may be as long as a number can say
    }
    shape.axes().iter().zip(strides).fold(vec![start], |outer, (&length, &stride)| {
        outer.iter().flat_map(|&position| (0..length).map(move |i| position + i * stride)).collect()
    })
}
