//! Aligned tables.

use std::fmt;

/// A table of text cells under headings. Columns of numbers are aligned to the right.
#[derive(Clone, Debug, Default)]
pub struct Table {
    headings: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// An empty table.
    pub fn new<H: Into<String>>(headings: impl IntoIterator<Item = H>) -> Self {
        Self { headings: headings.into_iter().map(Into::into).collect(), rows: Vec::new() }
    }

    /// One more row; missing cells are empty. Control characters, which a file from elsewhere may bring along, are escaped: a terminal would obey them.
    pub fn row<C: Into<String>>(&mut self, cells: impl IntoIterator<Item = C>) -> &mut Self {
        let mut cells: Vec<String> = cells.into_iter().map(|cell| plain(cell.into())).collect();
        cells.resize(self.headings.len(), String::new());
        self.rows.push(cells);
        self
    }

    /// The number of rows.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Whether a column holds numbers alone (and signs for none).
    fn is_numeric(&self, column: usize) -> bool {
        let number = |cell: &String| {
            let cell = cell.trim();
            let first = cell.split([' ', '±', '×', '%']).next().unwrap_or("");
            cell.is_empty() || cell == "–" || first.replace(',', "").parse::<f64>().is_ok()
        };
        self.rows.iter().all(|row| number(&row[column]))
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = |text: &String| text.chars().count();
        let widths: Vec<usize> = (0..self.headings.len())
            .map(|k| self.rows.iter().map(|row| width(&row[k])).chain([width(&self.headings[k])]).max().unwrap_or(0))
            .collect();
        let numeric: Vec<bool> = (0..self.headings.len()).map(|k| self.is_numeric(k)).collect();
        let line = |cells: &[String]| -> String {
            let cells = cells.iter().zip(&widths).zip(&numeric);
            let padded = cells.map(|((cell, &width), &right)| if right { format!("{cell:>width$}") } else { format!("{cell:<width$}") });
            padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
        };
        writeln!(f, "{}", line(&self.headings))?;
        writeln!(f, "{}", widths.iter().map(|&width| "─".repeat(width)).collect::<Vec<_>>().join("  "))?;
        for row in &self.rows {
            writeln!(f, "{}", line(row))?;
        }
        Ok(())
    }
}

/// A text with its control characters escaped.
fn plain(text: String) -> String {
    if !text.contains(char::is_control) {
        return text;
    }
    text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
}

/// A number with about `digits` significant digits, without an exponent where that reads well.
pub fn number(value: f64, digits: usize) -> String {
    if value == 0.0 || !value.is_finite() {
        return if value == 0.0 { "0".into() } else { value.to_string() };
    }
    let exponent = value.abs().log10().floor() as i32;
    if !(-4..9).contains(&exponent) {
        return format!("{value:.*e}", digits.saturating_sub(1));
    }
    format!("{value:.*}", (digits as i32 - 1 - exponent).max(0) as usize)
}

/// A number with `decimals` digits behind the point, and no sign where all are zero.
pub fn decimals(value: f64, decimals: usize) -> String {
    let text = format!("{value:.decimals$}");
    match text.strip_prefix('-') {
        Some(zero) if zero.bytes().all(|digit| matches!(digit, b'0' | b'.')) => zero.to_owned(),
        _ => text,
    }
}

/// A whole number with its thousands apart.
pub fn count(value: usize) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number of things: "1 step", "2,000 steps".
pub fn things(number: usize, name: &str) -> String {
    format!("{} {name}{}", count(number), if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let mut table = Table::new(["estimator", "sw2"]);
        table.row(["DPS", "3.01"]).row(["MFM-GF", "0.125"]);
        assert_eq!(table.to_string(), "estimator    sw2\n─────────  ─────\nDPS         3.01\nMFM-GF     0.125\n");
    }

    #[test]
    fn a_terminal_obeys_no_cell() {
        let mut table = Table::new(["data"]);
        table.row(["\u{1b}]0;owned\u{7}\u{1b}[2J\nfile é"]);
        assert!(table.to_string().ends_with("\n\\u{1b}]0;owned\\u{7}\\u{1b}[2J\\nfile é\n"), "{table}");
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!(number(0.123456, 3), "0.123");
        assert_eq!(number(1234.56, 3), "1235");
        assert_eq!(number(-12.0, 3), "-12.0");
        assert_eq!(number(1.0e-7, 3), "1.00e-7");
        assert_eq!(number(0.0, 3), "0");
        assert_eq!((decimals(-1e-6, 5), decimals(-0.6, 0), decimals(-2e-5, 5)), ("0.00000".into(), "-1".into(), "-0.00002".into()));
        assert_eq!(count(1234567), "1,234,567");
        assert_eq!(count(12), "12");
        assert_eq!((things(1, "step"), things(2000, "step")), ("1 step".into(), "2,000 steps".into()));
    }
}
