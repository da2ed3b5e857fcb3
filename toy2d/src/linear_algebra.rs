//! Small dense square matrices in f64: what closed forms of Gaussians need, and no more.

/// A square matrix, row-major.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Matrix {
    size: usize,
    data: Vec<f64>,
}

impl Matrix {
    /// From row-major values; the caller has checked that there are size² of them.
    pub(crate) fn new(size: usize, data: Vec<f64>) -> Self {
        debug_assert_eq!(data.len(), size * size);
        Self { size, data }
    }

    /// From a function of row and column.
    pub(crate) fn from_fn(size: usize, entry: impl Fn(usize, usize) -> f64) -> Self {
        Self { size, data: (0..size * size).map(|i| entry(i / size, i % size)).collect() }
    }

    /// `scale` on the diagonal.
    pub(crate) fn diagonal(size: usize, scale: f64) -> Self {
        Self::from_fn(size, |i, j| if i == j { scale } else { 0.0 })
    }

    pub(crate) fn size(&self) -> usize {
        self.size
    }

    pub(crate) fn data(&self) -> &[f64] {
        &self.data
    }

    pub(crate) fn at(&self, row: usize, column: usize) -> f64 {
        self.data[row * self.size + column]
    }

    pub(crate) fn row(&self, row: usize) -> &[f64] {
        &self.data[row * self.size..(row + 1) * self.size]
    }

    /// a·self + b·other.
    pub(crate) fn combine(&self, a: f64, other: &Self, b: f64) -> Self {
        Self { size: self.size, data: self.data.iter().zip(&other.data).map(|(x, y)| a * x + b * y).collect() }
    }

    pub(crate) fn scale(&self, a: f64) -> Self {
        Self { size: self.size, data: self.data.iter().map(|x| a * x).collect() }
    }

    pub(crate) fn transpose(&self) -> Self {
        Self::from_fn(self.size, |i, j| self.at(j, i))
    }

    /// (self + selfᵀ)/2.
    pub(crate) fn symmetrised(&self) -> Self {
        Self::from_fn(self.size, |i, j| 0.5 * (self.at(i, j) + self.at(j, i)))
    }

    pub(crate) fn product(&self, other: &Self) -> Self {
        let n = self.size;
        let mut data = vec![0.0; n * n];
        for (left, out) in self.data.chunks_exact(n.max(1)).zip(data.chunks_exact_mut(n.max(1))) {
            for (a, right) in left.iter().zip(other.data.chunks_exact(n.max(1))) {
                add_scaled(*a, right, out);
            }
        }
        Self { size: n, data }
    }

    /// out = self·x.
    pub(crate) fn apply(&self, x: &[f64], out: &mut [f64]) {
        apply(&self.data, x, out);
    }

    /// The lower factor L of self = L Lᵀ (only the lower triangle is read); `None` unless positive definite.
    pub(crate) fn cholesky(&self) -> Option<Self> {
        let n = self.size;
        let mut factor = vec![0.0; n * n];
        for i in 0..n {
            for j in 0..=i {
                let rest = self.at(i, j) - dot(&factor[i * n..i * n + j], &factor[j * n..j * n + j]);
                if i != j {
                    factor[i * n + j] = rest / factor[j * n + j];
                } else if rest > 0.0 && rest.is_finite() {
                    factor[i * n + j] = rest.sqrt();
                } else {
                    return None;
                }
            }
        }
        Some(Self { size: n, data: factor })
    }

    /// Solves L y = x for a lower factor L, in place.
    pub(crate) fn solve_lower(&self, x: &mut [f64]) {
        for i in 0..self.size {
            let (known, rest) = x.split_at_mut(i);
            if let Some(value) = rest.first_mut() {
                *value = (*value - dot(&self.row(i)[..i], known)) / self.at(i, i);
            }
        }
    }

    /// L⁻¹ of a lower factor.
    pub(crate) fn lower_inverse(&self) -> Self {
        let n = self.size;
        let mut columns = Self::diagonal(n, 1.0);
        for column in columns.data.chunks_exact_mut(n.max(1)) {
            self.solve_lower(column);
        }
        columns.transpose()
    }

    /// (L Lᵀ)⁻¹ of a lower factor, symmetric to the last bit.
    pub(crate) fn inverse_from_factor(&self) -> Self {
        let inverse = self.lower_inverse();
        inverse.transpose().product(&inverse).symmetrised()
    }

    /// log det(L Lᵀ) of a lower factor.
    pub(crate) fn log_determinant_from_factor(&self) -> f64 {
        (0..self.size).map(|i| 2.0 * libm::log(self.at(i, i))).sum()
    }

    /// Eigenvalues of a symmetric matrix, largest first, and their orthonormal eigenvectors as rows.
    ///
    /// Cyclic Jacobi rotations (Golub and Van Loan, *Matrix Computations*, 8.5): small eigenvalues keep their precision. Each
    /// vector's largest component is positive.
    pub(crate) fn symmetric_eigen(&self) -> (Vec<f64>, Self) {
        let n = self.size;
        let (mut a, mut vectors) = (self.symmetrised(), Self::diagonal(n, 1.0));
        // By a power of two, which rounds nothing, so that no product of two entries is too large or too small.
        let (_, exponent) = libm::frexp(a.data.iter().fold(0.0, |top: f64, x| top.max(x.abs())));
        a.data.iter_mut().for_each(|x| *x = libm::ldexp(*x, -exponent));
        // Rounding leaves no less than this. Ten sweeps reach that, unless only rounding keeps the matrix from being singular.
        let rounding = f64::EPSILON * n as f64;
        for _ in 0..30 {
            // Beside its own two diagonal entries, so that a small block counts beside a large one.
            let is_small = |i: usize, j: usize| a.at(i, j).abs() <= rounding * libm::sqrt(a.at(i, i).abs() * a.at(j, j).abs());
            if (0..n).all(|i| (0..i).all(|j| is_small(i, j))) {
                break;
            }
            for q in 1..n {
                for p in 0..q {
                    rotate(&mut a, &mut vectors, p, q);
                }
            }
        }
        let mut order: Vec<usize> = (0..n).collect();
        order.sort_by(|&i, &j| a.at(j, j).total_cmp(&a.at(i, i)));
        let values = order.iter().map(|&i| libm::ldexp(a.at(i, i), exponent)).collect();
        let mut data = Vec::with_capacity(n * n);
        for &i in &order {
            let row = vectors.row(i);
            let largest = row.iter().fold(0.0, |best: f64, v| if v.abs() > best.abs() * (1.0 + 1e-9) { *v } else { best });
            data.extend(row.iter().map(|v| if largest < 0.0 { -v } else { *v }));
        }
        (values, Self { size: n, data })
    }
}

/// One Jacobi rotation that zeroes the entry (p, q).
fn rotate(a: &mut Matrix, vectors: &mut Matrix, p: usize, q: usize) {
    let (n, off) = (a.size, a.at(p, q));
    if off == 0.0 {
        return;
    }
    let theta = (a.at(q, q) - a.at(p, p)) / (2.0 * off);
    let tangent = theta.signum() / (theta.abs() + libm::hypot(theta, 1.0));
    let cosine = 1.0 / libm::hypot(tangent, 1.0);
    let sine = tangent * cosine;
    let turn = |x: &mut f64, y: &mut f64| (*x, *y) = (cosine * *x - sine * *y, sine * *x + cosine * *y);
    for k in 0..n {
        let (mut x, mut y) = (a.at(k, p), a.at(k, q));
        turn(&mut x, &mut y);
        (a.data[k * n + p], a.data[k * n + q]) = (x, y);
    }
    for m in [a, vectors] {
        for k in 0..n {
            let (mut x, mut y) = (m.at(p, k), m.at(q, k));
            turn(&mut x, &mut y);
            (m.data[p * n + k], m.data[q * n + k]) = (x, y);
        }
    }
}

/// Σ x_i y_i.
pub(crate) fn dot(x: &[f64], y: &[f64]) -> f64 {
    x.iter().zip(y).map(|(a, b)| a * b).sum()
}

/// out += a x.
pub(crate) fn add_scaled(a: f64, x: &[f64], out: &mut [f64]) {
    for (o, v) in out.iter_mut().zip(x) {
        *o += a * v;
    }
}

/// out = A x, for a row-major A with as many columns as x has values.
pub(crate) fn apply(matrix: &[f64], x: &[f64], out: &mut [f64]) {
    for (o, row) in out.iter_mut().zip(matrix.chunks_exact(x.len().max(1))) {
        *o = dot(row, x);
    }
}

/// out += a Aᵀ x, for a row-major A with as many columns as out has values.
pub(crate) fn add_transposed(a: f64, matrix: &[f64], x: &[f64], out: &mut [f64]) {
    let columns = out.len().max(1);
    for (v, row) in x.iter().zip(matrix.chunks_exact(columns)) {
        add_scaled(a * v, row, out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example(n: usize) -> Matrix {
        let a = Matrix::from_fn(n, |i, j| libm::sin((3 * i + 7 * j * j + 1) as f64));
        a.product(&a.transpose()).combine(1.0, &Matrix::diagonal(n, 0.1), 1.0).symmetrised()
    }

    fn distance(a: &Matrix, b: &Matrix) -> f64 {
        a.data.iter().zip(&b.data).map(|(x, y)| (x - y).abs()).fold(0.0, f64::max)
    }

    // Rounding only: 1e-12 is a thousand times the unit roundoff at these sizes and condition numbers.
    #[test]
    fn factors_multiply_back() {
        for n in [1, 2, 5, 20] {
            let a = example(n);
            let l = a.cholesky().unwrap();
            assert!(distance(&l.product(&l.transpose()), &a) < 1e-12);
            assert!(distance(&l.inverse_from_factor().product(&a), &Matrix::diagonal(n, 1.0)) < 1e-11);
            let (values, vectors) = a.symmetric_eigen();
            let diagonal = Matrix::from_fn(n, |i, j| if i == j { values[i] } else { 0.0 });
            assert!(distance(&vectors.transpose().product(&diagonal).product(&vectors), &a) < 1e-12);
            assert!(distance(&vectors.product(&vectors.transpose()), &Matrix::diagonal(n, 1.0)) < 1e-13);
            let log_determinant: f64 = values.iter().map(|v| v.ln()).sum();
            assert!((l.log_determinant_from_factor() - log_determinant).abs() < 1e-11);
            assert!(values.windows(2).all(|w| w[0] >= w[1]));
        }
    }

    #[test]
    fn an_indefinite_matrix_has_no_factor() {
        assert!(Matrix::new(2, vec![1.0, 2.0, 2.0, 1.0]).cholesky().is_none());
        assert!(Matrix::new(1, vec![f64::NAN]).cholesky().is_none());
    }
}
