//! Sessions: what one call at a time needs beside a model.

use crate::backend::Backend;
use crate::bridge::ffi::{Host, PosteriorOptions, Query, SampleOptions, SearchOptions, SteerOptions, TrainingOptions, ValueOptions};
use crate::dlpack::{Imported, ManagedTensor};
use crate::failure::{Code, Failure, Result};
use crate::guard::guard;
use crate::host::Callbacks;
use crate::model::{Loaded, Model, all, finite, rows};
use crate::{draws, steering, training};
use mfm_core::{Condition, Flow, Shape, Tensor, memory};
use mfm_nn::file::Jumps;
use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A session, whichever its device.
pub struct Session {
    run: Box<dyn AnySession>,
    busy: AtomicBool,
}

/// Where states come from.
pub enum Input<'a> {
    /// The host's memory, to be copied.
    Span(&'a [f32]),
    /// A tensor of the host's.
    DlPack(Imported),
}

/// Where results go.
pub enum Output<'a> {
    /// The host's memory.
    Span(&'a mut [f32]),
    /// A new tensor of so many items.
    DlPack(usize, &'a mut *mut ManagedTensor),
}

/// What a session can do, whichever its device.
pub trait AnySession: Send + Sync {
    /// Samples of the model.
    ///
    /// # Errors
    /// See `mfm_sample`; likewise below.
    fn sample(&self, callbacks: &Callbacks<'_>, options: &SampleOptions<'_>, output: Output<'_>) -> Result<()>;
    /// Draws of posteriors.
    ///
    /// # Errors
    /// See `mfm_posterior`.
    fn posterior(&self, callbacks: &Callbacks<'_>, states: Input<'_>, options: &PosteriorOptions<'_>, output: Output<'_>) -> Result<()>;
    /// The average velocity.
    ///
    /// # Errors
    /// See `mfm_velocity`.
    fn velocity(&self, query: &Query<'_>, x: &[f32], states: &[f32], velocity: &mut [f32]) -> Result<()>;
    /// The value of states, its gradient if `gradients` are asked for, and effective sample sizes if there is a place for them.
    ///
    /// # Errors
    /// See `mfm_value`.
    fn value(
        &self,
        callbacks: &Callbacks<'_>,
        states: &[f32],
        options: &ValueOptions<'_>,
        values: &mut [f32],
        gradients: Option<&mut [f32]>,
        sizes: &mut [f32],
    ) -> Result<()>;
    /// Steered samples.
    ///
    /// # Errors
    /// See `mfm_steer`.
    fn steer(&self, callbacks: &Callbacks<'_>, options: &SteerOptions<'_>, output: Output<'_>) -> Result<()>;
    /// The best of many draws.
    ///
    /// # Errors
    /// See `mfm_search`.
    fn search(&self, callbacks: &Callbacks<'_>, options: &SearchOptions<'_>, samples: &mut [f32], rewards: &mut [f32]) -> Result<()>;
    /// A model trained on data.
    ///
    /// # Errors
    /// See `mfm_train`.
    fn train(&self, callbacks: &Callbacks<'_>, data: &[f32], labels: &[usize], options: &TrainingOptions) -> Result<Box<Model>>;
    /// A model tuned to a reward.
    ///
    /// # Errors
    /// See `mfm_fine_tune`.
    fn fine_tune(&self, callbacks: &Callbacks<'_>, data: &[f32], options: &TrainingOptions) -> Result<Box<Model>>;
}

/// A model with a device of the session's own; its operations are in [`draws`], [`steering`] and [`training`].
pub struct Run<B: Backend> {
    pub(crate) loaded: Arc<Loaded<B>>,
    pub(crate) device: B,
    /// The host's stream, 0 for none.
    pub(crate) stream: usize,
}

/// A condition; empty lists are none.
pub(crate) fn condition<'a>(labels: &'a [usize], guidance: &'a [f64]) -> Condition<'a> {
    Condition::new(Some(labels).filter(|labels| !labels.is_empty()), Some(guidance).filter(|guidance| !guidance.is_empty()))
}

impl<B: Backend> Run<B> {
    /// The dimension of the data.
    pub(crate) fn dimension(&self) -> usize {
        self.loaded.dimension()
    }

    /// The model under a condition.
    ///
    /// # Errors
    /// [`Code::Length`] for a label that it does not know, [`Code::Range`] for a guidance scale that it does not know, [`Code::Unsupported`] if it knows no labels or
    /// is guided already.
    pub(crate) fn flow<'a>(&'a self, labels: &'a [usize], guidance: &'a [f64]) -> Result<Flow<'a, mfm_nn::Model<B::Tensor>>> {
        Ok(self.loaded.flow(condition(labels, guidance))?)
    }

    /// Says so where draws by the model's map mean nothing; `instead` is what serves, where that is not to train its jumps.
    pub(crate) fn warn_of_jumps(&self, callbacks: &Callbacks<'_>, instead: Option<&str>) {
        let Some(fault) = self.loaded.fault_of_jumps() else { return };
        let cure = match self.loaded.header.jumps {
            Jumps::LeftBehind => "tune it again with follow above 0",
            Jumps::Trained | Jumps::Untrained => "train it on with a consistency loss",
        };
        callbacks.say(format_args!("warning: the model {fault}; {}", instead.unwrap_or(cure)));
    }

    /// The shape of so many items.
    pub(crate) fn shape(&self, count: usize) -> Result<Shape> {
        Ok(Shape::new(&[count, self.dimension()])?)
    }

    /// Items of the host's, all of them finite, as a tensor in the model's coordinates.
    pub(crate) fn items(&self, values: &[f32], what: &str) -> Result<B::Tensor> {
        let count = rows(values.len(), self.dimension(), what)?;
        finite(values, self.dimension(), what)?;
        let (coordinates, shape) = (self.loaded.coordinates(), self.shape(count)?);
        if coordinates.is_identity() {
            return Ok(self.device.from_slice(values, shape)?);
        }
        Ok(self.device.from_slice(&coordinates.enter_rows(values)?, shape)?)
    }

    /// States of the host's as a tensor, likewise. In the order of a stream of the host's, the numbers of one that is handed in are still to come, so nobody looks at them.
    pub(crate) fn input(&self, input: Input<'_>) -> Result<B::Tensor> {
        match input {
            Input::Span(values) => self.items(values, "the states"),
            Input::DlPack(tensor) => {
                let shape = tensor.shape();
                if shape.rank() != 2 || shape.item() != self.dimension() {
                    let dimension = self.dimension();
                    return Err(Failure::new(Code::Length, format!("the states have the shape {shape}, but must be [n, {dimension}]")));
                }
                rows(shape.elements(), self.dimension(), "the states")?;
                let states = self.device.import(tensor, self.stream)?;
                if self.stream == 0 {
                    finite(&B::host(&states)?, self.dimension(), "the states")?;
                }
                Ok(self.loaded.coordinates().enter(&states)?)
            }
        }
    }

    /// How many items the host wants, if they can be handed over as it wants them.
    pub(crate) fn wanted(&self, output: &Output<'_>) -> Result<usize> {
        match output {
            Output::Span(values) => rows(values.len(), self.dimension(), "the output"),
            Output::DlPack(0, _) => Err(Failure::new(Code::Empty, "the output: there are no items")),
            Output::DlPack(count, _) => self.device.check_export().map(|()| *count),
        }
    }

    /// Hands samples over in the units of the data, if all of them are finite: into the host's memory, or as a new tensor. In the order of the host's stream a tensor's numbers
    /// are still to come, so nobody looks at them.
    pub(crate) fn deliver(&self, result: &B::Tensor, output: Output<'_>) -> Result<()> {
        match output {
            Output::Span(place) => self.write_samples(result, place, "the result"),
            Output::DlPack(_, place) => {
                let result = &self.loaded.coordinates().leave(result)?;
                if self.stream == 0 {
                    finite(&B::host(result)?, result.shape().item(), "the result")?;
                }
                *place = B::export(result, self.stream)?;
                Ok(())
            }
        }
    }

    /// Writes samples into the host's memory in the units of the data, if they are finite and fit.
    pub(crate) fn write_samples(&self, samples: &B::Tensor, place: &mut [f32], what: &str) -> Result<()> {
        let coordinates = self.loaded.coordinates();
        if coordinates.is_identity() {
            return write::<B>(samples, place, what);
        }
        let values = coordinates.leave_rows(&B::host(samples)?)?;
        let values = memory::list("samples", values.into_iter().map(|value| value as f32))?;
        expect(place.len(), Some(values.len()), what)?;
        finite(&values, self.dimension(), what)?;
        place.copy_from_slice(&values);
        Ok(())
    }
}

impl<B: Backend> AnySession for Run<B> {
    fn sample(&self, callbacks: &Callbacks<'_>, options: &SampleOptions<'_>, output: Output<'_>) -> Result<()> {
        draws::sample(self, callbacks, options, output)
    }

    fn posterior(&self, callbacks: &Callbacks<'_>, states: Input<'_>, options: &PosteriorOptions<'_>, output: Output<'_>) -> Result<()> {
        draws::posterior(self, callbacks, states, options, output)
    }

    fn velocity(&self, query: &Query<'_>, x: &[f32], states: &[f32], velocity: &mut [f32]) -> Result<()> {
        draws::velocity(self, query, x, states, velocity)
    }

    fn value(
        &self,
        callbacks: &Callbacks<'_>,
        states: &[f32],
        options: &ValueOptions<'_>,
        values: &mut [f32],
        gradients: Option<&mut [f32]>,
        sizes: &mut [f32],
    ) -> Result<()> {
        draws::value(self, callbacks, states, options, values, gradients, sizes)
    }

    fn steer(&self, callbacks: &Callbacks<'_>, options: &SteerOptions<'_>, output: Output<'_>) -> Result<()> {
        steering::steer(self, callbacks, options, output)
    }

    fn search(&self, callbacks: &Callbacks<'_>, options: &SearchOptions<'_>, samples: &mut [f32], rewards: &mut [f32]) -> Result<()> {
        steering::search(self, callbacks, options, samples, rewards)
    }

    fn train(&self, callbacks: &Callbacks<'_>, data: &[f32], labels: &[usize], options: &TrainingOptions) -> Result<Box<Model>> {
        training::train(self, callbacks, data, labels, options)
    }

    fn fine_tune(&self, callbacks: &Callbacks<'_>, data: &[f32], options: &TrainingOptions) -> Result<Box<Model>> {
        training::fine_tune(self, callbacks, data, options)
    }
}

/// Writes a result into the host's memory, if it is finite and fits.
pub(crate) fn write<B: Backend>(result: &B::Tensor, place: &mut [f32], what: &str) -> Result<()> {
    place.copy_from_slice(&written::<B>(result, place.len(), f32::is_finite, what)?);
    Ok(())
}

/// What is to be written into so much of the host's memory: a result all of whose numbers are such as `may` be.
pub(crate) fn written<'a, B: Backend>(result: &'a B::Tensor, room: usize, may: fn(f32) -> bool, what: &str) -> Result<Cow<'a, [f32]>> {
    let values = B::host(result)?;
    expect(room, Some(values.len()), what)?;
    all(&values, result.shape().item(), may, what)?;
    Ok(values)
}

/// Checks that an output has the right length, before any work is done.
pub(crate) fn expect(found: usize, needed: Option<usize>, what: &str) -> Result<()> {
    match needed {
        Some(needed) if needed == found => Ok(()),
        Some(needed) => Err(Failure::new(Code::Length, format!("{what}: there is room for {found} numbers, but {needed} are needed"))),
        None => Err(Failure::new(Code::OutOfMemory, format!("{what}: that is more numbers than can be addressed"))),
    }
}

/// Marks a session as free when dropped.
struct Busy<'a>(&'a AtomicBool);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

impl Session {
    /// A session.
    pub fn new(run: Box<dyn AnySession>) -> Self {
        Self { run, busy: AtomicBool::new(false) }
    }

    /// Runs one call.
    fn call<T>(&self, host: &Host, body: impl FnOnce(&dyn AnySession, &Callbacks<'_>) -> Result<T>) -> Result<T> {
        self.alone(|run| {
            let callbacks = Callbacks::new(host);
            let outcome = body(run, &callbacks);
            callbacks.settle(outcome)
        })
    }

    fn alone<T>(&self, body: impl FnOnce(&dyn AnySession) -> Result<T>) -> Result<T> {
        guard(|| {
            if self.busy.swap(true, Ordering::Acquire) {
                return Err(Failure::new(Code::Busy, "the session is in another call; open one for each thread"));
            }
            let _busy = Busy(&self.busy);
            body(&*self.run)
        })
    }

    pub(crate) fn sample(&self, host: &Host, options: &SampleOptions<'_>, samples: &mut [f32]) -> Result<()> {
        self.call(host, |run, callbacks| run.sample(callbacks, options, Output::Span(samples)))
    }

    pub(crate) fn posterior(&self, host: &Host, states: &[f32], options: &PosteriorOptions<'_>, draws: &mut [f32]) -> Result<()> {
        self.call(host, |run, callbacks| run.posterior(callbacks, Input::Span(states), options, Output::Span(draws)))
    }

    pub(crate) fn velocity(&self, query: &Query<'_>, x: &[f32], states: &[f32], velocity: &mut [f32]) -> Result<()> {
        self.alone(|run| run.velocity(query, x, states, velocity))
    }

    pub(crate) fn value(
        &self,
        host: &Host,
        states: &[f32],
        options: &ValueOptions<'_>,
        values: &mut [f32],
        sizes: &mut [f32],
    ) -> Result<()> {
        self.call(host, |run, callbacks| run.value(callbacks, states, options, values, None, sizes))
    }

    pub(crate) fn value_and_gradient(
        &self,
        host: &Host,
        states: &[f32],
        options: &ValueOptions<'_>,
        values: &mut [f32],
        gradients: &mut [f32],
        sizes: &mut [f32],
    ) -> Result<()> {
        self.call(host, |run, callbacks| run.value(callbacks, states, options, values, Some(gradients), sizes))
    }

    pub(crate) fn steer(&self, host: &Host, options: &SteerOptions<'_>, samples: &mut [f32]) -> Result<()> {
        self.call(host, |run, callbacks| run.steer(callbacks, options, Output::Span(samples)))
    }

    pub(crate) fn search(&self, host: &Host, options: &SearchOptions<'_>, samples: &mut [f32], rewards: &mut [f32]) -> Result<()> {
        self.call(host, |run, callbacks| run.search(callbacks, options, samples, rewards))
    }

    pub(crate) fn train(&self, host: &Host, data: &[f32], labels: &[usize], options: &TrainingOptions) -> Result<Box<Model>> {
        self.call(host, |run, callbacks| run.train(callbacks, data, labels, options))
    }

    pub(crate) fn fine_tune(&self, host: &Host, data: &[f32], options: &TrainingOptions) -> Result<Box<Model>> {
        self.call(host, |run, callbacks| run.fine_tune(callbacks, data, options))
    }

    pub(crate) fn sample_dlpack(&self, host: &Host, options: &SampleOptions<'_>, count: usize) -> Result<*mut ManagedTensor> {
        let mut tensor = std::ptr::null_mut();
        self.call(host, |run, callbacks| run.sample(callbacks, options, Output::DlPack(count, &mut tensor)))?;
        Ok(tensor)
    }

    /// # Safety
    /// `states` is null or a live tensor, whose ownership passes here.
    pub(crate) unsafe fn posterior_dlpack(
        &self,
        host: &Host,
        states: *mut ManagedTensor,
        options: &PosteriorOptions<'_>,
    ) -> Result<*mut ManagedTensor> {
        // SAFETY: as the caller promises. Taken before anything can fail, so that it is given back whatever happens.
        let states = unsafe { Imported::take(states) };
        let mut tensor = std::ptr::null_mut();
        self.call(host, |run, callbacks| run.posterior(callbacks, Input::DlPack(states?), options, Output::DlPack(1, &mut tensor)))?;
        Ok(tensor)
    }

    pub(crate) fn steer_dlpack(&self, host: &Host, options: &SteerOptions<'_>, count: usize) -> Result<*mut ManagedTensor> {
        let mut tensor = std::ptr::null_mut();
        self.call(host, |run, callbacks| run.steer(callbacks, options, Output::DlPack(count, &mut tensor)))?;
        Ok(tensor)
    }
}
