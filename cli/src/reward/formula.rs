//! Rewards as formulas over any tensor, so that their gradients follow.

use mfm_core::reward::RewardFormula;
use mfm_core::{Device, Operations, Result, Shape, Tensor};

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
    /// −|A x − y|²/(2σ²): the log likelihood of observations y of A x with noise σ, up to a constant.
    Observation {
        /// A, row by row, one row for each observation.
        operator: Vec<f64>,
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
            Self::Observation { operator, observed, .. } => operator.len() / observed.len().max(1),
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
                let operator = device.from_slice(operator, Shape::new(&[observed.len(), d])?)?;
                let miss = x.matmul_transposed(&operator)?.sub(&row(observed)?)?;
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
    use mfm_core::Reward;
    use mfm_core::reward::ByDifferentiation;
    use mfm_cpu_ref::CpuDevice;

    fn at(formula: Formula, x: &[f64]) -> (f64, Vec<f64>) {
        let x = CpuDevice::<f64>::new().from_slice(x, Shape::new(&[1, x.len()]).unwrap()).unwrap();
        let (value, gradient) = ByDifferentiation(formula).value_and_gradient(&x).unwrap();
        (value.to_vec::<f64>().unwrap()[0], gradient.to_vec().unwrap())
    }

    #[test]
    fn values_and_gradients() {
        assert_eq!(at(Formula::Linear { slope: vec![2.0, -1.0] }, &[3.0, 4.0]), (2.0, vec![2.0, -1.0]));
        let target = Formula::Target { centre: vec![1.0, 0.0], sigma: 0.5 };
        assert_eq!(at(target, &[2.0, 1.0]), (-4.0, vec![-4.0, -4.0]));
        let paper = Formula::Observation { operator: vec![2.0, -1.0], observed: vec![1.0], sigma: 0.5 };
        assert_eq!(at(paper, &[1.0, 2.0]), (-2.0, vec![8.0, -4.0]));
        let quadratic = Formula::Quadratic { curvature: vec![2.0, 1.0, 1.0, 2.0], slope: vec![1.0, 0.0], offset: 0.5 };
        assert_eq!(at(quadratic, &[1.0, 1.0]), (-1.5, vec![-2.0, -3.0]));
    }
}
