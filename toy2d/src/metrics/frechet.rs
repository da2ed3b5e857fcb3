//! The Fréchet distance.

use crate::check;
use crate::linear_algebra::{Matrix, add_scaled};
use mfm_core::{Error, Result};

/// ‖μ_a − μ_b‖² + tr(Σ_a + Σ_b − 2 (Σ_a^{1/2} Σ_b Σ_a^{1/2})^{1/2}): the squared Wasserstein-2 distance of the Gaussians that have the means and
/// covariances of two sets of points of `dimension` numbers each (Dowson and Landau, 1982). On the features of a network it is the "Fréchet
/// inception distance" (Heusel et al., 2017).
///
/// Covariances are those of the sets, divided by their sizes. It needs more points than dimensions to say much, and is biased upwards: compare at equal
/// sizes. O(n d² + d³).
///
/// # Errors
/// [`Error::Range`] for no dimension or less than two points; [`Error::Length`] if a set is no whole number of points; [`Error::NonFinite`] for a NaN
/// or infinity.
pub fn frechet_distance(a: &[f64], b: &[f64], dimension: usize) -> Result<f64> {
    let ((mean_a, a), (mean_b, b)) = (moments(a, dimension)?, moments(b, dimension)?);
    let shift: f64 = mean_a.iter().zip(&mean_b).map(|(x, y)| (x - y) * (x - y)).sum();
    let root = square_root(&a);
    // The trace of a square root is the sum of the roots of the eigenvalues, none of which is negative except by rounding.
    let (values, _) = root.product(&b).product(&root).symmetric_eigen();
    let shared: f64 = values.iter().map(|value| value.max(0.0).sqrt()).sum();
    let spread: f64 = (0..dimension).map(|i| a.at(i, i) + b.at(i, i)).sum();
    Ok((shift + spread - 2.0 * shared).max(0.0))
}

/// The mean and the covariance of a set of points.
fn moments(points: &[f64], dimension: usize) -> Result<(Vec<f64>, Matrix)> {
    if dimension == 0 {
        return Err(Error::Range { what: "the dimension of the points", value: 0.0, range: "at least 1" });
    }
    let n = check::rows("the Fréchet distance", dimension, points.len())?;
    if n < 2 {
        return Err(Error::Range { what: "the number of points", value: n as f64, range: "at least 2" });
    }
    check::finite("the points", points)?;
    let mean: Vec<f64> = (0..dimension).map(|j| points.iter().skip(j).step_by(dimension).sum::<f64>() / n as f64).collect();
    let mut sums = vec![0.0; dimension * dimension];
    let mut centred = vec![0.0; dimension];
    for point in points.chunks_exact(dimension) {
        for ((c, x), m) in centred.iter_mut().zip(point).zip(&mean) {
            *c = x - m;
        }
        for (i, row) in sums.chunks_exact_mut(dimension).enumerate() {
            add_scaled(centred[i] / n as f64, &centred, row);
        }
    }
    Ok((mean, Matrix::new(dimension, sums)))
}

/// The symmetric square root of a covariance.
fn square_root(matrix: &Matrix) -> Matrix {
    let (values, vectors) = matrix.symmetric_eigen();
    let scaled = Matrix::from_fn(vectors.size(), |i, j| values[i].max(0.0).sqrt() * vectors.at(i, j));
    vectors.transpose().product(&scaled).symmetrised()
}

#[cfg(test)]
mod tests {
    use super::*;
    use mfm_core::Noise;

    /// Points whose mean is exactly m and whose covariance exactly A Aᵀ: ±√d times the columns of A around m.
    fn points(mean: &[f64], factor: &[f64]) -> Vec<f64> {
        let d = mean.len();
        let root = (d as f64).sqrt();
        let point = |sign: f64, k: usize| (0..d).map(move |i| mean[i] + sign * root * factor[i * d + k]);
        (0..d).flat_map(|k| point(1.0, k).chain(point(-1.0, k)).collect::<Vec<_>>()).collect()
    }

    #[test]
    fn is_the_distance_of_gaussians() {
        // Commuting covariances, by hand: |μ|² + Σ (σ_a − σ_b)².
        let a = points(&[0.0, 0.0], &[2.0, 0.0, 0.0, 1.0]);
        let b = points(&[3.0, -1.0], &[0.5, 0.0, 0.0, 4.0]);
        let expected = 10.0 + 1.5 * 1.5 + 3.0 * 3.0;
        assert!((frechet_distance(&a, &b, 2).unwrap() - expected).abs() < 1e-12);
        // In two dimensions tr (M)^{1/2} = √(tr M + 2 √det M) for M = Σ_a Σ_b, which do not commute here.
        let (fa, fb) = ([1.0, 0.4, -0.3, 0.8], [0.7, -0.9, 0.2, 1.1]);
        let square = |f: [f64; 4]| [f[0] * f[0] + f[1] * f[1], f[0] * f[2] + f[1] * f[3], f[2] * f[2] + f[3] * f[3]];
        let (p, q) = (square(fa), square(fb));
        let trace = p[0] * q[0] + 2.0 * p[1] * q[1] + p[2] * q[2];
        let determinant = (p[0] * p[2] - p[1] * p[1]) * (q[0] * q[2] - q[1] * q[1]);
        let expected = 1.0 + p[0] + p[2] + q[0] + q[2] - 2.0 * (trace + 2.0 * determinant.sqrt()).sqrt();
        let found = frechet_distance(&points(&[0.0, 1.0], &fa), &points(&[0.0, 0.0], &fb), 2).unwrap();
        assert!((found - expected).abs() < 1e-12, "{found} {expected}");
    }

    #[test]
    fn is_a_distance() {
        let mut sets = vec![0.0; 400];
        Noise::new(1).fill_normal(&mut sets);
        let (a, b) = sets.split_at(200);
        assert!(frechet_distance(a, a, 5).unwrap() < 1e-12);
        let (there, back) = (frechet_distance(a, b, 5).unwrap(), frechet_distance(b, a, 5).unwrap());
        assert!(there > 0.01 && (there - back).abs() < 1e-12);
        // Fewer points than dimensions leave the covariance singular; that is no error.
        assert!(frechet_distance(&a[..40], &b[..40], 20).unwrap().is_finite());
    }

    #[test]
    fn bad_points_are_refused() {
        assert!(matches!(frechet_distance(&[0.0; 4], &[0.0; 4], 0), Err(Error::Range { .. })));
        assert!(matches!(frechet_distance(&[0.0; 5], &[0.0; 4], 2), Err(Error::Length { .. })));
        assert!(matches!(frechet_distance(&[0.0; 2], &[0.0; 4], 2), Err(Error::Range { .. })));
        assert!(matches!(frechet_distance(&[0.0, f64::NAN, 1.0, 2.0], &[0.0; 4], 2), Err(Error::NonFinite { .. })));
    }
}
