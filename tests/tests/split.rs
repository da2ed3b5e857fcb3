//! The pullback of a split: what it costs, beside what the tables of the conformance suite say of its values and derivatives.
#![allow(clippy::unwrap_used)] // helpers of tests are tests

use mfm_core::autodiff::{Dual, Tape, Var};
use mfm_core::{Device, Error, Operations, Result, Shape, Tensor};
use mfm_cpu_ref::{CpuDevice, CpuTensor};

type Host = CpuTensor<f64>;
type Inner = Var<Host>;
type Outer = Var<Inner>;

fn counting(shape: &[usize]) -> Result<Host> {
    let shape = Shape::new(shape)?;
    let values: Vec<f64> = (0..shape.elements()).map(|i| (i as f64 * 0.37).sin()).collect();
    CpuDevice::<f64>::new().from_slice(&values, shape)
}

/// The number of entries of a tape.
fn entries<T: Tensor>(tape: &Tape<T>) -> usize {
    let text = format!("{tape:?}");
    text.strip_prefix("Tape(").and_then(|text| text.strip_suffix(" entries)")).unwrap().parse().unwrap()
}

/// x in parts of one, two and three columns.
fn parts<T: Tensor>(x: &T) -> Result<Vec<T>> {
    x.split(1, &[1, 2, 3])
}

fn slices<T: Tensor>(x: &T) -> Result<Vec<T>> {
    [(0, 1), (1, 2), (3, 3)].into_iter().map(|(start, length)| x.slice(1, start, length)).collect()
}

/// How many operations the pullback of `f` records when its cotangent is itself tracked, and the gradient.
fn pulled(f: impl Fn(&Outer) -> Result<Outer>) -> Result<(usize, Vec<f64>)> {
    let (inner, outer) = (Tape::<Host>::new(), Tape::<Inner>::new());
    let x = outer.variable(Inner::constant(counting(&[2, 6])?));
    let y = f(&x)?;
    let cotangent = inner.variable(counting(y.shape().axes())?);
    let before = entries(&inner);
    let gradient = outer.backward(&y, cotangent)?.of(&x)?;
    Ok((entries(&inner) - before, gradient.to_vec()?))
}

/// The sum of all elements of the square of every part.
fn energy<T: Tensor>(parts: &[T]) -> Result<T> {
    let mut sum = parts[0].square()?.sum_all()?;
    for part in &parts[1..] {
        sum = sum.add(&part.square()?.sum_all()?)?;
    }
    Ok(sum)
}

#[test]
fn all_parts_are_pulled_back_by_one_concatenation() {
    // The pullback of the concatenation is three slices; then one concatenation.
    let all = |cut: fn(&Outer) -> Result<Vec<Outer>>| {
        move |x: &Outer| {
            let parts = cut(x)?;
            Outer::concat(&[&parts[2], &parts[0], &parts[1]], 1)
        }
    };
    let (count, gradient) = pulled(all(parts)).unwrap();
    assert_eq!(count, 3 + 1);
    let (more, same) = pulled(all(slices)).unwrap();
    assert_eq!(more, 3 + 3 + 2);
    assert_eq!(gradient, same);
}

#[test]
fn a_part_without_cotangent_is_zeros_and_one_used_twice_a_sum() {
    // Two slices, one addition, one concatenation: the zeros are a constant.
    let twice = |cut: fn(&Outer) -> Result<Vec<Outer>>| {
        move |x: &Outer| {
            let parts = cut(x)?;
            Outer::concat(&[&parts[1], &parts[1]], 1)
        }
    };
    let (count, gradient) = pulled(twice(parts)).unwrap();
    assert_eq!(count, 2 + 1 + 1);
    assert_eq!(gradient, pulled(twice(slices)).unwrap().1);
    assert!([0, 3, 4, 5, 6, 9, 10, 11].iter().all(|&i| gradient[i] == 0.0) && gradient[1] != 0.0, "{gradient:?}");
}

#[test]
fn a_part_that_is_the_output_ends_the_tape() {
    for i in 0..3 {
        let (count, gradient) = pulled(|x| Ok(parts(x)?.swap_remove(i))).unwrap();
        assert_eq!((count, gradient), (1, pulled(|x| Ok(slices(x)?.swap_remove(i))).unwrap().1));
    }
}

#[test]
fn the_whole_as_one_part_costs_nothing() {
    assert_eq!(pulled(|x| Ok(x.split(1, &[6])?.swap_remove(0))).unwrap().0, 0);
}

#[test]
fn without_a_cotangent_nothing_is_pulled_back() {
    let tape = Tape::new();
    let (x, z) = (tape.variable(counting(&[2, 6]).unwrap()), tape.variable(counting(&[3]).unwrap()));
    let parts = parts(&x).unwrap();
    let gradients = tape.backward(&z.square().unwrap(), counting(&[3]).unwrap()).unwrap();
    assert_eq!(gradients.of(&x).unwrap_err(), Error::Independent { op: "gradient" });
    assert_eq!(gradients.of(&parts[0]).unwrap_err(), Error::Independent { op: "gradient" });
    gradients.of(&z).unwrap();
    // Nor by parts of a tape that has been used up.
    let late = tape.variable(counting(&[3]).unwrap()).sum_all().unwrap().add(&energy(&parts).unwrap()).unwrap();
    assert_eq!(tape.backward(&late, counting(&[]).unwrap()).unwrap_err(), Error::Tape { op: "backward" });
    assert_eq!(
        x.split(1, &[6]).and_then(|parts| tape.backward(&parts[0], counting(&[2, 6])?)).unwrap_err(),
        Error::Tape { op: "backward" }
    );
}

#[test]
fn constants_stay_constant() {
    for part in parts(&Var::constant(counting(&[2, 6]).unwrap())).unwrap() {
        assert!(!part.is_tracked());
    }
    for part in parts(&Dual::constant(counting(&[2, 6]).unwrap())).unwrap() {
        assert!(!part.is_tracked());
    }
}

/// A tangent on a tape is pulled back at once as well: the gradient of a Jacobian–vector product.
#[test]
fn a_split_tangent_is_one_entry_of_the_tape_underneath() {
    let gradient = |cut: fn(&Dual<Inner>) -> Result<Vec<Dual<Inner>>>| -> Result<(usize, Vec<f64>, Vec<f64>)> {
        let tape = Tape::new();
        let (x, v) = (tape.variable(counting(&[2, 6])?), tape.variable(counting(&[2, 6])?.exp()?));
        let before = entries(&tape);
        let parts = cut(&Dual::new(x.clone(), v.clone())?)?;
        let count = entries(&tape) - before;
        let (_, tangent) = energy(&parts)?.into_parts();
        let gradients = tape.backward(&tangent.unwrap(), counting(&[])?.shift(1.0)?)?;
        Ok((count, gradients.of(&x)?.to_vec()?, gradients.of(&v)?.to_vec()?))
    };
    let (split, sliced) = (gradient(parts).unwrap(), gradient(slices).unwrap());
    // Of the value and of the tangent, one entry and three parts.
    assert_eq!((split.0, sliced.0), (2 * (1 + 3), 2 * 3));
    assert_eq!((split.1, split.2), (sliced.1, sliced.2));
}
