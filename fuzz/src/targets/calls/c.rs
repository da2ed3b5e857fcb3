//! `mfm.h` as a host in Rust declares it. A test holds the list of functions to the header's.

use std::ffi::{c_char, c_int, c_void};

/// A handle of the library's.
#[repr(C)]
pub struct Model([u8; 0]);
/// A handle of the library's.
#[repr(C)]
pub struct Session([u8; 0]);
/// A handle of the library's.
#[repr(C)]
pub struct Error([u8; 0]);
/// A handle of the library's.
#[repr(C)]
pub struct Bytes([u8; 0]);

/// A structure that begins with its size.
///
/// # Safety
/// The first field is `size: usize`, and the layout is that of C.
pub unsafe trait Options: Copy {}

macro_rules! structures {
    ($($name:ident { $($field:ident: $kind:ty),* $(,)? })*) => {$(
        #[repr(C)]
        #[derive(Clone, Copy)]
        #[allow(dead_code)] // C reads them.
        pub struct $name { pub size: usize, $(pub $field: $kind),* }
        // SAFETY: as it stands above.
        unsafe impl Options for $name {}
    )*};
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct Draw {
    pub seed: u64,
    pub stream: u64,
    pub labels: *const usize,
    pub label_count: usize,
    pub guidance: *const f64,
    pub guidance_count: usize,
}

pub type Value = unsafe extern "C" fn(*mut c_void, *const f32, usize, usize, *mut f32) -> c_int;
pub type ValueAndGradient = unsafe extern "C" fn(*mut c_void, *const f32, usize, usize, *mut f32, *mut f32) -> c_int;

structures! {
    ModelOptions { device: *const c_char, precision: u32, graphs: u32 }
    Architecture {
        dimension: usize, width: usize, depth: usize, frequencies: usize, labels: usize, seed: u64, device: *const c_char, precision: u32, graphs: u32, raw: u32, reserved: u32,
    }
    ModelInfo {
        dimension: usize, labels: usize, parameters: usize, training_steps: u64, seed: u64,
        path: *const c_char, objective: *const c_char, data: *const c_char, device: *const c_char,
        guidance: *const f64, guidance_count: usize, mean: *const f64, scale: *const f64, jumps: u32, reserved: u32,
    }
    Progress {
        step: usize, steps: usize, effective_sample_size: f64, largest_weight: f64, correction_norm: f64, acceptance: f64,
        best_reward: f64, loss: f64, gradient_norm: f64, mean_reward: f64,
    }
    SessionOptions {
        threads: usize, stream: *mut c_void, context: *mut c_void,
        progress: Option<unsafe extern "C" fn(*mut c_void, *const Progress) -> c_int>,
        log: Option<unsafe extern "C" fn(*mut c_void, c_int, *const c_char)>,
    }
    SampleOptions { draw: Draw, method: u32, steps: usize }
    PosteriorOptions { draw: Draw, time: f64, draws: usize, steps: usize }
    Query {
        s: f64, u: f64, t: f64, labels: *const usize, label_count: usize, guidance: *const f64, guidance_count: usize,
    }
    Reward { context: *mut c_void, value: Option<Value>, value_and_gradient: Option<ValueAndGradient> }
    ValueOptions { draw: Draw, time: f64, draws: usize, effective_sample_sizes: *mut f32 }
    SteerOptions {
        draw: Draw, estimator: u32, steps: usize, draws: usize, moves: usize, coupling: u32, sde: u32, heun: u32, start: f64,
        window_start: f64, window_end: f64, damping: f64, rescale: f64, clip: f64, power: f64, threshold: f64,
    }
    SearchOptions { draw: Draw, steps: usize, draws: usize, coupling: u32, keep_overall: u32, power: f64 }
    TrainingOptions {
        seed: u64, steps: u64, batch: usize, learning_rate: f64, warm_up: u64, weight_decay: f64, average: f64, clip: f64,
        consistency: u32, label_dropout: f64, strength: f64, draws: usize, follow: f64,
    }
}

/// DLManagedTensorVersioned of `dlpack.h`, its view included.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Tensor {
    pub major: u32,
    pub minor: u32,
    pub context: *mut c_void,
    pub deleter: Option<unsafe extern "C" fn(*mut Tensor)>,
    pub flags: u64,
    pub data: *mut c_void,
    pub device: [i32; 2],
    pub rank: i32,
    pub code: u8,
    pub bits: u8,
    pub lanes: u16,
    pub shape: *mut i64,
    pub strides: *mut i64,
    pub byte_offset: u64,
}

unsafe extern "C" {
    pub fn mfm_abi_version() -> u32;
    pub fn mfm_version() -> *const c_char;
    pub fn mfm_code_name(code: c_int) -> *const c_char;
    pub fn mfm_error_code(error: *const Error) -> c_int;
    pub fn mfm_error_message(error: *const Error) -> *const c_char;
    pub fn mfm_error_free(error: *mut Error);
    pub fn mfm_model_load(path: *const c_char, length: usize, options: *const ModelOptions, model: *mut *mut Model) -> *mut Error;
    pub fn mfm_model_load_memory(bytes: *const c_void, length: usize, options: *const ModelOptions, model: *mut *mut Model) -> *mut Error;
    pub fn mfm_model_create(form: *const Architecture, data: *const f32, length: usize, model: *mut *mut Model) -> *mut Error;
    pub fn mfm_model_describe(model: *const Model, info: *mut ModelInfo) -> *mut Error;
    pub fn mfm_model_save(model: *const Model, path: *const c_char, length: usize) -> *mut Error;
    pub fn mfm_model_save_memory(model: *const Model, bytes: *mut *mut Bytes) -> *mut Error;
    pub fn mfm_model_free(model: *mut Model);
    pub fn mfm_bytes_data(bytes: *const Bytes) -> *const c_void;
    pub fn mfm_bytes_size(bytes: *const Bytes) -> usize;
    pub fn mfm_bytes_free(bytes: *mut Bytes);
    pub fn mfm_session_open(model: *const Model, options: *const SessionOptions, session: *mut *mut Session) -> *mut Error;
    pub fn mfm_session_close(session: *mut Session);
    pub fn mfm_sample(session: *mut Session, options: *const SampleOptions, samples: *mut f32, length: usize) -> *mut Error;
    pub fn mfm_posterior(
        session: *mut Session,
        states: *const f32,
        states_length: usize,
        options: *const PosteriorOptions,
        draws: *mut f32,
        draws_length: usize,
    ) -> *mut Error;
    pub fn mfm_velocity(
        session: *mut Session,
        query: *const Query,
        x: *const f32,
        x_length: usize,
        states: *const f32,
        states_length: usize,
        velocity: *mut f32,
        velocity_length: usize,
    ) -> *mut Error;
    pub fn mfm_value(
        session: *mut Session,
        reward: *const Reward,
        states: *const f32,
        states_length: usize,
        options: *const ValueOptions,
        values: *mut f32,
        values_length: usize,
    ) -> *mut Error;
    pub fn mfm_value_and_gradient(
        session: *mut Session,
        reward: *const Reward,
        states: *const f32,
        states_length: usize,
        options: *const ValueOptions,
        values: *mut f32,
        values_length: usize,
        gradients: *mut f32,
        gradients_length: usize,
    ) -> *mut Error;
    pub fn mfm_steer(
        session: *mut Session,
        reward: *const Reward,
        options: *const SteerOptions,
        samples: *mut f32,
        length: usize,
    ) -> *mut Error;
    pub fn mfm_search(
        session: *mut Session,
        reward: *const Reward,
        options: *const SearchOptions,
        samples: *mut f32,
        samples_length: usize,
        rewards: *mut f32,
        rewards_length: usize,
    ) -> *mut Error;
    pub fn mfm_train(
        session: *mut Session,
        data: *const f32,
        length: usize,
        labels: *const usize,
        label_count: usize,
        options: *const TrainingOptions,
        trained: *mut *mut Model,
    ) -> *mut Error;
    pub fn mfm_fine_tune(
        session: *mut Session,
        reward: *const Reward,
        data: *const f32,
        length: usize,
        options: *const TrainingOptions,
        tuned: *mut *mut Model,
    ) -> *mut Error;
    pub fn mfm_sample_dlpack(session: *mut Session, options: *const SampleOptions, count: usize, samples: *mut *mut Tensor) -> *mut Error;
    pub fn mfm_posterior_dlpack(
        session: *mut Session,
        states: *mut Tensor,
        options: *const PosteriorOptions,
        draws: *mut *mut Tensor,
    ) -> *mut Error;
    pub fn mfm_steer_dlpack(
        session: *mut Session,
        reward: *const Reward,
        options: *const SteerOptions,
        count: usize,
        samples: *mut *mut Tensor,
    ) -> *mut Error;
}
