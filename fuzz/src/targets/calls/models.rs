//! Calls about models, and the opening of sessions. Pointers are what [`Given`](super::memory::Given) makes: what `mfm.h` says, or what must be refused.

use super::{Kept, Open, Run, c, made, settle};
use std::ffi::c_void;
use std::ptr;

impl Run<'_> {
    pub(super) fn create(&mut self) {
        let given = &mut self.given;
        let mut form = c::Architecture {
            size: 0,
            dimension: given.count(true),
            width: given.count(true),
            depth: given.count(true),
            frequencies: given.count(true),
            labels: given.below(3),
            seed: u64::from(given.byte()),
            device: given.device(),
            precision: 0,
            graphs: 0,
            raw: 0,
            reserved: 0,
        };
        form.raw = form.seed as u32 % 2;
        // What the processor cannot do, seldom.
        match form.seed {
            0xfd.. => form.precision = form.seed as u32 - 0xfc,
            0xfc => form.graphs = 1,
            _ => {}
        }
        let data = given.numbers(if form.dimension <= 5 { 4 * form.dimension } else { 4 });
        let form = given.options(form);
        // SAFETY: see the module.
        let model = made(given, |model| unsafe { c::mfm_model_create(form, data.start, data.length, model) });
        self.keep(model);
    }

    pub(super) fn load(&mut self) {
        let (path, length) = self.given.path();
        let device = self.given.device();
        let options = self.given.options(c::ModelOptions { size: 0, device, precision: length as u32 % 4, graphs: 0 });
        // SAFETY: see the module.
        let model = made(&mut self.given, |model| unsafe { c::mfm_model_load(path, length, options, model) });
        assert!(model.is_null(), "there is no such file");
    }

    /// The bytes of a model, whole, cut, or with some of them changed.
    pub(super) fn load_memory(&mut self, kept: Kept) {
        let given = &mut self.given;
        // SAFETY: the model is alive or null; its bytes are looked at while they are.
        let mut bytes = unsafe {
            let saved = made(given, |bytes| c::mfm_model_save_memory(kept.model, bytes));
            let (start, length) = (c::mfm_bytes_data(saved).cast::<u8>(), c::mfm_bytes_size(saved));
            let bytes = if saved.is_null() { Vec::new() } else { std::slice::from_raw_parts(start, length).to_vec() };
            c::mfm_bytes_free(saved);
            bytes
        };
        if bytes.len() > 16 << 10 {
            return;
        }
        let whole = bytes.clone();
        match given.byte() {
            0..=127 => {}
            128..=159 => bytes.truncate(given.long() as usize % bytes.len().max(1)),
            kind => {
                for _ in 0..=kind % 4 {
                    let (place, value) = (given.long() as usize % bytes.len().max(1), given.byte());
                    bytes.iter_mut().skip(place).take(1).for_each(|byte| *byte ^= value);
                }
            }
        }
        let (start, length): (*const c_void, usize) = match given.byte() {
            240..=243 => (ptr::null(), bytes.len()),
            244..=247 => (ptr::null(), usize::MAX),
            248.. => (given.memory.wall().cast(), usize::MAX / 2 + 1),
            _ => (given.memory.list(&bytes).cast(), bytes.len()),
        };
        let device = given.device();
        let options = given.options(c::ModelOptions { size: 0, device, precision: 0, graphs: 0 });
        // SAFETY: see the module.
        let model = made(given, |model| unsafe { c::mfm_model_load_memory(start, length, options, model) });
        assert!(model.is_null() || bytes == whole, "a damaged model was taken");
        self.keep(model);
    }

    pub(super) fn describe(&mut self, kept: Kept) {
        // SAFETY: zeros are a description that says nothing.
        let info = self.given.options(unsafe { std::mem::zeroed::<c::ModelInfo>() });
        // SAFETY: see the module; the description is ours to be written.
        settle(unsafe { c::mfm_model_describe(kept.model, info.cast_mut()) });
        // SAFETY: these take no pointers but null and errors of ours.
        unsafe {
            assert!(c::mfm_abi_version() == 1 && !c::mfm_version().is_null());
            assert!([i32::MIN, -1, 0, 1, 18, 19, i32::MAX].into_iter().all(|code| !c::mfm_code_name(code).is_null()));
            assert!(c::mfm_error_code(ptr::null()) == 0 && *c::mfm_error_message(ptr::null()) == 0);
            c::mfm_error_free(ptr::null_mut());
            assert!(c::mfm_bytes_data(ptr::null()).is_null() && c::mfm_bytes_size(ptr::null()) == 0);
        }
    }

    pub(super) fn save(&mut self, kept: Kept) {
        let (path, length) = self.given.path();
        // SAFETY: see the module.
        assert!(!settle(unsafe { c::mfm_model_save(kept.model, path, length) }), "nothing can be saved there");
    }

    pub(super) fn open(&mut self, kept: Kept, place: usize) {
        let given = &mut self.given;
        let threads = match given.byte() {
            0..=231 => 1,
            232..=239 => 2,
            _ => [0, 1025, usize::MAX][given.below(3)],
        };
        let stream = if given.byte() < 250 { ptr::null_mut() } else { given.memory.wall().cast() };
        let options = self.host.session_options(threads, stream, given.byte() < 128);
        let options = given.options(options);
        // SAFETY: see the module; the callbacks' host outlives all sessions.
        let session = made(given, |session| unsafe { c::mfm_session_open(kept.model, options, session) });
        if !session.is_null() {
            // SAFETY: alive or null, and forgotten.
            unsafe { c::mfm_session_close(self.sessions[place].session) };
            // SAFETY: what was read just now, if anything was.
            let size = if options.is_null() { 0 } else { unsafe { (*options).size } };
            let watched = size >= std::mem::offset_of!(c::SessionOptions, log);
            self.sessions[place] = Open { session, watched, dimension: kept.dimension, labels: kept.labels };
        }
    }
}
