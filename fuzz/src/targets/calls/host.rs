//! The callbacks of a host, well-behaved or not.

use super::c::{self, Progress, Reward, Session, SessionOptions};
use std::cell::Cell;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::ptr;

/// After so many calls, or items in hundreds, a host has had enough, so that what would go on for ever ends.
const PATIENCE: usize = 60;
/// `MFM_CANCELLED` and `MFM_BUSY`.
const CANCELLED: c_int = 1;
const BUSY: c_int = 14;

/// What the callbacks know; `context` points here.
#[derive(Default)]
pub struct Host {
    /// What the reward does.
    pub reward: Cell<u8>,
    /// What the progress callback does.
    pub progress: Cell<u8>,
    /// How much either was asked.
    pub calls: Cell<usize>,
    /// The dimension of the items that the reward is to be given.
    pub dimension: Cell<usize>,
    /// The session that is in a call.
    pub session: Cell<*mut Session>,
}

impl Host {
    /// Another call begins.
    pub fn begin(&self, session: *mut Session, dimension: usize, reward: u8, progress: u8) {
        self.calls.set(0);
        self.session.set(session);
        self.dimension.set(dimension);
        self.reward.set(reward);
        self.progress.set(progress);
    }

    /// The steps of the call are long: a few are enough.
    pub fn hurry(&self) {
        self.calls.set(PATIENCE - 8);
    }

    /// Whether to go on after so many items.
    fn patience(&self, items: usize) -> c_int {
        let calls = self.calls.get() + 1 + items / 100;
        self.calls.set(calls);
        if calls < PATIENCE { 0 } else { CANCELLED }
    }

    /// A session whose callbacks are these.
    pub fn session_options(&self, threads: usize, stream: *mut c_void, logs: bool) -> SessionOptions {
        let context = ptr::from_ref(self).cast_mut().cast();
        SessionOptions { size: 0, threads, stream, context, progress: Some(progress), log: if logs { Some(log) } else { None } }
    }

    /// A reward whose callbacks are these; without the second, or without both.
    pub fn reward(&self, byte: u8) -> Reward {
        let context = ptr::from_ref(self).cast_mut().cast();
        Reward {
            size: 0,
            context,
            value: if byte < 250 { Some(value) } else { None },
            value_and_gradient: if byte < 200 { Some(value_and_gradient) } else { None },
        }
    }
}

unsafe extern "C" fn progress(context: *mut c_void, told: *const Progress) -> c_int {
    // SAFETY: the context is a host that outlives the call; what is told is there while it is told.
    let (host, told) = unsafe { (&*context.cast::<Host>(), &*told) };
    assert!(told.size == size_of::<Progress>() && told.step <= told.steps, "step {} of {}", told.step, told.steps);
    match host.progress.get() {
        0..=223 => host.patience(0),
        224..=239 => CANCELLED,
        240..=247 => busy(host),
        answer => c_int::from(answer) - 250,
    }
}

unsafe extern "C" fn log(_: *mut c_void, level: c_int, message: *const c_char) {
    // SAFETY: a terminated text.
    let message = unsafe { CStr::from_ptr(message) };
    assert!((0..=1).contains(&level) && message.to_str().is_ok_and(|text| !text.is_empty() && !text.contains('\n')));
}

/// Calls the session that is in a call: that is refused, and nothing else comes of it.
fn busy(host: &Host) -> c_int {
    let mut sample = [0.0];
    // SAFETY: the session is alive, since it is in this call.
    let code = unsafe {
        let error = c::mfm_sample(host.session.get(), ptr::null(), sample.as_mut_ptr(), 1);
        let code = c::mfm_error_code(error);
        c::mfm_error_free(error);
        code
    };
    assert_eq!((code, sample), (BUSY, [0.0]));
    host.patience(0)
}

unsafe extern "C" fn value(context: *mut c_void, x: *const f32, n: usize, dimension: usize, values: *mut f32) -> c_int {
    // SAFETY: as in `value_and_gradient`.
    unsafe { answer(context, x, [n, dimension], values, ptr::null_mut()) }
}

unsafe extern "C" fn value_and_gradient(
    context: *mut c_void,
    x: *const f32,
    n: usize,
    dimension: usize,
    values: *mut f32,
    gradients: *mut f32,
) -> c_int {
    // SAFETY: the library gives what mfm.h says, for as long as the call lasts.
    unsafe { answer(context, x, [n, dimension], values, gradients) }
}

/// r(x) = −½|x|², or something else.
///
/// # Safety
/// The context is a [`Host`]; there are n items, n values, and n gradients unless that is null.
unsafe fn answer(context: *mut c_void, x: *const f32, [n, dimension]: [usize; 2], values: *mut f32, gradients: *mut f32) -> c_int {
    // SAFETY: as the caller promises; these are read and written to the last.
    let (host, x, values) =
        unsafe { (&*context.cast::<Host>(), std::slice::from_raw_parts(x, n * dimension), std::slice::from_raw_parts_mut(values, n)) };
    assert!(n > 0 && dimension == host.dimension.get());
    for (value, item) in values.iter_mut().zip(x.chunks(dimension)) {
        *value = item.iter().map(|number| -0.5 * number * number).sum();
    }
    if !gradients.is_null() {
        // SAFETY: as above.
        let gradients = unsafe { std::slice::from_raw_parts_mut(gradients, n * dimension) };
        gradients.iter_mut().zip(x).for_each(|(gradient, number)| *gradient = -number);
        if host.reward.get() == 200 {
            gradients[n * dimension - 1] = f32::NAN;
        }
    }
    match host.reward.get() {
        201..=205 => values.fill(0.0),
        206..=209 => values.fill(f32::NEG_INFINITY),
        210..=213 => values.iter_mut().step_by(2).for_each(|value| *value = f32::NEG_INFINITY),
        214..=217 => values[n - 1] = f32::NAN,
        218..=221 => values[0] = f32::INFINITY,
        222..=229 => values.iter_mut().for_each(|value| *value *= 1e37),
        230..=235 => return CANCELLED,
        236..=243 => return busy(host),
        answer @ 244.. => return c_int::from(answer) - 250,
        _ => {}
    }
    host.patience(n)
}
