//! Every native hook against its composed body: value, cotangents and tangent, for each tracked input alone, for all but one, and for all.

#![allow(clippy::unwrap_used, clippy::panic, clippy::type_complexity)] // a failure is a failed test; tables of cases

use mfm_core::autodiff::{Dual, Tape, Var};
use mfm_core::tensor::{Activation, Fused};
use mfm_core::{Device, Error, Noise, Result, Shape, Tensor};
use mfm_cpu_ref::{CpuDevice, CpuTensor};
use std::collections::BTreeSet;

type Single = CpuTensor<f64>;

fn close(what: &str, a: &Single, b: &Single) {
    assert_eq!(a.shape(), b.shape(), "{what}");
    for (a, b) in a.to_vec::<f64>().unwrap().iter().zip(b.to_vec::<f64>().unwrap()) {
        assert!((a - b).abs() <= 1e-11 * (1.0 + b.abs()), "{what}: {a} {b}");
    }
}

/// Value and gradients, by the hook or by the composed body.
fn reverse(op: &Fused, inputs: &[Single], tracked: usize, native: bool) -> Result<Vec<Single>> {
    let tape = Tape::new();
    let is_tracked = |i: usize| tracked >> i & 1 == 1;
    let vars: Vec<Var<Single>> =
        inputs.iter().enumerate().map(|(i, x)| if is_tracked(i) { tape.variable(x.clone()) } else { Var::constant(x.clone()) }).collect();
    let refs: Vec<&Var<Single>> = vars.iter().collect();
    let y = if native { op.apply(&refs)? } else { op.composed(&refs)? };
    let cotangent = y.value().device().normal(&Noise::new(77), y.shape())?;
    let mut all = vec![y.value().clone()];
    let gradients = tape.backward(&y, cotangent)?;
    for (i, x) in vars.iter().enumerate().filter(|(i, _)| is_tracked(*i)) {
        let _ = i;
        all.push(gradients.of(x)?);
    }
    Ok(all)
}

/// Value and tangent, by the hook or by the composed body.
fn forward(op: &Fused, inputs: &[Single], tracked: usize, native: bool) -> Result<[Single; 2]> {
    let duals = inputs
        .iter()
        .enumerate()
        .map(|(i, x)| {
            let tangent = x.device().normal(&Noise::new(78 + i as u64), x.shape())?;
            if tracked >> i & 1 == 1 { Dual::new(x.clone(), tangent) } else { Ok(Dual::constant(x.clone())) }
        })
        .collect::<Result<Vec<_>>>()?;
    let refs: Vec<&Dual<Single>> = duals.iter().collect();
    let (value, tangent) = if native { op.apply(&refs)? } else { op.composed(&refs)? }.into_parts();
    Ok([value, tangent.unwrap()])
}

#[test]
fn hooks_agree_with_their_composed_bodies() -> Result<()> {
    #[cfg(feature = "std")]
    let device = CpuDevice::<f64>::with_threads(2)?;
    #[cfg(not(feature = "std"))]
    let device = CpuDevice::<f64>::new();
    let mut factors = [0.0; 8];
    factors[..3].copy_from_slice(&[0.5, -1.5, 2.0]);
    let mut cases: Vec<(Fused, Vec<Vec<usize>>)> = Vec::new();
    for activation in [Activation::Identity, Activation::Silu, Activation::Gelu, Activation::Tanh] {
        let op = Fused::Linear { activation };
        for (x, weight) in [
            (vec![5, 3], [4, 3]),
            (vec![3], [1, 3]),
            (vec![2, 3, 7], [20, 7]),
            (vec![1100, 5], [6, 5]),
            (vec![0, 3], [2, 3]),
            (vec![2, 0], [2, 0]),
            (vec![700, 40], [2, 40]),
            (vec![700, 2], [40, 2]),
        ] {
            cases.push((op, vec![x.clone(), weight.to_vec(), vec![weight[0]]]));
            cases.push((op, vec![x, weight.to_vec()]));
        }
        cases.push((Fused::Activate { activation }, vec![vec![3, 70]]));
        for (x, widths) in
            [(vec![1, 55], [256, 17]), (vec![3], [2, 40]), (vec![2, 3, 7], [20, 2]), (vec![300, 5], [6, 6]), (vec![0, 3], [2, 2])]
        {
            let inner = x[x.len() - 1];
            let layers = vec![x, vec![widths[0], inner], vec![widths[0]], vec![widths[1], widths[0]], vec![widths[1]]];
            cases.push((Fused::Layers { between: activation, last: Activation::Silu }, layers.clone()));
            cases.push((Fused::Layers { between: Activation::Silu, last: activation }, layers));
        }
    }
    for shapes in [[vec![3, 4], vec![4], vec![3, 1]], [vec![40, 30], vec![40, 1], vec![]], [vec![2], vec![1], vec![3, 1]]] {
        cases.push((Fused::LinearCombination { factors }, shapes.to_vec()));
        cases.push((Fused::GatedResidual, shapes.to_vec()));
    }
    for (x, scale, shift) in [(vec![5, 16], vec![16], vec![16]), (vec![2, 3, 50], vec![2, 1, 50], vec![1]), (vec![3], vec![], vec![3])] {
        cases.push((Fused::LayerNorm { epsilon: 1e-5 }, vec![x, scale, shift]));
    }
    for (axes, axis) in [(vec![5, 7], 1), (vec![5, 7], 0), (vec![3, 4, 5], 1), (vec![3, 100], 1), (vec![4, 1], 1), (vec![0, 3], 1)] {
        cases.push((Fused::Softmax { axis }, vec![axes.clone()]));
        cases.push((Fused::LogMeanExp { axis }, vec![axes]));
    }
    for (op, shapes) in cases {
        let what = format!("{op:?} of {shapes:?}");
        let inputs: Vec<Single> =
            shapes.iter().enumerate().map(|(i, axes)| device.normal(&Noise::new(i as u64), Shape::new(axes).unwrap()).unwrap()).collect();
        // The same numbers under other strides.
        let strided: Vec<Single> = inputs
            .iter()
            .map(|x| {
                let order: Vec<usize> = (0..x.shape().rank()).rev().collect();
                let turned = x.permute(&order).unwrap();
                device.from_slice(&turned.to_vec::<f64>().unwrap(), turned.shape()).unwrap().permute(&order).unwrap()
            })
            .collect();
        for inputs in [&inputs, &strided] {
            let refs: Vec<&Single> = inputs.iter().collect();
            close(&what, &op.apply(&refs)?, &op.composed(&refs)?);
            let all = (1 << inputs.len()) - 1;
            let one = (0..inputs.len()).map(|i| 1 << i);
            let sets: BTreeSet<usize> = one.flat_map(|one| [one, all & !one, all]).filter(|set| *set > 0).collect();
            for tracked in sets {
                let (native, composed) = (reverse(&op, inputs, tracked, true)?, reverse(&op, inputs, tracked, false)?);
                assert_eq!(native.len(), composed.len());
                native.iter().zip(&composed).for_each(|(a, b)| close(&what, a, b));
                let (native, composed) = (forward(&op, inputs, tracked, true)?, forward(&op, inputs, tracked, false)?);
                native.iter().zip(&composed).for_each(|(a, b)| close(&what, a, b));
            }
        }
    }
    Ok(())
}

#[test]
fn wrong_shapes_are_errors() -> Result<()> {
    let device = CpuDevice::<f32>::new();
    let x = |axes: &[usize]| device.zeros(Shape::new(axes).unwrap()).unwrap();
    assert!(Fused::Linear { activation: Activation::Silu }.apply(&[&x(&[2, 3]), &x(&[4, 2])]).is_err());
    assert!(Fused::Linear { activation: Activation::Silu }.apply(&[&x(&[2, 3]), &x(&[4, 3]), &x(&[3])]).is_err());
    assert!(Fused::Linear { activation: Activation::Silu }.apply(&[&x(&[2, 3])]).is_err());
    assert!(Fused::GatedResidual.apply(&[&x(&[2, 3]), &x(&[2]), &x(&[2, 3])]).is_err());
    assert!(Fused::Softmax { axis: 2 }.apply(&[&x(&[2, 3])]).is_err());
    assert!(Fused::LayerNorm { epsilon: 1e-5 }.apply(&[&x(&[]), &x(&[]), &x(&[])]).is_err());
    assert!(Fused::LinearCombination { factors: [1.0; 8] }.apply::<CpuTensor<f32>>(&[]).is_err());
    Ok(())
}

/// The number that would do and is nearest to what was given.
#[test]
fn the_wrong_number_of_inputs_says_how_many_are_needed() {
    let x = CpuDevice::<f64>::new().full(1.0, Shape::new(&[2, 2]).unwrap()).unwrap();
    let (between, last) = (Activation::Tanh, Activation::Identity);
    let expected = |op: Fused, count: usize| match op.apply(&vec![&x; count]) {
        Err(Error::Length { expected, found, .. }) if found == count => expected,
        other => panic!("{other:?}"),
    };
    for (count, needed) in [(0, 3), (1, 3), (2, 3), (4, 5)] {
        assert_eq!(expected(Fused::Layers { between, last }, count), needed);
    }
    for (count, needed) in [(0, 2), (1, 2), (4, 3)] {
        assert_eq!(expected(Fused::Linear { activation: last }, count), needed);
    }
    for (count, needed) in [(0, 1), (9, 8)] {
        assert_eq!(expected(Fused::LinearCombination { factors: [1.0; 8] }, count), needed);
    }
}
