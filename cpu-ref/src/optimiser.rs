//! One step of an optimiser, with the moving average, in one pass: every number is read once and written once.

use crate::device::WORTHWHILE;
use crate::float::Float;
use crate::simd::{Kernel, vectorise};
use crate::tensor::CpuTensor;
use crate::walk::TASK;
use mfm_core::tensor::{OptimiserState, OptimiserStep, OptimiserUpdate};
use mfm_core::{Result, Tensor};

const NAME: &str = "optimiser";

/// The factors of a step.
#[derive(Clone, Copy)]
struct Factors<E> {
    /// β₁ and 1 − β₁.
    first: [E; 2],
    /// β₂ and 1 − β₂.
    second: [E; 2],
    epsilon: Option<E>,
    /// κ and −η.
    parameters: [E; 2],
    /// d and 1 − d.
    average: [E; 2],
}

impl<E: Float> Factors<E> {
    fn new(step: &OptimiserStep) -> Self {
        let pair = |a, b| [E::from_f64(a), E::from_f64(b)];
        let mean = |decay: f64| pair(decay, 1.0 - decay);
        Self {
            first: mean(step.first_decay),
            second: mean(step.second_decay),
            epsilon: step.epsilon.map(E::from_f64),
            parameters: pair(step.keep, -step.size),
            average: mean(step.average_decay),
        }
    }
}

/// a x + b y, rounded as a linear combination of tensors is.
#[inline(always)]
fn combine<const FMA: bool, E: Float>([a, b]: [E; 2], x: E, y: E) -> E {
    b.fma::<FMA>(y, a * x)
}

/// Some elements of a state.
struct Part<S> {
    parameters: S,
    first: S,
    second: S,
    average: Option<S>,
}

/// The step of a part.
struct Step<'a, E> {
    factors: Factors<E>,
    old: Part<&'a [E]>,
    gradient: &'a [E],
    new: Part<&'a mut [E]>,
}

impl<E: Float> Kernel for Step<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let Self { factors, old, gradient, new } = self;
        let moments = new.first.iter_mut().zip(new.second.iter_mut()).zip(old.first.iter().zip(old.second)).zip(gradient);
        let parameters = new.parameters.iter_mut().zip(old.parameters);
        for ((((first, second), (&old_first, &old_second)), &gradient), (parameter, &old)) in moments.zip(parameters) {
            *first = combine::<FMA, E>(factors.first, old_first, gradient);
            *second = combine::<FMA, E>(factors.second, old_second, gradient * gradient);
            let direction = match factors.epsilon {
                Some(epsilon) => *first / (second.sqrt() + epsilon),
                None => *first,
            };
            *parameter = combine::<FMA, E>(factors.parameters, old, direction);
        }
        // The part's parameters are in the cache.
        if let (Some(average), Some(old)) = (new.average, old.average) {
            for ((average, &old), &parameter) in average.iter_mut().zip(old).zip(new.parameters.iter()) {
                *average = combine::<FMA, E>(factors.average, old, parameter);
            }
        }
    }
}

/// As [`mfm_core::Tensor::optimise`]: bit by bit what the composed body gives.
pub(crate) fn optimise<E: Float>(
    step: &OptimiserStep,
    state: &OptimiserState<CpuTensor<E>>,
    gradient: &CpuTensor<E>,
) -> Result<OptimiserUpdate<CpuTensor<E>>> {
    let OptimiserState { parameters, first, second, average } = state;
    let (device, shape) = (parameters.home(), parameters.shape());
    let whole = [parameters.contiguous()?, first.contiguous()?, second.contiguous()?, gradient.contiguous()?];
    let [parameters, first, second, gradient] = whole.each_ref().map(|x| x.as_slice().unwrap_or_default());
    let whole_average = average.as_ref().map(CpuTensor::contiguous).transpose()?;
    let average = whole_average.as_ref().map(|x| x.as_slice().unwrap_or_default());

    let fresh = || device.buffer(NAME, shape.elements());
    let (mut new_parameters, mut new_first, mut new_second) = (fresh()?, fresh()?, fresh()?);
    let mut new_average = average.map(|_| fresh()).transpose()?;
    let mut averages = new_average.as_mut().map(|buffer| buffer.elements_mut().chunks_mut(TASK));
    let moments = new_first.elements_mut().chunks_mut(TASK).zip(new_second.elements_mut().chunks_mut(TASK));
    let tasks = new_parameters.elements_mut().chunks_mut(TASK).zip(moments).enumerate();
    let tasks = tasks.map(|(index, (parameters, (first, second)))| {
        (index, Part { parameters, first, second, average: averages.as_mut().and_then(Iterator::next) })
    });
    let factors = Factors::new(step);
    device.each(shape.elements() > WORTHWHILE, tasks, |(index, new)| {
        let range = index * TASK..index * TASK + new.parameters.len();
        let [parameters, first, second, gradient] = [parameters, first, second, gradient].map(|x| &x[range.clone()]);
        let old = Part { parameters, first, second, average: average.map(|average| &average[range]) };
        vectorise(Step { factors, old, gradient, new });
        Ok(())
    })?;
    let new = OptimiserState {
        parameters: CpuTensor::new(new_parameters, shape),
        first: CpuTensor::new(new_first, shape),
        second: CpuTensor::new(new_second, shape),
        average: new_average.map(|buffer| CpuTensor::new(buffer, shape)),
    };
    new.into_update()
}
