//! Centring and scaling.

use super::Dataset;
use mfm_nn::precondition::moments;

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
        let (mean, deviation) = moments(&data.rows, data.dimension);
        Self { mean, deviation }
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
        let data = Dataset { rows: vec![1.0, 10.0, 3.0, 14.0], dimension: 2, ..Dataset::default() };
        let standard = Standardisation::of(&data);
        assert_eq!(standard.mean, [2.0, 12.0]);
        assert!((standard.deviation - 2.5f32.sqrt()).abs() < 1e-6);
        let mut scaled = standard.apply(&data);
        standard.undo(&mut scaled.rows);
        assert!(scaled.rows.iter().zip(&data.rows).all(|(a, b)| (a - b).abs() < 1e-5));
    }
}
