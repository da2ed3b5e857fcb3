//! The check on a Cortex-M4 without an operating system, in 256 KiB of flash and 128 KiB of RAM (QEMU's `mps2-an386`).
#![no_std]
#![no_main]

extern crate alloc;

use alloc::vec::Vec;
use core::alloc::{GlobalAlloc, Layout};
use core::arch::asm;
use core::ptr;
use core::sync::atomic::{AtomicUsize, Ordering};
use cortex_m_rt::{ExceptionFrame, entry, exception};
use cortex_m_semihosting::{debug, hprintln};
use embedded_alloc::LlffHeap;
use mfm_bare_metal::check::{MODEL, TOLERANCE, compute, distance, lent};
use mfm_cpu_ref::CpuDevice;

/// What the heap may take; the rest of the RAM is the stack's.
const ARENA: usize = 104 << 10;
static mut MEMORY: [u8; ARENA] = [0; ARENA];

/// A heap that remembers the most that was taken.
struct Heap {
    heap: LlffHeap,
    peak: AtomicUsize,
}

#[global_allocator]
static HEAP: Heap = Heap { heap: LlffHeap::empty(), peak: AtomicUsize::new(0) };

// SAFETY: every call is passed on unchanged.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as the caller promises.
        let place = unsafe { self.heap.alloc(layout) };
        self.peak.fetch_max(self.heap.used(), Ordering::Relaxed);
        place
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { self.heap.dealloc(place, layout) }
    }
}

/// Never called: a panic is an instruction that does not exist, as `.cargo/config.toml` has it, so that no flash is spent on messages.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// What a panic comes to, and any access that the processor refuses.
#[exception]
unsafe fn HardFault(frame: &ExceptionFrame) -> ! {
    hprintln!("a panic or a fault at {:#x}", frame.pc());
    debug::exit(debug::EXIT_FAILURE);
    loop {}
}

/// The board's first timer, which counts down from 2³² − 1.
struct Timer;

impl Timer {
    const CONTROL: *mut u32 = 0x4000_0000 as *mut u32;
    const VALUE: *mut u32 = 0x4000_0004 as *mut u32;
    const RELOAD: *mut u32 = 0x4000_0008 as *mut u32;

    fn start() {
        // SAFETY: the registers of the board's timer, which nothing else uses.
        unsafe {
            ptr::write_volatile(Self::RELOAD, u32::MAX);
            ptr::write_volatile(Self::VALUE, u32::MAX);
            ptr::write_volatile(Self::CONTROL, 1);
        }
    }

    fn ticks() -> u32 {
        // SAFETY: as in `start`.
        u32::MAX - unsafe { ptr::read_volatile(Self::VALUE) }
    }
}

/// The ticks in which two million instructions run: under `-icount shift=0` each takes the same time.
fn calibrate() -> u32 {
    let start = Timer::ticks();
    // SAFETY: touches one register.
    unsafe { asm!("2:", "subs {n}, {n}, #1", "bne 2b", n = inout(reg) 1_000_000 => _, options(nomem, nostack)) };
    Timer::ticks() - start
}

// What the linker knows.
unsafe extern "C" {
    static _stack_end: u32;
    static _stack_start: u32;
    static __sdata: u32;
    static __edata: u32;
    static __sidata: u32;
    static __ebss: u32;
}

/// How much of the stack was ever used: `cortex-m-rt` painted it before `main`.
fn stack_used() -> usize {
    let (mut lowest, top) = (&raw const _stack_end, &raw const _stack_start);
    // SAFETY: aligned words of the RAM, which are always there.
    while lowest < top && unsafe { ptr::read_volatile(lowest) } == 0xCCCC_CCCC {
        lowest = lowest.wrapping_add(1);
    }
    top as usize - lowest as usize
}

/// The bytes of flash and of static RAM, without the heap's arena.
fn sizes() -> (usize, usize) {
    let data = &raw const __edata as usize - &raw const __sdata as usize;
    (&raw const __sidata as usize + data, &raw const __ebss as usize - &raw const __sdata as usize - ARENA)
}

#[entry]
fn main() -> ! {
    // SAFETY: called once, before anything is allocated, with memory that nothing else uses.
    unsafe { HEAP.heap.init((&raw mut MEMORY) as usize, ARENA) };
    Timer::start();
    let two_million = calibrate();
    let start = Timer::ticks();
    let device = CpuDevice::<f32>::new();
    let outcome = compute(&device, |view| lent(&device, view));
    let ticks = Timer::ticks() - start;
    let numbers = outcome.unwrap_or_else(|error| {
        hprintln!("{}", error);
        Vec::new()
    });
    let (heap, stack) = (HEAP.peak.load(Ordering::Relaxed), stack_used());
    let (flash, fixed) = sizes();
    let distance = distance(&numbers);
    hprintln!("flash {} bytes, of which the model {}", flash, MODEL.len());
    hprintln!("RAM {} bytes: heap {}, stack {}, static {}", heap + stack + fixed, heap, stack, fixed);
    hprintln!("{} instructions", u64::from(ticks) * 2_000_000 / u64::from(two_million.max(1)));
    hprintln!("{} numbers, the largest difference from the host's is {:e}", numbers.len(), distance);
    debug::exit(if distance <= TOLERANCE { debug::EXIT_SUCCESS } else { debug::EXIT_FAILURE });
    loop {}
}
