//! Matrix products with few rows by a right operand in row-major order: its rows pass by once, and no lanes are ever summed.

use crate::dots::Rows;
use crate::float::Float;
use crate::prefetch::prefetch;
use crate::view::{Left, View};
use pulp::Simd;

/// How many rows of the left operand meet a row of the right one at once.
const BAND: usize = 6;
/// How many do so where the columns are of one vector.
const TALL: usize = 8;
/// How many vectors wide a block of columns is.
const WIDE: usize = 2;
/// How many for a single row, where only width hides the time of a sum: half of sixteen registers, or of thirty-two.
const WIDER: usize = 8;
const WIDEST: usize = 16;
/// The most numbers in a vector.
const LANES: usize = 16;
/// How many bytes ahead of a single row's product memory is asked for: a page, at whose end the processor itself stops looking ahead.
const AHEAD: usize = 4096;
/// Rows of the right operand that are added in sequence; longer sums are sums of such parts, so that the error does not grow with their length.
const DEEP: usize = 256;

/// out = a b, all row-major.
pub(crate) fn panel<E: Float>(out: &mut [E], a: Rows<'_, E>, b: Rows<'_, E>) {
    let sizes = [a.count, a.length, b.length];
    product((out, b.length), sizes, Left::Rows(View::new(a.elements, a.apart)), View::new(b.elements, b.apart), E::ONE, false);
}

/// out[i, j] = factor · Σ_p a[i, p] b[p, j] for i < m, p < k, j < n, added to `out` if `accumulate`; `out` comes with the distance of its rows, which have
/// no gaps in them.
pub(crate) fn product<E: Float>(
    (out, apart): (&mut [E], usize),
    [m, k, n]: [usize; 3],
    a: Left<'_, E>,
    b: View<'_, E>,
    factor: E,
    accumulate: bool,
) {
    for start in (0..k.max(1)).step_by(DEEP) {
        let (out, sizes) = ((&mut *out, apart), [m, DEEP.min(k - start), n]);
        let (b, accumulate) = (View::new(&b.elements[start * b.apart..], b.apart), accumulate || start > 0);
        match a {
            Left::Rows(a) => {
                let a = View::new(&a.elements[start..], a.apart);
                pulp::Arch::new().dispatch(Panel::<E, false> { out, sizes, a, b, factor, accumulate });
            }
            Left::Columns(a) => {
                let a = View::new(&a.elements[start * a.apart..], a.apart);
                pulp::Arch::new().dispatch(Panel::<E, true> { out, sizes, a, b, factor, accumulate });
            }
        }
    }
}

struct Panel<'a, E, const TRANSPOSED: bool> {
    out: (&'a mut [E], usize),
    sizes: [usize; 3],
    a: View<'a, E>,
    b: View<'a, E>,
    factor: E,
    accumulate: bool,
}

impl<E: Float, const TRANSPOSED: bool> pulp::WithSimd for Panel<'_, E, TRANSPOSED> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let lanes = size_of::<E::Vector<S>>() / size_of::<E>();
        let [m, _, n] = self.sizes;
        let mut j = 0;
        while j < n {
            let left = (n - j) / lanes;
            j += if left >= WIDEST && m == 1 && size_of::<E::Vector<S>>() == 64 {
                self.tile::<S, 1, WIDEST>(simd, 0, j);
                WIDEST * lanes
            } else if left >= WIDER && m == 1 {
                self.tile::<S, 1, WIDER>(simd, 0, j);
                WIDER * lanes
            } else if left >= WIDE {
                self.column::<S, WIDE>(simd, j);
                WIDE * lanes
            } else if left >= 1 {
                self.column::<S, 1>(simd, j);
                lanes
            } else {
                self.rest(j);
                n
            };
        }
    }
}

impl<E: Float, const TRANSPOSED: bool> Panel<'_, E, TRANSPOSED> {
    /// `V` vectors of columns from `j` on, of all rows.
    #[inline(always)]
    fn column<S: Simd, const V: usize>(&mut self, simd: S, j: usize) {
        let [m, ..] = self.sizes;
        let mut i = 0;
        while i < m {
            i += match m - i {
                1 => self.tile::<S, 1, V>(simd, i, j),
                2 | 3 => self.tile::<S, 2, V>(simd, i, j),
                4 | 5 => self.tile::<S, 4, V>(simd, i, j),
                8.. if V == 1 => self.tile::<S, TALL, V>(simd, i, j),
                _ => self.tile::<S, BAND, V>(simd, i, j),
            };
        }
    }

    /// `R` rows from `i` on.
    #[inline(always)]
    #[allow(clippy::needless_range_loop)] // p runs through several rows at once
    fn tile<S: Simd, const R: usize, const V: usize>(&mut self, simd: S, i: usize, j: usize) -> usize {
        let lanes = size_of::<E::Vector<S>>() / size_of::<E>();
        let (View { elements: a, apart: a_apart }, View { elements: b, apart: b_apart }, [_, k, _]) = (self.a, self.b, self.sizes);
        let rows: [&[E]; R] = core::array::from_fn(|r| if TRANSPOSED { a } else { &a[(i + r) * a_apart..][..k] });
        let mut sums = [[E::splat(simd, E::ZERO); V]; R];
        for p in 0..k {
            if R == 1 {
                prefetch(b, p * b_apart + j + AHEAD / size_of::<E>());
            }
            let (b, _) = E::vectors::<S>(&b[p * b_apart + j..][..V * lanes]);
            let b: [_; V] = core::array::from_fn(|v| b[v]);
            let column = if TRANSPOSED { &a[p * a_apart + i..][..R] } else { a };
            for r in 0..R {
                let a = E::splat(simd, if TRANSPOSED { column[r] } else { rows[r][p] });
                for v in 0..V {
                    sums[r][v] = E::multiply_add(simd, a, b[v], sums[r][v]);
                }
            }
        }
        let plain = self.factor == E::ONE && !self.accumulate;
        let (zero, factor) = (E::splat(simd, E::ZERO), E::splat(simd, self.factor));
        for (r, sums) in sums.iter().enumerate() {
            let (out, _) = E::vectors_mut::<S>(&mut self.out.0[(i + r) * self.out.1 + j..][..V * lanes]);
            if plain {
                out.copy_from_slice(sums);
                continue;
            }
            for v in 0..V {
                out[v] = E::multiply_add(simd, sums[v], factor, if self.accumulate { out[v] } else { zero });
            }
        }
        R
    }

    /// The columns from `j` on, fewer than a vector has lanes.
    #[inline(always)]
    fn rest(&mut self, j: usize) {
        let (View { elements: a, apart: a_apart }, View { elements: b, apart: b_apart }, [m, k, n]) = (self.a, self.b, self.sizes);
        for i in 0..m {
            let mut sums = [E::ZERO; LANES];
            let sums = &mut sums[..n - j];
            for p in 0..k {
                let a = a[if TRANSPOSED { p * a_apart + i } else { i * a_apart + p }];
                for (sum, &b) in sums.iter_mut().zip(&b[p * b_apart + j..]) {
                    *sum += a * b;
                }
            }
            for (out, &sum) in self.out.0[i * self.out.1 + j..].iter_mut().zip(sums.iter()) {
                *out = sum * self.factor + if self.accumulate { *out } else { E::ZERO };
            }
        }
    }
}
