//! The judge: a slow, plain interpreter of the primitives in f64, which keeps count of rounding errors.
//!
//! It has no fused hooks, so under [`Fused::apply`](mfm_core::tensor::Fused::apply) it computes the composed bodies; and
//! it is a [`Tensor`](mfm_core::Tensor) like any other, so `Dual<Reference>` and `Var<Reference>` give the derivatives with their error bounds.

mod layout;
mod number;
mod tensor;

pub use layout::{positions, row_major, stretched};
pub use number::Number;

use mfm_core::tensor::Element;
use mfm_core::{Device, Error, Result, Shape};
use std::rc::Rc;

/// A tensor of the judge: always contiguous, never fast.
#[derive(Clone, Debug)]
pub struct Reference {
    device: ReferenceDevice,
    shape: Shape,
    numbers: Rc<[Number]>,
}

impl Reference {
    /// The numbers with their errors, in row-major order.
    pub fn numbers(&self) -> &[Number] {
        &self.numbers
    }

    /// The values alone, in row-major order.
    pub fn values(&self) -> Vec<f64> {
        self.numbers.iter().map(|number| number.value).collect()
    }

    fn like(&self, shape: Shape, numbers: Vec<Number>) -> Self {
        Self { device: self.device.clone(), shape, numbers: numbers.into() }
    }
}

/// Where the judge's tensors come from.
#[derive(Clone, Debug, PartialEq)]
pub struct ReferenceDevice {
    /// The precision of the device that is judged, which says what a comparison can tell apart.
    pub relative: f64,
}

impl Device for ReferenceDevice {
    type Tensor = Reference;

    fn from_slice<E: Element>(&self, values: &[E], shape: Shape) -> Result<Reference> {
        if values.len() != shape.elements() {
            return Err(Error::Length { op: "from_slice", expected: shape.elements(), found: values.len() });
        }
        let numbers = values.iter().map(|value| Number::stored(value.to_f64(), self.relative)).collect();
        Ok(Reference { device: self.clone(), shape, numbers })
    }

    fn full(&self, value: f64, shape: Shape) -> Result<Reference> {
        Ok(Reference { device: self.clone(), shape, numbers: vec![Number::stored(value, self.relative); shape.elements()].into() })
    }

    fn sync(&self) -> Result<()> {
        Ok(())
    }
}
