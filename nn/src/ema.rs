//! The exponential moving average of the parameters, which is what samples are drawn from: θ̄ ← d θ̄ + (1 − d) θ after every step, which the optimiser
//! does along with its own ([`Optimiser::update`](crate::Optimiser::update)).

/// d at step k (counted from 1): min(`decay`, (1 + k)/(10 + k)), so that the start is soon forgotten.
pub fn decay_at(decay: f64, step: u64) -> f64 {
    let k = step as f64;
    decay.min((1.0 + k) / (10.0 + k))
}
