//! Rewards as formulas over any tensor, so that their gradients follow.

use super::Operator;
use mfm_core::reward::RewardFormula;
use mfm_core::{Device, Operations, Result, Shape, Tensor};
use mfm_picture::UNSEEN;

/// A reward r(x) in closed form.
#[derive(Clone, Debug, PartialEq)]
pub enum Formula {
    /// hᵀx.
    Linear {
        /// h.
        slope: Vec<f64>,
    },
    /// −|x − c|²/(2σ²).
    Target {
        /// c.
        centre: Vec<f64>,
        /// σ > 0.
        sigma: f64,
    },
    /// −|A x − y|²/(2σ²): the log likelihood of observations y of A x with noise σ, up to a constant. Its gradient is Aᵀ(y − A x)/σ².
    Observation {
        /// A.
        operator: Operator,
        /// y.
        observed: Vec<f64>,
        /// σ > 0.
        sigma: f64,
    },
    /// −½ xᵀPx + hᵀx + c.
    Quadratic {
        /// P, row by row, symmetric.
        curvature: Vec<f64>,
        /// h.
        slope: Vec<f64>,
        /// c.
        offset: f64,
    },
}

impl Formula {
    /// The dimension of x.
    pub fn dimension(&self) -> usize {
        match self {
            Self::Linear { slope } | Self::Quadratic { slope, .. } => slope.len(),
            Self::Target { centre, .. } => centre.len(),
            Self::Observation { operator, .. } => operator.dimension(),
        }
    }

    /// The observation as an image, [`UNSEEN`] where there is none; `None` if it is no image.
    pub fn seen(&self) -> Option<Vec<f32>> {
        let Self::Observation { operator, observed, .. } = self else { return None };
        let values = observed.iter().map(|value| *value as f32);
        match operator {
            Operator::Dense { .. } => None,
            Operator::Blur { .. } => Some(values.collect()),
            Operator::Select { dimension, places } => {
                let mut image = vec![UNSEEN; *dimension];
                places.iter().zip(values).for_each(|(place, value)| image[*place] = value);
                Some(image)
            }
        }
    }
}

impl RewardFormula for Formula {
    fn evaluate<T: Tensor>(&self, x: &T) -> Result<T> {
        let (device, shape) = (x.device(), x.shape());
        let (n, d) = (shape.batch(), shape.item());
        let x = x.reshape(Shape::new(&[n, d])?)?;
        let row = |values: &[f64]| device.from_slice(values, Shape::new(&[1, values.len()])?);
        match self {
            Self::Linear { slope } => x.mul(&row(slope)?)?.sum_items(),
            Self::Target { centre, sigma } => x.sub(&row(centre)?)?.scale(1.0 / sigma)?.square_norm_items()?.scale(-0.5),
            Self::Observation { operator, observed, sigma } => {
                let miss = operator.apply(&x)?.sub(&row(observed)?)?;
                miss.scale(1.0 / sigma)?.square_norm_items()?.scale(-0.5)
            }
            Self::Quadratic { curvature, slope, offset } => {
                let bent = x.matmul_transposed(&device.from_slice(curvature, Shape::new(&[d, d])?)?)?;
                let slope = bent.scale(-0.5)?.add(&row(slope)?)?;
                x.mul(&slope)?.sum_items()?.shift(*offset)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reward::Padding;
    use mfm_core::reward::ByDifferentiation;
    use mfm_core::{Noise, Reward};
    use mfm_cpu_ref::CpuDevice;

    fn at(formula: Formula, x: &[f64]) -> (f64, Vec<f64>) {
        let x = CpuDevice::<f64>::new().from_slice(x, Shape::new(&[1, x.len()]).unwrap()).unwrap();
        let (value, gradient) = ByDifferentiation(formula).value_and_gradient(&x).unwrap();
        (value.to_vec::<f64>().unwrap()[0], gradient.to_vec().unwrap())
    }

    #[test]
    fn what_is_seen_is_an_image() {
        let seen = |operator| Formula::Observation { operator, observed: vec![0.5, -1.0], sigma: 0.1 }.seen();
        assert_eq!(seen(Operator::Select { dimension: 4, places: vec![1, 3] }).unwrap(), [UNSEEN, 0.5, UNSEEN, -1.0]);
        assert_eq!(seen(Operator::blur([1, 1, 2], 1.0, Padding::Zero)).unwrap(), [0.5, -1.0]);
        assert_eq!(seen(Operator::Dense { matrix: vec![1.0; 4], columns: 2 }), None);
    }

    #[test]
    fn values_and_gradients() {
        assert_eq!(at(Formula::Linear { slope: vec![2.0, -1.0] }, &[3.0, 4.0]), (2.0, vec![2.0, -1.0]));
        let target = Formula::Target { centre: vec![1.0, 0.0], sigma: 0.5 };
        assert_eq!(at(target, &[2.0, 1.0]), (-4.0, vec![-4.0, -4.0]));
        let matrix = Operator::Dense { matrix: vec![2.0, -1.0], columns: 2 };
        let paper = Formula::Observation { operator: matrix, observed: vec![1.0], sigma: 0.5 };
        assert_eq!(at(paper, &[1.0, 2.0]), (-2.0, vec![8.0, -4.0]));
        let quadratic = Formula::Quadratic { curvature: vec![2.0, 1.0, 1.0, 2.0], slope: vec![1.0, 0.0], offset: 0.5 };
        assert_eq!(at(quadratic, &[1.0, 1.0]), (-1.5, vec![-2.0, -3.0]));
    }

    /// Central differences are exact for squares, but for rounding, 1e-16 |r|/h.
    #[test]
    fn gradients_of_observations() {
        let mut normal = [0.0; 120];
        Noise::new(4).fill_normal(&mut normal);
        let (x, rest) = normal.split_at(36);
        let shape = [2, 3, 6];
        let dense = Operator::Dense { matrix: rest[..72].to_vec(), columns: 36 };
        let select = Operator::Select { dimension: 36, places: (0..36).filter(|k| k % 3 != 1).collect() };
        for operator in [dense, select, Operator::blur(shape, 0.8, Padding::Zero), Operator::blur(shape, 1.3, Padding::Circular)] {
            let device = CpuDevice::<f64>::new();
            let row = |values: &[f64]| device.from_slice(values, Shape::new(&[1, values.len()]).unwrap()).unwrap();
            let seen: Vec<f64> = operator.apply(&row(x)).unwrap().to_vec().unwrap();
            let observed: Vec<f64> = seen.iter().zip(rest).map(|(seen, other)| seen + other).collect();
            let sigma = 0.3;
            let formula = Formula::Observation { operator: operator.clone(), observed: observed.clone(), sigma };
            let (value, gradient) = at(formula.clone(), x);
            let miss: f64 = seen.iter().zip(&observed).map(|(seen, observed)| (seen - observed).powi(2)).sum();
            assert!((value + miss / (2.0 * sigma * sigma)).abs() < 1e-9 * value.abs());
            let h = 1e-4;
            for k in 0..x.len() {
                let moved = |step: f64| {
                    let mut moved = x.to_vec();
                    moved[k] += step;
                    at(formula.clone(), &moved).0
                };
                let slope = (moved(h) - moved(-h)) / (2.0 * h);
                assert!((gradient[k] - slope).abs() < 1e-7 * (1.0 + value.abs()), "{operator:?}, {k}: {} and {slope}", gradient[k]);
                // Aᵀ(y − A x)/σ², a column of A at a time.
                let mut unit = [0.0; 36];
                unit[k] = 1.0;
                let column: Vec<f64> = operator.apply(&row(&unit)).unwrap().to_vec().unwrap();
                let exact: f64 =
                    column.iter().zip(observed.iter().zip(&seen)).map(|(a, (y, ax))| a * (y - ax)).sum::<f64>() / (sigma * sigma);
                assert!((gradient[k] - exact).abs() < 1e-10 * (1.0 + exact.abs()), "{operator:?}, {k}");
            }
        }
    }
}
