//! A hash for keys of the program's own, which nobody chooses to collide: a few times as fast as the standard library's.

use core::hash::{BuildHasherDefault, Hasher};

/// A multiplication and a rotation for each word.
#[derive(Clone, Copy, Default)]
pub(crate) struct Quick(u64);

/// For maps.
pub(crate) type BuildQuick = BuildHasherDefault<Quick>;

impl Hasher for Quick {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    fn write_u64(&mut self, word: u64) {
        // Odd, of random bits.
        self.0 = (self.0.rotate_left(23) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn write_u8(&mut self, word: u8) {
        self.write_u64(word.into());
    }

    fn write_u32(&mut self, word: u32) {
        self.write_u64(word.into());
    }

    fn write_usize(&mut self, word: usize) {
        self.write_u64(word as u64);
    }

    /// The low bits are mixed last.
    fn finish(&self) -> u64 {
        self.0 ^ self.0 >> 32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::hash::BuildHasher;
    use std::collections::HashSet;

    #[test]
    fn similar_keys_differ() {
        let hash = |key: (usize, bool, [i64; 2])| BuildQuick::default().hash_one(key);
        let keys = (0..64).flat_map(|i| [false, true].map(|b| (0..64).map(move |j| (i << 4, b, [j * 8, j]))).into_iter().flatten());
        let hashes: Vec<u64> = keys.map(hash).collect();
        assert_eq!(hashes.iter().collect::<HashSet<_>>().len(), hashes.len());
        // Tables look at the low bits, and at the high ones.
        for shift in [0, 57] {
            let most = (0..128).map(|low| hashes.iter().filter(|&&hash| hash >> shift & 127 == low).count()).max();
            assert!(most.is_some_and(|most| most < 4 * hashes.len() / 128), "{most:?}");
        }
    }
}
