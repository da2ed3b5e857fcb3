//! Linear operators on samples, of which something is observed.

use mfm_core::tensor::Transpose;
use mfm_core::{Device, Error, Result, Shape, Tensor};

/// What lies beyond the edges of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Padding {
    /// Zeros, which is grey.
    Zero,
    /// The opposite side.
    Circular,
}

/// A linear operator A from samples to observations.
#[derive(Clone, Debug, PartialEq)]
pub enum Operator {
    /// A matrix.
    Dense {
        /// The numbers, row by row, one row for each observation.
        matrix: Vec<f64>,
        /// The numbers in a row, at least one.
        columns: usize,
    },
    /// Some of a sample's numbers.
    Select {
        /// The numbers in a sample.
        dimension: usize,
        /// Which are observed.
        places: Vec<usize>,
    },
    /// Each channel of an image, blurred along its columns and along its rows.
    Blur {
        /// Channels, height and width.
        shape: [usize; 3],
        /// [height, height], row by row.
        columns: Vec<f64>,
        /// [width, width], row by row.
        rows: Vec<f64>,
    },
}

impl Operator {
    /// A blur by a Gaussian kernel of deviation `width` > 0 in pixels, cut off at three deviations; its weights sum to one.
    pub fn blur(shape: [usize; 3], width: f64, padding: Padding) -> Self {
        let [_, height, across] = shape;
        Self::Blur { shape, columns: blurring(height, width, padding), rows: blurring(across, width, padding) }
    }

    /// The numbers in a sample.
    pub fn dimension(&self) -> usize {
        match self {
            Self::Dense { columns, .. } => *columns,
            Self::Select { dimension, .. } => *dimension,
            Self::Blur { shape, .. } => shape.iter().product(),
        }
    }

    /// A x of each sample: [n, d] → [n, observations].
    ///
    /// # Errors
    /// [`Error::Shape`] if the samples are of another size.
    pub fn apply<T: Tensor>(&self, x: &T) -> Result<T> {
        let (device, shape, dimension) = (x.device(), x.shape(), self.dimension());
        let n = shape.batch();
        if shape.item() != dimension {
            return Err(Error::Shape { op: "operator", left: shape, right: Shape::new(&[n, dimension])? });
        }
        match self {
            Self::Dense { matrix, columns } => {
                let matrix = device.from_slice(matrix, Shape::new(&[matrix.len() / columns, *columns])?)?;
                x.matmul(&matrix, Transpose::RIGHT)
            }
            Self::Select { places, .. } => x.gather(1, places),
            &Self::Blur { shape: [channels, height, width], ref columns, ref rows } => {
                let square = |values: &[f64], side| device.from_slice(values, Shape::new(&[1, side, side])?);
                let images = x.reshape(Shape::new(&[n * channels, height, width])?)?;
                let blurred = square(columns, height)?.matmul(&images, Transpose::NONE)?.matmul(&square(rows, width)?, Transpose::RIGHT)?;
                blurred.reshape(Shape::new(&[n, dimension])?)
            }
        }
    }
}

/// The matrix [length, length] of a one-dimensional blur.
fn blurring(length: usize, width: f64, padding: Padding) -> Vec<f64> {
    let reach = (3.0 * width).ceil() as isize;
    let weight = |offset: isize| (-0.5 * (offset as f64 / width).powi(2)).exp();
    let total: f64 = (-reach..=reach).map(weight).sum();
    let mut matrix = vec![0.0; length * length];
    for (i, row) in matrix.chunks_exact_mut(length.max(1)).enumerate() {
        for offset in -reach..=reach {
            let place = i as isize + offset;
            let place = if padding == Padding::Circular { place.rem_euclid(length as isize) } else { place };
            if let Some(entry) = usize::try_from(place).ok().and_then(|place| row.get_mut(place)) {
                *entry += weight(offset) / total;
            }
        }
    }
    matrix
}

#[cfg(test)]
mod tests {
    use super::*;
    use mfm_core::Noise;
    use mfm_cpu_ref::CpuDevice;

    fn normal(seed: u64, count: usize) -> Vec<f64> {
        let mut values = vec![0.0; count];
        Noise::new(seed).fill_normal(&mut values);
        values
    }

    fn apply(operator: &Operator, x: &[f64]) -> Vec<f64> {
        let shape = Shape::new(&[x.len() / operator.dimension(), operator.dimension()]).unwrap();
        operator.apply(&CpuDevice::<f64>::new().from_slice(x, shape).unwrap()).unwrap().to_vec().unwrap()
    }

    /// The convolution, written out pixel by pixel.
    #[test]
    fn a_blur_is_a_convolution() {
        let (shape @ [channels, height, width], deviation) = ([2, 5, 4], 0.7);
        let x = normal(1, 2 * 40);
        let kernel = |a: isize, b: isize| (-0.5 * ((a * a + b * b) as f64) / (deviation * deviation)).exp();
        let reach = 3isize;
        let total: f64 = (-reach..=reach).flat_map(|a| (-reach..=reach).map(move |b| kernel(a, b))).sum();
        for padding in [Padding::Zero, Padding::Circular] {
            let found = apply(&Operator::blur(shape, deviation, padding), &x);
            for plane in 0..2 * channels {
                for (i, j) in (0..height).flat_map(|i| (0..width).map(move |j| (i, j))) {
                    let mut expected = 0.0;
                    for (a, b) in (-reach..=reach).flat_map(|a| (-reach..=reach).map(move |b| (a, b))) {
                        let (row, column) = (i as isize + a, j as isize + b);
                        let is_inside = (0..height as isize).contains(&row) && (0..width as isize).contains(&column);
                        if is_inside || padding == Padding::Circular {
                            let (row, column) = (row.rem_euclid(height as isize) as usize, column.rem_euclid(width as isize) as usize);
                            expected += kernel(a, b) / total * x[(plane * height + row) * width + column];
                        }
                    }
                    let index = (plane * height + i) * width + j;
                    assert!((found[index] - expected).abs() < 1e-12, "{padding:?}, plane {plane}, {i}, {j}");
                }
            }
        }
        // A constant stays one on a circle, and fades at edges beyond which there are zeros.
        assert!(apply(&Operator::blur([1, 6, 6], 2.0, Padding::Circular), &[1.0; 36]).iter().all(|value| (value - 1.0).abs() < 1e-12));
        assert!(apply(&Operator::blur([1, 6, 6], 2.0, Padding::Zero), &[1.0; 36])[0] < 0.5);
    }

    #[test]
    fn a_selection_keeps_its_places() {
        let select = Operator::Select { dimension: 4, places: vec![3, 0] };
        assert_eq!(apply(&select, &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]), [4.0, 1.0, 8.0, 5.0]);
    }
}
