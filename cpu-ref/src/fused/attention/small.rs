//! Products and normalisations of matrices that are smaller than the cache.

use crate::float::Float;
#[cfg(not(feature = "std"))]
use crate::view::Left;
use crate::view::View;

/// How many columns are normalised side by side.
const BLOCK: usize = 16;
/// Rows that are added in sequence; longer sums are sums of such parts, so that the error does not grow with their length.
const DEEP: usize = 256;

#[cfg(feature = "std")]
pub(super) use crate::panel::product;

/// The same without vectors.
#[cfg(not(feature = "std"))]
pub(super) fn product<E: Float>(
    (out, apart): (&mut [E], usize),
    [m, k, n]: [usize; 3],
    a: Left<'_, E>,
    b: View<'_, E>,
    factor: E,
    accumulate: bool,
) {
    for i in 0..m {
        let row = &mut out[i * apart..][..n];
        if !accumulate {
            row.fill(E::ZERO);
        }
        for c in 0..k {
            let weight = factor
                * match a {
                    Left::Rows(a) => a.elements[i * a.apart + c],
                    Left::Columns(a) => a.elements[c * a.apart + i],
                };
            for (slot, &b) in row.iter_mut().zip(&b.elements[c * b.apart..]) {
                *slot += weight * b;
            }
        }
    }
}

/// The transpose of `rows` × `columns`, without gaps.
#[inline(always)]
pub(super) fn transpose<E: Float>(out: &mut [E], x: View<'_, E>, rows: usize, columns: usize) {
    for r in 0..rows {
        let row = &x.elements[r * x.apart..][..columns];
        for (out, &x) in out.chunks_exact_mut(rows).zip(row) {
            out[r] = x;
        }
    }
}

/// e^(x − max)/Σ of each column.
#[inline(always)]
pub(super) fn softmax<E: Float, const FMA: bool>(scores: &mut [E], width: usize) {
    let whole = width / BLOCK * BLOCK;
    for start in (0..whole).step_by(BLOCK) {
        softmax_of::<E, FMA, BLOCK>(scores, width, start);
    }
    for start in whole..width {
        softmax_of::<E, FMA, 1>(scores, width, start);
    }
}

/// The same of N columns.
#[inline(always)]
fn softmax_of<E: Float, const FMA: bool, const N: usize>(scores: &mut [E], width: usize, start: usize) {
    let mut maximum = [-E::INFINITY; N];
    for row in scores.chunks_exact(width) {
        let Some(x) = row[start..].first_chunk::<N>() else { return };
        for (maximum, &x) in maximum.iter_mut().zip(x) {
            *maximum = maximum.larger(x);
        }
    }
    for maximum in &mut maximum {
        *maximum = if *maximum == -E::INFINITY { E::ZERO } else { *maximum };
    }
    let mut sum = [E::ZERO; N];
    for part in scores.chunks_mut(DEEP * width) {
        let mut own = [E::ZERO; N];
        for row in part.chunks_exact_mut(width) {
            let Some(x) = row[start..].first_chunk_mut::<N>() else { return };
            for ((x, &maximum), sum) in x.iter_mut().zip(&maximum).zip(&mut own) {
                *x = (*x - maximum).exp::<FMA>();
                *sum += *x;
            }
        }
        sum.iter_mut().zip(own).for_each(|(sum, own)| *sum += own);
    }
    let rate = sum.map(|sum| E::ONE / sum);
    for row in scores.chunks_exact_mut(width) {
        let Some(x) = row[start..].first_chunk_mut::<N>() else { return };
        for (x, &rate) in x.iter_mut().zip(&rate) {
            *x = *x * rate;
        }
    }
}

/// p (g − Σ p g) of each column, in place of g: softmax's derivative in either direction.
#[inline(always)]
pub(super) fn slope<E: Float, const FMA: bool>(g: &mut [E], p: &[E], width: usize) {
    let whole = width / BLOCK * BLOCK;
    for start in (0..whole).step_by(BLOCK) {
        slope_of::<E, FMA, BLOCK>(g, p, width, start);
    }
    for start in whole..width {
        slope_of::<E, FMA, 1>(g, p, width, start);
    }
}

/// The same of N columns.
#[inline(always)]
fn slope_of<E: Float, const FMA: bool, const N: usize>(g: &mut [E], p: &[E], width: usize, start: usize) {
    let mut sum = [E::ZERO; N];
    for (g, p) in g.chunks(DEEP * width).zip(p.chunks(DEEP * width)) {
        let mut own = [E::ZERO; N];
        for (g, p) in g.chunks_exact(width).zip(p.chunks_exact(width)) {
            let (Some(g), Some(p)) = (g[start..].first_chunk::<N>(), p[start..].first_chunk::<N>()) else { return };
            for ((sum, &g), &p) in own.iter_mut().zip(g).zip(p) {
                *sum = g.fma::<FMA>(p, *sum);
            }
        }
        sum.iter_mut().zip(own).for_each(|(sum, own)| *sum += own);
    }
    for (g, p) in g.chunks_exact_mut(width).zip(p.chunks_exact(width)) {
        let (Some(g), Some(p)) = (g[start..].first_chunk_mut::<N>(), p[start..].first_chunk::<N>()) else { return };
        for ((g, &p), &sum) in g.iter_mut().zip(p).zip(&sum) {
            *g = p * (*g - sum);
        }
    }
}
