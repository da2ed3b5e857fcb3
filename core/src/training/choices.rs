//! The random choices of a training step, as values.

use super::consistency::Consistency;
use super::objective::{Batch, Guided, Objective};
use super::time_law::{ends_on, split_on, times_on, uniforms};
use crate::error::{Error, Result};
use crate::interpolant::Interpolant;
use crate::memory;
use crate::noise::Noise;
use crate::tensor::{Device, Tensor};
use alloc::vec::Vec;

/// Every random choice of one evaluation of an [`Objective`] on n samples.
#[derive(Clone, Debug)]
pub struct Choices<T> {
    /// The labels, some of them dropped; `None` for samples without.
    pub labels: Option<Vec<usize>>,
    /// The time of each state.
    pub t: Vec<f64>,
    /// The noise in each state x_t, of the shape of the samples.
    pub state: T,
    /// Where the diagonal loss is taken.
    pub diagonal: Diagonal<T>,
    /// Where the consistency loss is taken; `None` without one.
    pub jump: Option<Jump<T>>,
}

/// Where the diagonal loss is taken.
#[derive(Clone, Debug)]
pub struct Diagonal<T> {
    /// The time of each place I_s.
    pub s: Vec<f64>,
    /// The noise in each place, of the shape of the samples.
    pub noise: T,
    /// The guidance scale that the network gets for each sample; `None` for a network that takes none.
    pub guidance: Option<Vec<f64>>,
}

/// Where the consistency loss is taken.
#[derive(Clone, Debug)]
pub struct Jump<T> {
    /// The time of each place I_s.
    pub s: Vec<f64>,
    /// The time to which each jump goes.
    pub u: Vec<f64>,
    /// The noise in each place, of the shape of the samples.
    pub noise: T,
    /// γ, at which share of its time each jump is split in two; read by [`Consistency::Semigroup`](super::Consistency::Semigroup) alone.
    pub split: Vec<f64>,
    /// As on the diagonal.
    pub guidance: Option<Vec<f64>>,
}

impl Objective {
    /// Draws the choices for a batch on `path`. Fork 0 of `noise` drops labels, 1 gives t, 2 the noise of x_t, 3 the place of the diagonal loss, 4 that of
    /// the consistency loss; in a place, stream 2 is its noise, 3 gives γ, 4 the guidance scale.
    ///
    /// # Errors
    /// [`Error::Range`] for an empty batch, and for what [`TimeLaw::check`](super::TimeLaw::check) and [`Guided::check`] refuse; [`Error::Length`] unless there is
    /// one label for each sample.
    pub fn choose<T: Tensor>(&self, path: &dyn Interpolant, batch: &Batch<'_, T>, noise: &Noise) -> Result<Choices<T>> {
        let shape = batch.x1.shape();
        let (device, n) = (batch.x1.device(), shape.batch());
        if n == 0 {
            return Err(Error::Range { what: "the batch size", value: 0.0, range: "at least 1" });
        }
        self.times.check()?;
        self.guided.map_or(Ok(()), |guided| guided.check())?;
        let labels = self.labels(batch, n, noise)?;
        let (here, there) = (noise.fork(3), noise.fork(4));
        let diagonal = Diagonal {
            s: times_on(path, self.times.diagonal(n, &here)?),
            noise: device.normal(&here.stream(2), shape)?,
            guidance: self.guidance(labels.as_deref(), &here.stream(4))?,
        };
        let jump = if self.consistency == Consistency::None {
            None
        } else {
            let (from, to) = self.times.pairs(n, &there)?;
            let mut split = uniforms(n, &there.stream(3))?;
            for (split, (from, to)) in split.iter_mut().zip(from.iter().zip(&to)) {
                *split = split_on(path, *from, *to, *split);
            }
            // A velocity at u may be infinite at 1, which the average one up to there is not.
            let u = if let Consistency::Lagrangian(_) = self.consistency { times_on(path, to) } else { ends_on(path, to) };
            Some(Jump {
                s: times_on(path, from),
                u,
                noise: device.normal(&there.stream(2), shape)?,
                split,
                guidance: self.guidance(labels.as_deref(), &there.stream(4))?,
            })
        };
        let (t, state) = (times_on(path, self.times.states(n, &noise.fork(1))?), device.normal(&noise.fork(2), shape)?);
        Ok(Choices { labels, t, state, diagonal, jump })
    }

    /// The batch's labels, some of them dropped.
    fn labels<T>(&self, batch: &Batch<'_, T>, n: usize, noise: &Noise) -> Result<Option<Vec<usize>>> {
        let Some(labels) = batch.labels else { return Ok(None) };
        if labels.len() != n {
            return Err(Error::Length { op: "the batch's labels", expected: n, found: labels.len() });
        }
        let mut labels = memory::list("training labels", labels.iter().copied())?;
        if let Some(guided) = self.guided {
            for (label, uniform) in labels.iter_mut().zip(uniforms(n, &noise.fork(0))?) {
                if uniform < guided.dropout {
                    *label = guided.null_label;
                }
            }
        }
        Ok(Some(labels))
    }

    /// The guidance scales of a place.
    fn guidance(&self, labels: Option<&[usize]>, noise: &Noise) -> Result<Option<Vec<f64>>> {
        let (Some(labels), Some(guided)) = (labels, self.guided) else { return Ok(None) };
        let Some(plain) = guided.plain else { return Ok(None) };
        let scale = |(label, uniform): (&usize, f64)| if *label == guided.null_label || uniform < plain { 1.0 } else { guided.scale };
        memory::list("guidance scales", labels.iter().zip(uniforms(labels.len(), noise)?).map(scale)).map(Some)
    }
}

impl Guided {
    /// Checks that every number is in its range.
    ///
    /// # Errors
    /// [`Error::Range`], naming it.
    pub fn check(&self) -> Result<()> {
        let shares = [("the share of dropped labels", Some(self.dropout)), ("the share without guidance", self.plain)];
        for (what, share) in shares {
            if let Some(value) = share.filter(|share| !(0.0..=1.0).contains(share)) {
                return Err(Error::Range { what, value, range: "between 0 and 1" });
            }
        }
        if self.scale.is_nan() || self.scale < 1.0 {
            return Err(Error::Range { what: "the guidance scale", value: self.scale, range: "at least 1" });
        }
        Ok(())
    }
}
