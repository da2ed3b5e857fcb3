//! Where buffers come from, and where they return to.

use crate::float::Float;
use alloc::vec::Vec;
use mfm_core::{Error, Result};

/// Buffers begin at a multiple of this many bytes.
const ALIGNMENT: usize = 64;
/// The pool may always keep this much, however little is in use.
const SLACK: usize = 64 << 20;
/// Four size classes for each doubling.
const CLASSES: usize = 4 * usize::BITS as usize;

/// How many bytes a device holds, without the few numbers that small tensors keep themselves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// In tensors.
    pub live: usize,
    /// In the pool, for the next tensors.
    pub pooled: usize,
    /// The most that ever was in tensors.
    pub peak: usize,
    /// How often memory was asked of the system.
    pub allocations: usize,
}

/// Storage of a size class, all of it initialised.
pub(crate) struct Block<E> {
    storage: Vec<E>,
    class: usize,
}

impl<E: Float> Block<E> {
    fn bytes(&self) -> usize {
        self.storage.len() * size_of::<E>()
    }

    /// Where the first aligned element is.
    pub fn start(&self) -> usize {
        let address = self.storage.as_ptr() as usize;
        (address.next_multiple_of(ALIGNMENT) - address) / size_of::<E>()
    }

    pub fn elements(&self) -> &[E] {
        &self.storage
    }

    pub fn elements_mut(&mut self) -> &mut [E] {
        &mut self.storage
    }
}

/// The free blocks, by size class.
pub(crate) struct Pool<E> {
    free: Vec<Vec<Block<E>>>,
    memory: Memory,
    caching: bool,
}

/// The class of at least `elements`, and how many elements a block of it has.
fn class_of(elements: usize) -> Option<(usize, usize)> {
    let wanted = elements.max(16);
    // Quarters of an octave: 2ᵏ (1 + q/4).
    let octave = (wanted - 1).ilog2() as usize;
    let quarter = ((wanted - 1) - (1 << octave)) / ((1 << octave) / 4);
    let size = (1usize << octave).checked_add((quarter + 1).checked_mul((1 << octave) / 4)?)?;
    Some((4 * octave + quarter, size))
}

impl<E: Float> Pool<E> {
    pub fn new(caching: bool) -> Self {
        let mut free = Vec::new();
        free.resize_with(CLASSES, Vec::new);
        Self { free, memory: Memory::default(), caching }
    }

    pub fn memory(&self) -> Memory {
        self.memory
    }

    /// A block of at least `elements` (and room to align them), whose content is arbitrary.
    pub fn take(&mut self, op: &'static str, elements: usize) -> Result<Block<E>> {
        let bytes = elements.saturating_mul(size_of::<E>());
        let room = elements.checked_add(ALIGNMENT / size_of::<E>());
        let (class, size) = room.and_then(class_of).ok_or(Error::OutOfMemory { op, bytes })?;
        let block = match self.free.get_mut(class).and_then(Vec::pop) {
            Some(block) => {
                self.memory.pooled -= block.bytes();
                block
            }
            None => {
                self.evict(size * size_of::<E>());
                self.memory.allocations += 1;
                Block { storage: zeroed(size).ok_or(Error::OutOfMemory { op, bytes })?, class }
            }
        };
        self.memory.live += block.bytes();
        self.memory.peak = self.memory.peak.max(self.memory.live);
        Ok(block)
    }

    /// Takes a block back.
    pub fn give(&mut self, block: Block<E>) {
        let bytes = block.bytes();
        self.memory.live -= bytes;
        if self.caching
            && self.memory.live + self.memory.pooled + bytes <= self.limit()
            && let Some(free) = self.free.get_mut(block.class)
        {
            self.memory.pooled += bytes;
            free.push(block);
        }
    }

    /// Gives all free blocks back to the system.
    pub fn trim(&mut self) {
        self.free.iter_mut().for_each(Vec::clear);
        self.memory.pooled = 0;
    }

    /// What tensors and pool together may hold.
    fn limit(&self) -> usize {
        SLACK.max(self.memory.peak.saturating_mul(2))
    }

    /// Makes room for new memory: drops free blocks, large ones first, as long as the limit would be passed.
    fn evict(&mut self, bytes: usize) {
        let limit = self.limit();
        for free in self.free.iter_mut().rev() {
            while self.memory.live + self.memory.pooled + bytes > limit {
                let Some(block) = free.pop() else { break };
                self.memory.pooled -= block.bytes();
            }
        }
    }
}

/// `length` zeros, or `None` if there is no room. The system hands out large pieces already zeroed, so nothing is written.
fn zeroed<E: Float>(length: usize) -> Option<Vec<E>> {
    let layout = core::alloc::Layout::array::<E>(length).ok().filter(|layout| layout.size() > 0)?;
    // SAFETY: the layout has a size above zero.
    let pointer = unsafe { alloc::alloc::alloc_zeroed(layout) }.cast::<E>();
    // SAFETY: allocated just now by the global allocator with the layout of `length` elements; all bits zero is the number 0.
    (!pointer.is_null()).then(|| unsafe { Vec::from_raw_parts(pointer, length, length) })
}
