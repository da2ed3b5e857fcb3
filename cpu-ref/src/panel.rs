//! Matrix products with few rows by a right operand in row-major order: its rows pass by once, and no lanes are ever summed.

use crate::dots::Rows;
use crate::float::Float;
use crate::prefetch::prefetch;
use pulp::Simd;

/// How many rows of the left operand meet a row of the right one at once.
const BAND: usize = 6;
/// How many vectors wide a block of columns is.
const WIDE: usize = 2;
/// How many for a single row, where only width hides the time of a sum: half of sixteen registers, or of thirty-two.
const WIDER: usize = 8;
const WIDEST: usize = 16;
/// How many bytes ahead of a single row's product memory is asked for: a page, at whose end the processor itself stops looking ahead.
const AHEAD: usize = 4096;
/// Rows of the right operand that are added in sequence; longer sums are sums of such parts, so that the error does not grow with their length.
const DEEP: usize = 256;

/// out = a b, all row-major.
pub(crate) fn panel<E: Float>(out: &mut [E], a: Rows<'_, E>, b: Rows<'_, E>) {
    pulp::Arch::new().dispatch(Panel { out, a, b });
}

struct Panel<'a, E> {
    out: &'a mut [E],
    a: Rows<'a, E>,
    b: Rows<'a, E>,
}

impl<E: Float> pulp::WithSimd for Panel<'_, E> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let lanes = size_of::<E::Vector<S>>() / size_of::<E>();
        let mut j = 0;
        while j < self.b.length {
            let left = (self.b.length - j) / lanes;
            j += if left >= WIDEST && self.a.count == 1 && size_of::<E::Vector<S>>() == 64 {
                self.tile::<S, 1, WIDEST>(simd, 0, j);
                WIDEST * lanes
            } else if left >= WIDER && self.a.count == 1 {
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
                self.b.length
            };
        }
    }
}

impl<E: Float> Panel<'_, E> {
    /// `V` vectors of columns from `j` on, of all rows.
    #[inline(always)]
    fn column<S: Simd, const V: usize>(&mut self, simd: S, j: usize) {
        let mut i = 0;
        while i < self.a.count {
            i += match self.a.count - i {
                1 => self.tile::<S, 1, V>(simd, i, j),
                2 | 3 => self.tile::<S, 2, V>(simd, i, j),
                4 | 5 => self.tile::<S, 4, V>(simd, i, j),
                _ => self.tile::<S, BAND, V>(simd, i, j),
            };
        }
    }

    /// `R` rows from `i` on.
    #[inline(always)]
    #[allow(clippy::needless_range_loop)] // p runs through several rows at once
    fn tile<S: Simd, const R: usize, const V: usize>(&mut self, simd: S, i: usize, j: usize) -> usize {
        let lanes = size_of::<E::Vector<S>>() / size_of::<E>();
        let rows = self.a.take::<R>(i);
        for start in (0..self.b.count.max(1)).step_by(DEEP) {
            let mut sums = [[E::splat(simd, E::ZERO); V]; R];
            for p in start..self.b.count.min(start + DEEP) {
                if R == 1 {
                    prefetch(self.b.elements, p * self.b.apart + j + AHEAD / size_of::<E>());
                }
                let (b, _) = E::vectors::<S>(&self.b.elements[p * self.b.apart + j..][..V * lanes]);
                let b: [_; V] = core::array::from_fn(|v| b[v]);
                for r in 0..R {
                    let a = E::splat(simd, rows[r][p]);
                    for v in 0..V {
                        sums[r][v] = E::multiply_add(simd, a, b[v], sums[r][v]);
                    }
                }
            }
            for (r, sums) in sums.iter().enumerate() {
                let (out, _) = E::vectors_mut::<S>(&mut self.out[(i + r) * self.b.length + j..][..V * lanes]);
                if start == 0 {
                    out.copy_from_slice(sums);
                } else {
                    for (out, sum) in out.iter_mut().zip(sums) {
                        *out = E::multiply_add(simd, E::splat(simd, E::ONE), *sum, *out);
                    }
                }
            }
        }
        R
    }

    /// The columns from `j` on, fewer than a vector has lanes.
    #[inline(always)]
    fn rest(&mut self, j: usize) {
        let (width, length) = (self.b.length, self.a.length);
        for i in 0..self.a.count {
            let row = &self.a.elements[i * self.a.apart..][..length];
            for column in j..width {
                let parts = row.chunks(DEEP).enumerate().map(|(part, row)| {
                    let terms = (part * DEEP..).zip(row).map(|(p, a)| *a * self.b.elements[p * self.b.apart + column]);
                    terms.fold(E::ZERO, |sum, term| sum + term)
                });
                self.out[i * width + column] = parts.fold(E::ZERO, |sum, part| sum + part);
            }
        }
    }
}
