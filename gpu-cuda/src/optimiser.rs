//! One step of an optimiser, with the moving average, in one pass.

use crate::abi::OptimiserArgs;
use crate::copy::converted;
use crate::kernels::{Grid, OPTIMISER, Suffix};
use crate::options::Storage;
use crate::reduce::sum_of_parts;
use crate::tensor::{CudaTensor, one_device};
use mfm_core::tensor::{OptimiserState, OptimiserStep, OptimiserUpdate};
use mfm_core::{Error, Result, Shape, Tensor};

const NAME: &str = "optimiser";
/// More blocks than any GPU has under way at once, by far, each of which leaves a sum.
const MOST_BLOCKS: usize = 1 << 14;

/// As [`mfm_core::Tensor::optimise`].
pub(crate) fn optimise(
    step: &OptimiserStep,
    state: &OptimiserState<CudaTensor>,
    gradient: &CudaTensor,
) -> Result<OptimiserUpdate<CudaTensor>> {
    let OptimiserState { parameters, first, second, average } = state;
    let device = parameters.home();
    let kept: Vec<&CudaTensor> = [parameters, first, second].into_iter().chain(average).collect();
    one_device(NAME, &kept)?;
    if !gradient.home().shares_memory(device) {
        return Err(Error::DeviceMismatch { op: NAME });
    }
    // There is no kernel for gradients in f32 of a state that is not.
    let gradient = if device.storage() == Storage::F32 { gradient.clone() } else { converted(NAME, gradient, device)? };
    let [parameters, gradient, first, second] = [parameters, &gradient, first, second].map(CudaTensor::contiguous);
    let (parameters, gradient, first, second) = (parameters?, gradient?, first?, second?);
    let average = average.as_ref().map(CudaTensor::contiguous).transpose()?;
    let shape = parameters.shape();
    let fresh = || -> Result<CudaTensor> { Ok(CudaTensor::new(device.elements(NAME, shape.elements())?, shape)) };
    let new_average = average.as_ref().map(|_| fresh()).transpose()?;
    let new = OptimiserState { parameters: fresh()?, first: fresh()?, second: fresh()?, average: new_average };
    if shape.elements() == 0 {
        return new.into_update();
    }
    let device_of_work = device.working();
    let working = if device_of_work.storage() == device.storage() {
        None
    } else {
        Some(CudaTensor::new(device_of_work.elements(NAME, shape.elements())?, shape))
    };
    // Four elements at a time.
    let grid = Grid::new([shape.elements().div_ceil(4 * 256).min(MOST_BLOCKS), 1, 1], 256);
    let blocks = grid.blocks[0] as usize;
    let sums = device.buffer(NAME, 4 * blocks)?;
    let address = |x: &Option<CudaTensor>| x.as_ref().map_or(0, CudaTensor::address);
    let arguments = OptimiserArgs {
        elements: shape.elements() as i64,
        parameters: parameters.address(),
        gradient: gradient.address(),
        first: first.address(),
        second: second.address(),
        average: address(&average),
        new_parameters: new.parameters.address(),
        new_first: new.first.address(),
        new_second: new.second.address(),
        new_average: address(&new.average),
        working: address(&working),
        sums: sums.address(),
        first_decay: step.first_decay as f32,
        first_rest: (1.0 - step.first_decay) as f32,
        second_decay: step.second_decay as f32,
        second_rest: (1.0 - step.second_decay) as f32,
        average_decay: step.average_decay as f32,
        average_rest: (1.0 - step.average_decay) as f32,
        epsilon: step.epsilon.unwrap_or(0.0) as f32,
        step: step.size as f32,
        keep: step.keep as f32,
        op: if step.epsilon.is_some() { ADAM } else { PLAIN },
    };
    let suffix = Suffix::FromTo(gradient.home().storage(), device.storage());
    device.launch(NAME, OPTIMISER, suffix, grid, &arguments)?;
    let sum = sum_of_parts(device, sums.address(), (blocks, 1), 1)?.reshape(Shape::SCALAR)?;
    Ok(OptimiserUpdate { working: working.unwrap_or_else(|| new.parameters.clone()), state: new, sum })
}

/// Divided by √v + ε, or along m, as `abi.h` numbers them.
const ADAM: i32 = 0;
const PLAIN: i32 = 1;
