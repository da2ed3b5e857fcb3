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

/// Room for the numbers of a tensor, asked for before they are made: a shape may be larger than any memory, which is an error and not the end of the program.
fn room(op: &'static str, shape: Shape) -> Result<Vec<Number>> {
    let (mut numbers, elements) = (Vec::new(), shape.elements());
    let bytes = elements.saturating_mul(size_of::<Number>());
    numbers.try_reserve_exact(elements).map_err(|_| Error::OutOfMemory { op, bytes })?;
    Ok(numbers)
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
        let mut numbers = room("from_slice", shape)?;
        numbers.extend(values.iter().map(|value| Number::stored(value.to_f64(), self.relative)));
        Ok(Reference { device: self.clone(), shape, numbers: numbers.into() })
    }

    fn full(&self, value: f64, shape: Shape) -> Result<Reference> {
        let mut numbers = room("full", shape)?;
        numbers.resize(shape.elements(), Number::stored(value, self.relative));
        Ok(Reference { device: self.clone(), shape, numbers: numbers.into() })
    }

    fn sync(&self) -> Result<()> {
        Ok(())
    }
}
