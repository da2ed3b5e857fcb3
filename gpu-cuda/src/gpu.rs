//! What belongs to a GPU's primary context, and so to every device that is open on it: the kernels, cuBLASLt, and the rule that keeps recordings
//! whole. Destroying a handle of cuBLASLt or unloading a module waits for the whole context, which breaks every recording that is under way in it,
//! whichever device or thread records. So both live as long as any device of the GPU is open.

use crate::device::{Inner, locked};
use crate::failure::check;
use crate::kernels::Kernels;
use crate::products::Products;
use crate::properties::Properties;
use crate::state::State;
use crate::stream::Stream;
use core::mem::ManuallyDrop;
use core::ops::Deref;
use cust::context::{Context, CurrentContext};
use cust::device::Device;
use mfm_core::Result;
use std::sync::{Arc, Mutex, OnceLock, Weak};

/// The GPUs on which a device is open, by number. A GPU is opened, and closed, under this lock: while one is closed, nobody can record on it.
static OPEN: Mutex<Vec<(usize, Weak<Gpu>)>> = Mutex::new(Vec::new());

/// What the devices of one GPU share. Fields are dropped in this order.
pub(crate) struct Gpu {
    pub kernels: Kernels,
    /// Opened when the first device wants it; `None` inside where it is not there.
    products: OnceLock<Option<Products>>,
    /// The devices, as long as they are open.
    devices: Mutex<Vec<Weak<Inner>>>,
    pub context: Context,
}

impl Gpu {
    /// cuBLASLt, if it is there.
    pub fn products(&self) -> Option<&Products> {
        self.products.get_or_init(|| self.alone("cuda", Products::open)).as_ref()
    }

    /// From now on the device's recordings are seen to by [`alone`](Self::alone).
    pub fn join(&self, device: &Arc<Inner>) {
        let mut devices = locked(&self.devices);
        devices.retain(|device| device.strong_count() > 0);
        devices.push(Arc::downgrade(device));
    }

    /// Work that may wait for the whole context, such as loading a module. What the GPU's devices gathered goes there first, and none of them
    /// begins to gather before the work is done. The caller holds no device's state. A device whose work is lost says so at its next call.
    pub fn alone<R>(&self, op: &'static str, work: impl FnOnce() -> R) -> R {
        let flush = |state: &mut State, stream: &Stream| {
            let _ = state.flush(op, stream);
        };
        self.with_all(flush, work)
    }

    /// Gives the driver what the pools of all devices keep for later. The caller holds no device's state.
    pub fn reclaim(&self, op: &'static str) {
        let empty = |state: &mut State, stream: &Stream| {
            // What a replay records takes in all that is asked of its stream.
            if state.capture.is_none() && state.flush(op, stream).is_ok() {
                state.pool.evict(0, stream);
                // Others have it once it is given back.
                let _ = stream.synchronize(op);
            }
        };
        self.with_all(empty, || ());
    }

    /// `visit` of all devices, then work during which none of them goes on.
    fn with_all<R>(&self, visit: impl Fn(&mut State, &Stream), work: impl FnOnce() -> R) -> R {
        // The last to be dropped: with one of these, a device may go, which takes the locks below.
        let mut devices = Vec::new();
        let open = locked(&self.devices);
        devices.extend(open.iter().filter_map(Weak::upgrade));
        let mut states: Vec<_> = devices.iter().map(|device| (device.state(), device.stream())).collect();
        for (state, stream) in &mut states {
            visit(state, stream);
        }
        work()
    }
}

/// A device's part in its GPU: the last to go closes the GPU.
pub(crate) struct Share(ManuallyDrop<Arc<Gpu>>);

impl Share {
    /// The GPU, which is opened if no device is open on it, with its context current.
    pub fn new(device: Device, properties: &Properties) -> Result<Self> {
        let mut open = locked(&OPEN);
        let known = open.iter().find(|(index, _)| *index == properties.index).and_then(|(_, gpu)| gpu.upgrade());
        let gpu = match known {
            Some(gpu) => gpu,
            None => Arc::new(Gpu {
                kernels: Kernels::new(properties.capability),
                products: OnceLock::new(),
                devices: Mutex::default(),
                context: check("cuda", Context::new(device))?,
            }),
        };
        open.retain(|(index, gpu)| *index != properties.index && gpu.strong_count() > 0);
        open.push((properties.index, Arc::downgrade(&gpu)));
        let share = Self(ManuallyDrop::new(gpu));
        // The lock is for opening and closing, and a failure closes.
        drop(open);
        check("cuda", CurrentContext::set_current(&share.context))?;
        Ok(share)
    }
}

impl Deref for Share {
    type Target = Gpu;

    fn deref(&self) -> &Gpu {
        &self.0
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let _open = locked(&OPEN);
        let _ = CurrentContext::set_current(&self.context);
        // SAFETY: dropped once, here, and not used after that.
        unsafe { ManuallyDrop::drop(&mut self.0) };
    }
}
