//! Sliced Wasserstein-2 and MMD².
#![allow(clippy::unwrap_used)] // Helpers of tests are tests.

mod common;

use common::normals;
use mfm_core::Noise;
use mfm_toy2d::{Directions, GaussianMixture, mmd_squared, sliced_wasserstein};

fn shifted(points: &[f64], by: &[f64]) -> Vec<f64> {
    points.iter().zip(by.iter().cycle()).map(|(x, s)| x + s).collect()
}

// The mean of (v·u)² over the half circle is |v|²/2, and over these evenly spaced angles too. Rounding.
#[test]
fn a_shift_is_measured_exactly() {
    let points = normals(2000, 1);
    let directions = Directions::standard(2, &Noise::new(0)).unwrap();
    assert_eq!(sliced_wasserstein(&points, &points, &directions).unwrap(), 0.0);
    let found = sliced_wasserstein(&points, &shifted(&points, &[0.3, -0.4]), &directions).unwrap();
    assert!((found - 0.5 * 0.5f64.sqrt()).abs() < 1e-13);
    let line = Directions::standard(1, &Noise::new(0)).unwrap();
    assert!((sliced_wasserstein(&points, &shifted(&points, &[2.0]), &line).unwrap() - 2.0).abs() < 1e-13);
}

// In d dimensions the mean is |v|²/d, over 20,000 random directions within four standard errors of a Beta(½, (d−1)/2).
#[test]
fn random_directions_are_uniform() {
    let d = 5.0f64;
    let directions = Directions::random(5, 20_000, &Noise::new(2)).unwrap();
    let points = normals(10, 3);
    let found = sliced_wasserstein(&points, &shifted(&points, &[0.0, 0.0, 1.0, 0.0, 0.0]), &directions).unwrap();
    let variance = 3.0 / (d * (d + 2.0)) - 1.0 / (d * d);
    assert!((found * found - 1.0 / d).abs() < 4.0 * (variance / 20_000.0f64).sqrt());
}

// Against copies: 6 points repeated 5 times and 10 repeated 3 times have the same quantiles as before. Rounding.
#[test]
fn sets_may_differ_in_size() {
    let (left, right) = (normals(12, 4), normals(20, 5));
    let copies =
        |points: &[f64], n: usize| points.chunks_exact(2).flat_map(|p| std::iter::repeat_n(p, n).flatten().copied()).collect::<Vec<f64>>();
    let directions = Directions::half_circle(7).unwrap();
    let expected = sliced_wasserstein(&copies(&left, 5), &copies(&right, 3), &directions).unwrap();
    assert!((sliced_wasserstein(&left, &right, &directions).unwrap() - expected).abs() < 1e-13);
    assert!(sliced_wasserstein(&left, &copies(&left, 3), &directions).unwrap() < 1e-13);
}

// Against the definition, with the library's exponential. 256 times a roundoff for the narrowest kernel; 300 points cross a block.
#[test]
fn mmd_is_its_definition() {
    let (left, right) = (normals(900, 6), shifted(&normals(600, 7), &[0.2, 0.0, -0.1]));
    let kernel = |a: &[f64], b: &[f64]| {
        let square: f64 = a.iter().zip(b).map(|(x, y)| (x - y) * (x - y)).sum();
        [0.25, 0.5, 1.0, 2.0, 4.0].iter().map(|h| (-square / (2.0 * h * h)).exp()).sum::<f64>() / 5.0
    };
    let sum = |a: &[f64], b: &[f64]| a.chunks_exact(3).map(|x| b.chunks_exact(3).map(|y| kernel(x, y)).sum::<f64>()).sum::<f64>();
    let (n, m) = (300.0, 200.0);
    let expected =
        (sum(&left, &left) - n) / (n * (n - 1.0)) + (sum(&right, &right) - m) / (m * (m - 1.0)) - 2.0 * sum(&left, &right) / (n * m);
    assert!((mmd_squared(3, &left, &right).unwrap() - expected).abs() < 1e-13);
}

// Null: equal laws, so the mean of 60 independent estimates (150 against 100 points) is zero within four standard errors.
// A shift by half a deviation along each axis is seen at more than ten.
#[test]
fn mmd_is_unbiased() {
    let mixture = GaussianMixture::paper();
    let estimates = |shift: f64| -> (f64, f64) {
        let values: Vec<f64> = (0..60)
            .map(|i| {
                let noise = Noise::new(1000 + i);
                let (left, right) = (mixture.sample(150, &noise.fork(0)).unwrap(), mixture.sample(100, &noise.fork(1)).unwrap());
                mmd_squared(2, &left, &shifted(&right, &[shift, -shift])).unwrap()
            })
            .collect();
        let mean = values.iter().sum::<f64>() / 60.0;
        (mean, (values.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / 59.0 / 60.0).sqrt())
    };
    let (mean, error) = estimates(0.0);
    assert!(mean.abs() < 4.0 * error, "{mean} ± {error}");
    let (mean, error) = estimates(0.35);
    assert!(mean > 10.0 * error, "{mean} ± {error}");
}

// Far apart, only the sets themselves count; nothing overflows or turns denormal.
#[test]
fn distant_sets_are_finite() {
    let (left, right) = ([0.0, 0.0, 0.0, 0.0], [1e200, 0.0, 1e200, 0.0]);
    assert!((mmd_squared(2, &left, &right).unwrap() - 2.0).abs() < 1e-15);
}
