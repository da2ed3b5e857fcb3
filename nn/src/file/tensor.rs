//! A tensor in a file.

use super::{FileError, ItemShape};
use mfm_core::{Device, Shape, memory};
use serde::{Deserialize, Serialize};

/// The number type in which a tensor is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Precision {
    /// f32, little-endian.
    F32,
    /// f64, little-endian.
    F64,
}

impl Precision {
    /// The bytes of one number.
    pub fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F64 => 8,
        }
    }
}

/// An entry of the tensor table.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Entry<'a> {
    pub name: &'a str,
    pub shape: ItemShape,
    pub precision: Precision,
    pub offset: u64,
    pub length: u64,
    pub checksum: u32,
}

/// A tensor of a file, in place.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TensorView<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its shape.
    pub shape: Shape,
    /// The type of its numbers.
    pub precision: Precision,
    /// Where it begins in the file.
    pub offset: usize,
    /// Its numbers, row-major and little-endian; as aligned in memory as the file is, up to 64 bytes.
    pub bytes: &'a [u8],
}

impl<'a> TensorView<'a> {
    /// The numbers, as f64, one by one.
    pub fn values(&self) -> impl Iterator<Item = f64> + 'a {
        let (single, double) = match self.precision {
            Precision::F32 => (self.bytes, &[][..]),
            Precision::F64 => (&[][..], self.bytes),
        };
        let single = single.as_chunks().0.iter().map(|bytes| f64::from(f32::from_le_bytes(*bytes)));
        single.chain(double.as_chunks().0.iter().map(|bytes| f64::from_le_bytes(*bytes)))
    }

    /// The numbers where they lie, to be lent to a device that takes such (`CpuDevice::wrap` of `mfm-cpu-ref`). `None` for f64, on a machine that is not
    /// little-endian, and where the file does not lie at a multiple of four bytes.
    pub fn in_place(&self) -> Option<&'a [f32]> {
        let is_native = self.precision == Precision::F32 && cfg!(target_endian = "little");
        bytemuck::try_cast_slice(self.bytes).ok().filter(|_| is_native)
    }

    /// The tensor on a device.
    ///
    /// # Errors
    /// Whatever the device reports.
    pub fn to_tensor<D: Device>(&self, device: &D) -> Result<D::Tensor, FileError> {
        if let Some(values) = self.in_place() {
            return Ok(device.from_slice(values, self.shape)?);
        }
        let tensor = match self.precision {
            Precision::F32 => {
                let values = memory::list("a tensor", self.bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)))?;
                device.from_slice(&values, self.shape)
            }
            Precision::F64 => {
                let values = memory::list("a tensor", self.bytes.as_chunks().0.iter().map(|bytes| f64::from_le_bytes(*bytes)))?;
                device.from_slice(&values, self.shape)
            }
        };
        Ok(tensor?)
    }
}
