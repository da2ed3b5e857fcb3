//! A step of an optimiser in one pass is, bit by bit, the step composed of operations.

use mfm_core::tensor::{OptimiserState, OptimiserStep, OptimiserUpdate};
use mfm_core::{Device, Noise, Operations, Result, Shape, Tensor};
use mfm_cpu_ref::{CpuDevice, CpuTensor, Float};

fn agrees<E: Float>(device: &CpuDevice<E>) -> Result<()> {
    // Of several tasks and a part of one; of one; of one element, which any stride fits; of none.
    for elements in [70_001, 1_000, 1, 0] {
        let normal = |stream| -> Result<CpuTensor<E>> { device.normal(&Noise::new(1).stream(stream), Shape::new(&[elements])?) };
        for (epsilon, averaged) in [(Some(1e-3), true), (Some(1e-3), false), (None, true)] {
            let state = OptimiserState {
                parameters: normal(0)?,
                first: normal(1)?,
                second: normal(2)?.square()?,
                average: averaged.then(|| normal(3)).transpose()?,
            };
            let step = OptimiserStep { first_decay: 0.9, second_decay: 0.999, epsilon, size: 0.01, keep: 0.99, average_decay: 0.998 };
            // Also a gradient that is one number, stretched.
            for gradient in [normal(4)?, device.full(0.3, Shape::new(&[elements])?)?] {
                let (native, composed) = (step.apply(&state, &gradient)?, step.composed(&state, &gradient)?);
                let numbers = |update: &OptimiserUpdate<CpuTensor<E>>| -> Result<Vec<Vec<f64>>> {
                    let OptimiserUpdate { state, working, sum } = update;
                    [working, sum, &state.parameters, &state.first, &state.second]
                        .into_iter()
                        .chain(&state.average)
                        .map(Tensor::to_vec)
                        .collect()
                };
                let (native, composed) = (numbers(&native)?, numbers(&composed)?);
                assert_eq!(native.len(), 5 + usize::from(averaged));
                assert!(native == composed, "{elements} elements, ε {epsilon:?}");
            }
        }
    }
    Ok(())
}

#[test]
fn one_pass_is_the_composed_step() -> Result<()> {
    for threads in [1, 3] {
        agrees(&CpuDevice::<f32>::with_threads(threads)?)?;
        agrees(&CpuDevice::<f64>::with_threads(threads)?)?;
    }
    Ok(())
}
