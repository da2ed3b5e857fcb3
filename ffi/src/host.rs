//! The host's callbacks: rewards, progress, log.

use crate::backend::Backend;
use crate::bridge::ffi::{Host, Progress};
use crate::failure::{Code, Failure, Result};
use crate::guard::outside;
use mfm_core::{Error, Lift, MetaFlowMap, Query, Reward, Shape, Tensor};
use std::cell::{Cell, RefCell};
use std::fmt::Display;

/// The callbacks of one call. A failure of one of them goes through the library as [`Error::Cancelled`], and is put in its place at the end.
pub struct Callbacks<'a> {
    host: &'a Host,
    failure: RefCell<Option<Failure>>,
}

impl<'a> Callbacks<'a> {
    /// Those of a call.
    pub fn new(host: &'a Host) -> Self {
        Self { host, failure: RefCell::new(None) }
    }

    /// The outcome of the call.
    ///
    /// # Errors
    /// The failure of a callback, if there was one, else that of `outcome`.
    pub fn settle<T>(self, outcome: Result<T>) -> Result<T> {
        match self.failure.into_inner() {
            Some(failure) => Err(failure),
            None => outcome,
        }
    }

    fn refuse(&self, failure: Failure) -> Error {
        self.failure.borrow_mut().get_or_insert(failure);
        Error::Cancelled
    }

    /// What a callback's answer means.
    fn answer(&self, what: &str, answer: i32) -> mfm_core::Result<()> {
        let failure = match answer {
            0 => return Ok(()),
            1 => Failure::new(Code::Cancelled, format!("{what} cancelled the call")),
            3 => Failure::new(Code::CallbackThrew, format!("{what} threw an exception{}", self.words())),
            4 => Failure::new(Code::CallbackThrewOther, format!("{what} threw something that is no std::exception")),
            other => Failure::new(Code::CallbackFailed, format!("{what} failed with {other}")),
        };
        Err(self.refuse(failure))
    }

    fn words(&self) -> String {
        let words = self.host.message();
        if words.is_empty() { words } else { format!(": {words}") }
    }

    /// Tells the host how far the call has come; it may stop it.
    ///
    /// # Errors
    /// [`Error::Cancelled`] if the host stops the call.
    pub fn step(&self, progress: &Progress) -> mfm_core::Result<()> {
        if self.host.logs() {
            let line = describe(progress);
            outside(|| self.host.log(1, &line));
        }
        self.answer("the progress callback", outside(|| self.host.progress(progress)))
    }

    /// A line for the log.
    pub fn say(&self, text: impl Display) {
        if self.host.logs() {
            let line = text.to_string();
            outside(|| self.host.log(0, &line));
        }
    }

    /// Whether the reward offers a gradient.
    pub fn has_gradient(&self) -> bool {
        self.host.has_gradient()
    }
}

/// A step about which nothing is known but its number.
pub fn progress(step: usize, steps: usize) -> Progress {
    let unknown = f64::NAN;
    Progress {
        step,
        steps,
        effective_sample_size: unknown,
        largest_weight: unknown,
        correction_norm: unknown,
        acceptance: unknown,
        best_reward: unknown,
        loss: unknown,
        gradient_norm: unknown,
        mean_reward: unknown,
    }
}

fn describe(progress: &Progress) -> String {
    let entries = [
        ("effective sample size", progress.effective_sample_size),
        ("largest weight", progress.largest_weight),
        ("correction norm", progress.correction_norm),
        ("acceptance", progress.acceptance),
        ("best reward", progress.best_reward),
        ("loss", progress.loss),
        ("gradient norm", progress.gradient_norm),
        ("mean reward", progress.mean_reward),
    ];
    let known = entries.iter().filter(|(_, value)| !value.is_nan()).map(|(name, value)| format!(", {name} {value:.4}"));
    format!("step {} of {}{}", progress.step, progress.steps, known.collect::<String>())
}

/// The host's reward.
pub struct HostReward<'a, B> {
    callbacks: &'a Callbacks<'a>,
    device: &'a B,
}

impl<'a, B: Backend> HostReward<'a, B> {
    /// The reward of a call.
    pub fn new(callbacks: &'a Callbacks<'a>, device: &'a B) -> Self {
        Self { callbacks, device }
    }

    /// That no reward is NaN or +∞, and no gradient NaN or infinite.
    fn check(&self, what: &str, values: &[f32], fits: impl Fn(f32) -> bool) -> mfm_core::Result<()> {
        match values.iter().position(|value| !fits(*value)) {
            None => Ok(()),
            Some(i) => Err(self.callbacks.refuse(Failure::new(Code::NotFinite, format!("{what} is {} at element {i}", values[i])))),
        }
    }

    fn check_values(&self, values: &[f32]) -> mfm_core::Result<()> {
        self.check("the reward", values, |value| value < f32::INFINITY)
    }
}

fn room(elements: usize) -> mfm_core::Result<Vec<f32>> {
    let mut values = Vec::new();
    let bytes = elements.saturating_mul(size_of::<f32>());
    values.try_reserve_exact(elements).map_err(|_| Error::OutOfMemory { op: "reward", bytes })?;
    // What a callback leaves out is found, not taken for a zero.
    values.resize(elements, f32::NAN);
    Ok(values)
}

impl<B: Backend> Reward<B::Tensor> for HostReward<'_, B> {
    fn value(&self, x: &B::Tensor) -> mfm_core::Result<B::Tensor> {
        let shape = x.shape();
        let mut values = room(shape.batch())?;
        let x = B::host(x)?;
        let answer = outside(|| self.callbacks.host.value(&x, shape.item(), &mut values));
        self.callbacks.answer("the reward", answer)?;
        self.check_values(&values)?;
        self.device.from_slice(&values, Shape::new(&[values.len()])?)
    }

    fn value_and_gradient(&self, x: &B::Tensor) -> mfm_core::Result<(B::Tensor, B::Tensor)> {
        if !self.callbacks.has_gradient() {
            return Err(Error::Unsupported { op: "reward", what: "this reward offers no gradient; use an estimator that needs none" });
        }
        let shape = x.shape();
        let (mut values, mut gradients) = (room(shape.batch())?, room(shape.elements())?);
        let x = B::host(x)?;
        let answer = outside(|| self.callbacks.host.value_and_gradient(&x, shape.item(), &mut values, &mut gradients));
        self.callbacks.answer("the reward", answer)?;
        self.check_values(&values)?;
        self.check("the reward's gradient", &gradients, f32::is_finite)?;
        Ok((self.device.from_slice(&values, Shape::new(&[values.len()])?)?, self.device.from_slice(&gradients, shape)?))
    }
}

/// A map that tells the host of each evaluation, and may be stopped there.
pub struct Watched<'a, M> {
    map: &'a M,
    callbacks: &'a Callbacks<'a>,
    made: Cell<usize>,
    evaluations: usize,
}

impl<'a, M> Watched<'a, M> {
    /// `map`, which will be evaluated so many times.
    pub fn new(map: &'a M, callbacks: &'a Callbacks<'a>, evaluations: usize) -> Self {
        Self { map, callbacks, made: Cell::new(0), evaluations }
    }
}

/// Lifted, the map is nobody's to watch: its evaluations are parts of a step.
impl<T: Tensor, M: Lift<T>> Lift<T> for Watched<'_, M> {
    type Lifted<U: Tensor> = M::Lifted<U>;

    fn lift<U: Tensor>(&self, carry: &mut dyn FnMut(&T) -> mfm_core::Result<U>) -> mfm_core::Result<M::Lifted<U>> {
        self.map.lift(carry)
    }
}

impl<T: Tensor, M: MetaFlowMap<T>> MetaFlowMap<T> for Watched<'_, M> {
    fn velocity(&self, query: &Query<'_, T>) -> mfm_core::Result<T> {
        let velocity = self.map.velocity(query)?;
        self.made.set(self.made.get() + 1);
        self.callbacks.step(&progress(self.made.get(), self.evaluations))?;
        Ok(velocity)
    }
}
