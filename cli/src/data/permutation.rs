//! An order of 0 … n − 1 that is a function, so that none is stored.

use mfm_core::Noise;

const ROUNDS: usize = 8;

/// A permutation of 0 … n − 1: a Feistel network over the fewest bits, an even number, that hold n − 1; what lands beyond n − 1 goes through it
/// again (cycle walking; fewer than four times on average).
#[derive(Clone, Copy, Debug)]
pub struct Permutation {
    length: u64,
    half: u32,
    keys: [u64; ROUNDS],
}

impl Permutation {
    /// The permutation of 0 … `length` − 1 that `noise` decides.
    pub fn new(length: u64, noise: &Noise) -> Self {
        let bits = u64::BITS - length.saturating_sub(1).leading_zeros();
        let mut keys = [0; ROUNDS];
        noise.fill_words(&mut keys);
        Self { length, half: bits.div_ceil(2).max(1), keys }
    }

    /// Where `index`, which must be below the length, goes.
    pub fn at(&self, index: u64) -> u64 {
        let mut place = self.network(index);
        while place >= self.length {
            place = self.network(place);
        }
        place
    }

    fn network(&self, index: u64) -> u64 {
        let mask = (1 << self.half) - 1;
        let (mut left, mut right) = (index >> self.half & mask, index & mask);
        for key in self.keys {
            (left, right) = (right, left ^ (mixed(right ^ key) & mask));
        }
        left << self.half | right
    }
}

/// Every bit of the result depends on every bit of the word (the finaliser of SplitMix64).
fn mixed(word: u64) -> u64 {
    let word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ word >> 31
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_is_taken_once() {
        for length in [1, 2, 3, 4, 5, 16, 17, 1000, 65_537] {
            let order = Permutation::new(length, &Noise::new(length));
            let mut found: Vec<u64> = (0..length).map(|i| order.at(i)).collect();
            found.sort_unstable();
            assert!(found.iter().copied().eq(0..length), "{length}");
        }
    }

    /// Over many seeds each place is as likely as another, and so is each successor. Pearson's statistic of m equally likely cells has mean m − 1
    /// and deviation √(2(m − 1)); 5 deviations are allowed.
    #[test]
    fn orders_are_uniform() {
        const N: usize = 10;
        const SEEDS: usize = 20_000;
        let (mut places, mut steps) = ([[0u32; N]; N], [[0u32; N]; N]);
        for seed in 0..SEEDS {
            let order = Permutation::new(N as u64, &Noise::new(3).fork(seed as u64));
            let found: Vec<usize> = (0..N).map(|i| order.at(i as u64) as usize).collect();
            found.iter().enumerate().for_each(|(i, place)| places[i][*place] += 1);
            found.windows(2).for_each(|pair| steps[pair[0]][pair[1]] += 1);
        }
        let check = |cells: Vec<u32>, expected: f64, freedom: usize| {
            let statistic: f64 = cells.iter().map(|count| (f64::from(*count) - expected).powi(2) / expected).sum();
            let z = (statistic - freedom as f64) / (2.0 * freedom as f64).sqrt();
            assert!(z.abs() < 5.0, "{statistic} for {freedom} degrees of freedom");
        };
        check(places.concat(), SEEDS as f64 / N as f64, (N - 1) * (N - 1));
        let successors: Vec<u32> = (0..N * N).filter(|k| k / N != k % N).map(|k| steps[k / N][k % N]).collect();
        assert!((0..N).all(|i| steps[i][i] == 0));
        // N − 1 successions in each order, over N (N − 1) pairs; their counts have this freedom to within a tenth.
        check(successors, SEEDS as f64 / N as f64, N * N - 2 * N);
    }
}
