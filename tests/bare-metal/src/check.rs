//! What every machine computes, and what the host gets (a test of the workspace keeps that current).
extern crate alloc;

use alloc::vec::Vec;
use mfm_core::guidance::{Guide, MfmGradient};
use mfm_core::interpolant::Linear;
use mfm_core::reward::{ByDifferentiation, RewardFormula};
use mfm_core::{Device, Draws, Flow, Noise, Operations, Result, Shape, Tensor};
use mfm_cpu_ref::{CpuDevice, CpuTensor};
use mfm_nn::file::TensorView;
use mfm_nn::{FileError, Mlp, ModelConfig, ModelFile, NetworkConfig, Preconditioned};

/// A model of three Gaussians in 2D that `mfm train` made; `README.md` says how.
pub static MODEL: &[u8] = &ALIGNED.0;

static ALIGNED: Aligned<[u8; include_bytes!("../model.mfm").len()]> = Aligned(*include_bytes!("../model.mfm"));

/// At a multiple of 64 bytes, as tensors are in a file.
#[repr(align(64))]
struct Aligned<B>(B);

/// The host's numbers: little-endian f32.
pub static EXPECTED: &[u8] = include_bytes!("../expected.bin");

/// How far from the host's numbers those of another machine may be.
pub const TOLERANCE: f32 = 1e-5;

/// Posterior draws.
const DRAWS: usize = 64;
/// Draws for the gradient, whose tape holds every layer's values.
const GRADIENT_DRAWS: usize = 16;

/// r(x) = −½|x − c|², c = (3, 3): the upper one of the three Gaussians.
struct Upper;

impl RewardFormula for Upper {
    fn evaluate<T: Tensor>(&self, x: &T) -> Result<T> {
        x.shift(-3.0)?.square_norm_items()?.scale(-0.5)
    }
}

/// The model of the file as the preconditioned [`Mlp`] that it is: [`mfm_nn::Model`] would bring the code of every network. `carry` makes its tensors.
fn model<D: Device>(
    device: &D,
    carry: impl Fn(&TensorView<'static>) -> Result<D::Tensor, FileError>,
) -> Result<Preconditioned<Mlp<D::Tensor>, D::Tensor>, FileError> {
    let file = ModelFile::parse(MODEL)?;
    let ModelConfig { network: NetworkConfig::Mlp(form), preconditioning: Some(gaussian), .. } = &file.header().model else {
        return Err(FileError::Malformed { what: "this is no preconditioned MLP", offset: 0 });
    };
    let tensor = |name: &str| file.tensor(name).ok_or_else(|| FileError::Missing { tensor: name.into() });
    let network = Mlp::build(form, &mut |name, _| carry(tensor(name)?))?;
    let mean: Vec<f64> = tensor("preconditioning.mean")?.values().collect();
    Ok(Preconditioned::new(device, network, *gaussian, &mean)?)
}

/// A tensor of the file that stays where it is.
///
/// # Errors
/// [`FileError::Malformed`] where it cannot.
pub fn lent(device: &CpuDevice<f32>, view: &TensorView<'static>) -> Result<CpuTensor<f32>, FileError> {
    let values = view
        .in_place()
        .ok_or(FileError::Malformed { what: "its numbers do not lie as this machine has them", offset: view.offset as u64 })?;
    Ok(device.wrap(values, view.shape)?)
}

/// 64 draws of p(x1 | x_0.4), then the drift and the correction (σ²/2)∇V by MFM-G at the same state: 2 · 64 + 2 + 2 numbers. `carry` makes the model's tensors.
///
/// # Errors
/// If the model cannot be read, or the device has no room.
pub fn compute<D: Device>(device: &D, carry: impl Fn(&TensorView<'static>) -> Result<D::Tensor, FileError>) -> Result<Vec<f32>, FileError> {
    let model = model(device, carry)?;
    let (time, noise) = (0.4, Noise::new(1));
    let flow = Flow::new(&model, &Linear);
    let state = device.from_slice(&[0.5, -0.2], Shape::new(&[1, 2])?)?;
    let draws = flow.posterior(&device.normal(&noise, Shape::new(&[DRAWS, 2])?)?, time, &state)?;
    let mut numbers: Vec<f32> = draws.to_vec()?;
    drop(draws);
    let guide = MfmGradient { reward: &ByDifferentiation(Upper), draws: Draws::new(GRADIENT_DRAWS) };
    let guidance = guide.guide(&flow, time, &state, &noise.fork(1))?;
    numbers.extend(guidance.drift.to_vec::<f32>()?);
    if let Some(correction) = guidance.correction {
        numbers.extend(correction.to_vec::<f32>()?);
    }
    Ok(numbers)
}

/// The largest difference of `numbers` from the host's; infinite if one is NaN or their count is another.
pub fn distance(numbers: &[f32]) -> f32 {
    let expected = EXPECTED.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes));
    if numbers.is_empty() || expected.len() != numbers.len() {
        return f32::INFINITY;
    }
    let differences = numbers.iter().zip(expected).map(|(a, b)| (a - b).abs());
    differences.fold(0.0, |largest, difference| if difference.is_nan() { f32::INFINITY } else { largest.max(difference) })
}
