//! The host's callbacks: rewards, progress, log.

use crate::backend::Backend;
use crate::bridge::ffi::{Host, Progress};
use crate::failure::{Code, Failure, Result};
use crate::guard::outside;
use mfm_core::{Draws, Error, Lift, MetaFlowMap, Query, Reward, Shape, Tensor, memory};
use std::cell::{Cell, RefCell};
use std::fmt::Display;

/// The callbacks of one call. A failure of one of them goes through the library as [`Error::Cancelled`], and is put in its place at the end.
pub struct Callbacks<'a> {
    host: &'a Host,
    failure: RefCell<Option<Failure>>,
    /// What the host was last told, and the rows that were evaluated since.
    last_progress: Cell<Progress>,
    rows: Cell<usize>,
    /// Whether the host is also asked within steps.
    within: Cell<bool>,
}

/// What the host wants of a run that can end early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// To go on.
    GoOn,
    /// To stop, and to keep what there is.
    Stop,
}

/// The code `MFM_STOP` of mfm.h, which is no failure.
const STOP: i32 = 18;
// Answers that are codes of failures.
const CANCELLED: i32 = Code::Cancelled as i32;
const THREW: i32 = Code::CallbackThrew as i32;
const THREW_OTHER: i32 = Code::CallbackThrewOther as i32;

impl<'a> Callbacks<'a> {
    /// Those of a call.
    pub fn new(host: &'a Host) -> Self {
        Self { host, failure: RefCell::new(None), last_progress: Cell::new(progress(0, 0)), rows: Cell::new(0), within: Cell::new(false) }
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
            CANCELLED => Failure::new(Code::Cancelled, format!("{what} cancelled the call")),
            THREW => Failure::new(Code::CallbackThrew, format!("{what} threw an exception{}", self.words())),
            THREW_OTHER => Failure::new(Code::CallbackThrewOther, format!("{what} threw something that is no std::exception")),
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
        self.step_of_run(progress).and_then(|wish| self.all_or_nothing(wish))
    }

    /// The same in a run whose first steps are of use without the others.
    ///
    /// # Errors
    /// [`Error::Cancelled`] if the host cancels the call.
    pub fn step_of_run(&self, progress: &Progress) -> mfm_core::Result<Wish> {
        if self.host.logs() {
            let line = describe(progress);
            outside(|| self.host.log(1, &line));
        }
        self.ask(progress)
    }

    /// From now on the host is asked also within steps, of which there will be so many.
    fn ask_within(&self, steps: usize) {
        self.last_progress.set(progress(0, steps));
        self.within.set(true);
    }

    /// Counts rows that were evaluated within a step. Once there are more than a block holds, the host is told again which step was the last, and may stop
    /// the call, so that it need not wait for the end of a long one.
    ///
    /// # Errors
    /// [`Error::Cancelled`] if the host stops the call.
    pub fn worked(&self, rows: usize, item: usize) -> mfm_core::Result<()> {
        self.rows.set(self.rows.get().saturating_add(rows));
        if !self.within.get() || self.rows.get() <= most_rows(item) {
            return Ok(());
        }
        let Progress { step, steps, .. } = self.last_progress.get();
        self.ask(&progress(step, steps)).and_then(|wish| self.all_or_nothing(wish))
    }

    fn ask(&self, progress: &Progress) -> mfm_core::Result<Wish> {
        self.last_progress.set(*progress);
        self.rows.set(0);
        match outside(|| self.host.progress(progress)) {
            STOP => Ok(Wish::Stop),
            answer => self.answer("the progress callback", answer).map(|()| Wish::GoOn),
        }
    }

    /// Where there is nothing to keep, a call that is stopped is cancelled.
    fn all_or_nothing(&self, wish: Wish) -> mfm_core::Result<()> {
        match wish {
            Wish::GoOn => Ok(()),
            Wish::Stop => {
                Err(self.refuse(Failure::new(Code::Cancelled, "the progress callback stopped the call, which has nothing to keep")))
            }
        }
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

/// The most rows that are evaluated at once, as [`Draws`] has it.
fn most_rows(item: usize) -> usize {
    Draws::new(1).most_rows(item)
}

/// In how many parts [`Watched`] evaluates rows of one state.
pub fn parts(rows: usize, item: usize) -> usize {
    rows.div_ceil(most_rows(item)).max(1)
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
    /// States and draws, if it is asked for the draws of all states in their order, and how many of them it has seen.
    asked: Option<(usize, usize)>,
    seen: Cell<usize>,
    allowed: Cell<Option<bool>>,
    /// Whether only the last question counts for that.
    last_counts: bool,
}

impl<'a, B: Backend> HostReward<'a, B> {
    /// The reward of a call.
    pub fn new(callbacks: &'a Callbacks<'a>, device: &'a B) -> Self {
        Self { callbacks, device, asked: None, seen: Cell::new(0), allowed: Cell::new(None), last_counts: false }
    }

    /// The same where each round asks for so many draws of so many states in their order, by which failures are placed.
    pub fn of_draws(self, states: usize, draws: usize) -> Self {
        Self { asked: Some((states, draws)), ..self }
    }

    /// The same where the last question of all is about the particles at the end, and those before it are looks ahead.
    pub fn of_particles(self) -> Self {
        Self { last_counts: true, ..self }
    }

    /// Whether any item was allowed (above −∞) since this was last asked; `None` if there was none.
    pub fn take_allowed(&self) -> Option<bool> {
        self.allowed.take()
    }

    /// The place of an item, of those that it is asked for at once.
    fn place(&self, item: usize, items: usize) -> String {
        match self.asked {
            Some((states, draws)) => {
                let row = (self.seen.get() + item) % states.saturating_mul(draws).max(1);
                format!("draw {} of state {}", row % draws.max(1), row / draws.max(1))
            }
            None => format!("item {item} of the {items} that it was asked for"),
        }
    }

    /// Checks that no reward is NaN or +∞, and no gradient NaN or infinite.
    fn check(&self, what: &str, values: &[f32], item: usize, fits: impl Fn(f32) -> bool) -> mfm_core::Result<()> {
        let Some(i) = values.iter().position(|value| !fits(*value)) else { return Ok(()) };
        let item = item.max(1);
        let (value, place) = (values[i], self.place(i / item, values.len() / item));
        let number = if item > 1 { format!("number {} of ", i % item) } else { String::new() };
        Err(self.callbacks.refuse(Failure::new(Code::NotFinite, format!("{what} is {value} at {number}{place}"))))
    }

    fn check_values(&self, values: &[f32]) -> mfm_core::Result<()> {
        self.check("the reward", values, 1, |value| value < f32::INFINITY)
    }

    fn saw(&self, values: &[f32]) {
        self.seen.set(self.seen.get().wrapping_add(values.len()));
        let now = Some(values.iter().any(|value| *value > f32::NEG_INFINITY));
        self.allowed.set(if self.last_counts { now } else { self.allowed.get().max(now) });
    }
}

/// Room for what a callback writes. What it leaves out is found, not taken for a zero.
fn room(elements: usize) -> mfm_core::Result<Vec<f32>> {
    memory::filled("reward", f32::NAN, elements)
}

impl<B: Backend> Reward<B::Tensor> for HostReward<'_, B> {
    fn value(&self, x: &B::Tensor) -> mfm_core::Result<B::Tensor> {
        let shape = x.shape();
        let mut values = room(shape.batch())?;
        let x = B::host(x)?;
        let answer = outside(|| self.callbacks.host.value(&x, shape.item(), &mut values));
        self.callbacks.answer("the reward", answer)?;
        self.check_values(&values)?;
        self.saw(&values);
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
        self.check("the reward's gradient", &gradients, shape.item(), f32::is_finite)?;
        self.saw(&values);
        // What it is the gradient through was evaluated where nobody watches.
        self.callbacks.worked(values.len(), shape.item())?;
        Ok((self.device.from_slice(&values, Shape::new(&[values.len()])?)?, self.device.from_slice(&gradients, shape)?))
    }
}

/// A map that evaluates no more rows at once than a block holds, after each of which the host may stop the call. Of a call whose steps are its evaluations the
/// host is told of each.
pub struct Watched<'a, M> {
    map: &'a M,
    callbacks: &'a Callbacks<'a>,
    made: Cell<usize>,
    evaluations: Option<usize>,
}

impl<'a, M> Watched<'a, M> {
    /// `map`, which will be evaluated so many times.
    pub fn new(map: &'a M, callbacks: &'a Callbacks<'a>, evaluations: usize) -> Self {
        Self { map, callbacks, made: Cell::new(0), evaluations: Some(evaluations) }
    }

    /// `map` in a call that has `steps` steps of its own.
    pub fn within_steps(map: &'a M, callbacks: &'a Callbacks<'a>, steps: usize) -> Self {
        callbacks.ask_within(steps);
        Self { map, callbacks, made: Cell::new(0), evaluations: None }
    }

    /// One evaluation, of which the host is told.
    fn part<T: Tensor>(&self, query: &Query<'_, T>) -> mfm_core::Result<T>
    where
        M: MetaFlowMap<T>,
    {
        let velocity = self.map.velocity(query)?;
        match self.evaluations {
            Some(evaluations) => {
                self.made.set(self.made.get() + 1);
                self.callbacks.step(&progress(self.made.get(), evaluations))?;
            }
            None => self.callbacks.worked(query.x.shape().batch(), query.x.shape().item())?,
        }
        Ok(velocity)
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
        let (rows, states) = (query.x.shape().batch(), query.x_t.shape().batch());
        let most = most_rows(query.x.shape().item());
        let one_time = [&query.s, &query.u, &query.t].iter().all(|time| time.shape().elements() == 1);
        if rows <= most || !one_time || states == 0 || !rows.is_multiple_of(states) {
            return self.part(query);
        }
        // Parts of a state's draws where there is one state, and of whole states else.
        let (units, each) = if states == 1 { (rows, 1) } else { (states, rows / states) };
        let size = units.div_ceil(units.div_ceil((most / each).max(1)));
        let mut parts = Vec::new();
        for start in (0..units).step_by(size) {
            let count = size.min(units - start);
            let x = query.x.slice(0, start * each, count * each)?;
            let (x_t, condition) = match states {
                1 => (query.x_t.clone(), query.condition),
                _ => (query.x_t.slice(0, start, count)?, query.condition.states(start, count)),
            };
            let (s, u, t) = (query.s.clone(), query.u.clone(), query.t.clone());
            parts.push(self.part(&Query { s, u, x, t, x_t, condition })?);
        }
        T::concat(&parts.iter().collect::<Vec<_>>(), 0)
    }
}
