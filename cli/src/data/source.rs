//! What models are trained on, in memory or not.

use super::{Dataset, Shards};
use crate::context::Context;
use crate::failure::{Failure, Result};
use mfm_core::{Device, Error, Noise, Shape, Tensor};
use mfm_nn::train::{DataSource, Samples, random_rows};
use mfm_nn::{Coordinates, GaussianConfig};

/// The stream of a run's seed that orders shards; the steps of the run fork the first one.
const ORDER: u64 = 1;
/// As many numbers stand for all of a set of shards, where its mean and deviation are wanted.
const MEASURED: usize = 1 << 22;

/// What a model is trained on.
#[derive(Debug)]
pub enum Source {
    /// Rows in memory; a batch is drawn from them at random, with replacement.
    Memory(Dataset),
    /// Shards, read epoch by epoch.
    Shards(Shards),
}

impl Source {
    /// Where the data come from.
    pub fn name(&self) -> &str {
        match self {
            Self::Memory(data) => &data.source,
            Self::Shards(shards) => shards.source(),
        }
    }

    /// The number of samples.
    pub fn len(&self) -> usize {
        match self {
            Self::Memory(data) => data.len(),
            Self::Shards(shards) => shards.len(),
        }
    }

    /// Whether there is no sample.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The numbers in a sample.
    pub fn dimension(&self) -> usize {
        match self {
            Self::Memory(data) => data.dimension,
            Self::Shards(shards) => shards.item().iter().product(),
        }
    }

    /// The channels, height and width of a sample, if it is known to be an image.
    pub fn image(&self) -> Option<[usize; 3]> {
        match self {
            Self::Memory(data) => data.image,
            Self::Shards(shards) => Some(shards.item()),
        }
    }

    /// Whether there are labels.
    pub fn has_labels(&self) -> bool {
        match self {
            Self::Memory(data) => data.labels.is_some(),
            Self::Shards(shards) => shards.label_count() > 0,
        }
    }

    /// Whether it is a table, one of whose columns may hold labels.
    pub fn has_columns(&self) -> bool {
        matches!(self, Self::Memory(data) if data.image.is_none())
    }

    /// The number of labels, one more than the largest; 0 without labels.
    pub fn label_count(&self) -> usize {
        match self {
            Self::Memory(data) => data.label_count(),
            Self::Shards(shards) => shards.label_count(),
        }
    }

    /// What the labels mean, if that is known; else empty.
    pub fn classes(&self) -> &[String] {
        match self {
            Self::Memory(data) => &data.classes,
            Self::Shards(_) => &[],
        }
    }

    /// The Gaussian like the data, and its mean: of all rows in memory, of some four million numbers of shards.
    ///
    /// # Errors
    /// If a shard cannot be read.
    pub fn gaussian(&self) -> Result<(GaussianConfig, Vec<f64>)> {
        let dimension = self.dimension();
        Ok(match self {
            Self::Memory(data) => GaussianConfig::of_data(&data.rows, dimension)?,
            Self::Shards(shards) => {
                let count = (MEASURED / dimension).clamp(1, shards.len());
                GaussianConfig::of_data(&shards.shuffled(0, count, &Noise::new(0))?.values, dimension)?
            }
        })
    }

    /// The same data in a model's coordinates.
    ///
    /// # Errors
    /// If the items are of another size, or shards, which are never standardised.
    pub fn entering(self, coordinates: &Coordinates) -> Result<Self> {
        match self {
            source if coordinates.is_identity() => Ok(source),
            Self::Memory(data) => Ok(Self::Memory(Dataset { rows: data.entering(coordinates)?, exact: Vec::new(), ..data })),
            Self::Shards(shards) => {
                Err(Failure::input(format!("{}: the model was trained on standardised columns, and shards have none", shards.source())))
            }
        }
    }

    /// Reads all that is not in memory, to find what is not finite.
    ///
    /// # Errors
    /// One sentence naming the shard and the row.
    pub fn check<T: Tensor>(&self, context: &Context<T>) -> Result<()> {
        let Self::Shards(shards) = self else { return Ok(()) };
        let progress = context.progress("checking the shards", shards.len() as u64);
        (0..shards.len()).try_for_each(|row| {
            progress.advance(1);
            shards.rows([row]).map(|_| ())
        })
    }

    /// Batches of `batch` samples for a run of this seed.
    ///
    /// # Errors
    /// Whatever the device reports.
    pub fn feed<'a, T: Tensor>(&'a self, device: &T::Device, labelled: bool, seed: u64, batch: usize) -> Result<Feed<'a, T>> {
        let from = match self {
            Self::Memory(data) => From::Memory { rows: data.tensor(device)?, labels: data.labels.as_deref().filter(|_| labelled) },
            Self::Shards(shards) => {
                let order = Noise::new(seed).stream(ORDER);
                From::Shards { shards, device: device.clone(), labelled, order, batch: batch as u64, step: 0, made: 0 }
            }
        };
        Ok(Feed { from, broken: None })
    }
}

/// The batches of a run; each is a function of the seed and the step.
#[derive(Debug)]
pub struct Feed<'a, T: Tensor> {
    from: From<'a, T>,
    /// Why a batch could not be read, where that is no error of a tensor.
    pub broken: Option<Failure>,
}

#[derive(Debug)]
enum From<'a, T: Tensor> {
    Memory {
        rows: T,
        labels: Option<&'a [usize]>,
    },
    Shards {
        shards: &'a Shards,
        device: T::Device,
        labelled: bool,
        order: Noise,
        batch: u64,
        /// The step, and how many of its samples were given: a batch may be asked for in parts.
        step: u64,
        made: u64,
    },
}

impl<T: Tensor> DataSource<T> for Feed<'_, T> {
    fn batch(&mut self, now: u64, size: usize, noise: &Noise) -> mfm_core::Result<Samples<T>> {
        match &mut self.from {
            From::Memory { rows, labels } => random_rows(rows, *labels, size, noise),
            From::Shards { shards, device, labelled, order, batch, step, made } => {
                if *step != now {
                    (*step, *made) = (now, 0);
                }
                let start = (now - 1).wrapping_mul(*batch).wrapping_add(*made);
                *made += size as u64;
                let rows = shards.shuffled(start, size, order).map_err(|failure| {
                    self.broken = Some(failure);
                    Error::Cancelled
                })?;
                let x1 = device.from_slice(&rows.values, Shape::new(&[size, shards.item().iter().product()])?)?;
                Ok(Samples { x1, labels: rows.labels.filter(|_| *labelled) })
            }
        }
    }
}
