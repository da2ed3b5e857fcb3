//! Samples in rows, with labels or without.

use crate::failure::{Failure, Place as _, Result};
use mfm_core::{Device, Noise, Shape};
use mfm_nn::Coordinates;
use std::borrow::Cow;

/// Samples, one a row, all finite.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Dataset {
    /// The numbers, row after row.
    pub rows: Vec<f32>,
    /// The same in double precision, where single precision does not hold them; else empty.
    pub exact: Vec<f64>,
    /// The numbers in a row.
    pub dimension: usize,
    /// One label for each row.
    pub labels: Option<Vec<usize>>,
    /// What the labels mean, if that is known; else empty.
    pub classes: Vec<String>,
    /// The channels, height and width of a row, if it is known to be an image.
    pub image: Option<[usize; 3]>,
    /// Where the data came from.
    pub source: String,
}

impl Dataset {
    /// The number of rows.
    pub fn len(&self) -> usize {
        self.rows.len() / self.dimension.max(1)
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// One row; empty beyond the last.
    pub fn row(&self, index: usize) -> &[f32] {
        self.rows.get(index * self.dimension..(index + 1) * self.dimension).unwrap_or(&[])
    }

    /// The number of labels: that of the classes, or one more than the largest label; 0 without labels.
    pub fn label_count(&self) -> usize {
        self.labels.iter().flatten().max().map_or(0, |largest| (largest + 1).max(self.classes.len()))
    }

    /// The numbers in double precision.
    pub fn double(&self) -> Cow<'_, [f64]> {
        if self.exact.is_empty() { self.rows.iter().map(|value| f64::from(*value)).collect() } else { Cow::Borrowed(&self.exact) }
    }

    /// The coordinates in which the columns are standardised.
    ///
    /// # Errors
    /// If a column's mean or deviation is out of range.
    pub fn coordinates(&self) -> Result<Coordinates> {
        let Self { rows, exact, dimension, .. } = self;
        let found = if exact.is_empty() { Coordinates::of_data(rows, *dimension) } else { Coordinates::of_data(exact, *dimension) };
        found.at(&self.source)
    }

    /// The rows in coordinates.
    ///
    /// # Errors
    /// If they are of items of another size.
    pub fn entering(&self, coordinates: &Coordinates) -> Result<Vec<f32>> {
        let entered = if self.exact.is_empty() { coordinates.enter_rows(&self.rows) } else { coordinates.enter_rows(&self.exact) };
        entered.at(&self.source)
    }

    /// The rows as a tensor [n, dimension].
    ///
    /// # Errors
    /// Whatever the device reports.
    pub fn tensor<D: Device>(&self, device: &D) -> Result<D::Tensor> {
        Ok(device.from_slice(&self.rows, Shape::new(&[self.len(), self.dimension])?)?)
    }

    /// The rows `indices`, in that order; those beyond the last are left out.
    #[must_use]
    pub fn subset(&self, indices: &[usize]) -> Self {
        let indices: Vec<usize> = indices.iter().copied().filter(|&i| i < self.len()).collect();
        let exact = |i: usize| self.exact.get(i * self.dimension..(i + 1) * self.dimension).unwrap_or(&[]);
        Self {
            rows: indices.iter().flat_map(|&i| self.row(i)).copied().collect(),
            exact: indices.iter().flat_map(|&i| exact(i)).copied().collect(),
            labels: self.labels.as_ref().map(|labels| indices.iter().map(|&i| labels[i]).collect()),
            dimension: self.dimension,
            classes: self.classes.clone(),
            image: self.image,
            source: self.source.clone(),
        }
    }

    /// The data without `held_out` of its rows, and those rows, chosen by a shuffle that `noise` decides. Both keep at least one row
    /// where there are two.
    #[must_use]
    pub fn split(&self, held_out: f64, noise: &Noise) -> (Self, Self) {
        let n = self.len();
        let order = shuffled(n, noise);
        let size = ((n as f64 * held_out).round() as usize).clamp(usize::from(n > 1), n.saturating_sub(1));
        let (test, train) = order.split_at(size);
        (self.subset(train), self.subset(test))
    }

    /// Checks the dimension against a model's.
    ///
    /// # Errors
    /// One sentence with both.
    pub fn expect_dimension(&self, dimension: usize, whose: &str) -> Result<()> {
        if self.dimension == dimension {
            return Ok(());
        }
        Err(Failure::input(format!("{}: each row has {} numbers, but {whose} takes {dimension}", self.source, self.dimension)))
    }
}

/// 0 … n − 1 in an order that `noise` decides.
fn shuffled(n: usize, noise: &Noise) -> Vec<usize> {
    let mut order: Vec<usize> = (0..n).collect();
    let mut words = vec![0; n];
    noise.fill_words(&mut words);
    for i in (1..n).rev() {
        let j = ((u128::from(words[i]) * (i as u128 + 1)) >> 64) as usize;
        order.swap(i, j);
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_split_is_a_partition() {
        let rows = (0..40).map(|v| v as f32).collect();
        let exact = (0..40).map(|v| f64::from(v) + 1e-9).collect();
        let data = Dataset { rows, exact, dimension: 2, labels: Some((0..20).collect()), ..Dataset::default() };
        let (train, test) = data.split(0.25, &Noise::new(1));
        assert_eq!((train.len(), test.len()), (15, 5));
        let mut all: Vec<usize> = [train.labels.clone().unwrap(), test.labels.clone().unwrap()].concat();
        all.sort_unstable();
        assert_eq!(all, (0..20).collect::<Vec<_>>());
        assert_eq!(train.row(0)[0], 2.0 * train.labels.as_ref().unwrap()[0] as f32);
        assert!(train.exact.len() == 30 && train.exact.iter().zip(&train.rows).all(|(exact, row)| *exact == f64::from(*row) + 1e-9));
        assert_eq!(data.split(0.25, &Noise::new(1)), (train, test));
        assert_ne!(data.split(0.25, &Noise::new(2)).0, data.split(0.25, &Noise::new(1)).0);
    }
}
