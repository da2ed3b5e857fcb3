//! Where tensors come from.

use super::{Element, Tensor};
use crate::error::Result;
use crate::memory;
use crate::noise::Noise;
use crate::shape::Shape;
use core::fmt::Debug;

/// A handle to a device: a value, cheap to clone, with no global state behind it.
pub trait Device: Clone + Debug + 'static {
    /// The tensors that live here.
    type Tensor: Tensor<Device = Self>;

    /// A tensor of host values in row-major order, each as near as the device has it: ∞ beyond its range.
    ///
    /// # Errors
    /// [`Error::Length`](crate::Error::Length) unless there is one value for each element of `shape`; whatever the device reports.
    #[allow(clippy::wrong_self_convention)] // the name that every tensor library uses; a device is what it comes from
    fn from_slice<E: Element>(&self, values: &[E], shape: Shape) -> Result<Self::Tensor>;

    /// A tensor whose elements all are `value`, as [`from_slice`](Self::from_slice) takes it.
    ///
    /// # Errors
    /// Whatever the device reports; [`Error::OutOfMemory`](crate::Error::OutOfMemory) if there is no room.
    fn full(&self, value: f64, shape: Shape) -> Result<Self::Tensor>;

    /// Waits until all work is done, and reports what went wrong with it.
    ///
    /// # Errors
    /// Whatever the device reports.
    fn sync(&self) -> Result<()>;

    /// The same device, keeping numbers as exactly as it can: where what is added up over many steps belongs, as an optimiser's state does. Itself where
    /// it has one kind of number. Operands of one operation are of one kind; [`Tensor::to_precise`] and [`Tensor::to_working`] go from one to the other.
    #[must_use]
    fn precise(&self) -> Self {
        self.clone()
    }

    /// Zeros.
    ///
    /// # Errors
    /// Whatever the device reports.
    fn zeros(&self, shape: Shape) -> Result<Self::Tensor> {
        self.full(0.0, shape)
    }

    /// Standard normal noise ([`Noise::fill_normal`]). A backend with a generator of its own overrides this, word for word; after word 2⁶⁴ − 1 comes
    /// word 0.
    ///
    /// # Errors
    /// Whatever the device reports; [`Error::OutOfMemory`](crate::Error::OutOfMemory) if there is no room, on the device or on the host.
    fn normal(&self, noise: &Noise, shape: Shape) -> Result<Self::Tensor> {
        let elements = shape.elements();
        let mut values = memory::room("normal", elements)?;
        values.resize(elements, 0.0);
        noise.fill_normal(&mut values);
        self.from_slice(&values, shape)
    }
}
