//! Element-wise functions of three operands.

use crate::device::WORTHWHILE;
use crate::elementwise::{Row, Same, Source, operand};
use crate::float::Float;
use crate::simd::{Kernel, vectorise};
use crate::tensor::CpuTensor;
use crate::walk::{Piece, Pieces, Walk};
use mfm_core::Result;
use mfm_core::Tensor;

/// A function of three numbers. `at` must be `#[inline(always)]`.
pub(crate) trait Map3<E>: Copy + Sync {
    fn at<const FMA: bool>(self, a: E, b: E, c: E) -> E;
}

crate::elementwise::function!(Map3 Choose(mask, yes, no) = if mask != E::ZERO { yes } else { no });

/// The rows of a piece, of three operands.
struct Loop3<'a, E, F> {
    piece: Piece<'a, E>,
    walk: &'a Walk<3>,
    operands: [&'a [E]; 3],
    f: F,
}

impl<E: Float, F: Map3<E>> Kernel for Loop3<'_, E, F> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let Self { piece, walk, operands: [a, b, c], f } = self;
        let (width, column) = (piece.width, piece.column);
        let steps = walk.steps();
        for (r, out) in piece.out.chunks_exact_mut(width).enumerate() {
            let [i, j, k] = walk.row(piece.row + r);
            let span = |at: usize| at + column..at + column + width;
            match steps {
                [0, 0, 0] => row3::<FMA, E, F>(out, Same(a[i]), Same(b[j]), Same(c[k]), f),
                [0, 0, _] => row3::<FMA, E, F>(out, Same(a[i]), Same(b[j]), Row(&c[span(k)]), f),
                [0, _, 0] => row3::<FMA, E, F>(out, Same(a[i]), Row(&b[span(j)]), Same(c[k]), f),
                [0, _, _] => row3::<FMA, E, F>(out, Same(a[i]), Row(&b[span(j)]), Row(&c[span(k)]), f),
                [_, 0, 0] => row3::<FMA, E, F>(out, Row(&a[span(i)]), Same(b[j]), Same(c[k]), f),
                [_, 0, _] => row3::<FMA, E, F>(out, Row(&a[span(i)]), Same(b[j]), Row(&c[span(k)]), f),
                [_, _, 0] => row3::<FMA, E, F>(out, Row(&a[span(i)]), Row(&b[span(j)]), Same(c[k]), f),
                [_, _, _] => row3::<FMA, E, F>(out, Row(&a[span(i)]), Row(&b[span(j)]), Row(&c[span(k)]), f),
            }
        }
    }
}

#[inline(always)]
fn row3<const FMA: bool, E: Float, F: Map3<E>>(out: &mut [E], a: impl Source<E>, b: impl Source<E>, c: impl Source<E>, f: F) {
    for (index, out) in out.iter_mut().enumerate() {
        *out = f.at::<FMA>(a.get(index), b.get(index), c.get(index));
    }
}

/// The element-wise `f` of three operands that broadcast.
pub(crate) fn map3<E: Float, F: Map3<E>>(op: &'static str, operands: [&CpuTensor<E>; 3], f: F) -> Result<CpuTensor<E>> {
    let [a, b, c] = operands;
    // The second and third first: an error names the operands as the composed body would.
    let shape = a.shape().broadcast(&b.shape().broadcast(&c.shape(), op)?, op)?;
    let [a, b, c] = [operand(a, shape)?, operand(b, shape)?, operand(c, shape)?];
    let elements = shape.elements();
    let mut buffer = a.home().buffer(op, elements)?;
    let walk = Walk::new(shape, [a.layout(), b.layout(), c.layout()]);
    let pieces = Pieces::new(buffer.elements_mut(), walk.width());
    let slices = [a.elements(), b.elements(), c.elements()];
    a.home().each(elements > WORTHWHILE, pieces, |piece| {
        vectorise(Loop3 { piece, walk: &walk, operands: slices, f });
        Ok(())
    })?;
    Ok(CpuTensor::new(buffer, shape))
}

/// As [`mfm_core::Tensor::select`].
pub(crate) fn select<E: Float>(mask: &CpuTensor<E>, yes: &CpuTensor<E>, no: &CpuTensor<E>) -> Result<CpuTensor<E>> {
    map3("select", [mask, yes, no], Choose)
}
