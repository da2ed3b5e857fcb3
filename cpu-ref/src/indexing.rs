//! Entries picked along an axis, and added back.

use crate::copy::around;
use crate::float::Float;
use crate::simd::{Kernel, vectorise};
use crate::tensor::CpuTensor;
use mfm_core::{Error, Result, Tensor};

/// As [`mfm_core::Tensor::gather`].
pub(crate) fn gather<E: Float>(x: &CpuTensor<E>, axis: usize, index: &[usize]) -> Result<CpuTensor<E>> {
    let shape = x.shape();
    let (_, length, inner) = around(shape, axis, "gather")?;
    if let Some(&index) = index.iter().find(|&&i| i >= length) {
        return Err(Error::Index { op: "gather", index, length });
    }
    let result = shape.with_axis(axis, index.len())?;
    let x = x.contiguous()?;
    let mut buffer = x.home().buffer("gather", result.elements())?;
    let (from, to) = (length * inner, index.len() * inner);
    if to > 0 && from > 0 {
        let values = x.as_slice().unwrap_or_default();
        for (out, values) in buffer.elements_mut().chunks_exact_mut(to).zip(values.chunks_exact(from)) {
            for (out, &i) in out.chunks_exact_mut(inner).zip(index) {
                out.copy_from_slice(&values[i * inner..][..inner]);
            }
        }
    }
    Ok(CpuTensor::new(buffer, result))
}

/// As [`mfm_core::Tensor::scatter_add`].
pub(crate) fn scatter_add<E: Float>(x: &CpuTensor<E>, axis: usize, index: &[usize], length: usize) -> Result<CpuTensor<E>> {
    let shape = x.shape();
    let (_, entries, inner) = around(shape, axis, "scatter_add")?;
    if index.len() != entries {
        return Err(Error::Length { op: "scatter_add", expected: entries, found: index.len() });
    }
    if let Some(&index) = index.iter().find(|&&i| i >= length) {
        return Err(Error::Index { op: "scatter_add", index, length });
    }
    let result = shape.with_axis(axis, length)?;
    let x = x.contiguous()?;
    let mut buffer = x.home().buffer("scatter_add", result.elements())?;
    buffer.elements_mut().fill(E::ZERO);
    let (from, to) = (entries * inner, length * inner);
    if to > 0 && from > 0 {
        let values = x.as_slice().unwrap_or_default();
        let mut lost = x.home().buffer("scatter_add", to)?;
        for (out, values) in buffer.elements_mut().chunks_exact_mut(to).zip(values.chunks_exact(from)) {
            let lost = lost.elements_mut();
            lost.fill(E::ZERO);
            vectorise(Scatter { out, lost, values, index, inner });
        }
    }
    Ok(CpuTensor::new(buffer, result))
}

struct Scatter<'a, E> {
    out: &'a mut [E],
    /// What rounding has added to each sum, to be taken back by the next addition (Kahan): many entries may belong to one place.
    lost: &'a mut [E],
    values: &'a [E],
    index: &'a [usize],
    inner: usize,
}

impl<E: Float> Kernel for Scatter<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(self) {
        for (values, &i) in self.values.chunks_exact(self.inner).zip(self.index) {
            let place = i * self.inner..(i + 1) * self.inner;
            for ((out, lost), &value) in self.out[place.clone()].iter_mut().zip(&mut self.lost[place]).zip(values) {
                let term = value - *lost;
                let sum = *out + term;
                let rounding = (sum - *out) - term;
                // NaN where the sum is infinite, and stays so.
                *lost = if sum.abs() < E::INFINITY { rounding } else { E::ZERO };
                *out = sum;
            }
        }
    }
}
