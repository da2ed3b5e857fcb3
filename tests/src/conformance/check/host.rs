//! To the host and back, in both element types, from every layout; creation.

use super::{judge, judge_failed};
use crate::conformance::case::{Case, shape};
use crate::conformance::failure::{Check, Within, require};
use crate::conformance::input::LAYOUTS;
use crate::conformance::tables::Group;
use crate::conformance::tolerances::Tolerances;
use mfm_core::tensor::Element;
use mfm_core::{Device, Operations, Shape, Tensor};

/// 2¹²⁶, near the end of the range of f32 and of bf16, which hold it exactly.
const LARGE: f64 = (1u128 << 126) as f64;

/// Numbers that no device, or not every one, holds exactly, or at all.
const BETWEEN: [f64; 9] = [0.1, -1.0 / 3.0, std::f64::consts::PI, 1e-10, 123_456_789.123_456_79, -1e20, 1e300, -1e300, 1e-300];

/// Values go to the device and come back unchanged, as f32 and as f64; numbers between two of the device's go to a near one, and those beyond its range
/// to ∞.
///
/// # Errors
/// The first difference.
pub fn transfer<D: Device>(device: &D, tolerances: &Tolerances) -> Check {
    // The cases of `detach` are one of every kind of shape.
    for case in Group::Detach.cases() {
        one_shape::<D, f64>(device, &case).within(|| format!("f64, {}", case.inputs[0].shape))?;
        one_shape::<D, f32>(device, &case).within(|| format!("f32, {}", case.inputs[0].shape))?;
    }
    let special = [0.0, -0.0, f64::INFINITY, f64::NEG_INFINITY, f64::NAN, 1.5, -2.0, LARGE, -LARGE];
    let back: Vec<f64> = device.from_slice(&special, shape(&[9]))?.to_vec()?;
    same_bits(&special, &back).within(|| "special values")?;
    let line = shape(&[BETWEEN.len()]);
    let expected = judge(tolerances).from_slice(&BETWEEN, line).map_err(judge_failed)?;
    tolerances.agree(&expected, &device.from_slice(&BETWEEN, line)?).within(|| "rounding from f64")?;
    let single: [f32; 3] = [0.1, -1.0 / 3.0, 1e-10];
    let expected = judge(tolerances).from_slice(&single, shape(&[3])).map_err(judge_failed)?;
    tolerances.agree(&expected, &device.from_slice(&single, shape(&[3]))?).within(|| "rounding from f32")
}

fn one_shape<D: Device, E: Element>(device: &D, case: &Case) -> Check {
    for layout in LAYOUTS {
        let place = || format!("{layout:?}");
        let tensor = &case.build(device, layout).within(place)?[0];
        let expected = case.build(&judge(&Tolerances::F64), layout).map_err(judge_failed)?[0].values();
        let values: Vec<E> = tensor.to_vec().within(place)?;
        let exact: Vec<f64> = values.iter().map(|value| value.to_f64()).collect();
        same_bits(&expected, &exact).within(place)?;
        let again: Vec<f64> = device.from_slice(&values, tensor.shape()).within(place)?.to_vec()?;
        same_bits(&expected, &again).within(|| "there and back").within(place)?;
    }
    Ok(())
}

/// Equal bit for bit, but that all NaN are one.
pub(super) fn same_bits(expected: &[f64], actual: &[f64]) -> Check {
    require(expected.len() == actual.len(), || format!("{} values instead of {}", actual.len(), expected.len()))?;
    let same = |a: f64, b: f64| a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan());
    match expected.iter().zip(actual).position(|(a, b)| !same(*a, *b)) {
        Some(i) => require(false, || format!("element {i} is {:e} instead of {:e}", actual[i], expected[i])),
        None => Ok(()),
    }
}

/// Constants, which are the numbers that `from_slice` gives, the device of a tensor, and what `detach` and `is_tracked` say of a backend's own tensors.
///
/// # Errors
/// The first difference.
pub fn creation<D: Device>(device: &D) -> Check {
    for case in Group::Detach.cases() {
        let shape: Shape = case.inputs[0].shape;
        let place = || shape.to_string();
        for value in [1.5, -0.25, 0.0, -0.0, LARGE, -LARGE, f64::INFINITY, f64::NAN] {
            let full = device.full(value, shape).within(place)?;
            require(full.shape() == shape, || format!("full has the shape {}", full.shape())).within(place)?;
            same_bits(&vec![value; shape.elements()], &full.to_vec()?).within(|| "full").within(place)?;
        }
        for value in BETWEEN {
            let (full, one) = (device.full(value, shape).within(place)?, device.from_slice(&[value], Shape::SCALAR)?);
            let one: Vec<f64> = one.to_vec()?;
            same_bits(&vec![one[0]; shape.elements()], &full.to_vec()?).within(|| "full and from_slice").within(place)?;
        }
        let zeros = device.zeros(shape).within(place)?;
        same_bits(&vec![0.0; shape.elements()], &zeros.to_vec()?).within(|| "zeros").within(place)?;
        let like = zeros.device().full(2.0, shape).and_then(|two| two.zeros_like()).within(place)?;
        same_bits(&vec![0.0; shape.elements()], &like.to_vec()?).within(|| "zeros_like").within(place)?;
        require(!zeros.is_tracked() && !zeros.detach().is_tracked(), || "a plain tensor is tracked")?;
    }
    require(<D::Tensor as Tensor>::DERIVATIVES == 0, || "a backend's own tensor takes no derivatives")?;
    device.sync().within(|| "sync")
}
