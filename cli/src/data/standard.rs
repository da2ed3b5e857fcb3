//! Centring and scaling.

use super::Dataset;

/// The mean of each column, and one deviation for all of them: the root of the mean squared distance from the mean, per column.
#[derive(Clone, Debug, PartialEq)]
pub struct Standardisation {
    /// The mean of each column.
    pub mean: Vec<f32>,
    /// The deviation; 1 where the data do not vary.
    pub deviation: f32,
}

impl Standardisation {
    /// That of a data set.
    pub fn of(data: &Dataset) -> Self {
        let (n, d) = (data.len() as f64, data.dimension.max(1));
        let mut mean = vec![0.0; d];
        for row in data.rows.chunks_exact(d) {
            mean.iter_mut().zip(row).for_each(|(sum, value)| *sum += f64::from(*value) / n);
        }
        let mut variance = 0.0;
        for row in data.rows.chunks_exact(d) {
            variance += row.iter().zip(&mean).map(|(value, mean)| (f64::from(*value) - mean).powi(2)).sum::<f64>() / (n * d as f64);
        }
        let deviation = if variance > 0.0 { variance.sqrt() as f32 } else { 1.0 };
        Self { mean: mean.into_iter().map(|value| value as f32).collect(), deviation }
    }

    /// (x − mean)/deviation.
    #[must_use]
    pub fn apply(&self, data: &Dataset) -> Dataset {
        let rows = data.rows.chunks_exact(self.mean.len()).flat_map(|row| row.iter().zip(&self.mean));
        Dataset { rows: rows.map(|(value, mean)| (value - mean) / self.deviation).collect(), ..data.clone() }
    }

    /// x · deviation + mean.
    pub fn undo(&self, rows: &mut [f32]) {
        for row in rows.chunks_exact_mut(self.mean.len()) {
            row.iter_mut().zip(&self.mean).for_each(|(value, mean)| *value = *value * self.deviation + mean);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        let data = Dataset { rows: vec![1.0, 10.0, 3.0, 14.0], dimension: 2, labels: None, source: String::new() };
        let standard = Standardisation::of(&data);
        assert_eq!(standard.mean, [2.0, 12.0]);
        assert!((standard.deviation - 2.5f32.sqrt()).abs() < 1e-6);
        let mut scaled = standard.apply(&data);
        standard.undo(&mut scaled.rows);
        assert!(scaled.rows.iter().zip(&data.rows).all(|(a, b)| (a - b).abs() < 1e-5));
    }
}
