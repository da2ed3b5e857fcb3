//! The check in WebAssembly; `wasm.mjs` calls it.
#![no_std]
#![no_main]

use mfm_bare_metal::check::{TOLERANCE, compute, distance, lent};
use mfm_cpu_ref::CpuDevice;

#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    core::arch::wasm32::unreachable()
}

/// The largest difference from the host's numbers; infinite if nothing could be computed.
#[unsafe(no_mangle)]
extern "C" fn check() -> f32 {
    let device = CpuDevice::<f32>::new();
    compute(&device, |view| lent(&device, view)).map_or(f32::INFINITY, |numbers| distance(&numbers))
}

/// The largest difference allowed.
#[unsafe(no_mangle)]
extern "C" fn tolerance() -> f32 {
    TOLERANCE
}
