//! What may not be done with a tape is an error, never a wrong number.

use crate::conformance::case::{Case, shape};
use crate::conformance::failure::{Check, Failure, Within};
use crate::conformance::input::{Domain, Layout};
use crate::conformance::tables::{DIFFERENTIABLE, Group, HOOKS};
use mfm_core::autodiff::{Tape, Var, gradient, jvp, vjp};
use mfm_core::{Device, Error, Operations, Result, Tensor};

/// An `Err` for which `kind` holds.
fn refused<T>(outcome: Result<T>, kind: fn(&Error) -> bool, what: &str) -> Check {
    match outcome {
        Err(error) if kind(&error) => Ok(()),
        Err(error) => Err(Failure::new(format!("{what}: {error:?}, which is another error than documented"))),
        Ok(_) => Err(Failure::new(format!("{what}: no error"))),
    }
}

fn other_tape(error: &Error) -> bool {
    matches!(error, Error::Tape { .. })
}

fn independent(error: &Error) -> bool {
    matches!(error, Error::Independent { .. })
}

/// Two tapes in one operation, a tape used twice, a cotangent of the wrong shape.
///
/// # Errors
/// What is not refused.
pub fn tapes<D: Device>(device: &D) -> Check {
    for group in DIFFERENTIABLE.into_iter().chain(HOOKS) {
        let several = |case: &Case| case.inputs.iter().filter(|input| input.domain != Domain::Mask).count() > 1 && case.elements() < 1000;
        for case in group.cases().into_iter().filter(several) {
            let inputs = case.build(device, Layout::Contiguous)?;
            let last = inputs.len() - 1;
            let (one, two) = (Tape::new(), Tape::new());
            let mixed: Vec<_> = (0..).zip(inputs).map(|(i, x)| if i == last { two.variable(x) } else { one.variable(x) }).collect();
            let mixed: Vec<_> = match group {
                Group::Select => mixed.into_iter().zip(0..).map(|(x, i)| if i == 0 { x.detach() } else { x }).collect(),
                _ => mixed,
            };
            refused(case.run(&mixed), other_tape, "two tapes").within(|| case.name())?;
        }
    }
    let ones = device.full(1.0, shape(&[3]))?;
    let tape = Tape::new();
    let (x, z) = (tape.variable(ones.clone()), tape.variable(ones.clone()));
    let y = x.square()?;
    refused(tape.backward(&y, device.full(1.0, shape(&[4]))?), |e| matches!(e, Error::Shape { .. }), "a cotangent of another shape")?;
    refused(Tape::new().backward(&y, ones.clone()), other_tape, "backward on another tape")?;
    let gradients = tape.backward(&y, ones.clone())?;
    gradients.of(&x)?;
    refused(gradients.of(&z), independent, "a variable without influence")?;
    refused(gradients.of(&Tape::new().variable(ones.clone())), other_tape, "a variable of another tape")?;
    refused(tape.backward(&y, ones.clone()), other_tape, "a tape used twice")?;
    // What a used tape records from its old values must not be taken for something else.
    let square = x.square()?;
    let again = x.mul(&square)?.mul(&y)?;
    match tape.backward(&again, ones.clone()).and_then(|gradients| gradients.of(&x)) {
        Err(error) if other_tape(&error) || independent(&error) => {}
        Err(error) => return Err(Failure::from(error).within("recorded on a used tape")),
        Ok(_) => return Err(Failure::new("values recorded on a used tape were differentiated")),
    }
    let fresh = tape.variable(ones.clone());
    let gradients = tape.backward(&fresh.square()?, ones.clone()).within(|| "a fresh variable on a used tape")?;
    let doubled: Vec<f64> = gradients.of(&fresh)?.to_vec()?;
    if doubled != [2.0; 3] {
        return Err(Failure::new("a fresh variable on a used tape has a wrong gradient"));
    }
    refused(gradient(&[&ones], |x| x[0].square()), |e| matches!(e, Error::Shape { .. }), "the gradient of a vector")?;
    refused(jvp(&[&ones], &[], |x| x[0].square()), |e| matches!(e, Error::Length { .. }), "a missing direction")
}

/// An output that does not depend on a tracked input is an error, not zeros.
///
/// # Errors
/// What is not refused.
pub fn independence<D: Device>(device: &D) -> Check {
    type Map<T> = fn(&[Var<T>]) -> Result<Var<T>>;
    let x = device.full(2.0, shape(&[3]))?;
    let unit = |y: &D::Tensor| device.full(1.0, y.shape());
    let maps: [(&str, Map<D::Tensor>); 5] = [
        ("a constant", |x| Ok(Var::constant(x[0].value().clone()))),
        ("detached", |x| x[0].detach().mul(&x[0].detach())),
        ("compared", |x| x[0].compare(mfm_core::tensor::Compare::Less, &x[1])),
        ("one of two", |x| x[0].square()),
        ("the other of two", |x| x[1].square()),
    ];
    for (name, map) in maps {
        refused(vjp(&[&x, &x], map, unit), independent, name)?;
    }
    // A mask decides, but does not move.
    let chosen = |x: &[Var<D::Tensor>]| x[0].select(&x[1].square()?, &x[1]);
    refused(vjp(&[&x, &x], chosen, unit), independent, "the mask of select")?;
    vjp(&[&x], |x| x[0].select(&x[0].square()?, &x[0]), unit).within(|| "select of a tracked mask")?;
    Ok(())
}
