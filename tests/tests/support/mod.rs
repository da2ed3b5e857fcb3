//! What the statistical tests share.
#![allow(dead_code)] // Each test file uses its own part.

pub mod counting;
pub mod statistics;

use mfm_core::interpolant::{Interpolant, LatentScale, Linear, Trigonometric, VariancePreserving, WithLatent};
use mfm_core::{Device, Noise, Result, Shape};
use mfm_cpu_ref::{CpuDevice, CpuTensor};
use mfm_toy2d::{Directions, Gaussian, GaussianMixture, sliced_wasserstein};

pub type F64 = CpuTensor<f64>;

pub static LATENT: WithLatent<Linear> = WithLatent { path: Linear, latent: LatentScale(0.7) };

/// Every path of the library.
pub static PATHS: [&dyn Interpolant; 4] = [&Linear, &Trigonometric, &VariancePreserving, &LATENT];

pub fn device() -> CpuDevice<f64> {
    CpuDevice::new()
}

/// A tensor of `values` in rows of `d`.
pub fn rows<D: Device>(device: &D, values: &[f64], d: usize) -> Result<D::Tensor> {
    device.from_slice(values, Shape::new(&[values.len() / d, d])?)
}

pub fn normal<D: Device>(device: &D, n: usize, d: usize, seed: u64) -> Result<D::Tensor> {
    device.normal(&Noise::new(seed), Shape::new(&[n, d])?)
}

pub fn normals(n: usize, seed: u64) -> Vec<f64> {
    let mut out = vec![0.0; n];
    Noise::new(seed).fill_normal(&mut out);
    out
}

/// Random weights, means of deviation 1.5, and full covariances W Wᵀ/(2d) + 0.2 I.
pub fn random_mixture(d: usize, components: usize, seed: u64) -> Result<GaussianMixture> {
    let weights: Vec<f64> = normals(components, seed).iter().map(|z| (0.5 * z).exp()).collect();
    let means: Vec<f64> = normals(components * d, seed + 1000).iter().map(|z| 1.5 * z).collect();
    let covariances: Vec<f64> = (0..components).flat_map(|k| positive_matrix(d, seed + 2000 + k as u64)).collect();
    GaussianMixture::from_parts(d, &weights, &means, &covariances)
}

fn positive_matrix(d: usize, seed: u64) -> Vec<f64> {
    let w = normals(d * d, seed);
    let entry = |i: usize, j: usize| {
        let product: f64 = (0..d).map(|k| w[i * d + k] * w[j * d + k]).sum();
        product / (2 * d) as f64 + if i == j { 0.2 } else { 0.0 }
    };
    (0..d * d).map(|n| entry(n / d, n % d)).collect()
}

/// N(`mean`, `variance` I) as a mixture of one.
pub fn gaussian(mean: &[f64], variance: f64) -> Result<GaussianMixture> {
    GaussianMixture::new(&[1.0], vec![Gaussian::isotropic(mean, variance)?])
}

/// Samples against six exact sets of equal size: the sliced W2 distance to the first three, in the mean, and the floor, the mean over the five neighbouring
/// pairs of these sets.
pub fn distance_and_floor(samples: &[f64], law: &GaussianMixture, seed: u64) -> Result<(f64, f64)> {
    let d = law.dimension();
    let directions = Directions::standard(d, &Noise::new(seed))?;
    let exact = (0..6).map(|k| law.sample(samples.len() / d, &Noise::new(seed).fork(k))).collect::<Result<Vec<_>>>()?;
    let mut floor = 0.0;
    for pair in exact.windows(2) {
        floor += 0.2 * sliced_wasserstein(&pair[0], &pair[1], &directions)?;
    }
    let mut distance = 0.0;
    for set in &exact[..3] {
        distance += sliced_wasserstein(samples, set, &directions)? / 3.0;
    }
    Ok((distance, floor))
}

/// The largest |a − b| over the largest |b|, but at least over `least`.
pub fn relative_error(found: &[f64], expected: &[f64], least: f64) -> f64 {
    assert_eq!(found.len(), expected.len());
    let scale = expected.iter().fold(least, |a, b| a.max(b.abs()));
    found
        .iter()
        .zip(expected)
        .fold(0.0, |worst: f64, (a, b)| if (a - b).is_nan() { f64::INFINITY } else { worst.max((a - b).abs() / scale) })
}

/// ∂f_i/∂x_j, row-major, by central differences of fourth order.
pub fn finite_differences(x: &[f64], step: f64, mut f: impl FnMut(&[f64]) -> Result<Vec<f64>>) -> Result<Vec<f64>> {
    let mut columns = Vec::with_capacity(x.len());
    for j in 0..x.len() {
        let mut shifted = |h: f64| {
            let mut x = x.to_vec();
            x[j] += h;
            f(&x)
        };
        let (a, b, c, d) = (shifted(-2.0 * step)?, shifted(-step)?, shifted(step)?, shifted(2.0 * step)?);
        columns.push((0..a.len()).map(|i| (a[i] - 8.0 * b[i] + 8.0 * c[i] - d[i]) / (12.0 * step)).collect::<Vec<f64>>());
    }
    let rows = columns.first().map_or(0, Vec::len);
    Ok((0..rows).flat_map(|i| columns.iter().map(move |column| column[i])).collect())
}
