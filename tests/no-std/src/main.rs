//! A posterior draw and its gradient without the standard library. Exits with 0 if the numbers are right.
#![no_std]
#![no_main]
extern crate alloc;

use core::alloc::{GlobalAlloc, Layout};
use core::sync::atomic::{AtomicUsize, Ordering};

/// Hands out a fixed arena from the front; nothing is given back.
struct Arena;

const SIZE: usize = 8 << 20;
static mut MEMORY: [u8; SIZE] = [0; SIZE];
static USED: AtomicUsize = AtomicUsize::new(0);

#[global_allocator]
static ALLOCATOR: Arena = Arena;

// SAFETY: each call reserves a range of its own by one atomic update, and aligns the address handed out.
unsafe impl GlobalAlloc for Arena {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let base = (&raw mut MEMORY).cast::<u8>();
        let wanted = layout.size() + layout.align();
        let start = USED.fetch_add(wanted, Ordering::Relaxed);
        if start + wanted > SIZE {
            return core::ptr::null_mut();
        }
        // SAFETY: start + wanted lies within the arena.
        unsafe {
            let place = base.add(start);
            place.add(place.align_offset(layout.align()))
        }
    }

    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

// C's start-up code and memory functions; the standard library would have brought them.
#[link(name = "c")]
unsafe extern "C" {}

/// `alloc` comes compiled for unwinding; nothing here unwinds, so the two symbols it names are never called.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}

/// See [`rust_eh_personality`].
#[unsafe(no_mangle)]
extern "C" fn _Unwind_Resume() {}

use mfm_core::autodiff::gradient;
use mfm_core::{Device, MetaFlowMap, Noise, Operations, Result, Shape, Tensor};
use mfm_cpu_ref::CpuDevice;
use mfm_nn::mlp::{Mlp, MlpConfig};

/// A draw of an untrained network is finite, and so is its gradient by the state.
fn check() -> Result<bool> {
    let device = CpuDevice::<f32>::new();
    let noise = Noise::new(1);
    let network = Mlp::new(&device, &MlpConfig::new(2), &noise)?;
    let draw = device.normal(&noise.fork(1), Shape::new(&[4, 2])?)?;
    let time = device.full(0.5, Shape::new(&[1])?)?;
    let state = device.normal(&noise.fork(2), Shape::new(&[2, 2])?)?;
    let ends: alloc::vec::Vec<f32> = network.posterior(&draw, &time, &state, mfm_core::Condition::NONE)?.to_vec()?;
    let (value, slopes) = gradient(&[&state], |x| x[0].square()?.sum_all())?;
    let slopes: alloc::vec::Vec<f32> = slopes[0].to_vec()?;
    let twice: alloc::vec::Vec<f32> = state.scale(2.0)?.to_vec()?;
    Ok(ends.len() == 8 && ends.iter().all(|x| x.is_finite()) && slopes == twice && value.to_vec::<f64>()?[0] > 0.0)
}

#[unsafe(no_mangle)]
extern "C" fn main() -> i32 {
    i32::from(!matches!(check(), Ok(true)))
}
