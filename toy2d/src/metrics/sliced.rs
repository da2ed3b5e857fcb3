//! Sliced Wasserstein-2.

use crate::check;
use crate::linear_algebra::dot;
use mfm_core::{Error, Noise, Result};

/// How many directions are standard.
const STANDARD: usize = 256;

/// Unit vectors onto which samples are projected.
#[derive(Clone, Debug, PartialEq)]
pub struct Directions {
    dimension: usize,
    rows: Vec<f64>,
}

impl Directions {
    /// The standard 256 directions: in two dimensions those of [`half_circle`](Self::half_circle), else random ones of `noise`.
    /// On the line, where all are one, a single one.
    ///
    /// # Errors
    /// [`Error::Range`] for no dimension.
    pub fn standard(dimension: usize, noise: &Noise) -> Result<Self> {
        match dimension {
            1 => Ok(Self { dimension, rows: vec![1.0] }),
            2 => Self::half_circle(STANDARD),
            _ => Self::random(dimension, STANDARD, noise),
        }
    }

    /// `count` directions in the plane, at the angles (k + ½) π/`count`.
    ///
    /// # Errors
    /// [`Error::Range`] for no direction, [`Error::TooLarge`] or [`Error::OutOfMemory`] where they cannot be held.
    pub fn half_circle(count: usize) -> Result<Self> {
        at_least_one("the number of directions", count)?;
        check::room("directions", &[count, 2])?;
        let angle = |k: usize| (k as f64 + 0.5) * core::f64::consts::PI / count as f64;
        let rows = (0..count).flat_map(|k| [libm::cos(angle(k)), libm::sin(angle(k))]).collect();
        Ok(Self { dimension: 2, rows })
    }

    /// `count` independent directions, uniform on the sphere; direction k comes from the elements k·d to (k+1)·d of `noise`.
    ///
    /// # Errors
    /// [`Error::Range`] for no direction or no dimension, [`Error::OutOfMemory`] or [`Error::TooLarge`] where they cannot be held.
    pub fn random(dimension: usize, count: usize, noise: &Noise) -> Result<Self> {
        at_least_one("the dimension of directions", dimension)?;
        at_least_one("the number of directions", count)?;
        let mut rows = check::zeros("random directions", count, dimension)?;
        noise.fill_normal(&mut rows);
        for row in rows.chunks_exact_mut(dimension) {
            let length = dot(row, row).sqrt();
            if length > 0.0 {
                row.iter_mut().for_each(|x| *x /= length);
            } else {
                row[0] = 1.0;
            }
        }
        Ok(Self { dimension, rows })
    }

    /// d.
    pub fn dimension(&self) -> usize {
        self.dimension
    }

    /// The unit vectors, row-major.
    pub fn rows(&self) -> &[f64] {
        &self.rows
    }
}

/// The sliced Wasserstein-2 distance between two sets of points, n × d and m × d: the root of the mean, over directions, of
/// ∫ (Q_left(p) − Q_right(p))² dp, where Q is the quantile function of the projected points. Sets may differ in size.
///
/// It costs O((n log n + m log m) · directions). It is biased upwards: two sets from one law are a positive distance apart, which
/// is the floor to compare with. Source: Bonneel, Rabin, Peyré, Pfister, *Sliced and Radon Wasserstein barycenters* (2015).
///
/// # Errors
/// [`Error::Length`] where the lists are not rows of d numbers, [`Error::Range`] for an empty set, [`Error::NonFinite`].
pub fn sliced_wasserstein(left: &[f64], right: &[f64], directions: &Directions) -> Result<f64> {
    let d = directions.dimension;
    let mut projected_left = vec![0.0; points("the left points of a distance", d, left)?];
    let mut projected_right = vec![0.0; points("the right points of a distance", d, right)?];
    let mut total = 0.0;
    for direction in directions.rows.chunks_exact(d) {
        project(left, direction, &mut projected_left);
        project(right, direction, &mut projected_right);
        total += quantile_distance(&projected_left, &projected_right);
    }
    Ok((total * d as f64 / directions.rows.len() as f64).sqrt())
}

/// The number of points in a set that must be neither empty nor infinite.
fn points(what: &'static str, dimension: usize, set: &[f64]) -> Result<usize> {
    let n = check::rows(what, dimension, set.len())?;
    at_least_one(what, n)?;
    check::finite(what, set)?;
    Ok(n)
}

fn at_least_one(what: &'static str, count: usize) -> Result<()> {
    if count > 0 { Ok(()) } else { Err(Error::Range { what, value: 0.0, range: "at least 1" }) }
}

fn project(points: &[f64], direction: &[f64], out: &mut [f64]) {
    for (x, out) in points.chunks_exact(direction.len()).zip(out.iter_mut()) {
        *out = dot(x, direction);
    }
    out.sort_unstable_by(f64::total_cmp);
}

/// ∫ (Q_left − Q_right)² of two sorted lists.
fn quantile_distance(left: &[f64], right: &[f64]) -> f64 {
    let square = |a: f64, b: f64| (a - b) * (a - b);
    let (n, m) = (left.len() as u128, right.len() as u128);
    if n == m {
        return left.iter().zip(right).map(|(a, b)| square(*a, *b)).sum::<f64>() / n as f64;
    }
    // The steps end at i/n and j/m; in units of 1/(n m) all are whole.
    let (mut i, mut j, mut at, mut sum) = (0u128, 0u128, 0u128, 0.0);
    while let (Some(a), Some(b)) = (left.get(i as usize), right.get(j as usize)) {
        let (end_left, end_right) = ((i + 1) * m, (j + 1) * n);
        let end = end_left.min(end_right);
        sum += (end - at) as f64 * square(*a, *b);
        at = end;
        i += u128::from(end == end_left);
        j += u128::from(end == end_right);
    }
    sum / (n * m) as f64
}
