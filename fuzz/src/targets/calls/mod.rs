//! Every function of `mfm.h`, in any order, by a host that knows no better: wrong lengths, null pointers, options of other versions, handles
//! that go on after an error, callbacks that fail. Whatever it reads or writes past an end is a page that nobody may touch.

mod c;
mod host;
mod memory;
mod models;
mod sessions;
mod tensors;

use c::{Error, Model, Session};
use host::Host;
use memory::{Given, Memory};
use std::ffi::CStr;
use std::ptr;

// Brings the library, whose functions `c` declares.
use mfm_ffi as _;

/// `MFM_INTERNAL`: a bug.
const INTERNAL: i32 = 17;
/// The calls of one input.
const CALLS: usize = 12;

/// A model is made and a session opened; what is called then is for the input to say.
pub fn any_order(input: &[u8]) {
    Memory::of_thread(|memory| {
        let host = Host::default();
        let mut run =
            Run { given: Given { rest: input, memory }, host: &host, models: [Kept::default(); 2], sessions: [Open::default(); 2] };
        for i in 0..CALLS {
            if run.given.rest.is_empty() {
                break;
            }
            memory.clear();
            let call = match (i, run.given.byte()) {
                (0 | 1, _) => i,
                (_, byte @ ..80) => usize::from(byte) % 8,
                (_, byte) => 8 + usize::from(byte) % 12,
            };
            run.step(call);
        }
    });
}

/// A model, and what is known of it.
#[derive(Clone, Copy)]
struct Kept {
    model: *mut Model,
    dimension: usize,
    labels: usize,
}

/// A session, and what is known of its model.
#[derive(Clone, Copy)]
struct Open {
    session: *mut Session,
    /// Whether its progress callback may stop it.
    watched: bool,
    dimension: usize,
    labels: usize,
}

impl Default for Kept {
    fn default() -> Self {
        Self { model: ptr::null_mut(), dimension: 1, labels: 0 }
    }
}

impl Default for Open {
    fn default() -> Self {
        Self { session: ptr::null_mut(), watched: false, dimension: 1, labels: 0 }
    }
}

struct Run<'a> {
    given: Given<'a>,
    host: &'a Host,
    models: [Kept; 2],
    sessions: [Open; 2],
}

impl Drop for Run<'_> {
    fn drop(&mut self) {
        // SAFETY: the handles are alive, or null, and not used again. Models go first, since sessions keep them alive.
        unsafe {
            self.models.iter().for_each(|kept| c::mfm_model_free(kept.model));
            self.sessions.iter().for_each(|open| c::mfm_session_close(open.session));
        }
    }
}

/// Whether a call went well; if not, it says why, and it was not a bug.
fn settle(error: *mut Error) -> bool {
    // SAFETY: null, or an error that is ours.
    let (code, message) = unsafe { (c::mfm_error_code(error), CStr::from_ptr(c::mfm_error_message(error))) };
    let message = message.to_str().unwrap();
    assert_eq!((code == 0, message.is_empty()), (error.is_null(), error.is_null()));
    assert!((0..INTERNAL).contains(&code), "{code}: {message}");
    // SAFETY: as above; neither it nor its message is used again.
    unsafe { c::mfm_error_free(error) };
    error.is_null()
}

/// What a call that makes something has made, or null.
fn made<T>(given: &mut Given<'_>, call: impl FnOnce(*mut *mut T) -> *mut Error) -> *mut T {
    let mut place = ptr::null_mut();
    let nowhere = given.byte() >= 250;
    let went_well = settle(call(if nowhere { ptr::null_mut() } else { &raw mut place }));
    assert_eq!(went_well, !place.is_null());
    place
}

impl Run<'_> {
    /// A model in place of another, which is given back.
    fn keep(&mut self, model: *mut Model) {
        if model.is_null() {
            return;
        }
        // SAFETY: zeros are a description that says nothing; it has room for what its size claims.
        let info = unsafe {
            let mut info: c::ModelInfo = std::mem::zeroed();
            info.size = size_of::<c::ModelInfo>();
            assert!(settle(c::mfm_model_describe(model, &raw mut info)));
            for text in [info.path, info.objective, info.data, info.device] {
                CStr::from_ptr(text).to_str().unwrap();
            }
            assert!(info.jumps <= 2 && info.reserved == 0);
            info
        };
        let kept = &mut self.models[self.given.below(2)];
        // SAFETY: alive or null, and not used again.
        unsafe { c::mfm_model_free(kept.model) };
        *kept = Kept { model, dimension: info.dimension, labels: info.labels };
    }

    /// One call, of those that are about models, or of those that are about sessions.
    fn step(&mut self, call: usize) {
        let (model, session) = (self.given.below(2), self.given.below(2));
        let (kept, open) = (self.models[model], self.sessions[session]);
        let (reward, progress) = (self.given.byte(), self.given.byte());
        self.host.begin(open.session, open.dimension, reward, progress);
        match call {
            0 => self.create(),
            1 => self.open(kept, session),
            2 => self.load(),
            3 => self.load_memory(kept),
            4 => self.describe(kept),
            5 => self.save(kept),
            // SAFETY: alive or null, and forgotten.
            6 => unsafe { c::mfm_model_free(std::mem::take(&mut self.models[model]).model) },
            // SAFETY: alive or null, and forgotten.
            7 => unsafe { c::mfm_session_close(std::mem::take(&mut self.sessions[session]).session) },
            8 => self.sample(open),
            9 => self.posterior(open),
            10 => self.velocity(open),
            11 => self.value(open),
            12 => self.value_and_gradient(open),
            13 => self.steer(open),
            14 => self.search(open),
            15 => self.train(open),
            16 => self.fine_tune(open),
            17 => self.sample_dlpack(open),
            18 => self.posterior_dlpack(open),
            _ => self.steer_dlpack(open),
        }
    }
}
