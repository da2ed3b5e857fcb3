//! The cxx bridge between the shim and the library.

use crate::model::{Model, create_model, load_model, load_model_from_memory};
use crate::session::Session;

/// What C++ sees of Rust, and Rust of C++. The structures are those of `mfm.h`, where their fields are explained.
#[allow(missing_docs, clippy::missing_errors_doc, unused_qualifications)]
#[cxx::bridge(namespace = "mfm::detail")]
pub mod ffi {
    #[derive(Clone, Copy)]
    struct Draw<'a> {
        seed: u64,
        stream: u64,
        labels: &'a [usize],
        guidance: &'a [f64],
    }

    struct SampleOptions<'a> {
        draw: Draw<'a>,
        method: u32,
        steps: usize,
    }

    struct PosteriorOptions<'a> {
        draw: Draw<'a>,
        time: f64,
        draws: usize,
        steps: usize,
    }

    struct Query<'a> {
        s: f64,
        u: f64,
        t: f64,
        labels: &'a [usize],
        guidance: &'a [f64],
    }

    struct ValueOptions<'a> {
        draw: Draw<'a>,
        time: f64,
        draws: usize,
    }

    struct SteerOptions<'a> {
        draw: Draw<'a>,
        estimator: u32,
        steps: usize,
        draws: usize,
        moves: usize,
        coupling: u32,
        sde: bool,
        heun: bool,
        start: f64,
        window_start: f64,
        window_end: f64,
        damping: f64,
        rescale: f64,
        clip: f64,
        power: f64,
        threshold: f64,
    }

    struct SearchOptions<'a> {
        draw: Draw<'a>,
        steps: usize,
        draws: usize,
        coupling: u32,
        keep_overall: bool,
        power: f64,
    }

    struct TrainingOptions {
        seed: u64,
        steps: u64,
        batch: usize,
        learning_rate: f64,
        warm_up: u64,
        weight_decay: f64,
        average: f64,
        clip: f64,
        consistency: u32,
        label_dropout: f64,
        strength: f64,
        draws: usize,
        follow: f64,
    }

    struct Place<'a> {
        device: &'a [u8],
        precision: u32,
        graphs: bool,
    }

    struct Architecture {
        dimension: usize,
        width: usize,
        depth: usize,
        frequencies: usize,
        labels: usize,
        seed: u64,
        raw: bool,
    }

    struct Info {
        dimension: usize,
        labels: usize,
        parameters: usize,
        training_steps: u64,
        seed: u64,
        path: String,
        objective: String,
        data: String,
        device: String,
        guidance: Vec<f64>,
        mean: Vec<f64>,
        scale: Vec<f64>,
        jumps: u32,
    }

    #[derive(Clone, Copy)]
    struct Progress {
        step: usize,
        steps: usize,
        effective_sample_size: f64,
        largest_weight: f64,
        correction_norm: f64,
        acceptance: f64,
        best_reward: f64,
        loss: f64,
        gradient_norm: f64,
        mean_reward: f64,
    }

    extern "Rust" {
        type Model;
        fn load_model(path: &[u8], place: &Place) -> Result<Box<Model>>;
        fn load_model_from_memory(bytes: &[u8], place: &Place) -> Result<Box<Model>>;
        fn create_model(architecture: &Architecture, data: &[f32], place: &Place) -> Result<Box<Model>>;
        fn info(self: &Model) -> Result<Info>;
        fn save(self: &Model, path: &[u8]) -> Result<()>;
        fn save_to_memory(self: &Model) -> Result<Vec<u8>>;
        fn open(self: &Model, threads: usize, stream: usize) -> Result<Box<Session>>;

        type Session;
        fn sample(self: &Session, host: &Host, options: &SampleOptions, samples: &mut [f32]) -> Result<()>;
        fn posterior(self: &Session, host: &Host, states: &[f32], options: &PosteriorOptions, draws: &mut [f32]) -> Result<()>;
        fn velocity(self: &Session, query: &Query, x: &[f32], states: &[f32], velocity: &mut [f32]) -> Result<()>;
        fn value(self: &Session, host: &Host, states: &[f32], options: &ValueOptions, values: &mut [f32], sizes: &mut [f32]) -> Result<()>;
        fn value_and_gradient(
            self: &Session,
            host: &Host,
            states: &[f32],
            options: &ValueOptions,
            values: &mut [f32],
            gradients: &mut [f32],
            sizes: &mut [f32],
        ) -> Result<()>;
        fn steer(self: &Session, host: &Host, options: &SteerOptions, samples: &mut [f32]) -> Result<()>;
        fn search(self: &Session, host: &Host, options: &SearchOptions, samples: &mut [f32], rewards: &mut [f32]) -> Result<()>;
        fn train(self: &Session, host: &Host, data: &[f32], labels: &[usize], options: &TrainingOptions) -> Result<Box<Model>>;
        fn fine_tune(self: &Session, host: &Host, data: &[f32], options: &TrainingOptions) -> Result<Box<Model>>;
        fn sample_dlpack(self: &Session, host: &Host, options: &SampleOptions, count: usize) -> Result<*mut DLManagedTensorVersioned>;
        /// # Safety
        /// `states` is null or a live tensor, whose ownership passes here.
        unsafe fn posterior_dlpack(
            self: &Session,
            host: &Host,
            states: *mut DLManagedTensorVersioned,
            options: &PosteriorOptions,
        ) -> Result<*mut DLManagedTensorVersioned>;
        fn steer_dlpack(self: &Session, host: &Host, options: &SteerOptions, count: usize) -> Result<*mut DLManagedTensorVersioned>;
    }

    unsafe extern "C++" {
        include!("shim.hpp");

        #[namespace = ""]
        type DLManagedTensorVersioned = crate::dlpack::ManagedTensor;

        /// The callbacks of one call. Each answers with a code of `mfm.h`, and throws nothing.
        type Host;
        fn has_gradient(self: &Host) -> bool;
        fn value(self: &Host, x: &[f32], dimension: usize, values: &mut [f32]) -> i32;
        fn value_and_gradient(self: &Host, x: &[f32], dimension: usize, values: &mut [f32], gradients: &mut [f32]) -> i32;
        fn progress(self: &Host, progress: &Progress) -> i32;
        fn logs(self: &Host) -> bool;
        fn log(self: &Host, level: u32, message: &str);
        /// What the exception said that the last callback threw.
        fn message(self: &Host) -> String;
    }
}
