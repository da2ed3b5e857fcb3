//! A number in f64 with a running bound of its rounding error.

use crate::conformance::tolerances::Tolerances;
use mfm_core::tensor::{Binary, Compare, Unary};

/// A number, and the rounding error that a device may have collected on the way to it, in units of the device's precision.
/// An error of infinity says that rounding decides, as when two numbers that should be equal are compared.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Number {
    /// The value, in f64.
    pub value: f64,
    /// The bound of its error.
    pub error: f64,
}

/// How much of the product of two errors is counted, in units of one: more than any precision's own unit.
const PRODUCT: f64 = 0.05;

/// slope · error, where no error stays none whatever the slope, and an infinite one infinite.
fn carried(slope: f64, error: f64) -> f64 {
    if error == 0.0 || error.is_infinite() { error } else { slope.abs() * error }
}

impl Number {
    /// A number that every device holds exactly.
    pub fn exact(value: f64) -> Self {
        Self { value, error: 0.0 }
    }

    /// A number from the host: exact if f32 holds it, or bf16 (the upper half of f32) where numbers are `relative`ly coarser than f32.
    pub fn stored(value: f64, relative: f64) -> Self {
        let single = value as f32;
        let held = f64::from(single) == value && (relative <= Tolerances::F32.relative || single.to_bits().trailing_zeros() >= 16);
        if held { Self::exact(value) } else { Self::exact(value).rounded() }
    }

    /// A number with a given error; a NaN error is one that nothing is known about, unless it came of a NaN; and an infinite number has none.
    pub fn new(value: f64, error: f64) -> Self {
        let unknown = if value.is_nan() { 0.0 } else { f64::INFINITY };
        let error = if error.is_nan() { unknown } else { error };
        Self { value, error: if value.is_finite() || error.is_infinite() { error } else { 0.0 } }
    }

    /// The number after one rounding.
    pub fn rounded(self) -> Self {
        let rounding = if self.value.is_finite() { self.value.abs() } else { 0.0 };
        Self::new(self.value, self.error + rounding)
    }

    /// Whether it is ∞ for certain.
    fn is_endless(self) -> bool {
        self.value.is_infinite() && self.error == 0.0
    }

    /// Whether no rounding could have given it the other sign, or made it zero.
    fn has_sign(self) -> bool {
        self.value.abs() > PRODUCT * self.error
    }

    /// `op` of it.
    pub fn unary(self, op: Unary) -> Self {
        let Self { value: x, error } = self;
        let (y, slope) = match op {
            Unary::Neg => return Self::new(-x, error),
            Unary::Abs => return Self::new(x.abs(), error),
            Unary::Exp => (x.exp(), x.exp()),
            Unary::Log => (x.ln(), 1.0 / x),
            Unary::Sqrt => (x.sqrt(), 0.5 / x.sqrt()),
            Unary::Recip => (1.0 / x, 1.0 / (x * x)),
            Unary::Square => return self.binary(Binary::Mul, self),
            Unary::Sin => (x.sin(), x.cos()),
            Unary::Cos => (x.cos(), x.sin()),
            Unary::Tanh => (x.tanh(), 1.0 - x.tanh() * x.tanh()),
            Unary::Sigmoid => (sigmoid(x), sigmoid(x) * sigmoid(-x)),
            Unary::Scale(c) => (c * x, c),
            Unary::Shift(c) => (x + c, 1.0),
        };
        Self::new(y, carried(slope, error)).rounded()
    }

    /// `op` of a pair.
    pub fn binary(self, op: Binary, other: Self) -> Self {
        let (a, b) = (self, other);
        match op {
            Binary::Add => Self::new(a.value + b.value, a.error + b.error),
            Binary::Sub => Self::new(a.value - b.value, a.error + b.error),
            Binary::Mul if (a.is_endless() && b.has_sign()) || (b.is_endless() && a.has_sign()) => Self::exact(a.value * b.value),
            Binary::Mul => {
                let error = carried(b.value, a.error) + carried(a.value, b.error) + carried(PRODUCT * a.error, b.error);
                Self::new(a.value * b.value, error)
            }
            Binary::Div => {
                let y = a.value / b.value;
                Self::new(y, carried(1.0 / b.value, a.error) + carried(y / b.value, b.error))
            }
        }
        .rounded()
    }

    /// 1 where `op` holds, else 0. `relative` is the device's precision.
    pub fn compare(self, op: Compare, other: Self, relative: f64) -> Self {
        let holds = match op {
            Compare::Equal => self.value == other.value,
            Compare::Less => self.value < other.value,
            Compare::LessEqual => self.value <= other.value,
        };
        let error = self.error + other.error;
        let open = error > 0.0 && (self.value - other.value).abs() <= relative * error;
        Self { value: f64::from(u8::from(holds)), error: if open { f64::INFINITY } else { 0.0 } }
    }

    /// `yes` where it is not zero, else `no`.
    pub fn select(self, yes: Self, no: Self, relative: f64) -> Self {
        let chosen = if self.value != 0.0 { yes } else { no };
        let open = self.error > 0.0 && self.value.abs() <= relative * self.error && yes != no;
        if open { Self { error: f64::INFINITY, ..chosen } } else { chosen }
    }

    /// Σ of several. One number is its own sum, exactly.
    pub fn sum(terms: impl Iterator<Item = Self>) -> Self {
        let (mut count, mut value, mut error, mut size) = (0, 0.0, 0.0, 0.0);
        for term in terms {
            count += 1;
            value += term.value;
            error += term.error;
            size += term.value.abs();
        }
        Self::new(value, if count > 1 && value.is_finite() { error + size } else { error })
    }

    /// The largest of several; NaN if one is.
    pub fn maximum(terms: impl Iterator<Item = Self>) -> Self {
        terms.fold(Self::exact(f64::NEG_INFINITY), |best, term| {
            let value = if term.value.is_nan() || best.value.is_nan() { f64::NAN } else { best.value.max(term.value) };
            Self::new(value, best.error.max(term.error))
        })
    }
}

/// 1/(1 + e⁻ˣ), without overflow.
fn sigmoid(x: f64) -> f64 {
    if x >= 0.0 { 1.0 / (1.0 + (-x).exp()) } else { x.exp() / (1.0 + x.exp()) }
}
