//! Coordinates: there and back, rewards and gradients through them, and what they make of constant columns.
#![allow(clippy::unwrap_used)]

mod common;

use common::{Device64, Tensor64, close, normal, tensor, values};
use mfm_core::autodiff::Tape;
use mfm_core::reward::{ByDifferentiation, RewardFormula};
use mfm_core::{Error, Operations, Result, Reward, Tensor};
use mfm_nn::{Coordinates, GaussianConfig};

const MEAN: [f64; 2] = [3.0, -2000.0];
const SCALE: [f64; 2] = [0.5, 1000.0];

fn unequal() -> Coordinates {
    Coordinates::new(MEAN.to_vec(), SCALE.to_vec()).unwrap()
}

#[test]
fn there_and_back() {
    let (device, coordinates) = (Device64::new(), unequal());
    let z = normal(&device, 1, &[4, 1, 2]);
    let x = coordinates.leave(&z).unwrap();
    assert_eq!(x.shape(), z.shape());
    let expected: Vec<f64> = values(&z).chunks(2).flat_map(|z| [3.0 + 0.5 * z[0], -2000.0 + 1000.0 * z[1]]).collect();
    close(&values(&x), &expected, 1e-15);
    close(&values(&coordinates.enter(&x).unwrap()), &values(&z), 1e-12);
    let scaled: Vec<f64> = values(&z).chunks(2).flat_map(|v| [0.5 * v[0], 1000.0 * v[1]]).collect();
    close(&values(&coordinates.leave_velocity(&z).unwrap()), &scaled, 1e-15);
    close(&values(&coordinates.enter_gradient(&z).unwrap()), &scaled, 1e-15);
    close(&values(&coordinates.leave_gradient(&coordinates.enter_gradient(&z).unwrap()).unwrap()), &values(&z), 1e-15);
    let three = normal(&device, 1, &[4, 3]);
    assert!(matches!(coordinates.enter(&three), Err(Error::Length { expected: 2, found: 3, .. })));
    let own = Coordinates::default();
    assert!(own.is_identity() && own.mean().is_empty());
    assert_eq!(values(&own.leave(&own.enter(&three).unwrap()).unwrap()), values(&three));
}

/// −x₁⁴/(x₂² + 1).
struct Bent;

impl RewardFormula for Bent {
    fn evaluate<T: Tensor>(&self, x: &T) -> Result<T> {
        let column = |k| x.slice(1, k, 1)?.sum_items();
        column(0)?.square()?.square()?.div(&column(1)?.square()?.shift(1.0)?)?.scale(-1.0)
    }
}

#[test]
fn rewards_are_composed() {
    let (device, coordinates) = (Device64::new(), Coordinates::new(vec![3.0, 0.7], vec![0.5, 4.0]).unwrap());
    let reward = coordinates.reward(ByDifferentiation(Bent));
    let at = |z: &[f64]| values(&reward.value(&tensor(&device, z, &[1, 2])).unwrap())[0];
    let bent = |z: [f64; 2]| -(3.0 + 0.5 * z[0]).powi(4) / ((0.7 + 4.0 * z[1]).powi(2) + 1.0);
    let z = normal(&device, 2, &[5, 2]);
    let (value, gradient) = reward.value_and_gradient(&z).unwrap();
    let (value, gradient) = (values(&value), values(&gradient));
    for (k, z) in values(&z).chunks(2).enumerate() {
        assert!((value[k] - bent([z[0], z[1]])).abs() < 1e-12 * value[k].abs());
        let h = 1e-5;
        // Central differences: off by h² times a third derivative, and rounding over h.
        let slopes = [at(&[z[0] + h, z[1]]) - at(&[z[0] - h, z[1]]), at(&[z[0], z[1] + h]) - at(&[z[0], z[1] - h])];
        for (slope, found) in slopes.into_iter().zip(&gradient[2 * k..]) {
            assert!((slope / (2.0 * h) - found).abs() < 1e-6 * (1.0 + found.abs() + value[k].abs()), "{slope} {found}");
        }
    }
    // The same through a tape.
    let tape = Tape::new();
    let variable = tape.variable(z.clone());
    let taped = reward.value(&variable).unwrap();
    let ones: Tensor64 = taped.value().zeros_like().unwrap().shift(1.0).unwrap();
    close(&values(&tape.backward(&taped, ones).unwrap().of(&variable).unwrap()), &gradient, 1e-13);
}

#[test]
fn columns_are_standardised() {
    let rows = [1.0, 7.0, 10.0, 3.0, 7.0, 14.0];
    let found = Coordinates::of_data(&rows, 3).unwrap();
    // The first varies, so its scale is not that of a column that does not.
    assert_eq!((found.mean(), found.scale()), (&[2.0, 7.0, 12.0][..], &[1.0_f64.next_up(), 1.0, 2.0][..]));
    let (gaussian, mean) = GaussianConfig::of_data(&rows, 3).unwrap();
    assert!((gaussian.deviation - (5.0f64 / 3.0).sqrt()).abs() < 1e-7 && mean == [2.0, 7.0, 12.0]);
}

/// 1.7·10⁹ ± 10 and 10⁶ ± 1, which single precision knows in steps of 128 and of 1/16; a constant; and one that is a little too far.
#[test]
fn columns_far_from_zero() {
    let point = |k: i32| [1.7e9 + 10.0 * f64::from(k % 3), 1e6 + f64::from(k % 2), 1.7e9 + 1.0, 5000.0 + f64::from(k % 2)];
    let rows: Vec<f64> = (0..12).flat_map(point).collect();
    let found = Coordinates::of_data(&rows, 4).unwrap();
    close(found.mean(), &[1.7e9 + 10.0, 1e6 + 0.5, 1.7e9 + 1.0, 5000.5], 1e-15);
    close(found.scale(), &[10.0 * (2.0f64 / 3.0).sqrt(), 0.5, 1.0, 0.5], 1e-12);
    assert_eq!(found.far_from_zero().collect::<Vec<_>>(), [0, 1, 2, 3]);
    assert_eq!(found.beyond_single(), Some(0));
    // A constant is told from nothing, but what has the deviation 1 is no constant.
    let of = |column: [f64; 2]| Coordinates::of_data(&column, 1).unwrap().beyond_single();
    assert_eq!([of([1.7e9; 2]), of([1.7e9 - 1.0, 1.7e9 + 1.0]), of([-1.0, 1.0])], [None, Some(0), None]);
    assert_eq!(Coordinates::new(vec![8000.0, -9000.0], vec![1.0; 2]).unwrap().far_from_zero().collect::<Vec<_>>(), [1]);
    let z = found.enter_rows(&rows).unwrap();
    for (z, k) in z.chunks(4).zip(0..) {
        let expected = [f64::from(k % 3 - 1) * 1.5f64.sqrt(), f64::from(k % 2 * 2 - 1), 0.0, f64::from(k % 2 * 2 - 1)];
        close(&z.iter().map(|z| f64::from(*z)).collect::<Vec<_>>(), &expected, 1e-6);
    }
    close(&found.leave_rows(&z).unwrap(), &rows, 1e-15);
    assert!(matches!(found.enter_rows(&rows[..6]), Err(Error::Length { expected: 8, found: 6, .. })));
    let own = Coordinates::default();
    assert_eq!(
        (own.enter_rows(&[0.1]).unwrap(), own.leave_rows(&[0.1]).unwrap(), own.far_from_zero().next()),
        (vec![0.1f32], vec![0.1], None)
    );
}

/// Sums of equal numbers are rounded, but these do not vary.
#[test]
fn equal_rows_do_not_vary() {
    for count in 1..40 {
        let rows = [0.1, 0.2, 0.3].repeat(count);
        let found = Coordinates::of_data(&rows, 3).unwrap();
        assert_eq!((found.scale(), found.mean()), (&[1.0; 3][..], &[0.1f32, 0.2, 0.3].map(f64::from)[..]), "{count} rows");
        let (gaussian, mean) = GaussianConfig::of_data(&rows, 3).unwrap();
        assert_eq!((gaussian.deviation, &mean[..]), (1.0, found.mean()), "{count} rows");
    }
}

#[test]
fn impossible_ones_are_refused() {
    let of = |mean: &[f64], scale: &[f64]| Coordinates::new(mean.to_vec(), scale.to_vec()).unwrap_err();
    assert!(matches!(of(&[], &[]), Error::Length { .. }));
    assert!(matches!(of(&[1.0], &[1.0, 2.0]), Error::Length { expected: 1, found: 2, .. }));
    for bad in [f64::NAN, f64::INFINITY, -1e31] {
        assert!(matches!(of(&[0.0, bad], &[1.0, 1.0]), Error::Range { what: "the mean of a column", .. }), "{bad}");
    }
    for bad in [f64::NAN, f64::INFINITY, 0.0, -1.0, 1e-31] {
        assert!(matches!(of(&[0.0, 0.0], &[1.0, bad]), Error::Range { what: "the scale of a column", .. }), "{bad}");
    }
    assert!(matches!(Coordinates::of_data(&[f32::MAX, -f32::MAX], 1), Err(Error::Range { .. })));
    // No rows, no columns, and half a row.
    for (rows, dimension) in [(&[][..], 2), (&[1.0, 2.0][..], 0)] {
        assert!(matches!(Coordinates::of_data::<f32>(rows, dimension), Err(Error::Range { .. })));
        assert!(matches!(GaussianConfig::of_data(rows, dimension), Err(Error::Range { .. })));
    }
    assert!(matches!(Coordinates::of_data(&[0.0_f32; 5], 2), Err(Error::Length { op: "the last row", expected: 2, found: 1 })));
}
