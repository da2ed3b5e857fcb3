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

    /// What stands beside it: that an axis is logarithmic is said.
    pub(super) fn caption(&self) -> String {
        match (self.logarithmic, self.label.as_str()) {
            (false, label) => label.to_owned(),
            (true, "") => "logarithmic scale".to_owned(),
            (true, label) => format!("{label} (logarithmic)"),
        }
    }

    /// The axis, so much longer at both ends that it spans `span`.
    pub(super) fn spanning(&self, span: f64) -> Self {
        let room = ((span - (self.high - self.low)) / 2.0).max(0.0);
        Self { low: self.low - room, high: self.high + room, ..self.clone() }
    }

    /// About `wanted` round values with what to write at each.
    pub(super) fn ticks(&self, wanted: f64) -> Vec<(f64, String)> {
        if !self.names.is_empty() {
            return self.names.iter().enumerate().map(|(i, name)| (i as f64, name.clone())).collect();
        }
        if self.logarithmic {
            return self.logarithmic_ticks(wanted);
        }
        self.linear_ticks(wanted)
    }

    fn linear_ticks(&self, wanted: f64) -> Vec<(f64, String)> {
        let span = self.high - self.low;
        if !(span > 0.0 && span.is_finite()) {
            return Vec::new();
        }
        let rough = span / wanted.max(1.0);
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

    fn logarithmic_ticks(&self, wanted: f64) -> Vec<(f64, String)> {
        if !(self.low > 0.0 && self.high > self.low && self.high.is_finite()) {
            return Vec::new();
        }
        let decades = self.low.log10().floor() as i32..=self.high.log10().ceil() as i32;
        let count = decades.clone().count();
        // Up to twice as many as wanted stand for one decade each.
        let every = (count as f64 / (2.0 * wanted.max(1.0))).ceil().max(1.0) as usize;
        let inside = |value: f64| (self.low * 0.999..=self.high * 1.001).contains(&value);
        let at = |parts: &[u32]| -> Vec<(f64, String)> {
            let all = decades.clone().step_by(every).flat_map(|decade| parts.iter().map(move |part| (decade, f64::from(*part))));
            let values = all.map(|(decade, part)| (decade, part * 10f64.powi(decade))).filter(|(_, value)| inside(*value));
            values.map(|(decade, value)| (value, written(value, decade))).collect()
        };
        // As few kinds as make three; on less than a decade those of an even axis may be needed.
        let is_enough = |ticks: &Vec<(f64, String)>| ticks.len() >= 3;
        let kinds = [&[1][..], &[1, 2, 5], &[1, 2, 3, 5, 7]];
        kinds.into_iter().map(at).find(is_enough).unwrap_or_else(|| self.linear_ticks(wanted.max(3.0)))
    }
}

/// What is written at a value whose first digit is that of a power of ten.
fn written(value: f64, decade: i32) -> String {
    if (-4..6).contains(&decade) { format!("{value:.*}", (-decade).max(0) as usize) } else { format!("{value:.0e}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(axis: &Axis) -> Vec<String> {
        axis.ticks(5.0).into_iter().map(|(_, text)| text).collect()
    }

    #[test]
    fn ticks_are_round() {
        assert_eq!(texts(&Axis::new("", -5.0, 5.0)), ["−4", "−2", "0", "2", "4"]);
        assert_eq!(texts(&Axis::new("", 0.0, 1.0)), ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        assert_eq!(texts(&Axis::logarithmic("", 1.0, 128.0)), ["1", "10", "100"]);
        assert_eq!(texts(&Axis::logarithmic("", 0.02, 0.5)), ["0.02", "0.05", "0.1", "0.2", "0.5"]);
        assert_eq!(texts(&Axis::logarithmic("", 0.45, 0.8)), ["0.5", "0.6", "0.7", "0.8"]);
        assert_eq!(texts(&Axis::logarithmic("", 1e-7, 1e-4)), ["1e-7", "1e-6", "1e-5", "0.0001"]);
        assert_eq!(texts(&Axis::named("", ["a", "b"])), ["a", "b"]);
        assert_eq!(texts(&Axis::logarithmic("", 1e-300, 1e300)).len(), 10);
        assert!(Axis::new("", 0.0, f64::NAN).ticks(5.0).is_empty());
        assert!(Axis::new("", 0.0, 5e-324).ticks(5.0).is_empty());
    }

    #[test]
    fn an_axis_says_that_it_is_logarithmic() {
        let captions = |label: &str| [Axis::new(label, 1.0, 2.0), Axis::logarithmic(label, 1.0, 2.0)].map(|axis| axis.caption());
        assert_eq!(captions("loss"), ["loss", "loss (logarithmic)"]);
        assert_eq!(captions(""), ["", "logarithmic scale"]);
    }

    #[test]
    fn everything_fits() {
        let axis = Axis::fit("", [1.0, f64::NAN, 3.0]);
        assert_eq!((axis.low, axis.high), (0.9, 3.1));
        assert_eq!(axis.place(2.0), 0.5);
    }
}
