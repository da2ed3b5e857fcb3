//! Calls of a session. Pointers are what [`Given`](super::memory::Given) makes: what `mfm.h` says, or what must be refused.

use super::tensors::{consume, states};
use super::{Given, Open, Run, c, made, settle};
use std::cell::Cell;

impl Run<'_> {
    /// What a draw of so many states is made from.
    fn draw(&mut self, open: Open, states: usize) -> c::Draw {
        let (seed, stream) = (u64::from(self.given.byte()), u64::from(self.given.byte()));
        let (labels, label_count) = self.given.labels(open.labels, states);
        let (guidance, guidance_count) = self.given.guidance();
        c::Draw { seed, stream, labels, label_count, guidance, guidance_count }
    }

    fn reward(&mut self) -> *const c::Reward {
        let reward = self.host.reward(self.given.byte());
        self.given.options(reward)
    }

    fn sample_options(&mut self, open: Open) -> *const c::SampleOptions {
        let draw = self.draw(open, 1);
        let (method, steps) = (self.given.choice(4), self.given.count(open.watched));
        self.given.options(c::SampleOptions { size: 0, draw, method, steps })
    }

    fn posterior_options(&mut self, open: Open, states: usize) -> (*const c::PosteriorOptions, usize) {
        let draw = self.draw(open, states);
        let (time, draws, steps) = (self.given.number(), self.given.count(open.watched), self.given.count(open.watched));
        let options = self.given.options(c::PosteriorOptions { size: 0, draw, time, draws, steps });
        // SAFETY: null, or a size at least.
        let size = if options.is_null() { 0 } else { unsafe { (*options).size } };
        (options, if size > std::mem::offset_of!(c::PosteriorOptions, draws) && draws <= 5 { draws } else { 1 })
    }

    fn value_options(&mut self, open: Open, states: usize) -> *const c::ValueOptions {
        let draw = self.draw(open, states);
        let (time, draws) = (self.given.number(), self.given.count(true));
        let effective_sample_sizes = if draws % 2 == 0 { std::ptr::null_mut() } else { self.given.memory.list(&vec![0.0; states]) };
        self.given.options(c::ValueOptions { size: 0, draw, time, draws, effective_sample_sizes })
    }

    fn steer_options(&mut self, open: Open) -> *const c::SteerOptions {
        let draw = self.draw(open, 1);
        let given = &mut self.given;
        let options = c::SteerOptions {
            size: 0,
            draw,
            estimator: given.choice(9),
            steps: given.count(open.watched),
            draws: given.mostly(0, |given| given.count(open.watched)),
            moves: given.mostly(4, |given| given.count(open.watched)),
            coupling: given.mostly(0, |given| given.choice(3)),
            sde: given.mostly(0, |given| given.choice(2)),
            heun: given.mostly(0, |given| given.choice(2)),
            start: given.mostly(0.01, Given::number),
            window_start: given.mostly(0.0, Given::number),
            window_end: given.mostly(1.0, Given::number),
            damping: given.mostly(1.0, Given::number),
            rescale: given.mostly(0.0, Given::number),
            clip: given.mostly(0.0, Given::number),
            power: given.mostly(1.0, Given::number),
            threshold: given.mostly(0.5, Given::number),
        };
        given.options(options)
    }

    fn training_options(&mut self, open: Open) -> *const c::TrainingOptions {
        self.host.hurry();
        let given = &mut self.given;
        let options = c::TrainingOptions {
            size: 0,
            seed: u64::from(given.byte()),
            steps: given.count(open.watched) as u64,
            batch: given.count(true),
            learning_rate: given.number(),
            warm_up: given.count(true) as u64,
            weight_decay: given.number(),
            average: given.number(),
            clip: given.number(),
            consistency: given.mostly(0, |given| given.choice(5)),
            label_dropout: given.mostly(0.1, Given::number),
            strength: given.mostly(1.0, Given::number),
            draws: given.mostly(0, |given| given.count(true)),
            follow: given.mostly(0.0, Given::number),
        };
        given.options(options)
    }

    pub(super) fn sample(&mut self, open: Open) {
        let count = self.given.count(false);
        let (options, samples) = (self.sample_options(open), self.given.span(count * open.dimension));
        // SAFETY: see the module.
        samples.check(settle(unsafe { c::mfm_sample(open.session, options, samples.start, samples.length) }));
    }

    pub(super) fn posterior(&mut self, open: Open) {
        let count = self.given.count(false);
        let states = self.given.numbers(count * open.dimension);
        let (options, each) = self.posterior_options(open, count);
        let draws = self.given.span(count * each * open.dimension);
        // SAFETY: see the module.
        let error = unsafe { c::mfm_posterior(open.session, states.start, states.length, options, draws.start, draws.length) };
        draws.check(settle(error));
    }

    pub(super) fn velocity(&mut self, open: Open) {
        let (count, each) = (self.given.count(false), self.given.count(false));
        let (s, u, t) = (self.given.number(), self.given.number(), self.given.number());
        let (labels, label_count) = self.given.labels(open.labels, count);
        let (guidance, guidance_count) = self.given.guidance();
        let query = self.given.options(c::Query { size: 0, s, u, t, labels, label_count, guidance, guidance_count });
        let states = self.given.numbers(count * open.dimension);
        let x = self.given.numbers(count * each * open.dimension);
        let velocity = self.given.span(count * each * open.dimension);
        // SAFETY: see the module.
        let error = unsafe {
            c::mfm_velocity(open.session, query, x.start, x.length, states.start, states.length, velocity.start, velocity.length)
        };
        velocity.check(settle(error));
    }

    pub(super) fn value(&mut self, open: Open) {
        let count = self.given.count(false);
        let (reward, states) = (self.reward(), self.given.numbers(count * open.dimension));
        let (options, values) = (self.value_options(open, count), self.given.span(count));
        // SAFETY: see the module.
        let error = unsafe { c::mfm_value(open.session, reward, states.start, states.length, options, values.start, values.length) };
        values.check(settle(error));
    }

    pub(super) fn value_and_gradient(&mut self, open: Open) {
        let count = self.given.count(false);
        let (reward, states) = (self.reward(), self.given.numbers(count * open.dimension));
        let options = self.value_options(open, count);
        let (values, gradients) = (self.given.span(count), self.given.span(count * open.dimension));
        // SAFETY: see the module.
        let went_well = settle(unsafe {
            c::mfm_value_and_gradient(
                open.session,
                reward,
                states.start,
                states.length,
                options,
                values.start,
                values.length,
                gradients.start,
                gradients.length,
            )
        });
        values.check(went_well);
        gradients.check(went_well);
    }

    pub(super) fn steer(&mut self, open: Open) {
        let count = self.given.count(false);
        let (reward, options) = (self.reward(), self.steer_options(open));
        let samples = self.given.span(count * open.dimension);
        // SAFETY: see the module.
        samples.check(settle(unsafe { c::mfm_steer(open.session, reward, options, samples.start, samples.length) }));
    }

    pub(super) fn search(&mut self, open: Open) {
        let count = self.given.count(false);
        let (reward, draw) = (self.reward(), self.draw(open, 1));
        let given = &mut self.given;
        let options = c::SearchOptions {
            size: 0,
            draw,
            steps: given.count(open.watched),
            draws: given.count(open.watched),
            coupling: given.choice(3),
            keep_overall: given.choice(2),
            power: given.number(),
        };
        let options = given.options(options);
        let (samples, rewards) = (given.span(count * open.dimension), given.span(count));
        // SAFETY: see the module.
        let went_well =
            settle(unsafe { c::mfm_search(open.session, reward, options, samples.start, samples.length, rewards.start, rewards.length) });
        samples.check(went_well);
        rewards.check(went_well);
    }

    pub(super) fn train(&mut self, open: Open) {
        // By default a run is long.
        if !open.watched {
            return;
        }
        let count = self.given.count(false);
        let data = self.given.numbers(count * open.dimension);
        let (labels, label_count) = self.given.labels(open.labels, count);
        let options = self.training_options(open);
        // SAFETY: see the module.
        let model = made(&mut self.given, |model| unsafe {
            c::mfm_train(open.session, data.start, data.length, labels, label_count, options, model)
        });
        self.keep(model);
    }

    pub(super) fn fine_tune(&mut self, open: Open) {
        let count = self.given.count(false);
        let (reward, data) = (self.reward(), self.given.numbers(count * open.dimension));
        let options = self.training_options(open);
        // SAFETY: see the module.
        let model =
            made(&mut self.given, |model| unsafe { c::mfm_fine_tune(open.session, reward, data.start, data.length, options, model) });
        self.keep(model);
    }

    pub(super) fn sample_dlpack(&mut self, open: Open) {
        let (options, count) = (self.sample_options(open), self.given.count(open.watched));
        // SAFETY: see the module.
        let samples = made(&mut self.given, |samples| unsafe { c::mfm_sample_dlpack(open.session, options, count, samples) });
        // SAFETY: ours.
        unsafe { consume(samples, open.dimension) };
    }

    pub(super) fn posterior_dlpack(&mut self, open: Open) {
        let deleted = Cell::new(0);
        let states = states(&mut self.given, open.dimension, &deleted);
        let (options, _) = self.posterior_options(open, 1);
        // SAFETY: see the module.
        let draws = made(&mut self.given, |draws| unsafe { c::mfm_posterior_dlpack(open.session, states, options, draws) });
        // SAFETY: ours.
        unsafe { consume(draws, open.dimension) };
        assert_eq!(deleted.get(), usize::from(!states.is_null()), "a tensor is deleted once");
    }

    pub(super) fn steer_dlpack(&mut self, open: Open) {
        let (reward, options) = (self.reward(), self.steer_options(open));
        let count = self.given.count(open.watched);
        // SAFETY: see the module.
        let samples = made(&mut self.given, |samples| unsafe { c::mfm_steer_dlpack(open.session, reward, options, count, samples) });
        // SAFETY: ours.
        unsafe { consume(samples, open.dimension) };
    }
}
