//! Axes: a range of numbers, and the ticks on it.

/// One axis of a panel.
#[derive(Clone, Debug, PartialEq)]
pub struct Axis {
    /// What stands beside it; empty for nothing.
    pub label: String,
    /// The lowest value.
    pub low: f64,
    /// The highest value, above the lowest.
    pub high: f64,
    /// Whether it is logarithmic; then both ends are positive.
    pub logarithmic: bool,
    /// Names in place of numbers, at 0, 1, 2, …; empty for numbers.
    pub names: Vec<String>,
}

impl Axis {
    /// An axis from `low` to `high`.
    pub fn new(label: impl Into<String>, low: f64, high: f64) -> Self {
        Self { label: label.into(), low, high, logarithmic: false, names: Vec::new() }
    }

    /// A logarithmic axis from `low` to `high`, both positive.
    pub fn logarithmic(label: impl Into<String>, low: f64, high: f64) -> Self {
        Self { logarithmic: true, ..Self::new(label, low, high) }
    }

    /// An axis with a place for each name, at 0, 1, 2, ….
    pub fn named<N: Into<String>>(label: impl Into<String>, names: impl IntoIterator<Item = N>) -> Self {
        let names: Vec<String> = names.into_iter().map(Into::into).collect();
        Self { names: names.clone(), ..Self::new(label, -0.6, names.len() as f64 - 0.4) }
    }

    /// An axis that all finite values fit on, with some room at both ends.
    pub fn fit(label: impl Into<String>, values: impl IntoIterator<Item = f64>) -> Self {
        let finite = values.into_iter().filter(|value| value.is_finite());
        let (low, high) = finite.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
        if low > high {
            return Self::new(label, 0.0, 1.0);
        }
        let room = if high > low { 0.05 * (high - low) } else { 0.5 * high.abs().max(1.0) };
        Self::new(label, low - room, high + room)
    }

    /// The place of a value, 0 at the low end, 1 at the high one.
    pub(super) fn place(&self, value: f64) -> f64 {
        if self.logarithmic { (value / self.low).ln() / (self.high / self.low).ln() } else { (value - self.low) / (self.high - self.low) }
    }

    /// About `wanted` round values with what to write at each.
    pub(super) fn ticks(&self, wanted: usize) -> Vec<(f64, String)> {
        if !self.names.is_empty() {
            return self.names.iter().enumerate().map(|(i, name)| (i as f64, name.clone())).collect();
        }
        if self.logarithmic {
            return self.logarithmic_ticks(wanted);
        }
        let span = self.high - self.low;
        if !(span > 0.0 && span.is_finite()) {
            return Vec::new();
        }
        let rough = span / wanted.max(1) as f64;
        let unit = 10f64.powf(rough.log10().floor());
        if unit == 0.0 {
            // Of numbers so small there are no powers of ten.
            return Vec::new();
        }
        let step = unit * [1.0, 2.0, 5.0, 10.0].into_iter().find(|step| step * unit >= rough).unwrap_or(10.0);
        let decimals = (-step.log10().floor()).clamp(0.0, 12.0) as usize;
        let first = (self.low / step - 1e-9).ceil() as i64;
        let last = (self.high / step + 1e-9).floor() as i64;
        let digits = |value: f64| match value.abs() {
            size if size >= 1e9 => format!("{value:.1e}"),
            size if size >= 1e6 => format!("{value:.0}"),
            _ => format!("{value:.decimals$}"),
        };
        let text = |value: f64| digits(value).replace('-', "−");
        (first..=last).map(|k| k as f64 * step).map(|value| (value, text(if value == 0.0 { 0.0 } else { value }))).collect()
    }

    fn logarithmic_ticks(&self, wanted: usize) -> Vec<(f64, String)> {
        if !(self.low > 0.0 && self.high > self.low && self.high.is_finite()) {
            return Vec::new();
        }
        let decades = self.low.log10().floor() as i32..=self.high.log10().ceil() as i32;
        let count = decades.clone().count();
        // Up to twice as many as wanted stand for one decade each.
        let every = count.div_ceil(2 * wanted.max(1)).max(1);
        let parts: &[f64] = if count > wanted || (self.high / self.low) > 1e3 { &[1.0] } else { &[1.0, 2.0, 5.0] };
        let values = decades.step_by(every).flat_map(|decade| parts.iter().map(move |part| part * 10f64.powi(decade)));
        let inside = values.filter(|value| (self.low * 0.999..=self.high * 1.001).contains(value));
        inside.map(|value| (value, if (1e-3..1e6).contains(&value) { value.to_string() } else { format!("{value:e}") })).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(axis: &Axis) -> Vec<String> {
        axis.ticks(5).into_iter().map(|(_, text)| text).collect()
    }

    #[test]
    fn ticks_are_round() {
        assert_eq!(texts(&Axis::new("", -5.0, 5.0)), ["−4", "−2", "0", "2", "4"]);
        assert_eq!(texts(&Axis::new("", 0.0, 1.0)), ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        assert_eq!(texts(&Axis::logarithmic("", 1.0, 128.0)), ["1", "2", "5", "10", "20", "50", "100"]);
        assert_eq!(texts(&Axis::named("", ["a", "b"])), ["a", "b"]);
        assert_eq!(texts(&Axis::logarithmic("", 1e-300, 1e300)).len(), 10);
        assert!(Axis::new("", 0.0, f64::NAN).ticks(5).is_empty());
        assert!(Axis::new("", 0.0, 5e-324).ticks(5).is_empty());
    }

    #[test]
    fn everything_fits() {
        let axis = Axis::fit("", [1.0, f64::NAN, 3.0]);
        assert_eq!((axis.low, axis.high), (0.9, 3.1));
        assert_eq!(axis.place(2.0), 0.5);
    }
}
