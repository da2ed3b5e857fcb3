//! Means with their standard errors.

/// A running mean of vectors, with its standard error.
#[derive(Clone, Debug, Default)]
pub struct Mean {
    count: f64,
    sum: Vec<f64>,
    squares: Vec<f64>,
}

impl Mean {
    /// The mean of some rows of `width` numbers.
    pub fn of_rows(values: &[f64], width: usize) -> Self {
        let mut mean = Self::default();
        values.chunks_exact(width).for_each(|row| mean.add(row));
        mean
    }

    pub fn add(&mut self, row: &[f64]) {
        if self.sum.is_empty() {
            (self.sum, self.squares) = (vec![0.0; row.len()], vec![0.0; row.len()]);
        }
        self.count += 1.0;
        for ((sum, square), x) in self.sum.iter_mut().zip(&mut self.squares).zip(row) {
            *sum += x;
            *square += x * x;
        }
    }

    pub fn mean(&self) -> Vec<f64> {
        self.sum.iter().map(|s| s / self.count).collect()
    }

    pub fn variance(&self) -> Vec<f64> {
        let of = |(s, q): (&f64, &f64)| (q / self.count - (s / self.count).powi(2)).max(0.0) * self.count / (self.count - 1.0);
        self.sum.iter().zip(&self.squares).map(of).collect()
    }

    pub fn standard_error(&self) -> Vec<f64> {
        self.variance().iter().map(|v| (v / self.count).sqrt()).collect()
    }

    /// The largest |mean − expected| in standard errors.
    pub fn errors_from(&self, expected: &[f64]) -> f64 {
        assert_eq!(expected.len(), self.sum.len());
        let off = self.mean().into_iter().zip(self.standard_error()).zip(expected).map(|((m, e), x)| (m - x).abs() / e);
        off.fold(0.0, |worst: f64, e| if e.is_nan() { f64::INFINITY } else { worst.max(e) })
    }
}
