//! A case run through the decorators: derivatives of the first order and, nested, of the second.

use crate::conformance::case::Case;
use mfm_core::autodiff::{Dual, Tape, Var};
use mfm_core::{Device, Error, Operations, Result, Tensor};

/// A value that moves along `tangent`, if it is chosen.
fn dual<T: Tensor>(value: &T, tangent: &T, chosen: bool) -> Result<Dual<T>> {
    if chosen { Dual::new(value.clone(), tangent.clone()) } else { Ok(Dual::constant(value.clone())) }
}

fn duals<T: Tensor>(values: &[T], tangents: &[T], chosen: &[bool]) -> Result<Vec<Dual<T>>> {
    values.iter().zip(tangents).zip(chosen).map(|((x, v), &chosen)| dual(x, v, chosen)).collect()
}

fn variables<T: Tensor>(tape: &Tape<T>, values: &[T], chosen: &[bool]) -> Vec<Var<T>> {
    let variable = |(x, &chosen): (&T, &bool)| if chosen { tape.variable(x.clone()) } else { Var::constant(x.clone()) };
    values.iter().zip(chosen).map(variable).collect()
}

/// The tangent, zeros where it is absent.
fn tangent_of<T: Tensor>(dual: &Dual<T>) -> Result<T> {
    dual.tangent().map_or_else(|| dual.value().zeros_like(), |tangent| Ok(tangent.clone()))
}

/// The gradients by the chosen variables; zeros where the output does not depend on one, or on none.
fn gradients_or_zeros<T: Tensor>(tape: &Tape<T>, output: &Var<T>, w: &T, variables: &[Var<T>], chosen: &[bool]) -> Result<Vec<T>> {
    let asked = variables.iter().zip(chosen).filter(|(_, chosen)| **chosen).map(|(variable, _)| variable);
    match tape.backward(output, w.clone()) {
        Ok(gradients) => asked.map(|variable| gradients.of_or_zeros(variable)).collect(),
        Err(Error::Independent { .. }) => asked.map(|variable| variable.value().zeros_like()).collect(),
        Err(error) => Err(error),
    }
}

/// The value and the derivative along `v`.
pub fn forward<T: Tensor>(case: &Case, x: &[T], v: &[T], chosen: &[bool]) -> Result<(T, T)> {
    let output = case.run(&duals(x, v, chosen)?)?;
    Ok((output.value().clone(), tangent_of(&output)?))
}

/// The value and the gradient of ⟨output, w⟩ by each chosen input; an error if the output does not depend on one.
pub fn reverse<T: Tensor>(case: &Case, x: &[T], w: &T, chosen: &[bool]) -> Result<(T, Vec<T>)> {
    reverse_of(|x| case.run(x), x, w, chosen)
}

/// The same of the case as a segment that is run again.
pub fn recomputed<T: Tensor>(case: &Case, x: &[T], w: &T, chosen: &[bool]) -> Result<(T, Vec<T>)> {
    reverse_of(|x| Tensor::recompute(case, x), x, w, chosen)
}

fn reverse_of<T: Tensor>(run: impl Fn(&[Var<T>]) -> Result<Var<T>>, x: &[T], w: &T, chosen: &[bool]) -> Result<(T, Vec<T>)> {
    let tape = Tape::new();
    let variables = variables(&tape, x, chosen);
    let output = run(&variables)?;
    let gradients = tape.backward(&output, w.clone())?;
    let asked = variables.iter().zip(chosen).filter(|(_, chosen)| **chosen);
    Ok((output.value().clone(), asked.map(|(variable, _)| gradients.of(variable)).collect::<Result<_>>()?))
}

/// One way to take the second derivative: what it does and its results, one for each chosen input.
pub type Second<T> = fn(&Case, &[T], &[T], &T, &[bool]) -> Result<Vec<T>>;

/// The gradient of ⟨J v, w⟩ by the chosen inputs, over `Dual<Var<T>>`.
pub fn gradient_of_tangent<T: Tensor>(case: &Case, x: &[T], v: &[T], w: &T, chosen: &[bool]) -> Result<Vec<T>> {
    let tape = Tape::new();
    let variables = variables(&tape, x, chosen);
    let directions: Vec<Var<T>> = v.iter().cloned().map(Var::constant).collect();
    let output = case.run(&duals(&variables, &directions, chosen)?)?;
    gradients_or_zeros(&tape, &tangent_of(&output)?, w, &variables, chosen)
}

/// The derivative of Jᵀ w along `v`, over `Var<Dual<T>>`.
pub fn tangent_of_gradient<T: Tensor>(case: &Case, x: &[T], v: &[T], w: &T, chosen: &[bool]) -> Result<Vec<T>> {
    let tape = Tape::new();
    let variables = variables(&tape, &duals(x, v, chosen)?, chosen);
    let output = case.run(&variables)?;
    let gradients = gradients_or_zeros(&tape, &output, &Dual::constant(w.clone()), &variables, chosen)?;
    gradients.iter().map(tangent_of).collect()
}

/// The gradient of ⟨Jᵀ w, v⟩ by the chosen inputs, over `Var<Var<T>>`.
pub fn gradient_of_gradient<T: Tensor>(case: &Case, x: &[T], v: &[T], w: &T, chosen: &[bool]) -> Result<Vec<T>> {
    let (inner, outer) = (Tape::new(), Tape::new());
    let below = variables(&inner, x, chosen);
    let above = variables(&outer, &below, chosen);
    let output = case.run(&above)?;
    let first = gradients_or_zeros(&outer, &output, &Var::constant(w.clone()), &above, chosen)?;
    let directions = v.iter().zip(chosen).filter(|(_, chosen)| **chosen).map(|(v, _)| v);
    let mut product: Option<Var<T>> = None;
    for (gradient, direction) in first.iter().zip(directions) {
        let term = gradient.mul(&Var::constant(direction.clone()))?.sum_all()?;
        product = Some(match product {
            Some(sum) => sum.add(&term)?,
            None => term,
        });
    }
    let product = product.ok_or(Error::Independent { op: "gradient_of_gradient" })?;
    let one = product.value().device().full(1.0, product.shape())?;
    gradients_or_zeros(&inner, &product, &one, &below, chosen)
}

/// The second derivative along `v` twice, over `Dual<Dual<T>>`: one tensor of the output's shape.
pub fn tangent_of_tangent<T: Tensor>(case: &Case, x: &[T], v: &[T], _w: &T, chosen: &[bool]) -> Result<Vec<T>> {
    let moving = duals(x, v, chosen)?;
    let directions: Vec<Dual<T>> = v.iter().cloned().map(Dual::constant).collect();
    let output = case.run(&duals(&moving, &directions, chosen)?)?;
    Ok(vec![tangent_of(&tangent_of(&output)?)?])
}
