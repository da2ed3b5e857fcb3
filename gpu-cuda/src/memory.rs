//! Where buffers come from, and where they return to.

use crate::stream::Stream;
use core::cmp::Reverse;
use mfm_core::{Error, Result};
use std::collections::{BTreeMap, BinaryHeap};

/// The smallest block.
const SMALLEST: usize = 512;
/// The pool may always keep this much.
const SLACK: usize = 64 << 20;
/// Tensors and pool together hold at most this many times the most that was ever in tensors: blocks of other sizes wait while those of one are in use, and a loop that
/// has all of them asks the driver for nothing. Before more is asked of the driver, blocks of the sizes that were used least lately make room.
const SPREAD: usize = 2;

/// How many bytes of the device a handle holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// In tensors, and in the constants made last.
    pub live: usize,
    /// In the pool, for the next tensors.
    pub pooled: usize,
    /// The most that ever was there.
    pub peak: usize,
    /// How often memory was asked of the driver.
    pub allocations: usize,
}

/// A piece of device memory of a size class.
#[derive(Debug)]
pub(crate) struct Block {
    pub address: u64,
    pub bytes: usize,
}

/// The free blocks, by size. All work is on one stream, so a block may be used again as soon as it is given back: what was asked of the
/// stream before is done before.
#[derive(Debug)]
pub(crate) struct Pool {
    free: BTreeMap<usize, Class>,
    /// Counts uses.
    clock: u64,
    memory: Memory,
    /// What tensors and pool together may hold.
    limit: usize,
}

/// The free blocks of a size.
#[derive(Debug, Default)]
struct Class {
    /// The lowest is taken first: a steady loop has the same places again, and finds its graphs as they were.
    addresses: BinaryHeap<Reverse<u64>>,
    /// When a block of it was last taken or given back.
    used: u64,
}

/// The size class of `bytes`: quarters of an octave, eighths of one beyond 1 GiB.
fn class_of(bytes: usize) -> Option<usize> {
    let wanted = bytes.max(SMALLEST);
    let part = (1usize << (wanted - 1).ilog2()) / if wanted > 1 << 30 { 8 } else { 4 };
    wanted.checked_next_multiple_of(part)
}

impl Pool {
    /// An empty pool. Beyond `limit` it first gives free blocks back, then refuses.
    pub fn new(limit: usize) -> Self {
        Self { free: BTreeMap::new(), clock: 0, memory: Memory::default(), limit }
    }

    pub fn memory(&self) -> Memory {
        self.memory
    }

    /// A free block of at least `bytes`, whose content is arbitrary, if there is one: the driver is not asked.
    pub fn reuse(&mut self, bytes: usize) -> Option<Block> {
        let bytes = class_of(bytes)?;
        let class = self.free.get_mut(&bytes)?;
        let Reverse(address) = class.addresses.pop()?;
        self.clock += 1;
        class.used = self.clock;
        self.memory.pooled -= bytes;
        Some(self.lend(address, bytes))
    }

    /// Whether the limit allows a block of at least `bytes` beside what is in tensors.
    pub fn allows(&self, bytes: usize) -> bool {
        class_of(bytes).is_some_and(|bytes| self.memory.live.saturating_add(bytes) <= self.limit)
    }

    /// A block of at least `bytes`, whose content is arbitrary.
    pub fn take(&mut self, op: &'static str, bytes: usize, stream: &Stream) -> Result<Block> {
        if let Some(block) = self.reuse(bytes) {
            return Ok(block);
        }
        let bytes = class_of(bytes).ok_or(Error::OutOfMemory { op, bytes })?;
        let address = self.allocate(op, bytes, stream)?;
        Ok(self.lend(address, bytes))
    }

    fn lend(&mut self, address: u64, bytes: usize) -> Block {
        self.memory.live += bytes;
        self.memory.peak = self.memory.peak.max(self.memory.live);
        Block { address, bytes }
    }

    fn allocate(&mut self, op: &'static str, size: usize, stream: &Stream) -> Result<u64> {
        let none = Error::OutOfMemory { op, bytes: size };
        if !self.allows(size) {
            return Err(none);
        }
        let held = self.memory.live + size;
        let most = (SPREAD * self.memory.peak.max(held)).max(held + SLACK).min(self.limit);
        self.evict(most - held, stream);
        let mut address = stream.allocate(op, size)?;
        if address.is_none() && self.memory.pooled > 0 {
            self.evict(0, stream);
            stream.synchronize(op)?;
            address = stream.allocate(op, size)?;
        }
        let address = address.ok_or(none)?;
        self.memory.allocations += 1;
        Ok(address)
    }

    /// Whether [`give`](Self::give) would keep a block of those that are in tensors.
    pub fn keeps(&self, block: &Block) -> bool {
        let Memory { live, pooled, peak, .. } = self.memory;
        live + pooled <= SPREAD * peak || pooled + block.bytes <= SLACK
    }

    /// Takes a block back.
    pub fn give(&mut self, block: &Block, stream: &Stream) {
        let keeps = self.keeps(block);
        self.memory.live -= block.bytes;
        if keeps {
            self.memory.pooled += block.bytes;
            self.clock += 1;
            let class = self.free.entry(block.bytes).or_default();
            class.addresses.push(Reverse(block.address));
            class.used = self.clock;
        } else {
            release(block.address, stream);
        }
    }

    /// Gives the driver all free blocks in which none of the addresses lies, which are sorted: work that is not queued yet may reach blocks that were given back.
    pub fn make_room(&mut self, op: &'static str, reached: &[u64], stream: &Stream) -> Result<()> {
        let pooled = &mut self.memory.pooled;
        for (&size, class) in &mut self.free {
            class.addresses.retain(|&Reverse(start)| {
                let next = reached.get(reached.partition_point(|address| *address < start));
                let is_reached = next.is_some_and(|next| *next < start + size as u64);
                if !is_reached {
                    *pooled -= size;
                    release(start, stream);
                }
                is_reached
            });
        }
        self.free.retain(|_, class| !class.addresses.is_empty());
        stream.synchronize(op)
    }

    /// Gives free blocks back to the driver, of sizes that were used least lately first, until the pool holds at most `most` bytes.
    pub fn evict(&mut self, most: usize, stream: &Stream) {
        if self.memory.pooled <= most {
            return;
        }
        let mut order: Vec<(u64, usize)> = self.free.iter().map(|(size, class)| (class.used, *size)).collect();
        order.sort_unstable();
        for (_, size) in order {
            while self.memory.pooled > most {
                let Some(Reverse(address)) = self.free.get_mut(&size).and_then(|class| class.addresses.pop()) else { break };
                self.memory.pooled -= size;
                release(address, stream);
            }
        }
        self.free.retain(|_, class| !class.addresses.is_empty());
    }
}

/// Gives memory back to the driver.
fn release(address: u64, stream: &Stream) {
    // SAFETY: from `allocate`, and no longer in any list.
    unsafe { stream.release(address) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_waste_at_most_a_quarter_and_large_ones_an_eighth() {
        for bytes in [0, 1, 511, 512, 513, 640, 641, 1 << 20, (1 << 20) + 1, 123_456_789, 1 << 30, (1 << 30) + 1, 2_700_000_000, 1 << 40] {
            let (size, part) = (class_of(bytes).unwrap(), if bytes > 1 << 30 { 8 } else { 4 });
            assert!(size >= bytes && size <= SMALLEST.max(bytes + bytes / part + 1), "{bytes} {size}");
            assert_eq!(class_of(size), Some(size));
        }
        assert_eq!(class_of(usize::MAX), None);
    }
}
