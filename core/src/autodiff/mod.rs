//! Forward and reverse differentiation over any tensor.
//!
//! [`Dual`] and [`Var`] implement [`Tensor`] themselves, so the same formula gives values (`T`), Jacobian–vector products
//! (`Dual<T>`), gradients (`Var<T>`), and, nested, the gradient of a Jacobian–vector product (`Dual<Var<T>>`) or the product of
//! a gradient (`Var<Dual<T>>`).

mod dual;
mod rules;
mod var;

pub use dual::{Dual, DualDevice};
pub use var::{Gradients, Tape, Var, VarDevice};

use crate::error::{Error, Result};
use crate::tensor::{Device, Operations, Tensor};
use alloc::vec::Vec;

/// The value of `f` and its derivative along `tangents`, one for each input: (f(x), ∂f(x)·ẋ).
///
/// # Errors
/// Those of `f`; [`Error::Length`] unless there is one tangent for each input; [`Error::Shape`] if a tangent differs in shape from
/// its input. An output that depends on no input has a tangent of zero.
pub fn jvp<T: Tensor>(inputs: &[&T], tangents: &[&T], f: impl FnOnce(&[Dual<T>]) -> Result<Dual<T>>) -> Result<(T, T)> {
    if inputs.len() != tangents.len() {
        return Err(Error::Length { op: "jvp", expected: inputs.len(), found: tangents.len() });
    }
    let duals = inputs.iter().zip(tangents).map(|(x, dx)| Dual::new((*x).clone(), (*dx).clone())).collect::<Result<Vec<_>>>()?;
    let (value, tangent) = f(&duals)?.into_parts();
    let tangent = match tangent {
        Some(tangent) => tangent,
        None => value.zeros_like()?,
    };
    Ok((value, tangent))
}

/// The value of `f` and, for a `cotangent` of the same shape, the gradient of ⟨f(x), cotangent⟩ by each input.
///
/// # Errors
/// Those of `f`; [`Error::Independent`] if the output does not depend on an input; [`Error::Shape`] if the cotangent differs in
/// shape from the output.
pub fn vjp<T: Tensor>(
    inputs: &[&T],
    f: impl FnOnce(&[Var<T>]) -> Result<Var<T>>,
    cotangent: impl FnOnce(&T) -> Result<T>,
) -> Result<(T, Vec<T>)> {
    let tape = Tape::new();
    let vars: Vec<Var<T>> = inputs.iter().map(|x| tape.variable((*x).clone())).collect();
    let output = f(&vars)?;
    let value = output.value().clone();
    let cotangent = cotangent(&value)?;
    let gradients = tape.backward(&output, cotangent)?;
    drop(output);
    let gradients = vars.iter().map(|x| gradients.of(x)).collect::<Result<Vec<_>>>()?;
    Ok((value, gradients))
}

/// The value of a scalar function and its gradient by each input.
///
/// # Errors
/// As [`vjp`]; [`Error::Shape`] if the output has more than one element.
pub fn gradient<T: Tensor>(inputs: &[&T], f: impl FnOnce(&[Var<T>]) -> Result<Var<T>>) -> Result<(T, Vec<T>)> {
    vjp(inputs, f, |value| {
        let shape = value.shape();
        if shape.elements() != 1 {
            return Err(Error::Shape { op: "gradient", left: shape, right: crate::Shape::SCALAR });
        }
        value.device().full(1.0, shape)
    })
}
