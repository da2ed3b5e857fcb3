//! The digits, as training data.

use super::distortion::{NUMBERS, distort};
use crate::data::{Dataset, digits};
use crate::{Context, Failure, Result};
use mfm_core::{Device, Noise, Shape, Tensor, memory};
use mfm_nn::Classifier;
use mfm_nn::train::Samples;

/// Pixels have few levels; noise of this deviation hides the gaps between them.
const DEQUANTISATION: f64 = 0.05;

/// The digits for training and for looking.
#[derive(Debug)]
pub struct Digits {
    pub train: Dataset,
    pub held_out: Dataset,
    /// The side of an image.
    pub side: usize,
}

impl Digits {
    /// Those that ship with the program.
    ///
    /// # Errors
    /// None, unless the program itself is damaged.
    pub fn built_in() -> Result<Self> {
        Self::of(&digits()?)
    }

    /// Those of a data set, a fifth of them held out; the same ones whatever the seed of the run.
    ///
    /// # Errors
    /// If they are no square images with labels from 0 to 9, all of which are there, or too few.
    pub fn of(data: &Dataset) -> Result<Self> {
        const FEWEST: usize = 200;
        let refuse = |what: String| Err(Failure::input(format!("{}: {what}", data.source)));
        let Some(labels) = &data.labels else { return refuse("these digits have no labels".into()) };
        let side = data.dimension.isqrt();
        if side * side != data.dimension || side < 4 {
            return refuse(format!("{} numbers are no square image of at least 4 × 4", data.dimension));
        }
        if let Some(row) = labels.iter().position(|label| *label > 9) {
            return refuse(format!("the label of digit {} is {}, but must be at most 9", row + 1, labels[row]));
        }
        if let Some(missing) = (0..10).find(|class| !labels.contains(class)) {
            return refuse(format!("no digit has the label {missing}"));
        }
        if data.len() < FEWEST {
            return refuse(format!("{} digits are too few, there must be at least {FEWEST}", data.len()));
        }
        let (train, held_out) = data.split(0.2, &Noise::new(0x6469_6769_7473));
        Ok(Self { train, held_out, side })
    }

    /// The pixels of an image.
    pub fn pixels(&self) -> usize {
        self.side * self.side
    }

    /// The training digits in two halves that share none.
    pub fn halves(&self) -> [Dataset; 2] {
        [0, 1].map(|half| self.train.subset(&(half..self.train.len()).step_by(2).collect::<Vec<_>>()))
    }

    /// The share of the held-out digits that `classifier` tells right.
    pub fn accuracy<T: Tensor>(&self, context: &Context<T>, classifier: &Classifier<T>) -> Result<f64> {
        crate::classifier::accuracy(context, classifier, &self.held_out)
    }
}

/// What is done to the digits of a batch besides the dequantisation.
#[derive(Clone, Copy, Debug, Default)]
pub struct Augmentation {
    /// The deviation of more noise.
    pub noise: f64,
    /// Whether each is distorted a little, at random; they must be square.
    pub distorted: bool,
}

/// A list of zeros, or that there is no memory for it.
fn zeros<E: Copy + Default>(count: usize) -> mfm_core::Result<Vec<E>> {
    let mut list = memory::room("a batch of digits", count)?;
    list.resize(count, E::default());
    Ok(list)
}

/// Random rows of `data`.
pub fn batch<D: Device>(
    data: &Dataset,
    device: &D,
    size: usize,
    augmentation: Augmentation,
    noise: &Noise,
) -> mfm_core::Result<Samples<D::Tensor>> {
    let mut rows = zeros(size)?;
    noise.fill_below(data.len(), &mut rows);
    let mut jitter = zeros(size.saturating_mul(data.dimension))?;
    noise.stream(1).fill_normal(&mut jitter);
    let mut values = zeros(jitter.len())?;
    let mut numbers = zeros(size.saturating_mul(NUMBERS))?;
    if augmentation.distorted {
        noise.stream(2).fill_uniform(&mut numbers);
    }
    for ((out, &row), numbers) in values.chunks_exact_mut(data.dimension).zip(&rows).zip(numbers.chunks_exact(NUMBERS)) {
        if augmentation.distorted {
            distort(data.row(row), data.dimension.isqrt(), numbers, out);
        } else {
            out.copy_from_slice(data.row(row));
        }
    }
    let deviation = (DEQUANTISATION * DEQUANTISATION + augmentation.noise * augmentation.noise).sqrt();
    for (pixel, jitter) in values.iter_mut().zip(&jitter) {
        *pixel += (deviation * jitter) as f32;
    }
    let labels = data.labels.as_ref().map(|labels| rows.iter().map(|&row| labels[row]).collect());
    Ok(Samples { x1: device.from_slice(&values, Shape::new(&[size, data.dimension])?)?, labels })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(dimension: usize, labels: Option<Vec<usize>>) -> Dataset {
        let count = labels.as_ref().map_or(300, Vec::len);
        Dataset { rows: vec![0.5; count * dimension], dimension, labels, source: "a file".into(), ..Dataset::default() }
    }

    #[test]
    fn what_is_no_set_of_digits_is_refused() {
        let built_in = Digits::built_in().unwrap();
        assert_eq!((built_in.train.len(), built_in.held_out.len(), built_in.side), (1438, 359, 8));
        let classes = |n: usize| Some((0..n).map(|i| i % 10).collect::<Vec<_>>());
        assert_eq!(Digits::of(&data(16, classes(300))).unwrap().held_out.len(), 60);
        let refused = |data: Dataset| Digits::of(&data).unwrap_err().to_string();
        assert!(refused(data(16, None)).contains("a file: these digits have no labels"));
        assert!(refused(data(15, classes(300))).contains("15 numbers are no square image"));
        assert!(refused(data(16, classes(100))).contains("100 digits are too few"));
        assert!(refused(data(16, Some((0..300).map(|i| i % 11).collect()))).contains("the label of digit 11 is 10"));
        assert!(refused(data(16, Some((0..300).map(|i| i % 9).collect()))).contains("no digit has the label 9"));
    }
}
