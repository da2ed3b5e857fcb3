//! One step of an optimiser, with the moving average, in one pass.

use crate::abi::{OptimiserArgs, OptimiserTensor};
use crate::kernels::{Grid, OPTIMISER, Suffix};
use crate::tensor::{CudaTensor, one_device};
use mfm_core::tensor::{OptimiserState, OptimiserStep};
use mfm_core::{Result, Tensor};

const NAME: &str = "optimiser";

/// As [`mfm_core::Tensor::optimise`].
pub(crate) fn optimise(
    step: &OptimiserStep,
    state: &OptimiserState<CudaTensor>,
    gradient: &CudaTensor,
) -> Result<OptimiserState<CudaTensor>> {
    let OptimiserState { parameters, first, second, average } = state;
    let inputs: Vec<&CudaTensor> = [parameters, gradient, first, second].into_iter().chain(average).collect();
    one_device(NAME, &inputs)?;
    let inputs = inputs.into_iter().map(CudaTensor::contiguous).collect::<Result<Vec<_>>>()?;
    let (device, shape) = (parameters.home(), parameters.shape());
    let fresh = || -> Result<CudaTensor> { Ok(CudaTensor::new(device.elements(NAME, shape.elements())?, shape)) };
    let new =
        OptimiserState { parameters: fresh()?, first: fresh()?, second: fresh()?, average: average.as_ref().map(|_| fresh()).transpose()? };
    if shape.elements() == 0 {
        return Ok(new);
    }
    let from = |k: usize| inputs.get(k).map_or(0, CudaTensor::address);
    let table = OptimiserTensor {
        elements: shape.elements() as i64,
        parameters: from(0),
        gradient: from(1),
        first: from(2),
        second: from(3),
        average: from(4),
        new_parameters: new.parameters.address(),
        new_first: new.first.address(),
        new_second: new.second.address(),
        new_average: new.average.as_ref().map_or(0, CudaTensor::address),
    };
    let (bytes, on_device) = (table.bytes(), device.buffer(NAME, size_of::<OptimiserTensor>())?);
    device.upload(NAME, on_device.address(), bytes.len(), &mut |range, out| out.copy_from_slice(&bytes[range]))?;
    let arguments = OptimiserArgs {
        tensors: on_device.address(),
        first_decay: step.first_decay as f32,
        second_decay: step.second_decay as f32,
        epsilon: step.epsilon.unwrap_or(0.0) as f32,
        step: step.size as f32,
        keep: step.keep as f32,
        average_decay: step.average_decay as f32,
        op: if step.epsilon.is_some() { ADAM } else { PLAIN },
        reserved: 0,
    };
    device.launch(NAME, OPTIMISER, Suffix::Of(device.storage()), Grid::pointwise(shape.elements()), &arguments)?;
    Ok(new)
}

/// Divided by √v + ε, or along m, as `abi.h` numbers them.
const ADAM: i32 = 0;
const PLAIN: i32 = 2;
