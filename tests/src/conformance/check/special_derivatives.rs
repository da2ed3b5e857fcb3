//! Derivatives where a careless rule gives NaN, against values by hand.

use super::{judge, judge_failed};
use crate::conformance::case::shape;
use crate::conformance::failure::{Check, Within};
use crate::conformance::operation::Operation;
use crate::conformance::tolerances::Tolerances;
use mfm_core::autodiff::{jvp, vjp};
use mfm_core::tensor::{Activation, Fused, Reduce, Unary};
use mfm_core::{Device, Shape, Tensor};

const INF: f64 = f64::INFINITY;
const NAN: f64 = f64::NAN;

/// `expected` for a tensor, to some ten roundings of numbers near one.
fn close<T: Tensor>(tolerances: &Tolerances, actual: &T, expected: &[f64], what: &str) -> Check {
    let expected = judge(tolerances).from_slice(expected, actual.shape()).map_err(judge_failed)?;
    let spread = expected.unary(Unary::Scale(1.0)).map_err(judge_failed)?;
    tolerances.agree(&spread, actual).within(|| what)
}

/// A branch that is not chosen leaks nothing, be it NaN or infinite, in value, tangent or cotangent.
///
/// # Errors
/// What leaks.
pub fn select_without_nan<D: Device>(device: &D, tolerances: &Tolerances) -> Check {
    let line = shape(&[4]);
    let of = |values: [f64; 4]| device.from_slice(&values, line);
    let (mask, yes, no) = (of([1.0, 0.0, 1.0, 0.0])?, of([1.0, NAN, 3.0, INF])?, of([NAN, 2.0, -INF, 4.0])?);
    let (yes_tangent, no_tangent) = (of([5.0, NAN, 6.0, NAN])?, of([NAN, 7.0, INF, 8.0])?);
    let (value, tangent) = jvp(&[&mask, &yes, &no], &[&no, &yes_tangent, &no_tangent], |x| x[0].select(&x[1], &x[2]))?;
    close(tolerances, &value, &[1.0, 2.0, 3.0, 4.0], "select, value")?;
    close(tolerances, &tangent, &[5.0, 7.0, 6.0, 8.0], "select, tangent")?;
    let constant = mfm_core::autodiff::Var::constant(mask);
    let (value, gradients) = vjp(&[&yes, &no], |x| constant.select(&x[0], &x[1]), |_| of([1.0, 2.0, 3.0, 4.0]))?;
    close(tolerances, &value, &[1.0, 2.0, 3.0, 4.0], "select, value on a tape")?;
    close(tolerances, &gradients[0], &[1.0, 0.0, 3.0, 0.0], "select, gradient by yes")?;
    close(tolerances, &gradients[1], &[0.0, 2.0, 0.0, 4.0], "select, gradient by no")
}

/// Ties share the derivative of a maximum.
///
/// # Errors
/// The first difference.
pub fn maximum_ties<D: Device>(device: &D, tolerances: &Tolerances) -> Check {
    let x = device.from_slice(&[1.0, 3.0, 3.0, 2.0, 5.0, 5.0, 5.0, 5.0, -INF, 1.0, -INF, 0.0], shape(&[3, 4]))?;
    let v = device.from_slice(&[9.0, 1.0, 3.0, 9.0, 1.0, 2.0, 3.0, 6.0, 9.0, 4.0, 9.0, 9.0], shape(&[3, 4]))?;
    let shares = [0.0, 1.0, 1.0, 0.0, 1.0, 1.0, 1.0, 1.0, 0.0, 4.0, 0.0, 0.0];
    for (name, turned) in [("rows", false), ("columns", true)] {
        let turn = |t: &D::Tensor| if turned { t.permute(&[1, 0]) } else { Ok(t.clone()) };
        let axis = usize::from(!turned);
        let (x, v) = (turn(&x)?, turn(&v)?);
        let (_, tangent) = jvp(&[&x], &[&v], |x| x[0].reduce(Reduce::Max, axis)).within(|| name)?;
        close(tolerances, &tangent, &[2.0, 3.0, 4.0], "maximum with ties, tangent").within(|| name)?;
        let weights = |y: &D::Tensor| device.from_slice(&[2.0, 4.0, 4.0], y.shape());
        let (_, gradients) = vjp(&[&x], |x| x[0].reduce(Reduce::Max, axis), weights).within(|| name)?;
        close(tolerances, &turn(&gradients[0])?, &shares, "maximum with ties, gradient").within(|| name)?;
    }
    Ok(())
}

/// Functions at arguments where their derivative vanishes, saturates or is infinite; none is NaN.
///
/// # Errors
/// The first difference.
pub fn saturated_derivatives<D: Device>(device: &D, tolerances: &Tolerances) -> Check {
    let activate = |activation| Operation::Fused(Fused::Activate { activation });
    let unary = Operation::Unary;
    let points: [(Operation, &[f64], &[f64]); 12] = [
        (unary(Unary::Sigmoid), &[-1000.0, 1000.0, 0.0], &[0.0, 0.0, 0.25]),
        (unary(Unary::Tanh), &[-100.0, 100.0, 0.0], &[0.0, 0.0, 1.0]),
        (unary(Unary::Abs), &[-2.0, 0.0, 2.0], &[-1.0, 0.0, 1.0]),
        (unary(Unary::Exp), &[-1000.0, 0.0], &[0.0, 1.0]),
        (unary(Unary::Log), &[0.0, 2.0], &[INF, 0.5]),
        (unary(Unary::Sqrt), &[0.0, 4.0], &[INF, 0.25]),
        (activate(Activation::Silu), &[-1000.0, 1000.0, 0.0], &[0.0, 1.0, 0.5]),
        (activate(Activation::Gelu), &[-1000.0, 1000.0, 0.0], &[0.0, 1.0, 0.5]),
        (activate(Activation::Tanh), &[-1000.0, 1000.0, 0.0], &[0.0, 0.0, 1.0]),
        (Operation::Fused(Fused::LogMeanExp { axis: 0 }), &[-1000.0, 1000.0, 1000.0], &[0.0, 0.5, 0.5]),
        (Operation::Fused(Fused::LogMeanExp { axis: 0 }), &[-INF, 3.0, -INF, 3.0], &[0.0, 0.5, 0.0, 0.5]),
        (Operation::Fused(Fused::LogMeanExp { axis: 0 }), &[-1000.0, -1000.0], &[0.5, 0.5]),
    ];
    for (operation, x, slopes) in points {
        gradient_is(device, tolerances, &operation, x, slopes).within(|| format!("{operation:?} at {x:?}"))?;
    }
    softmax_is(device, tolerances)
}

/// The gradient of Σ f(x), and f along each unit direction.
fn gradient_is<D: Device>(device: &D, tolerances: &Tolerances, operation: &Operation, x: &[f64], slopes: &[f64]) -> Check {
    let x = device.from_slice(x, shape(&[x.len()]))?;
    let ones = |y: &D::Tensor| device.full(1.0, y.shape());
    let (value, gradients) = vjp(&[&x], |x| operation.apply(&[&x[0]]), ones)?;
    close(tolerances, &gradients[0], slopes, "gradient")?;
    for (i, slope) in slopes.iter().enumerate().filter(|(_, slope)| slope.is_finite()) {
        let unit: Vec<f64> = (0..slopes.len()).map(|k| f64::from(u8::from(k == i))).collect();
        let unit = device.from_slice(&unit, x.shape())?;
        let (_, tangent) = jvp(&[&x], &[&unit], |x| operation.apply(&[&x[0]]))?;
        let along: Vec<f64> = tangent.to_vec()?;
        let own = if value.shape().elements() == 1 { along.first() } else { along.get(i) };
        let own = device.full(own.copied().unwrap_or(NAN), Shape::SCALAR)?;
        close(tolerances, &own, &[*slope], "tangent").within(|| format!("direction {i}"))?;
    }
    Ok(())
}

/// Entries of −∞ have probability zero, and neither give nor take a derivative.
fn softmax_is<D: Device>(device: &D, tolerances: &Tolerances) -> Check {
    let line = shape(&[4]);
    let x = device.from_slice(&[-INF, 1000.0, 1000.0, -INF], line)?;
    let v = device.from_slice(&[5.0, 1.0, 0.0, 7.0], line)?;
    let along = |x: &[mfm_core::autodiff::Dual<D::Tensor>]| Fused::Softmax { axis: 0 }.apply(&[&x[0]]);
    let (value, tangent) = jvp(&[&x], &[&v], along)?;
    close(tolerances, &value, &[0.0, 0.5, 0.5, 0.0], "softmax with −∞")?;
    close(tolerances, &tangent, &[0.0, 0.25, -0.25, 0.0], "softmax with −∞, tangent")?;
    let (_, gradients) = vjp(&[&x], |x| Fused::Softmax { axis: 0 }.apply(&[&x[0]]), |_| Ok(v.clone()))?;
    close(tolerances, &gradients[0], &[0.0, 0.25, -0.25, 0.0], "softmax with −∞, gradient")
}
