//! What belongs to a GPU's primary context, and so to every device that is open on it: the kernels, cuBLASLt, and the rule that keeps captures whole.
//! Destroying a handle of cuBLASLt or unloading a module waits for the whole context, which breaks a capture that is under way in it, whichever
//! device or thread captures. So both live as long as any device of the GPU is open.

use crate::context::{CallersContext, make_current, remember};
use crate::device::{Inner, locked};
use crate::failure::{check, or_with_room};
use crate::kernels::Kernels;
use crate::products::Products;
use crate::properties::Properties;
use core::mem::ManuallyDrop;
use core::ops::Deref;
use cust::context::Context;
use cust::device::Device;
use mfm_core::Result;
use std::sync::{Arc, Mutex, OnceLock, Weak};

/// The GPUs on which a device is open, by number. A GPU is opened, and closed, under this lock.
static OPEN: Mutex<Vec<(usize, Weak<Gpu>)>> = Mutex::new(Vec::new());

/// What the devices of one GPU share. Fields are dropped in this order.
pub(crate) struct Gpu {
    pub kernels: Kernels,
    /// Opened by the first device that wants it; `None` inside where it is not there.
    products: OnceLock<Option<Products>>,
    /// The devices, as long as they are open.
    devices: Mutex<Vec<Weak<Inner>>>,
    capture_lock: Arc<Mutex<()>>,
    pub context: Context,
}

impl Gpu {
    /// Opens cuBLASLt, if it is there.
    pub fn open_products(&self) -> Result<()> {
        let open = || {
            self.without_captures(|| {
                if self.products.get().is_none() {
                    let _ = self.products.set(Products::open()?);
                }
                Ok(())
            })
        };
        or_with_room(open(), || {
            self.reclaim("cuda");
            open()
        })
    }

    /// cuBLASLt, if it is there and was opened.
    pub fn products(&self) -> Option<&Products> {
        self.products.get()?.as_ref()
    }

    /// From now on the device gives memory back when others need it.
    pub fn join(&self, device: &Arc<Inner>) {
        let mut devices = locked(&self.devices);
        devices.retain(|device| device.strong_count() > 0);
        devices.push(Arc::downgrade(device));
    }

    /// Work that may wait for the whole context, such as loading a module: not while a product is captured.
    pub fn without_captures<R>(&self, work: impl FnOnce() -> R) -> R {
        let _alone = locked(&self.capture_lock);
        work()
    }

    /// What is held during captures, and while work is done [without them](Self::without_captures).
    pub fn capture_lock(&self) -> Arc<Mutex<()>> {
        Arc::clone(&self.capture_lock)
    }

    /// Gives the driver what the pools of all devices keep for later. The caller holds no device's state.
    pub fn reclaim(&self, op: &'static str) {
        let devices: Vec<_> = locked(&self.devices).iter().filter_map(Weak::upgrade).collect();
        for device in devices {
            let (mut state, stream) = (device.state(), device.stream());
            if state.flush(op, stream).is_ok() {
                state.pool.evict(0, stream);
                // Others have it once it is given back.
                let _ = stream.synchronize(op);
            }
        }
    }
}

/// A device's part in its GPU: the last to go closes the GPU.
pub(crate) struct GpuHandle(ManuallyDrop<Arc<Gpu>>);

impl GpuHandle {
    /// The GPU, which is opened if no device is open on it, with its context current.
    pub fn new(device: Device, properties: &Properties) -> Result<Self> {
        // cust makes a context current as it opens it.
        remember("cuda")?;
        let mut open = locked(&OPEN);
        let known = open.iter().find(|(index, _)| *index == properties.index).and_then(|(_, gpu)| gpu.upgrade());
        let gpu = match known {
            Some(gpu) => gpu,
            None => Arc::new(Gpu {
                kernels: Kernels::new(properties),
                products: OnceLock::new(),
                devices: Mutex::default(),
                capture_lock: Arc::default(),
                context: check("cuda", Context::new(device))?,
            }),
        };
        open.retain(|(index, gpu)| *index != properties.index && gpu.strong_count() > 0);
        open.push((properties.index, Arc::downgrade(&gpu)));
        let handle = Self(ManuallyDrop::new(gpu));
        // The lock is for opening and closing, and a failure closes.
        drop(open);
        make_current("cuda", &handle.context)?;
        Ok(handle)
    }
}

impl Deref for GpuHandle {
    type Target = Gpu;

    fn deref(&self) -> &Gpu {
        &self.0
    }
}

impl Drop for GpuHandle {
    fn drop(&mut self) {
        let _open = locked(&OPEN);
        let _callers = CallersContext::keep();
        let _ = make_current("drop", &self.context);
        // SAFETY: dropped once, here, and not used after that.
        unsafe { ManuallyDrop::drop(&mut self.0) };
    }
}
