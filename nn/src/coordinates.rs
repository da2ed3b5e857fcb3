//! The coordinates in which a model works, where they are not the data's own.

use alloc::vec;
use alloc::vec::Vec;
use mfm_core::tensor::Element;
use mfm_core::{Device, Error, Operations, Result, Reward, Shape, Tensor, memory};
use serde::{Deserialize, Serialize};

/// How many scales from zero a mean may be where single precision still tells apart numbers a thousandth of the scale from one another.
const FARTHEST: f64 = 1e-3 / f32::EPSILON as f64;
/// What rows on the host are, in errors.
const ROWS: &str = "rows in their coordinates";

/// Coordinates z = (x − mean)/scale, number by number, of an item x of data; the default are the data's own, z = x.
///
/// A model that has them works in z alone: its flow starts from N(0, I) there. Whatever is given to its user is in the units of the data:
/// samples and states x = mean + scale ∘ z at any time, so that the noise is N(mean, diag(scale²)) in these units; rewards r(x), and gradients
/// by x, which are those by z divided by scale.
///
/// Beside a large mean, a short number has no digits left. So rows on the host are taken to z and back in double precision, and tensors as
/// [`Device::precise`] keeps them, which is not enough for the columns that are [far from zero](Self::far_from_zero).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Coordinates {
    /// Of each number of an item; none for the data's own.
    mean: Vec<f64>,
    scale: Vec<f64>,
}

impl Coordinates {
    /// Coordinates of items of as many numbers as `mean` and `scale` have.
    ///
    /// # Errors
    /// [`Error::Length`] if there are none, or not as many of both; [`Error::Range`] for a mean beyond ±10³⁰, or a scale that is not between
    /// 10⁻³⁰ and 10³⁰, where single precision has room to subtract and divide.
    pub fn new(mean: Vec<f64>, scale: Vec<f64>) -> Result<Self> {
        let coordinates = Self { mean, scale };
        if coordinates.is_identity() {
            return Err(Error::Length { op: "the means of coordinates", expected: 1, found: 0 });
        }
        coordinates.check()?;
        Ok(coordinates)
    }

    /// Checks what a file holds.
    ///
    /// # Errors
    /// As [`new`](Self::new), but for none of both, which are the data's own coordinates.
    pub(crate) fn check(&self) -> Result<()> {
        let Self { mean, scale } = self;
        if scale.len() != mean.len() {
            return Err(Error::Length { op: "the scales of coordinates", expected: mean.len(), found: scale.len() });
        }
        if let Some(&value) = mean.iter().find(|value| !(-1e30..=1e30).contains(*value)) {
            return Err(Error::Range { what: "the mean of a column", value, range: "between -1e30 and 1e30" });
        }
        if let Some(&value) = scale.iter().find(|value| !(1e-30..=1e30).contains(*value)) {
            return Err(Error::Range { what: "the scale of a column", value, range: "between 1e-30 and 1e30" });
        }
        Ok(())
    }

    /// Those that standardise data in rows of `dimension` numbers: the mean and the deviation of each column. The scale of a column that does not
    /// vary is 1, and of no other.
    ///
    /// # Errors
    /// As [`new`](Self::new); [`Error::Range`] for no rows, [`Error::Length`] if the last one is not whole.
    pub fn of_data<N: Element>(rows: &[N], dimension: usize) -> Result<Self> {
        let (mean, variance) = moments(rows, dimension)?;
        // No column that varies has a scale of 1.
        let deviation = |variance: f64| if variance == 1.0 { 1.0_f64.next_up() } else { libm::sqrt(variance) };
        let scale = variance.into_iter().map(|variance| if variance > 0.0 { deviation(variance) } else { 1.0 });
        Self::new(mean, scale.collect())
    }

    /// Whether they are the data's own, z = x.
    pub fn is_identity(&self) -> bool {
        self.mean.is_empty()
    }

    /// The mean of each number of an item; none if they are the data's own.
    pub fn mean(&self) -> &[f64] {
        &self.mean
    }

    /// The scale of each number of an item; none if they are the data's own.
    pub fn scale(&self) -> &[f64] {
        &self.scale
    }

    /// The columns whose mean is more than some 8,000 scales from zero: numbers of theirs a thousandth of the scale apart are the same number in
    /// single precision.
    pub fn far_from_zero(&self) -> impl Iterator<Item = usize> + '_ {
        let is_far = |(mean, scale): (&f64, &f64)| libm::fabs(*mean) > FARTHEST * scale;
        self.mean.iter().zip(&self.scale).enumerate().filter(move |(_, pair)| is_far(*pair)).map(|(column, _)| column)
    }

    /// The first column that varies and whose mean is too far from zero for single precision.
    pub fn beyond_single(&self) -> Option<usize> {
        self.far_from_zero().find(|&column| self.scale.get(column) != Some(&1.0))
    }

    /// z = (x − mean)/scale of the numbers of items on the host, one item after another, in double precision until it is rounded.
    ///
    /// # Errors
    /// [`Error::Length`] for numbers that are no whole items, [`Error::OutOfMemory`] for more than there is room for.
    pub fn enter_rows<N: Element>(&self, x: &[N]) -> Result<Vec<f32>> {
        self.check_rows(x.len())?;
        let mut z = memory::room(ROWS, x.len())?;
        let x = x.iter().map(|x| x.to_f64());
        if self.is_identity() {
            z.extend(x.map(|x| x as f32));
        } else {
            z.extend(x.zip(self.columns()).map(|(x, (mean, scale))| ((x - mean) / scale) as f32));
        }
        Ok(z)
    }

    /// x = mean + scale ∘ z, likewise in double precision.
    ///
    /// # Errors
    /// As [`enter_rows`](Self::enter_rows).
    pub fn leave_rows<N: Element>(&self, z: &[N]) -> Result<Vec<f64>> {
        self.check_rows(z.len())?;
        let mut x = memory::room(ROWS, z.len())?;
        let z = z.iter().map(|z| z.to_f64());
        if self.is_identity() {
            x.extend(z);
        } else {
            x.extend(z.zip(self.columns()).map(|(z, (mean, scale))| mean + scale * z));
        }
        Ok(x)
    }

    /// The mean and the scale of each number of items, one item after another without end.
    fn columns(&self) -> impl Iterator<Item = (&f64, &f64)> {
        self.mean.iter().zip(&self.scale).cycle()
    }

    /// Checks that so many numbers are whole items.
    fn check_rows(&self, found: usize) -> Result<()> {
        match self.mean.len() {
            0 => Ok(()),
            item if found.is_multiple_of(item) => Ok(()),
            item => Err(Error::Length { op: ROWS, expected: found.next_multiple_of(item), found }),
        }
    }

    /// z = (x − mean)/scale of items x, precise or not: `[n, ...]` → `[n, ...]`.
    ///
    /// # Errors
    /// [`Error::Length`] for items of another size, and whatever the device reports.
    pub fn enter<T: Tensor>(&self, x: &T) -> Result<T> {
        self.by_columns(x, |x, mean, scale| x.sub(mean)?.div(scale))?.to_working()
    }

    /// x = mean + scale ∘ z, precise but for z = x: `[n, ...]` → `[n, ...]`.
    ///
    /// # Errors
    /// As [`enter`](Self::enter).
    pub fn leave<T: Tensor>(&self, z: &T) -> Result<T> {
        self.by_columns(z, |z, mean, scale| z.mul(scale)?.add(mean))
    }

    /// Velocities by x of those by z, scale ∘ v, likewise: `[n, ...]` → `[n, ...]`.
    ///
    /// # Errors
    /// As [`enter`](Self::enter).
    pub fn leave_velocity<T: Tensor>(&self, velocity: &T) -> Result<T> {
        self.by_columns(velocity, |velocity, _, scale| velocity.mul(scale))
    }

    /// Gradients by z of those by x, scale ∘ ∇: `[n, ...]` → `[n, ...]`.
    ///
    /// # Errors
    /// As [`enter`](Self::enter).
    pub fn enter_gradient<T: Tensor>(&self, gradient: &T) -> Result<T> {
        self.leave_velocity(gradient)?.to_working()
    }

    /// Gradients by x of those by z, ∇/scale, likewise: `[n, ...]` → `[n, ...]`.
    ///
    /// # Errors
    /// As [`enter`](Self::enter).
    pub fn leave_gradient<T: Tensor>(&self, gradient: &T) -> Result<T> {
        self.by_columns(gradient, |gradient, _, scale| gradient.div(scale))
    }

    /// The reward z ↦ r(mean + scale ∘ z) of a reward r of the data.
    pub fn reward<R>(&self, reward: R) -> InCoordinates<'_, R> {
        InCoordinates { reward, coordinates: self }
    }

    /// What `change` makes of items as precise rows, the mean and the scale; nothing, where these are the data's own.
    fn by_columns<T: Tensor>(&self, items: &T, change: impl FnOnce(&T, &T, &T) -> Result<T>) -> Result<T> {
        if self.is_identity() {
            return Ok(items.clone());
        }
        let (shape, expected) = (items.shape(), self.mean.len());
        if shape.item() != expected {
            return Err(Error::Length { op: "an item in its coordinates", expected, found: shape.item() });
        }
        let items = items.to_precise()?;
        let device = items.device();
        let row = |values: &[f64]| device.from_slice(values, Shape::new(&[1, expected])?);
        change(&items.reshape(Shape::new(&[shape.batch(), expected])?)?, &row(&self.mean)?, &row(&self.scale)?)?.reshape(shape)
    }
}

/// A reward of data as one of a model's [`Coordinates`]: r(mean + scale ∘ z), whose gradient is scale ∘ ∇r.
#[derive(Clone, Copy, Debug)]
pub struct InCoordinates<'a, R> {
    reward: R,
    coordinates: &'a Coordinates,
}

impl<T: Tensor, R: Reward<T>> Reward<T> for InCoordinates<'_, R> {
    fn value(&self, z: &T) -> Result<T> {
        self.reward.value(&self.coordinates.leave(z)?.to_working()?)
    }

    fn value_and_gradient(&self, z: &T) -> Result<(T, T)> {
        let (value, gradient) = self.reward.value_and_gradient(&self.coordinates.leave(z)?.to_working()?)?;
        Ok((value, self.coordinates.enter_gradient(&gradient)?))
    }
}

/// The mean and the variance of each column of rows of `dimension` numbers. A column of one number has it as its mean and the variance 0, whatever
/// its sum would be rounded to.
///
/// # Errors
/// [`Error::Range`] for no rows or columns, [`Error::Length`] if the last row is not whole.
pub(crate) fn moments<N: Element>(rows: &[N], dimension: usize) -> Result<(Vec<f64>, Vec<f64>)> {
    for (what, count) in [("the number of columns", dimension), ("the number of rows", rows.len())] {
        if count == 0 {
            return Err(Error::Range { what, value: 0.0, range: "at least 1" });
        }
    }
    if !rows.len().is_multiple_of(dimension) {
        return Err(Error::Length { op: "the last row", expected: dimension, found: rows.len() % dimension });
    }
    let d = dimension;
    let n = (rows.len() / d) as f64;
    let (mut mean, mut variance, mut varies) = (vec![0.0; d], vec![0.0; d], vec![false; d]);
    for row in rows.chunks_exact(d) {
        for (k, value) in row.iter().enumerate() {
            mean[k] += value.to_f64() / n;
            varies[k] |= *value != rows[k];
        }
    }
    for (k, mean) in mean.iter_mut().enumerate().filter(|(k, _)| !varies[*k]) {
        *mean = rows.get(k).copied().map_or(0.0, N::to_f64);
    }
    for row in rows.chunks_exact(d) {
        for (k, value) in row.iter().enumerate() {
            variance[k] += (value.to_f64() - mean[k]) * (value.to_f64() - mean[k]) / n;
        }
    }
    Ok((mean, variance))
}
