//! What the operations are given: numbers that a device holds exactly, laid out in every way that a view can be.

use super::reference::{Reference, ReferenceDevice};
use mfm_core::{Device, Noise, Result, Shape, Tensor};

/// From where the numbers of an input come. Where nothing else is said they are multiples of 1/32 of at most eight bits, which every precision down to
/// bf16 holds exactly; but so are most of their sums and products, in f32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Domain {
    /// -4 ..= 4.
    Any,
    /// -1 ..= 1: for products and exponents that should not grow.
    Small,
    /// 1/2 ..= 4: for logarithms, roots and divisors.
    Positive,
    /// ±(1/2 ..= 4): for divisors and for functions with a kink at zero.
    Away,
    /// Up to 257 neighbours are distinct, by at least 1/32: for maxima.
    Distinct,
    /// 0 or 1: for masks.
    Mask,
    /// ±(1/2 ..= 1) with every bit that f32 has: for factors that a kernel may round.
    Fine,
    /// 0.1 in f32, everywhere: for sums, whose roundings then go the same way.
    Tenth,
}

/// How an input lies in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// In row-major order.
    Contiguous,
    /// With its axes in reverse order, permuted back.
    Permuted,
    /// The middle of a longer tensor along the last axis, with NaN on both sides.
    Sliced,
    /// The middle of a longer tensor along the first axis, with NaN on both sides.
    SlicedRows,
    /// One entry of the first axis, stretched: constant along it.
    Stretched,
    /// One entry of the last axis, stretched: constant along it.
    StretchedLast,
}

/// Every layout.
pub const LAYOUTS: [Layout; 6] =
    [Layout::Contiguous, Layout::Permuted, Layout::Sliced, Layout::SlicedRows, Layout::Stretched, Layout::StretchedLast];

/// One operand of a case.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Input {
    /// Its shape.
    pub shape: Shape,
    /// Its numbers.
    pub domain: Domain,
}

impl Input {
    /// An operand.
    pub fn new(shape: Shape, domain: Domain) -> Self {
        Self { shape, domain }
    }

    /// Its numbers in row-major order, a pure function of the seed.
    pub fn values(&self, seed: u64) -> Vec<f64> {
        let mut draws = vec![0; self.shape.elements()];
        Noise::new(seed).fill_below(1 << 20, &mut draws);
        let number = |(i, draw): (usize, usize)| {
            let sign = if draw & 1 == 0 { 1.0 } else { -1.0 };
            let level = |below: usize| (draw >> 1) % below;
            match self.domain {
                Domain::Any => sign * level(129) as f64 / 32.0,
                Domain::Small => sign * level(33) as f64 / 32.0,
                Domain::Positive => (16 + level(113)) as f64 / 32.0,
                Domain::Away => sign * (16 + level(113)) as f64 / 32.0,
                // 257 is prime, so any stride below it visits all levels.
                Domain::Distinct => ((i * 97 + seed as usize % 257) % 257) as f64 / 32.0 - 4.0,
                Domain::Mask => (draw & 1) as f64,
                // An odd number of the units that f32 has from 1/2 to 1.
                Domain::Fine => sign * (0.5 + (16 * level(1 << 19) + 1) as f64 / (1 << 24) as f64),
                Domain::Tenth => f64::from(0.1f32),
            }
        };
        draws.into_iter().enumerate().map(number).collect()
    }

    /// The operand on a device, with the same values there as on the judge's.
    ///
    /// # Errors
    /// The device's.
    pub fn build<D: Device>(&self, device: &D, layout: Layout, seed: u64) -> Result<D::Tensor> {
        place(device, &self.values(seed), self.shape, layout)
    }
}

/// Host values on a device in some layout; a scalar has only one.
///
/// # Errors
/// The device's.
pub fn place<D: Device>(device: &D, values: &[f64], shape: Shape, layout: Layout) -> Result<D::Tensor> {
    let host = ReferenceDevice { relative: 0.0 }.from_slice(values, shape)?;
    let Some(last) = shape.rank().checked_sub(1) else { return device.from_slice(values, shape) };
    match layout {
        Layout::Contiguous => device.from_slice(values, shape),
        Layout::Permuted => {
            let reversed: Vec<usize> = (0..=last).rev().collect();
            let stored = host.permute(&reversed)?;
            device.from_slice(&stored.values(), stored.shape())?.permute(&reversed)
        }
        Layout::Sliced => padded(device, &host, last),
        Layout::SlicedRows => padded(device, &host, 0),
        Layout::Stretched => stretched(device, &host, 0),
        Layout::StretchedLast => stretched(device, &host, last),
    }
}

/// The first entry along an axis in place of all.
fn stretched<D: Device>(device: &D, host: &Reference, axis: usize) -> Result<D::Tensor> {
    let shape = host.shape();
    let one = host.slice(axis, 0, shape.axis(axis)?.min(1))?;
    device.from_slice(&one.values(), one.shape())?.broadcast(shape)
}

/// The middle of a longer tensor: one NaN before, two after.
fn padded<D: Device>(device: &D, host: &Reference, axis: usize) -> Result<D::Tensor> {
    let shape = host.shape();
    let pad = |length| host.device().full(f64::NAN, shape.with_axis(axis, length)?);
    let stored = Reference::concat(&[&pad(1)?, host, &pad(2)?], axis)?;
    device.from_slice(&stored.values(), stored.shape())?.slice(axis, 1, shape.axis(axis)?)
}
