//! Progress on standard error: a bar on a terminal, a plain line now and then elsewhere.

use crate::context::Verbosity;
use crate::table::{count, number};
use indicatif::{ProgressBar, ProgressStyle};
use std::cell::{Cell, RefCell};
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// How often a plain line is written.
const EVERY: Duration = Duration::from_secs(10);

/// How often a bar is drawn.
const TICK: Duration = Duration::from_millis(200);

/// How far a piece of work has come, with its rate and the time left. Dropping it takes it off the screen.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
    plain: Option<Plain>,
}

#[derive(Debug)]
struct Plain {
    what: String,
    total: u64,
    /// Done before the start, which says nothing of the rate.
    before: Cell<u64>,
    done: Cell<u64>,
    started: Instant,
    last: Cell<Instant>,
    message: RefCell<String>,
}

impl Progress {
    pub(crate) fn new(verbosity: Verbosity, what: &str, total: u64) -> Self {
        if verbosity == Verbosity::Quiet {
            return Self { bar: ProgressBar::hidden(), plain: None };
        }
        if std::io::stderr().is_terminal() {
            let bar = ProgressBar::new(total).with_prefix(what.to_owned());
            let template = "{prefix}  {bar:28}  {human_pos}/{human_len}  {per_sec}, {eta} left  {msg}";
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style.progress_chars("━╸─"));
            }
            bar.enable_steady_tick(TICK);
            return Self { bar, plain: None };
        }
        let now = Instant::now();
        let (before, done, last, message) = (Cell::new(0), Cell::new(0), Cell::new(now), RefCell::default());
        let plain = Plain { what: what.to_owned(), total, before, done, started: now, last, message };
        Self { bar: ProgressBar::hidden(), plain: Some(plain) }
    }

    /// `steps` were done by an earlier run.
    pub fn begin_at(&self, steps: u64) {
        // Only a tick, of which a bar that ticks by itself takes no others, tells the bar's rate where it begins; resetting alone would count these steps.
        self.bar.disable_steady_tick();
        self.bar.set_position(steps);
        self.bar.tick();
        self.bar.reset_eta();
        if !self.bar.is_hidden() {
            self.bar.enable_steady_tick(TICK);
        }
        if let Some(plain) = &self.plain {
            plain.before.set(steps);
            plain.done.set(steps);
        }
    }

    /// `steps` more are done.
    pub fn advance(&self, steps: u64) {
        self.bar.inc(steps);
        if let Some(plain) = &self.plain {
            plain.done.set(plain.done.get() + steps);
            if plain.last.get().elapsed() >= EVERY {
                plain.last.set(Instant::now());
                plain.print();
            }
        }
    }

    /// How much is done.
    #[cfg(test)]
    pub(crate) fn position(&self) -> u64 {
        self.bar.position()
    }

    /// A remark beside the numbers, such as the losses.
    pub fn remark(&self, message: impl Into<String>) {
        match &self.plain {
            None => self.bar.set_message(message.into()),
            Some(plain) => *plain.message.borrow_mut() = message.into(),
        }
    }

    /// Writes a line above the bar.
    pub(crate) fn line(&self, text: &str) {
        if self.plain.is_some() {
            eprintln_quietly(text);
        } else {
            self.bar.suspend(|| eprintln_quietly(text));
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

impl Plain {
    fn print(&self) {
        let (done, total) = (self.done.get(), self.total);
        let rate = (done - self.before.get()) as f64 / self.started.elapsed().as_secs_f64();
        let left = total.saturating_sub(done) as f64 / rate;
        let message = self.message.borrow();
        let gap = if message.is_empty() { "" } else { ", " };
        let (done, total) = (count(done as usize), count(total as usize));
        eprintln_quietly(&format!("{}: {done} of {total}, {} a second, {left:.0} s left{gap}{message}", self.what, number(rate, 3)));
    }
}

/// A line on standard error; that nobody reads it is no failure.
pub(crate) fn eprintln_quietly(text: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_of_an_earlier_run_are_none_of_the_rate() {
        let bar = ProgressBar::hidden();
        bar.set_length(2_000_000);
        bar.enable_steady_tick(TICK);
        let progress = Progress { bar, plain: None };
        progress.begin_at(1_000_000);
        progress.bar.disable_steady_tick();
        progress.bar.tick();
        let rate = progress.bar.per_sec();
        assert!(progress.position() == 1_000_000 && (rate.is_nan() || rate < 1.0), "{rate} a second");
    }
}
