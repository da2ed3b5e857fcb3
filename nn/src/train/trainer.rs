//! One training run.

use super::{DataSource, Flat, LossInput, Samples, StepLoss, TrainError, TrainingConfig};
use crate::module::Module;
use alloc::vec::Vec;
use core::ops::ControlFlow;
use mfm_core::autodiff::Tape;
use mfm_core::tensor::{OptimiserState, OptimiserUpdate};
use mfm_core::{Device, Error, Noise, Operations, Result, Shape, Tensor};

/// All that a run must remember: with the same settings, data and loss, the steps that follow are the same bit by bit. Its tensors are as exact as the device
/// has them ([`Device::precise`]): small steps would be lost on large numbers.
#[derive(Clone, Debug)]
pub struct TrainingState<T> {
    /// The steps made.
    pub step: u64,
    /// All parameters as one vector ([`Flat`]), with their moments and their moving average.
    pub optimiser: OptimiserState<T>,
}

/// What happened in a step. Losses stay on the device until they are asked for.
#[derive(Clone, Debug)]
pub struct Step<T> {
    /// The step, counted from 1.
    pub step: u64,
    /// The steps of the whole run.
    pub steps: u64,
    /// The loss, a scalar.
    pub loss: T,
    /// Its parts.
    pub parts: Vec<(&'static str, T)>,
    /// The learning rate.
    pub rate: f64,
    /// The gradient's norm, before it was clipped.
    pub gradient_norm: f64,
}

impl<T: Tensor> Step<T> {
    /// The loss as a number.
    ///
    /// # Errors
    /// Whatever the device reports.
    pub fn loss_value(&self) -> Result<f64> {
        number(&self.loss)
    }

    /// The parts of the loss as numbers, with their names.
    ///
    /// # Errors
    /// Whatever the device reports.
    pub fn part_values(&self) -> Result<Vec<(&'static str, f64)>> {
        self.parts.iter().map(|(name, value)| Ok((*name, number(value)?))).collect()
    }
}

fn number<T: Tensor>(scalar: &T) -> Result<f64> {
    scalar.to_vec::<f64>()?.first().copied().ok_or(Error::Length { op: "loss", expected: 1, found: 0 })
}

/// Scalars as numbers, for which an asynchronous device is waited for once.
fn numbers<'a, T: Tensor>(scalars: impl Iterator<Item = &'a T>) -> Result<Vec<f64>> {
    let one = Shape::new(&[1])?;
    let scalars = scalars.map(|scalar| scalar.reshape(one)?.to_precise()).collect::<Result<Vec<T>>>()?;
    T::concat(&scalars.iter().collect::<Vec<_>>(), 0)?.to_vec()
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All steps were made.
    Finished,
    /// The progress callback stopped it; it can go on.
    Stopped,
}

/// A module in training.
#[derive(Clone, Debug)]
pub struct Trainer<T, M> {
    config: TrainingConfig,
    flat: Flat,
    module: M,
    state: TrainingState<T>,
    accumulate: usize,
}

/// A loss with its gradient.
struct Evaluation<T> {
    loss: T,
    parts: Vec<(&'static str, T)>,
    gradient: T,
}

impl<T: Tensor> Evaluation<T> {
    fn scale(self, factor: f64) -> Result<Self> {
        if factor == 1.0 {
            return Ok(self);
        }
        let parts = self.parts.into_iter().map(|(name, value)| Ok((name, value.scale(factor)?))).collect::<Result<_>>()?;
        Ok(Self { loss: self.loss.scale(factor)?, parts, gradient: self.gradient.scale(factor)? })
    }

    fn add(self, other: &Self) -> Result<Self> {
        let parts = self.parts.into_iter().zip(&other.parts);
        let parts = parts.map(|((name, a), (_, b))| Ok((name, a.add(b)?))).collect::<Result<_>>()?;
        Ok(Self { loss: self.loss.add(&other.loss)?, parts, gradient: self.gradient.add(&other.gradient)? })
    }
}

impl<T: Tensor, M: Module<T, Over<T> = M>> Trainer<T, M> {
    /// A run from the beginning, from the module's parameters.
    ///
    /// # Errors
    /// [`Error::Range`] for a bad `config`, and whatever the device reports.
    pub fn new(config: TrainingConfig, module: &M) -> Result<Self> {
        config.check()?;
        let flat = Flat::of(module);
        let mut tensors = Vec::new();
        module.visit(&mut |_, tensor| tensors.push(tensor.clone()));
        let working = flat.join(&tensors)?;
        let state = TrainingState { step: 0, optimiser: OptimiserState::new(working.to_precise()?, config.average.is_some())? };
        let module = module.with_parameters(&flat.split(&working)?)?;
        Ok(Self { config, flat, module, state, accumulate: 1 })
    }

    /// A run that goes on from `state`; of `module` only the form is taken.
    ///
    /// # Errors
    /// [`Error::Range`] for a bad `config`; [`Error::Shape`] if the state is not of this module; [`Error::Unsupported`] if it has no moving
    /// average where the settings ask for one.
    pub fn resume(config: TrainingConfig, module: &M, state: TrainingState<T>) -> Result<Self> {
        config.check()?;
        let flat = Flat::of(module);
        let shape = Shape::new(&[flat.length()])?;
        let TrainingState { step, optimiser: OptimiserState { parameters, first, second, average } } = state;
        for tensor in [Some(&parameters), Some(&first), Some(&second), average.as_ref()].into_iter().flatten() {
            if tensor.shape() != shape {
                return Err(Error::Shape { op: "training state", left: shape, right: tensor.shape() });
            }
        }
        if config.average.is_some() && average.is_none() {
            return Err(Error::Unsupported { op: "training state", what: "it holds no moving average, but the settings ask for one" });
        }
        let average = average.filter(|_| config.average.is_some()).map(|average| average.to_precise()).transpose()?;
        let (parameters, first, second) = (parameters.to_precise()?, first.to_precise()?, second.to_precise()?);
        let module = module.with_parameters(&flat.split(&parameters.to_working()?)?)?;
        let state = TrainingState { step, optimiser: OptimiserState { parameters, first, second, average } };
        Ok(Self { config, flat, module, state, accumulate: 1 })
    }

    /// The same run, each batch of which is evaluated in `parts` parts whose gradients are averaged, each by the samples that the source gave, so that memory
    /// holds one part at a time. A run must be resumed with the same number.
    ///
    /// # Errors
    /// [`Error::Range`] unless there is at least one part, and no more than samples in a batch.
    pub fn accumulating(self, parts: usize) -> Result<Self> {
        if parts == 0 || parts > self.config.batch {
            return Err(Error::Range { what: "the number of parts of a batch", value: parts as f64, range: "from 1 to the batch size" });
        }
        Ok(Self { accumulate: parts, ..self })
    }

    /// What must be saved to go on later.
    pub fn state(&self) -> TrainingState<T> {
        self.state.clone()
    }

    /// The settings.
    pub fn config(&self) -> &TrainingConfig {
        &self.config
    }

    /// The steps made.
    pub fn steps_made(&self) -> u64 {
        self.state.step
    }

    /// The module with its present parameters.
    pub fn module(&self) -> &M {
        &self.module
    }

    /// The module to be used: with the moving average of the parameters if there is one.
    ///
    /// # Errors
    /// Whatever the device reports.
    pub fn averaged(&self) -> Result<M> {
        self.module.with_parameters(&self.flat.split(&self.average_or_present().to_working()?)?)
    }

    /// The module to be saved: [`averaged`](Self::averaged), not rounded to the numbers in which the device works ([`Device::precise`]). On a device that has
    /// others, it cannot be run there.
    ///
    /// # Errors
    /// Whatever the device reports.
    pub fn averaged_precisely(&self) -> Result<M> {
        self.module.with_parameters(&self.flat.split(self.average_or_present())?)
    }

    fn average_or_present(&self) -> &T {
        let OptimiserState { parameters, average, .. } = &self.state.optimiser;
        average.as_ref().unwrap_or(parameters)
    }

    /// Makes the steps that are left, or until `progress` breaks.
    ///
    /// # Errors
    /// As [`advance`](Self::advance).
    pub fn run<L: Into<StepLoss<T>>>(
        &mut self,
        data: &mut impl DataSource<T>,
        mut loss: impl FnMut(LossInput<'_, T, M>) -> Result<L>,
        mut progress: impl FnMut(&Self, &Step<T>) -> ControlFlow<()>,
    ) -> Result<Outcome, TrainError> {
        while self.steps_made() < self.config.steps {
            let step = self.advance(data, &mut loss)?;
            if progress(self, &step).is_break() && self.steps_made() < self.config.steps {
                return Ok(Outcome::Stopped);
            }
        }
        Ok(Outcome::Finished)
    }

    /// The sizes of the parts in which a batch is evaluated.
    fn parts(&self) -> impl Iterator<Item = usize> + use<T, M> {
        let (batch, count) = (self.config.batch, self.accumulate);
        (0..count).map(move |part| batch / count + usize::from(part < batch % count)).filter(|size| *size > 0)
    }

    /// The loss of some samples, and its gradient.
    fn evaluate<L: Into<StepLoss<T>>>(
        &self,
        samples: &Samples<T>,
        noise: &Noise,
        step: u64,
        loss: &mut impl FnMut(LossInput<'_, T, M>) -> Result<L>,
    ) -> Result<Evaluation<T>> {
        let tape = Tape::new();
        let mut variables = Vec::with_capacity(self.flat.entries().len());
        let student = self.module.rebuild(&mut |_, tensor| {
            let variable = tape.variable(tensor.clone());
            variables.push(variable.clone());
            Ok(variable)
        })?;
        let input = LossInput { frozen: &self.module, student: &student, samples, noise, step };
        let StepLoss { total, parts } = loss(input)?.into();
        let shape = total.shape();
        if shape.elements() != 1 {
            return Err(Error::Shape { op: "loss", left: shape, right: Shape::SCALAR });
        }
        let gradients = tape.backward(&total, total.value().device().full(1.0, shape)?)?;
        let gradient = variables.iter().map(|variable| gradients.of_or_zeros(variable)).collect::<Result<Vec<T>>>()?;
        let gradient = self.flat.join(&gradient)?;
        // Of several parts there is a sum.
        let gradient = if self.accumulate == 1 { gradient } else { gradient.to_precise()? };
        Ok(Evaluation { loss: total.into_value(), parts, gradient })
    }

    /// Makes one step. Fork k of the run's noise belongs to step k: its fork 0 to the data source, its fork 1 to the loss; where batches are
    /// evaluated in parts, forks 0 and 1 of the fork of each part of its fork 2.
    ///
    /// # Errors
    /// Those of the source and the loss; [`TrainError::Loss`] if the loss or a part of it is not finite, [`TrainError::Gradient`] or
    /// [`TrainError::Overflow`] if the gradient is not, [`TrainError::Parameter`] if the parameters would not be. The run is then as it was before the step.
    pub fn advance<L: Into<StepLoss<T>>>(
        &mut self,
        data: &mut impl DataSource<T>,
        loss: &mut impl FnMut(LossInput<'_, T, M>) -> Result<L>,
    ) -> Result<Step<T>, TrainError> {
        let step = self.steps_made() + 1;
        let noise = Noise::new(self.config.seed).fork(step);
        let mut sum: Option<Evaluation<T>> = None;
        let (asked, mut given) = (self.config.batch as f64, 0);
        for (part, size) in self.parts().enumerate() {
            let own = if self.accumulate == 1 { noise } else { noise.fork(2).fork(part as u64) };
            let samples = data.batch(step, size, &own.fork(0))?;
            let rows = samples.x1.shape().batch();
            if rows == 0 {
                return Err(Error::Range { what: "the number of samples in a batch", value: 0.0, range: "at least 1" }.into());
            }
            let evaluation = self.evaluate(&samples, &own.fork(1), step, loss)?.scale(rows as f64 / asked)?;
            sum = Some(match sum {
                Some(sum) => sum.add(&evaluation)?,
                None => evaluation,
            });
            given += rows;
        }
        let sum = sum.ok_or(Error::Length { op: "batch", expected: 1, found: 0 })?;
        // The source may have given more or fewer samples than it was asked for.
        let Evaluation { loss, parts, gradient } = sum.scale(asked / given as f64)?;
        let square = gradient.reshape(Shape::new(&[1, self.flat.length()])?)?.square_norm_items()?;
        let scalars = || core::iter::once(("loss", &loss)).chain(parts.iter().map(|(name, value)| (*name, value)));
        let values = numbers(scalars().map(|(_, value)| value).chain([&square]))?;
        // A part may be NaN where the gradient is finite: a weight of zero on a residual that overflows.
        for ((what, _), &value) in scalars().zip(&values) {
            if !value.is_finite() {
                return Err(TrainError::Loss { what, value, step });
            }
        }
        let norm = libm::sqrt(values.last().copied().unwrap_or(f64::NAN));
        if !norm.is_finite() {
            return Err(match self.flat.first_non_finite(&gradient)? {
                Some((parameter, index)) => TrainError::Gradient { parameter: parameter.into(), index, step },
                None => TrainError::Overflow { what: "the gradient's norm", step },
            });
        }
        let clipped = match self.config.clip {
            Some(largest) if norm > largest => gradient.scale(largest / norm)?,
            _ => gradient,
        };
        let rate = self.config.rate.at(step, self.config.steps);
        // All that can fail comes before anything is changed.
        let factors = self.config.optimiser.step(step, rate, self.config.average);
        let OptimiserUpdate { state: optimiser, working, sum } = factors.apply(&self.state.optimiser, &clipped)?;
        if !number(&sum)?.is_finite()
            && let Some((parameter, index)) = self.flat.first_non_finite(&optimiser.parameters)?
        {
            return Err(TrainError::Parameter { parameter: parameter.into(), index, step });
        }
        let module = self.module.with_parameters(&self.flat.split(&working)?)?;
        (self.module, self.state) = (module, TrainingState { step, optimiser });
        Ok(Step { step, steps: self.config.steps, loss, parts, rate, gradient_norm: norm })
    }
}
