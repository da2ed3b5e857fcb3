//! The rectification of RAdam.

/// r = √((ρ−4)(ρ−2)ρ∞/((ρ∞−4)(ρ∞−2)ρ)) with ρ∞ = 2/(1−β₂) − 1 and ρ = ρ∞ − 2kβ₂ᵏ/(1−β₂ᵏ); `None` unless ρ > 5.
pub(super) fn rectification(second_decay: f64, step: u64) -> Option<f64> {
    let limit = 2.0 / (1.0 - second_decay) - 1.0;
    let power = libm::pow(second_decay, step as f64);
    let length = limit - 2.0 * step as f64 * power / (1.0 - power);
    if length > 5.0 { Some(libm::sqrt((length - 4.0) * (length - 2.0) * limit / ((limit - 4.0) * (limit - 2.0) * length))) } else { None }
}
