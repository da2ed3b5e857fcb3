//! Choices among weighted items, on the host.

use alloc::vec::Vec;

/// The index whose share of the cumulated weights holds `uniform` in [0, 1). Weights are finite and need not sum to one; a weight that is not
/// positive is never chosen unless none is, which gives 0.
pub fn choose(weights: &[f64], uniform: f64) -> usize {
    let (top, total) = top_and_total(weights);
    let mut left = uniform * total;
    let mut last = 0;
    for (i, &weight) in weights.iter().enumerate() {
        let weight = weight / top;
        if weight > 0.0 {
            last = i;
            if left < weight {
                return i;
            }
            left -= weight;
        }
    }
    last
}

/// Systematic resampling: `count` indices by one uniform number, index i ⌊n wᵢ⌋ or ⌈n wᵢ⌉ times, with n = `count` and wᵢ its share of the
/// weights. Unbiased: n wᵢ times on average. Usually, though not always, less variable than multinomial resampling.
/// Source: Douc, Cappé, Moulines, *Comparison of resampling schemes for particle filtering* (2005), with a counter-example.
pub fn systematic(weights: &[f64], count: usize, uniform: f64) -> Vec<usize> {
    let (top, total) = top_and_total(weights);
    let mut chosen = Vec::with_capacity(count);
    let (mut reached, mut last) = (0.0, 0);
    for (i, &weight) in weights.iter().enumerate() {
        let weight = weight / top;
        if weight > 0.0 {
            reached += weight;
            last = i;
            while chosen.len() < count && (chosen.len() as f64 + uniform) / count as f64 * total < reached {
                chosen.push(i);
            }
        }
    }
    // Rounding may leave the last place open.
    chosen.resize(count, last);
    chosen
}

/// The largest weight, and the sum of the positive ones over it, which is finite where their own may not be.
fn top_and_total(weights: &[f64]) -> (f64, f64) {
    let top = weights.iter().copied().fold(0.0, f64::max);
    (top, weights.iter().map(|weight| weight / top).filter(|weight| *weight > 0.0).sum())
}

/// exp(log_weights − max), which sum to no more than their number; all equal if none is above −∞. NaN weighs nothing, and beside +∞ all else does.
pub fn normalise(log_weights: &[f64]) -> Vec<f64> {
    let top = log_weights.iter().copied().filter(|w| !w.is_nan()).fold(f64::NEG_INFINITY, f64::max);
    if top == f64::NEG_INFINITY {
        return log_weights.iter().map(|_| 1.0).collect();
    }
    // ∞ − ∞ is none.
    let weight = |w: f64| if w == top { 1.0 } else { libm::exp(w - top) };
    log_weights.iter().map(|&w| if w.is_nan() { 0.0 } else { weight(w) }).collect()
}

/// log (1/n) Σ e^w of weights given by their logarithms; −∞ if none is above.
pub(crate) fn log_mean_exp(log_weights: &[f64]) -> f64 {
    let top = log_weights.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if !top.is_finite() {
        return top;
    }
    top + libm::log(log_weights.iter().map(|w| libm::exp(w - top)).sum::<f64>() / log_weights.len() as f64)
}

/// (Σw)²/Σw², between 1 and the number of weights, none of which is negative; 0 if all are zero.
pub fn effective_sample_size(weights: &[f64]) -> f64 {
    // Of the largest, so that no square is too large or too small.
    let top = weights.iter().copied().fold(0.0, f64::max);
    let (sum, squares) = weights.iter().fold((0.0, 0.0), |(s, q), w| (s + w / top, q + (w / top) * (w / top)));
    if squares > 0.0 { sum * sum / squares } else { 0.0 }
}

/// How concentrated weights are; of several states the mean, to which one where nothing is possible adds 0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Concentration {
    /// The effective sample size, (Σw)²/Σw².
    pub effective_sample_size: f64,
    /// The largest share that one weight has of all.
    pub largest_weight: f64,
}

impl Concentration {
    /// That of weights given by their logarithms; 0 in both if none is above −∞.
    pub fn of_logarithms(log_weights: &[f64]) -> Self {
        if !log_weights.iter().any(|w| *w > f64::NEG_INFINITY) {
            return Self { effective_sample_size: 0.0, largest_weight: 0.0 };
        }
        let weights = normalise(log_weights);
        // The largest is 1.
        Self { effective_sample_size: effective_sample_size(&weights), largest_weight: 1.0 / weights.iter().sum::<f64>() }
    }
}

/// The index of the largest number, the first among equals. NaN is never best unless all are; then the last is.
pub fn best(values: &[f64]) -> usize {
    let mut index = 0;
    for (i, value) in values.iter().enumerate() {
        if *value > values[index] || values[index].is_nan() {
            index = i;
        }
    }
    index
}
