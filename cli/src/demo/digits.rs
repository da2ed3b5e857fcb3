//! The digits, as training data.

use crate::data::{Dataset, split_digits};
use crate::{Context, Result};
use mfm_core::{Device, Noise, Shape, Tensor};
use mfm_nn::Classifier;
use mfm_nn::train::Samples;

/// Pixels have 17 levels, 1/8 apart; noise of this deviation hides the gaps between them.
const DEQUANTISATION: f64 = 0.05;

/// The digits for training and for looking.
#[derive(Debug)]
pub struct Digits {
    pub train: Dataset,
    pub held_out: Dataset,
}

impl Digits {
    pub fn load() -> Result<Self> {
        let (train, held_out) = split_digits()?;
        Ok(Self { train, held_out })
    }

    /// The training digits in two halves that share none.
    pub fn halves(&self) -> [Dataset; 2] {
        [0, 1].map(|half| self.train.subset(&(half..self.train.len()).step_by(2).collect::<Vec<_>>()))
    }

    /// The share of the held-out digits that `classifier` tells right.
    pub fn accuracy<T: Tensor>(&self, context: &Context<T>, classifier: &Classifier<T>) -> Result<f64> {
        let told = classifier.classify(&self.held_out.tensor(&context.device)?)?;
        let labels = self.held_out.labels.as_deref().unwrap_or(&[]);
        let right = told.iter().zip(labels).filter(|(told, label)| told == label).count();
        Ok(right as f64 / labels.len().max(1) as f64)
    }
}

/// Random rows of `data`, with noise of the given deviation besides the dequantisation.
pub fn batch<D: Device>(data: &Dataset, device: &D, size: usize, extra: f64, noise: &Noise) -> mfm_core::Result<Samples<D::Tensor>> {
    let mut rows = vec![0; size];
    noise.fill_below(data.len(), &mut rows);
    let mut jitter = vec![0.0; size * data.dimension];
    noise.stream(1).fill_normal(&mut jitter);
    let deviation = (DEQUANTISATION * DEQUANTISATION + extra * extra).sqrt();
    let clean = rows.iter().flat_map(|&row| data.row(row).iter());
    let values: Vec<f32> = clean.zip(&jitter).map(|(pixel, jitter)| pixel + (deviation * jitter) as f32).collect();
    let labels = data.labels.as_ref().map(|labels| rows.iter().map(|&row| labels[row]).collect());
    Ok(Samples { x1: device.from_slice(&values, Shape::new(&[size, data.dimension])?)?, labels })
}
