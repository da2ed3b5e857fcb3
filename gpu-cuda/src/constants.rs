//! The constants made last. Tensors are never written to, so those of one value may share its place.

use crate::memory::Block;
use crate::options::Storage;
use std::sync::Arc;

/// How many are kept.
const KEPT: usize = 64;

/// Places of one element that have been written, by the bits of the value and how it is stored; the one used last is the last.
#[derive(Default)]
pub(crate) struct Constants(Vec<((u32, Storage), Arc<Block>)>);

impl Constants {
    /// The place of a value.
    pub fn find(&mut self, value: f32, storage: Storage) -> Option<Arc<Block>> {
        let place = self.0.iter().rposition(|(key, _)| *key == (value.to_bits(), storage))?;
        self.0[place..].rotate_left(1);
        self.0.last().map(|(_, block)| Arc::clone(block))
    }

    /// Keeps the place of a value. What makes room for it is returned, if no tensor has it: a tensor's buffer gives it back by itself.
    pub fn keep(&mut self, value: f32, storage: Storage, block: Arc<Block>) -> Option<Block> {
        self.0.push(((value.to_bits(), storage), block));
        if self.0.len() > KEPT { Arc::into_inner(self.0.remove(0).1) } else { None }
    }

    /// Forgets all. Those that no tensor has are returned.
    pub fn clear(&mut self) -> Vec<Block> {
        self.0.drain(..).filter_map(|(_, block)| Arc::into_inner(block)).collect()
    }
}
