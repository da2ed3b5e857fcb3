//! Matrix products with few rows or few columns, as dot products of contiguous rows.

use crate::float::Float;
use pulp::Simd;

/// The side of a tile of dot products that share their loads.
const TILE: usize = 4;
/// Elements of which each lane adds its own in sequence; longer sums are sums of such parts, so that the error grows with their number only.
const PART: usize = 1024;

/// out[i, j] = ⟨row i of a, row j of b⟩.
pub(crate) fn dots<E: Float>(out: &mut [E], a: Rows<'_, E>, b: Rows<'_, E>) {
    for start in (0..a.length.max(1)).step_by(PART) {
        pulp::Arch::new().dispatch(Dots { out, a: a.part(start), b: b.part(start), adds: start > 0 });
    }
}

/// Some rows of one length.
#[derive(Clone, Copy)]
pub(crate) struct Rows<'a, E> {
    pub elements: &'a [E],
    pub count: usize,
    pub length: usize,
    pub apart: usize,
}

impl<'a, E> Rows<'a, E> {
    /// The part of each that begins at `start`.
    fn part(&self, start: usize) -> Self {
        Self { elements: self.elements.get(start..).unwrap_or_default(), length: PART.min(self.length - start), ..*self }
    }

    /// `N` of them.
    #[inline(always)]
    pub fn take<const N: usize>(&self, start: usize) -> [&'a [E]; N] {
        core::array::from_fn(|i| &self.elements[(start + i) * self.apart..][..self.length])
    }
}

struct Dots<'a, E> {
    out: &'a mut [E],
    a: Rows<'a, E>,
    b: Rows<'a, E>,
    /// Whether the result is added to what is there.
    adds: bool,
}

impl<E: Float> pulp::WithSimd for Dots<'_, E> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let mut i = 0;
        while i < self.a.count {
            i += match self.a.count - i {
                1 => self.band::<S, 1>(simd, i),
                2 => self.band::<S, 2>(simd, i),
                3 => self.band::<S, 3>(simd, i),
                _ => self.band::<S, TILE>(simd, i),
            };
        }
    }
}

impl<E: Float> Dots<'_, E> {
    /// `R` rows of the result.
    #[inline(always)]
    fn band<S: Simd, const R: usize>(&mut self, simd: S, i: usize) -> usize {
        let rows = self.a.take::<R>(i);
        let mut j = 0;
        while j + TILE <= self.b.count {
            self.tile::<S, R, TILE>(simd, rows, i, j);
            j += TILE;
        }
        match self.b.count - j {
            1 => self.tile::<S, R, 1>(simd, rows, i, j),
            2 => self.tile::<S, R, 2>(simd, rows, i, j),
            3 => self.tile::<S, R, 3>(simd, rows, i, j),
            _ => {}
        }
        R
    }

    #[inline(always)]
    fn tile<S: Simd, const R: usize, const J: usize>(&mut self, simd: S, rows: [&[E]; R], i: usize, j: usize) {
        let columns = self.b.take::<J>(j);
        let a = rows.map(|row| E::vectors::<S>(row));
        let b = columns.map(|row| E::vectors::<S>(row));
        let whole = a[0].0.len();
        let (heads_a, heads_b) = (a.map(|a| &a.0[..whole]), b.map(|b| &b.0[..whole]));
        let mut sums = [[E::splat(simd, E::ZERO); J]; R];
        for at in 0..whole {
            let b: [_; J] = core::array::from_fn(|c| heads_b[c][at]);
            for r in 0..R {
                let a = heads_a[r][at];
                for c in 0..J {
                    sums[r][c] = E::multiply_add(simd, a, b[c], sums[r][c]);
                }
            }
        }
        for r in 0..R {
            for c in 0..J {
                let rest = a[r].1.iter().zip(b[c].1);
                let sum = rest.fold(E::total(simd, sums[r][c]), |sum, (&a, &b)| sum + a * b);
                let out = &mut self.out[(i + r) * self.b.count + j + c];
                *out = if self.adds { *out + sum } else { sum };
            }
        }
    }
}
