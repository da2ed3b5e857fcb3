//! The unbiased maximum mean discrepancy.

use crate::check;
use mfm_core::{Error, Result};

/// The widths h of the kernel, narrowest first; each is half the next, which [`mmd_squared`] relies on.
pub const MMD_WIDTHS: [f64; 5] = [0.25, 0.5, 1.0, 2.0, 4.0];

/// Pairs are handled in blocks of this many, which stay in the nearest cache and in vector registers.
const BLOCK: usize = 256;

/// How many sums run side by side.
const LANES: usize = 8;

/// Kernel values below this count as this: their fourth powers must not become denormal, which is slow.
const LEAST: f64 = 1e-60;

/// The unbiased estimate of MMD² between the laws of two sets of points, n × d and m × d, under the kernel
/// k(x, y) = mean over h of exp(−|x − y|²/(2h²)), h in [`MMD_WIDTHS`]:
/// Σ_{i≠j} k(x_i, x_j)/(n(n−1)) + Σ_{i≠j} k(y_i, y_j)/(m(m−1)) − 2 Σ k(x_i, y_j)/(n m).
///
/// It may be negative; its mean is zero for equal laws. Costs O((n + m)² d). Source: Gretton et al., *A kernel two-sample test*
/// (2012), lemma 6.
///
/// # Errors
/// [`Error::Length`] where the lists are not rows of d ≥ 1 numbers, [`Error::Range`] for fewer than two points in a set, [`Error::NonFinite`].
pub fn mmd_squared(dimension: usize, left: &[f64], right: &[f64]) -> Result<f64> {
    let (left, right) = (columns(dimension, left)?, columns(dimension, right)?);
    let (n, m) = (left.count as f64, right.count as f64);
    let within = |set: &Columns| 2.0 * (0..set.count).map(|i| set.kernels(&set.point(i), i + 1)).sum::<f64>();
    let between: f64 = (0..left.count).map(|i| right.kernels(&left.point(i), 0)).sum();
    let widths = MMD_WIDTHS.len() as f64;
    Ok((within(&left) / (n * (n - 1.0)) + within(&right) / (m * (m - 1.0)) - 2.0 * between / (n * m)) / widths)
}

/// Points, one coordinate after the other.
struct Columns {
    count: usize,
    values: Vec<f64>,
}

fn columns(dimension: usize, points: &[f64]) -> Result<Columns> {
    let what = "the points of a discrepancy";
    let count = check::rows(what, dimension, points.len())?;
    if count < 2 {
        return Err(Error::Range { what: "the number of points of a discrepancy", value: count as f64, range: "at least 2" });
    }
    check::finite(what, points)?;
    let values = (0..dimension).flat_map(|j| points.iter().skip(j).step_by(dimension)).copied().collect();
    Ok(Columns { count, values })
}

impl Columns {
    fn point(&self, i: usize) -> Vec<f64> {
        self.values.chunks_exact(self.count).map(|column| column[i]).collect()
    }

    /// Σ_h Σ_j exp(−|x − x_j|²/(2h²)) over the points j from `first` on.
    fn kernels(&self, x: &[f64], first: usize) -> f64 {
        let mut total = 0.0;
        let mut start = first;
        while start < self.count {
            let length = BLOCK.min(self.count - start);
            // What is left over stands infinitely far away.
            let mut squares = [f64::INFINITY; BLOCK];
            squares[..length].fill(0.0);
            for (x, column) in x.iter().zip(self.values.chunks_exact(self.count)) {
                for (square, y) in squares.iter_mut().zip(&column[start..start + length]) {
                    *square += (x - y) * (x - y);
                }
            }
            total += sum_of_kernels(&mut squares);
            start += length;
        }
        total
    }
}

/// Σ_h Σ_j exp(−d_j²/(2h²)): the widest by an exponential, and each half as wide by a fourth power.
fn sum_of_kernels(squares: &mut [f64; BLOCK]) -> f64 {
    for square in squares.iter_mut() {
        *square = exp_negative(*square * (-1.0 / 32.0));
    }
    // Several sums side by side, since one alone would have to be added in order.
    let mut sums = [0.0; LANES];
    for chunk in squares.as_chunks::<LANES>().0 {
        for (kernel, sum) in chunk.iter().zip(&mut sums) {
            let (mut kernel, mut total) = (*kernel, *kernel);
            for _ in 1..MMD_WIDTHS.len() {
                let floored = if kernel > LEAST { kernel } else { LEAST };
                let second = floored * floored;
                kernel = second * second;
                total += kernel;
            }
            *sum += total;
        }
    }
    sums.iter().sum()
}

/// exp(x) for x ≤ 0 to a few roundoffs (e^−600 below −600), without a branch, so that loops of it become vector code.
fn exp_negative(x: f64) -> f64 {
    // Adding 1.5·2⁵² rounds to an integer, whose bits are then the lowest of the sum.
    const ROUND: f64 = 6_755_399_441_055_744.0;
    const LOG_2_HIGH: f64 = 6.931_471_803_691_238e-1;
    const LOG_2_LOW: f64 = 1.908_214_929_270_587_7e-10;
    let x = if x > -600.0 { x } else { -600.0 };
    let shifted = x * core::f64::consts::LOG2_E + ROUND;
    let whole = shifted - ROUND;
    let r = (x - whole * LOG_2_HIGH) - whole * LOG_2_LOW;
    // Taylor's series: |r| ≤ log(2)/2, so its 14th term is below a roundoff.
    let mut series = 1.0 / 6_227_020_800.0;
    for inverse_factorial in INVERSE_FACTORIALS {
        series = series * r + inverse_factorial;
    }
    let power = (shifted.to_bits() << 52).wrapping_add(1.0f64.to_bits());
    series * f64::from_bits(power)
}

/// 1/12! to 1/0!.
const INVERSE_FACTORIALS: [f64; 13] = [
    1.0 / 479_001_600.0,
    1.0 / 39_916_800.0,
    1.0 / 3_628_800.0,
    1.0 / 362_880.0,
    1.0 / 40_320.0,
    1.0 / 5_040.0,
    1.0 / 720.0,
    1.0 / 120.0,
    1.0 / 24.0,
    1.0 / 6.0,
    0.5,
    1.0,
    1.0,
];

#[cfg(test)]
mod tests {
    use super::*;

    // Four roundoffs: the series and the product round a few times.
    #[test]
    fn the_exponential_is_exact_to_rounding() {
        for i in 0..60_000 {
            let x = -0.01 * f64::from(i) * 0.999;
            let exact = libm::exp(x);
            assert!((exp_negative(x) - exact).abs() <= 4.0 * f64::EPSILON * exact, "{x}");
        }
        assert_eq!(exp_negative(0.0), 1.0);
        assert_eq!(exp_negative(f64::NEG_INFINITY), exp_negative(-600.0));
    }
}
