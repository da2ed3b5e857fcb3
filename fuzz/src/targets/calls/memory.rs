//! What a host hands over: memory whose last byte is the last of a page, before a page that nobody may touch; lengths and numbers of all kinds.

use super::c::Options;
use std::cell::Cell;
use std::ffi::c_char;
use std::ptr;

const PAGE: usize = 4096;
/// The pages of a place, without the wall behind it.
const PAGES: usize = 4;
const PLACES: usize = 32;
/// What outputs hold until they are written.
const UNTOUCHED: u32 = 0x7FC0_BEEF;

/// Lengths that no machine has memory for.
const ABSURD: [usize; 6] = [1 << 48, 1 << 58, usize::MAX / 8, usize::MAX / 4 + 1, usize::MAX / 2 + 1, usize::MAX];

/// Numbers where a sampler may stumble.
const CORNERS: [f64; 12] =
    [0.0, 1.0, 0.5, 1e-12, 1.0 - 1e-12, -0.0, 1e300, f64::MIN_POSITIVE, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0];

/// Places for what one call is given.
pub struct Memory {
    base: *mut u8,
    taken: Cell<usize>,
}

impl Memory {
    fn new() -> Self {
        let size = PLACES * (PAGES + 1) * PAGE;
        // SAFETY: a mapping of its own, never given back.
        let base = unsafe { libc::mmap(ptr::null_mut(), size, libc::PROT_NONE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0) };
        assert_ne!(base, libc::MAP_FAILED);
        let base = base.cast::<u8>();
        for place in 0..PLACES {
            // SAFETY: pages of the mapping.
            let opened =
                unsafe { libc::mprotect(base.add(place * (PAGES + 1) * PAGE).cast(), PAGES * PAGE, libc::PROT_READ | libc::PROT_WRITE) };
            assert_eq!(opened, 0);
        }
        Self { base, taken: Cell::new(0) }
    }

    /// The memory of this thread, all of it free.
    pub fn of_thread<R>(work: impl FnOnce(&Self) -> R) -> R {
        thread_local!(static MEMORY: Memory = Memory::new());
        MEMORY.with(work)
    }

    /// All of it is free again.
    pub fn clear(&self) {
        self.taken.set(0);
    }

    /// The wall behind the next place; what is asked for ends there.
    pub fn wall(&self) -> *mut u8 {
        let place = self.taken.replace(self.taken.get() + 1);
        assert!(place < PLACES);
        // SAFETY: within the mapping.
        unsafe { self.base.add((place * (PAGES + 1) + PAGES) * PAGE) }
    }

    /// Exactly these values.
    pub fn list<T: Copy>(&self, values: &[T]) -> *mut T {
        let bytes = size_of_val(values);
        assert!(bytes <= PAGES * PAGE);
        // SAFETY: the place is large enough, and aligned, since `T` divides a page.
        unsafe {
            let start = self.wall().sub(bytes).cast::<T>();
            ptr::copy_nonoverlapping(values.as_ptr(), start, values.len());
            start
        }
    }
}

/// Floats of the host's, as it describes them.
#[derive(Clone, Copy)]
pub struct Span {
    pub start: *mut f32,
    pub length: usize,
    /// How many there are.
    there: usize,
}

impl Span {
    fn values(&self) -> &[f32] {
        // SAFETY: made by `Given::span`.
        if self.there == 0 { &[] } else { unsafe { std::slice::from_raw_parts(self.start, self.there) } }
    }

    /// A failed call has written nothing; one that went well has written all, and only numbers.
    pub fn check(&self, went_well: bool) {
        if went_well {
            assert!(self.there == self.length && self.values().iter().all(|value| value.is_finite() || *value == f32::NEG_INFINITY));
        } else {
            assert!(self.values().iter().all(|value| value.to_bits() == UNTOUCHED), "a failed call has written something");
        }
    }
}

/// The input, from which everything is made; zeros when it is used up.
pub struct Given<'a> {
    pub rest: &'a [u8],
    pub memory: &'a Memory,
}

impl Given<'_> {
    fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        let there = N.min(self.rest.len());
        bytes[..there].copy_from_slice(&self.rest[..there]);
        self.rest = &self.rest[there..];
        bytes
    }

    pub fn byte(&mut self) -> u8 {
        self.bytes::<1>()[0]
    }

    /// One of the first so many numbers.
    pub fn below(&mut self, bound: usize) -> usize {
        usize::from(self.byte()) % bound
    }

    /// A seed, or a size in bytes.
    pub fn long(&mut self) -> u64 {
        u64::from_le_bytes(self.bytes())
    }

    /// A choice among so many, or one that does not exist.
    pub fn choice(&mut self, number: u32) -> u32 {
        match self.byte() {
            byte @ 0..=239 => u32::from(byte) % number,
            byte => number + (u32::from(byte) - 240) * 0x1000_0000,
        }
    }

    /// Mostly the default of an option that makes no difference to some calls, which would otherwise refuse it.
    pub fn mostly<T>(&mut self, default: T, other: impl FnOnce(&mut Self) -> T) -> T {
        if self.byte() < 200 { default } else { other(self) }
    }

    /// A few, or, where that `may` be, more than any machine has.
    pub fn count(&mut self, may: bool) -> usize {
        match self.byte() {
            byte @ 0..=239 => 1 + usize::from(byte) % 5,
            byte @ 248.. if may => ABSURD[usize::from(byte) % ABSURD.len()],
            _ => 0,
        }
    }

    /// A number, mostly in [0, 1).
    pub fn number(&mut self) -> f64 {
        match self.byte() {
            byte @ 0..=191 => f64::from(byte) / 192.0,
            byte @ 192..=247 => CORNERS[usize::from(byte) % CORNERS.len()],
            _ => f64::from_bits(self.long()),
        }
    }

    /// Labels of a model that knows so many, or one that it does not know.
    pub fn labels(&mut self, known: usize, usual: usize) -> (*const usize, usize) {
        let label = self.count(true);
        self.entries(if label <= 5 && known > 0 { label % known } else { label }, usual)
    }

    /// Scales of guidance.
    pub fn guidance(&mut self) -> (*const f64, usize) {
        let scale = self.number();
        self.entries(scale, 1)
    }

    fn entries<T: Copy>(&mut self, entry: T, usual: usize) -> (*const T, usize) {
        match self.byte() {
            0..=159 => (ptr::null(), 0),
            160..=223 => (self.memory.list(&vec![entry; usual]), usual),
            224..=231 => (self.memory.list(&vec![entry; usual + 1]), usual + 1),
            232..=239 => (self.memory.wall().cast(), 0),
            240..=247 => (ptr::null(), usual + 1),
            _ => (self.memory.wall().cast(), usize::MAX / 8),
        }
    }

    /// Room for `usual` floats, or for one more or less, or none; a null pointer; or a length that no span can have.
    pub fn span(&mut self, usual: usize) -> Span {
        let there = match self.byte() {
            0..=207 => usual,
            208..=219 => usual + 1,
            220..=231 => usual.saturating_sub(1),
            232..=239 => return Span { start: ptr::null_mut(), length: usual, there: 0 },
            240..=243 => return Span { start: ptr::null_mut(), length: 0, there: 0 },
            244..=247 => return Span { start: self.memory.wall().cast(), length: 0, there: 0 },
            byte => {
                let lengths = [usize::MAX, usize::MAX / 2 + 1, isize::MAX as usize / 4 + 1];
                return Span { start: self.memory.wall().cast(), length: lengths[usize::from(byte) % 3], there: 0 };
            }
        };
        Span { start: self.memory.list(&vec![f32::from_bits(UNTOUCHED); there]), length: there, there }
    }

    /// A span with numbers in it.
    pub fn numbers(&mut self, usual: usize) -> Span {
        let span = self.span(usual);
        let (kind, seed) = (self.byte(), self.byte());
        for i in 0..span.there {
            let usual = f32::from((seed ^ (i as u8).wrapping_mul(61)) as i8) / 32.0;
            let value = match kind {
                0..=191 => usual,
                192..=207 => usual * 1e30,
                208..=223 => usual * 1e-42,
                224..=239 if i + 1 == span.there => f32::from_bits(u32::from(seed) << 23 | 0x7F00_0000),
                224..=239 => usual,
                _ => f32::from_bits(u32::from_le_bytes(self.bytes())),
            };
            // SAFETY: one of the floats that are there.
            unsafe { span.start.add(i).write(value) };
        }
        span
    }

    /// Options of a host that was built with this header, an older or a newer one; with no options, or without their size.
    pub fn options<T: Options>(&mut self, mut options: T) -> *const T {
        let (kind, memory) = (self.byte(), self.memory);
        // SAFETY: all options begin with their size, and none is cut in the middle of a pointer.
        let mut write = |size: usize, there: usize, newer: u8| unsafe {
            (&raw mut options).cast::<usize>().write(size);
            let start = memory.wall().sub(there);
            ptr::write_bytes(start, newer, there);
            ptr::copy_nonoverlapping((&raw const options).cast::<u8>(), start, there.min(size_of::<T>()));
            start.cast_const().cast()
        };
        match kind {
            0..=199 => write(size_of::<T>(), size_of::<T>(), 0),
            200..=215 => ptr::null(),
            byte @ 216..=235 => {
                let size = 8 * (1 + usize::from(byte) % (size_of::<T>() / 8));
                write(size, size, 0)
            }
            byte @ 236..=245 => {
                let size = [size_of::<T>() + 8, 4096][usize::from(byte) % 2];
                // At their defaults, or not.
                write(size, size, [0, 0xA5][usize::from(byte) / 2 % 2])
            }
            byte => write([0, 7, 4097, usize::MAX][usize::from(byte) % 4], size_of::<usize>(), 0),
        }
    }

    /// A terminated text, or none.
    pub fn device(&mut self) -> *const c_char {
        let name: &[u8] = match self.byte() {
            0..=199 => return ptr::null(),
            200..=223 => b"cpu\0",
            224..=227 => b"\0",
            228..=229 => b"cuda:4096\0",
            230..=231 => b"cuda:99999999999999999999\0",
            _ => {
                let mut name = self.bytes::<6>();
                name[5] = 0;
                return self.memory.list(&name).cast();
            }
        };
        self.memory.list(name).cast()
    }

    /// A path at which nothing is: in a folder that does not exist, so that nothing is ever written.
    pub fn path(&mut self) -> (*const c_char, usize) {
        match self.byte() {
            0..=15 => (ptr::null(), 0),
            16..=31 => (ptr::null(), 3),
            32..=47 => (self.memory.wall().cast(), 0),
            48..=63 => (self.memory.wall().cast(), usize::MAX),
            64..=79 => (self.memory.list(b".").cast(), 1),
            _ => {
                let mut path = b"/no folder of this name/".to_vec();
                path.extend(self.bytes::<8>());
                (self.memory.list(&path).cast(), path.len())
            }
        }
    }
}
