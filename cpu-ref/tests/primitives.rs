//! Every primitive against a few lines of plain code, on contiguous, strided, stretched and empty operands.

#![allow(clippy::unwrap_used, clippy::type_complexity)] // a failure is a failed test; tables of cases

use mfm_core::tensor::{Binary, Compare, Reduce, Transpose, Unary};
use mfm_core::{Device, Error, Noise, Operations, Result, Shape, Tensor};
use mfm_cpu_ref::{CpuDevice, CpuTensor};

fn shape(axes: &[usize]) -> Shape {
    Shape::new(axes).unwrap()
}

fn device() -> CpuDevice<f64> {
    #[cfg(feature = "std")]
    return CpuDevice::with_threads(2).unwrap();
    #[cfg(not(feature = "std"))]
    CpuDevice::new()
}

fn normal(device: &CpuDevice<f64>, stream: u64, axes: &[usize]) -> CpuTensor<f64> {
    device.normal(&Noise::new(7).stream(stream), shape(axes)).unwrap()
}

fn values(x: &CpuTensor<f64>) -> Vec<f64> {
    x.to_vec().unwrap()
}

fn close(a: &[f64], b: &[f64]) {
    assert_eq!(a.len(), b.len());
    for (i, (a, b)) in a.iter().zip(b).enumerate() {
        assert!((a - b).abs() <= 1e-12 * (1.0 + b.abs()), "{i}: {a} {b}");
    }
}

/// Element `index` (row-major in `out`) of a tensor of `axes` that is stretched to `out`.
fn pick(values: &[f64], axes: &[usize], out: &[usize], index: usize) -> f64 {
    let (mut rest, mut at, mut stride) = (index, 0, 1);
    for back in 0..out.len() {
        let length = out[out.len() - 1 - back];
        let position = rest % length;
        rest /= length;
        if back < axes.len() {
            let own = axes[axes.len() - 1 - back];
            at += if own == 1 { 0 } else { position } * stride;
            stride *= own;
        }
    }
    values[at]
}

/// The same values by way of a copy with reversed axes, so that the strides are unusual.
fn twisted(x: &CpuTensor<f64>) -> CpuTensor<f64> {
    let rank = x.shape().rank();
    let reversed: Vec<usize> = (0..rank).rev().collect();
    let turned = x.permute(&reversed).unwrap();
    let copy = x.device().from_slice(&values(&turned), turned.shape()).unwrap();
    copy.permute(&reversed).unwrap()
}

#[test]
fn element_wise() -> Result<()> {
    let device = device();
    let shapes: [(&[usize], &[usize]); 10] = [
        (&[3, 4], &[3, 4]),
        (&[3, 4], &[4]),
        (&[3, 4], &[3, 1]),
        (&[3, 1], &[1, 4]),
        (&[], &[2, 5]),
        (&[2, 3, 4], &[2, 1, 4]),
        (&[2, 3, 4], &[3, 1]),
        (&[0, 3], &[3]),
        (&[200, 300], &[200, 1]),
        (&[40_000], &[1]),
    ];
    for (a_axes, b_axes) in shapes {
        let (a, b) = (normal(&device, 1, a_axes), normal(&device, 2, b_axes));
        let out = a.shape().broadcast(&b.shape(), "")?;
        let n = out.elements();
        let (x, y) = (values(&a), values(&b));
        let pairs: Vec<(f64, f64)> = (0..n).map(|i| (pick(&x, a_axes, out.axes(), i), pick(&y, b_axes, out.axes(), i))).collect();
        for (a, b) in [(a.clone(), b.clone()), (twisted(&a), b.clone()), (a.clone(), twisted(&b)), (twisted(&a), twisted(&b))] {
            for (op, f) in [
                (Binary::Add, (|a, b| a + b) as fn(f64, f64) -> f64),
                (Binary::Sub, |a, b| a - b),
                (Binary::Mul, |a, b| a * b),
                (Binary::Div, |a, b| a / b),
            ] {
                close(&values(&a.binary(op, &b)?), &pairs.iter().map(|&(a, b)| f(a, b)).collect::<Vec<_>>());
                close(&values(&b.binary(op, &a)?), &pairs.iter().map(|&(a, b)| f(b, a)).collect::<Vec<_>>());
            }
            let less: Vec<f64> = pairs.iter().map(|&(a, b)| f64::from(a < b)).collect();
            assert_eq!(values(&a.compare(Compare::Less, &b)?), less);
            let mask = a.compare(Compare::Less, &device.zeros(Shape::SCALAR)?)?;
            let picked: Vec<f64> = pairs.iter().map(|&(a, b)| if a < 0.0 { b } else { -1.0 }).collect();
            assert_eq!(values(&mask.select(&b, &device.full(-1.0, Shape::SCALAR)?)?), picked);
            close(&values(&a.unary(Unary::Square)?.broadcast(out)?), &pairs.iter().map(|(a, _)| a * a).collect::<Vec<_>>());
        }
    }
    assert!(matches!(normal(&device, 1, &[2, 3]).add(&normal(&device, 1, &[2])), Err(Error::Shape { .. })));
    Ok(())
}

#[test]
fn reductions() -> Result<()> {
    let device = device();
    for axes in [&[3, 4, 5][..], &[2, 700, 3], &[1000, 40], &[5, 20_000], &[3, 0], &[0, 3], &[1], &[70_000]] {
        let x = normal(&device, 3, axes);
        for x in [x.clone(), twisted(&x)] {
            let v = values(&x);
            for axis in 0..axes.len() {
                let (outer, n) = (axes[..axis].iter().product::<usize>(), axes[axis]);
                let inner: usize = axes[axis + 1..].iter().product();
                let (mut sums, mut maxima) = (vec![0.0; outer * inner], vec![f64::NEG_INFINITY; outer * inner]);
                for o in 0..outer {
                    for i in 0..n {
                        for k in 0..inner {
                            let value = v[(o * n + i) * inner + k];
                            sums[o * inner + k] += value;
                            maxima[o * inner + k] = maxima[o * inner + k].max(value);
                        }
                    }
                }
                close(&values(&x.reduce(Reduce::Sum, axis)?), &sums);
                assert_eq!(values(&x.reduce(Reduce::Max, axis)?), maxima);
                assert_eq!(x.reduce(Reduce::Sum, axis)?.shape(), x.shape().with_axis(axis, 1)?);
            }
        }
    }
    assert!(matches!(normal(&device, 1, &[2]).sum(1), Err(Error::Axis { .. })));
    Ok(())
}

#[test]
fn sums_of_a_million() -> Result<()> {
    let device = CpuDevice::<f32>::new();
    let x = device.normal(&Noise::new(1), shape(&[1_000_000]))?.square()?;
    let exact: f64 = x.to_vec::<f64>()?.iter().sum();
    for y in [x.reshape(shape(&[1_000_000]))?, x.reshape(shape(&[1_000_000, 1]))?] {
        let sum = y.sum(0)?.to_vec::<f64>()?[0];
        assert!((sum / exact - 1.0).abs() < 1e-6, "{sum} {exact}");
    }
    let columns: f64 = x.reshape(shape(&[500_000, 2]))?.sum(0)?.to_vec::<f64>()?.iter().sum();
    assert!((columns / exact - 1.0).abs() < 1e-6, "{columns} {exact}");
    // All in two places: those of even entries, and of odd ones.
    let places: Vec<usize> = (0..1_000_000).map(|i| i % 2).collect();
    let scattered: f64 = x.scatter_add(0, &places, 2)?.to_vec::<f64>()?.iter().sum();
    assert!((scattered / exact - 1.0).abs() < 1e-6, "{scattered} {exact}");
    let infinite = device.from_slice(&[f64::INFINITY, 1.0, 3e38, 3e38, -1.0], shape(&[5]))?.scatter_add(0, &[0, 0, 1, 1, 1], 2)?;
    assert_eq!(infinite.to_vec::<f64>()?, [f64::INFINITY; 2]);
    Ok(())
}

#[test]
fn views_and_copies() -> Result<()> {
    let device = device();
    let x = normal(&device, 4, &[4, 5, 6]);
    let v = values(&x);
    let turned = x.permute(&[2, 0, 1])?;
    let expected: Vec<f64> = (0..120).map(|i| v[(i / 5 % 4) * 30 + (i % 5) * 6 + i / 20]).collect();
    assert_eq!(values(&turned), expected);
    assert_eq!(values(&turned.reshape(shape(&[6, 20]))?), expected);
    assert_eq!(values(&turned.reshape(shape(&[3, 2, 20]))?), expected);
    let part = x.slice(1, 1, 3)?;
    let expected: Vec<f64> = (0..72).map(|i| v[i / 18 * 30 + (i / 6 % 3 + 1) * 6 + i % 6]).collect();
    assert_eq!(values(&part), expected);
    assert_eq!(values(&part.reshape(shape(&[4, 18]))?), expected);
    assert_eq!(values(&part.reshape(shape(&[12, 6]))?), expected);
    let rest = [x.slice(1, 0, 1)?, part.clone(), x.slice(1, 4, 1)?, x.slice(1, 5, 0)?];
    assert_eq!(values(&CpuTensor::concat(&rest.iter().collect::<Vec<_>>(), 1)?), v);
    assert_eq!(values(&x.slice(2, 3, 2)?.slice(2, 1, 1)?), (0..20).map(|i| v[i * 6 + 4]).collect::<Vec<_>>());
    let repeated = normal(&device, 5, &[3, 2]).repeat_items(3)?;
    let w = values(&normal(&device, 5, &[3, 2]));
    assert_eq!(values(&repeated), (0..18).map(|i| w[i / 6 * 2 + i % 2]).collect::<Vec<_>>());
    assert!(x.slice(1, 3, 3).is_err() && x.slice(1, usize::MAX, 2).is_err() && x.permute(&[0, 0, 1]).is_err());
    assert!(x.reshape(shape(&[7])).is_err() && x.broadcast(shape(&[4, 5, 1])).is_err());
    // A large transpose.
    let large = normal(&device, 6, &[300, 200]);
    let v = values(&large);
    assert_eq!(values(&large.permute(&[1, 0])?), (0..60_000).map(|i| v[i % 300 * 200 + i / 300]).collect::<Vec<_>>());
    Ok(())
}

#[test]
fn gather_and_scatter() -> Result<()> {
    let device = device();
    let x = normal(&device, 8, &[3, 4, 2]);
    let v = values(&x);
    let index = [3, 0, 3];
    let picked = twisted(&x).gather(1, &index)?;
    let expected: Vec<f64> = (0..18).map(|i| v[i / 6 * 8 + index[i / 2 % 3] * 2 + i % 2]).collect();
    assert_eq!(values(&picked), expected);
    let back = picked.scatter_add(1, &index, 4)?;
    let mut sums = vec![0.0; 24];
    for (i, value) in expected.iter().enumerate() {
        sums[i / 6 * 8 + index[i / 2 % 3] * 2 + i % 2] += value;
    }
    assert_eq!(values(&back), sums);
    assert_eq!(x.gather(1, &[])?.shape(), shape(&[3, 0, 2]));
    assert_eq!(values(&x.gather(1, &[])?.scatter_add(1, &[], 2)?), [0.0; 12]);
    assert!(matches!(x.gather(1, &[4]), Err(Error::Index { .. })));
    assert!(matches!(x.scatter_add(1, &[0, 1, 2, 4], 4), Err(Error::Index { .. })));
    assert!(matches!(x.scatter_add(1, &[0], 4), Err(Error::Length { .. })));
    Ok(())
}

#[test]
fn products() -> Result<()> {
    let device = device();
    let cases: [(&[usize], &[usize], (usize, usize, usize)); 10] = [
        (&[], &[], (3, 4, 5)),
        (&[], &[], (1, 300, 1)),
        (&[2], &[2], (3, 4, 5)),
        (&[2, 1], &[3], (2, 3, 2)),
        (&[3, 2], &[], (4, 5, 6)),
        (&[], &[4], (3, 2, 3)),
        (&[], &[], (700, 20, 30)),
        (&[], &[], (20, 5000, 30)),
        (&[], &[], (3, 0, 2)),
        (&[0], &[], (3, 2, 2)),
    ];
    for (left, right, (m, k, n)) in cases {
        for transpose in [Transpose::NONE, Transpose::LEFT, Transpose::RIGHT, Transpose { left: true, right: true }] {
            let a_axes = [left, &if transpose.left { [k, m] } else { [m, k] }].concat();
            let b_axes = [right, &if transpose.right { [n, k] } else { [k, n] }].concat();
            let (a, b) = (normal(&device, 9, &a_axes), normal(&device, 10, &b_axes));
            let batch = shape(left).broadcast(&shape(right), "")?;
            let (x, y) = (values(&a), values(&b));
            let mut expected: Vec<f64> = Vec::new();
            for index in 0..batch.elements() {
                let numbers = |axes: &[usize]| (0..shape(axes).elements()).map(|i| i as f64).collect::<Vec<_>>();
                let i = pick(&numbers(left), left, batch.axes(), index) as usize * m * k;
                let j = pick(&numbers(right), right, batch.axes(), index) as usize * k * n;
                for r in 0..m {
                    for c in 0..n {
                        let left = |l: usize| x[i + if transpose.left { l * m + r } else { r * k + l }];
                        let right = |l: usize| y[j + if transpose.right { c * k + l } else { l * n + c }];
                        expected.push((0..k).map(|l| left(l) * right(l)).sum());
                    }
                }
            }
            for (a, b) in [(a.clone(), b.clone()), (twisted(&a), b.clone()), (a.clone(), twisted(&b))] {
                let product = a.matmul(&b, transpose)?;
                assert_eq!(product.shape().axes(), [batch.axes(), &[m, n]].concat());
                let found = values(&product);
                for (x, y) in found.iter().zip(&expected) {
                    assert!((x - y).abs() < 1e-10 * (1.0 + y.abs()), "{m} {k} {n} {transpose:?}: {x} {y}");
                }
            }
        }
    }
    let x = normal(&device, 1, &[2, 3]);
    assert!(matches!(x.matmul(&x, Transpose::NONE), Err(Error::Shape { .. })));
    Ok(())
}

#[test]
fn functions() -> Result<()> {
    let double = device();
    let single = CpuDevice::<f32>::new();
    let mut points: Vec<f32> = (-4000..4000).map(|i| i as f32 * 0.025).collect();
    points.extend((0..2000).map(|i| f32::from_bits(i * 1_000_003)));
    points.extend((0..2000).map(|i| -f32::from_bits(i * 1_000_003)));
    points.extend([
        0.0,
        -0.0,
        f32::INFINITY,
        f32::NEG_INFINITY,
        f32::NAN,
        f32::MAX,
        f32::MIN_POSITIVE,
        1e-45,
        88.7,
        88.8,
        -87.4,
        -103.9,
        -105.0,
    ]);
    let whole = shape(&[points.len()]);
    let functions: [(Unary, fn(f64) -> f64); 9] = [
        (Unary::Exp, f64::exp),
        (Unary::Log, f64::ln),
        (Unary::Sin, f64::sin),
        (Unary::Cos, f64::cos),
        (Unary::Tanh, f64::tanh),
        (Unary::Sigmoid, |x| 1.0 / (1.0 + (-x).exp())),
        (Unary::Sqrt, f64::sqrt),
        (Unary::Recip, f64::recip),
        (Unary::Abs, f64::abs),
    ];
    for (op, f) in functions {
        let found = single.from_slice(&points, whole)?.unary(op)?.to_vec::<f32>()?;
        let found_double = double.from_slice(&points, whole)?.unary(op)?.to_vec::<f64>()?;
        for ((&x, y), z) in points.iter().zip(found).zip(found_double) {
            let exact = f(f64::from(x));
            let rounded = exact as f32;
            let same = y == rounded || y.is_nan() && rounded.is_nan();
            let tolerance = 4.0 * f64::from(f32::EPSILON) * exact.abs() + 3e-38 * f64::from(op == Unary::Sigmoid) + 1.5e-45;
            assert!(same || (f64::from(y) - exact).abs() <= tolerance, "{op:?}({x:e}) = {y:e}, not {rounded:e}");
            let same = z == exact || z.is_nan() && exact.is_nan();
            assert!(same || (z - exact).abs() <= 4.0 * f64::EPSILON * exact.abs(), "{op:?}({x:e}) = {z:e}, not {exact:e}");
        }
    }
    Ok(())
}

/// Few rows by a row-major operand, of every width of vectors and what is left of them, against a plain loop.
#[test]
fn few_rows_by_a_row_major_operand() -> Result<()> {
    let (double, single) = (CpuDevice::<f64>::new(), CpuDevice::<f32>::new());
    for m in [1, 2, 3, 5, 6, 7, 16, 63, 64, 65] {
        for (k, n) in [(1, 16), (3, 17), (33, 31), (20, 64), (7, 150), (19, 260), (40, 333)] {
            let a: Vec<f64> = (0..m * k).map(|i| ((i * 37 % 101) as f64 - 50.0) / 16.0).collect();
            let b: Vec<f64> = (0..k * n).map(|i| ((i * 53 % 97) as f64 - 48.0) / 32.0).collect();
            let mut expected = vec![0.0; m * n];
            for (i, p, j) in (0..m).flat_map(|i| (0..k).flat_map(move |p| (0..n).map(move |j| (i, p, j)))) {
                expected[i * n + j] += a[i * k + p] * b[p * n + j];
            }
            let (left, right) = (Shape::new(&[m, k])?, Shape::new(&[k, n])?);
            // Multiples of 1/512 of this size: every sum is exact, in either precision.
            let product = double.from_slice(&a, left)?.matmul(&double.from_slice(&b, right)?, Transpose::NONE)?;
            assert_eq!(product.to_vec::<f64>()?, expected, "[{m}, {k}] by [{k}, {n}], f64");
            let product = single.from_slice(&a, left)?.matmul(&single.from_slice(&b, right)?, Transpose::NONE)?;
            assert_eq!(product.to_vec::<f64>()?, expected, "[{m}, {k}] by [{k}, {n}], f32");
        }
    }
    Ok(())
}
