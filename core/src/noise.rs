//! Explicit, counter-based noise.
//!
//! Element i of a draw is a pure function of (seed, stream, i): any backend, thread count, batch split or resumed run draws
//! the same noise. Word i is the i-th 64-bit little-endian output of ChaCha8 keyed by the seed, with the stream as its nonce.

use libm::{cos, log, sin, sqrt};
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

/// Words are made in batches of this many, so that no draw needs the heap.
const BATCH: usize = 64;

/// Forks take their seeds from the upper half of the cipher's counter, draws from the lower.
const FORKS: u128 = 1 << 67;

/// A source of noise: a 256-bit seed, a 64-bit stream, and the position of its first element.
///
/// `Noise` is a value: drawing from it does not change it. Take another [`stream`](Self::stream) or [`fork`](Self::fork) for
/// independent noise, and [`skip`](Self::skip) for the rest of the same.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct Noise {
    seed: [u8; 32],
    stream: u64,
    offset: u64,
}

impl Noise {
    /// Noise from a small seed, which takes the first eight bytes of the 256-bit one.
    pub fn new(seed: u64) -> Self {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        Self::from_seed(bytes)
    }

    /// Noise from a full seed.
    pub fn from_seed(seed: [u8; 32]) -> Self {
        Self { seed, stream: 0, offset: 0 }
    }

    /// The seed.
    pub fn seed(&self) -> [u8; 32] {
        self.seed
    }

    /// The seed's first eight bytes (little-endian), for what takes its seed as a number.
    pub fn short_seed(&self) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = self.seed;
        u64::from_le_bytes([a, b, c, d, e, f, g, h])
    }

    /// The stream.
    pub fn stream_id(&self) -> u64 {
        self.stream
    }

    /// The position of the first element.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The same seed, another stream, from its beginning.
    #[must_use]
    pub fn stream(self, stream: u64) -> Self {
        Self { stream, offset: 0, ..self }
    }

    /// The same noise without its first `elements`, for what fills numbers from it. Forks and streams do not know of it: they are those of the whole.
    #[must_use]
    pub fn skip(self, elements: u64) -> Self {
        Self { offset: self.offset.wrapping_add(elements), ..self }
    }

    /// Independent noise under a new seed, a pure function of this seed, this stream and `label` (its upper bit is not used).
    /// Forks of forks make a tree: one branch for each step, particle, or purpose.
    #[must_use]
    pub fn fork(self, label: u64) -> Self {
        let mut cipher = ChaCha8Rng::from_seed(self.seed);
        cipher.set_stream(self.stream);
        cipher.set_word_pos(FORKS | (u128::from(label & (u64::MAX >> 1)) << 4));
        let mut seed = [0; 32];
        cipher.fill_bytes(&mut seed);
        Self::from_seed(seed)
    }

    /// The raw 64-bit words; after the last of the 2⁶⁴, the first follows.
    pub fn fill_words(&self, out: &mut [u64]) {
        let last = usize::try_from(u64::MAX - self.offset).unwrap_or(usize::MAX);
        let (before, after) = out.split_at_mut(out.len().min(last.saturating_add(1)));
        let mut cipher = ChaCha8Rng::from_seed(self.seed);
        cipher.set_stream(self.stream);
        for (offset, part) in [(self.offset, before), (0, after)] {
            if !part.is_empty() {
                cipher.set_word_pos(u128::from(offset) << 1);
                part.fill_with(|| cipher.next_u64());
            }
        }
    }

    /// Uniform numbers in [0, 1), multiples of 2⁻⁵³.
    pub fn fill_uniform(&self, out: &mut [f64]) {
        let mut words = [0; BATCH];
        for (k, chunk) in out.chunks_mut(BATCH).enumerate() {
            let words = &mut words[..chunk.len()];
            self.skip((k * BATCH) as u64).fill_words(words);
            for (value, word) in chunk.iter_mut().zip(words) {
                *value = unit(*word);
            }
        }
    }

    /// Standard normal numbers: Box–Muller on the words 2j and 2j + 1, whose cosine is element 2j and whose sine is 2j + 1.
    pub fn fill_normal(&self, out: &mut [f64]) {
        let mut words = [0; BATCH];
        let (mut start, mut rest) = (self.offset, out);
        while !rest.is_empty() {
            // Whole pairs are made even where the draw begins or ends inside one.
            let lead = (start & 1) as usize;
            let count = rest.len().min(BATCH - lead);
            let words = &mut words[..(lead + count).next_multiple_of(2)];
            Self { offset: start - lead as u64, ..*self }.fill_words(words);
            let (now, later) = rest.split_at_mut(count);
            let mut skip = lead;
            let mut slots = now.iter_mut();
            for pair in words.chunks_exact(2) {
                let radius = sqrt(-2.0 * log(1.0 - unit(pair[0])));
                let angle = core::f64::consts::TAU * unit(pair[1]);
                for value in [radius * cos(angle), radius * sin(angle)].into_iter().skip(skip) {
                    if let Some(slot) = slots.next() {
                        *slot = value;
                    }
                }
                skip = 0;
            }
            start = start.wrapping_add(count as u64);
            rest = later;
        }
    }

    /// Uniform integers in 0..`bound` (bias below `bound`·2⁻⁶⁴); all zero for a bound of zero.
    pub fn fill_below(&self, bound: usize, out: &mut [usize]) {
        let mut words = [0; BATCH];
        for (k, chunk) in out.chunks_mut(BATCH).enumerate() {
            let words = &mut words[..chunk.len()];
            self.skip((k * BATCH) as u64).fill_words(words);
            for (value, word) in chunk.iter_mut().zip(words) {
                *value = ((u128::from(*word) * bound as u128) >> 64) as usize;
            }
        }
    }
}

/// The upper 53 bits of a word as a number in [0, 1).
fn unit(word: u64) -> f64 {
    (word >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
}
