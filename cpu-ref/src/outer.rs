//! Sums of outer products with few columns.

use crate::float::Float;
use crate::simd::{Kernel, vectorise};

/// sum[j, i] += Σ over rows r of g[r, j] x[r, i]: the gradient of a weight with few inputs. `sum` is [width of g, `inner`].
pub(crate) fn outer_sum<E: Float>(sum: &mut [E], g: &[E], x: &[E], inner: usize) {
    vectorise(OuterSum { sum, g, x, inner });
}

/// Up to how many inputs [`outer_sum`] is worth its while.
pub(crate) const FEW: usize = 4;

struct OuterSum<'a, E> {
    sum: &'a mut [E],
    g: &'a [E],
    x: &'a [E],
    inner: usize,
}

impl<E: Float> Kernel for OuterSum<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let Self { sum, g, x, inner } = self;
        const SPAN: usize = 64;
        let width = sum.len() / inner;
        for start in (0..width).step_by(SPAN) {
            let length = SPAN.min(width - start);
            for i in 0..inner {
                let mut columns = [E::ZERO; SPAN];
                for (g, x) in g.chunks_exact(width).zip(x.chunks_exact(inner)) {
                    let factor = x[i];
                    let g = &g[start..start + length];
                    if let Ok(g) = <&[E; SPAN]>::try_from(g) {
                        for (sum, &g) in columns.iter_mut().zip(g) {
                            *sum = factor.fma::<FMA>(g, *sum);
                        }
                    } else {
                        for (sum, &g) in columns.iter_mut().zip(g) {
                            *sum = factor.fma::<FMA>(g, *sum);
                        }
                    }
                }
                for (j, &column) in columns[..length].iter().enumerate() {
                    sum[(start + j) * inner + i] += column;
                }
            }
        }
    }
}
