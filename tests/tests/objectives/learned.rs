//! The learned weighting of the diagonal loss, by its definition.

use crate::gaussian_map::GaussianMap;
use crate::support::{F64, device, normal};
use mfm_core::autodiff::{Tape, Var};
use mfm_core::interpolant::Linear;
use mfm_core::training::{AdaptiveWeight, Batch, Consistency, LossScale, Objective, Velocities};
use mfm_core::{Device, Error, Flow, Lift, Noise, Operations, Result, Shape, Tensor};
use mfm_tests::conformance::Check;

const SAMPLES: usize = 6;
/// The numbers of one sample.
const ITEM: usize = 2;

/// u = shift + given, one number for each sample.
struct Given {
    shift: Var<F64>,
    numbers: Vec<f64>,
}

impl LossScale<Var<F64>> for Given {
    fn logarithm(&self, s: &Var<F64>, _: &Var<F64>) -> Result<Var<F64>> {
        assert_eq!(s.shape().axes(), [SAMPLES]);
        Var::constant(device().from_slice(&self.numbers, s.shape())?).add(&self.shift)
    }
}

/// What one evaluation gives: total, diagonal and consistency losses, then the gradient by θ and that by the shift.
struct Found {
    losses: [f64; 3],
    map: Vec<f64>,
    shift: f64,
}

fn found(objective: &Objective, scale: Option<(f64, &[f64])>) -> Result<Found> {
    let (map, x1) = (GaussianMap::new(&device(), 0.8, 0.5, [0.3, -0.2, 0.4, 0.1], &[0.0])?, normal(&device(), SAMPLES, ITEM, 3)?);
    let tape = Tape::new();
    let student = map.lift(&mut |p: &F64| Ok(tape.variable(p.clone())))?;
    let (flow, batch, noise) = (Flow::new(&map, &Linear), Batch { x1: &x1, labels: None }, Noise::new(5));
    let shift = tape.variable(device().full(scale.map_or(0.0, |(shift, _)| shift), Shape::new(&[1])?)?);
    let given = scale.map(|(_, numbers)| Given { shift: shift.clone(), numbers: numbers.to_vec() });
    let velocities = given.as_ref().map_or(Velocities::Data, |given| Velocities::Weighted(given));
    let losses = objective.loss(&flow, &student, velocities, batch, &noise)?;
    let gradients = tape.backward(&losses.total, losses.total.value().zeros_like()?.shift(1.0)?)?;
    let number = |x: &F64| -> Result<f64> { Ok(x.to_vec::<f64>()?[0]) };
    Ok(Found {
        losses: [number(losses.total.value())?, number(&losses.diagonal)?, number(&losses.consistency)?],
        map: gradients.of_or_zeros(&student.theta)?.to_vec()?,
        shift: number(&gradients.of_or_zeros(&shift)?)?,
    })
}

fn diagonal() -> Objective {
    Objective { consistency: Consistency::None, ..Objective::default() }
}

fn near(a: f64, b: f64) {
    assert!((a - b).abs() <= 1e-12 * a.abs().max(b.abs()).max(1.0), "{a} and {b}");
}

/// The gradient of each sample's own residual: weights of mean one that leave out all others.
fn by_sample() -> Result<Vec<Vec<f64>>> {
    let alone = |k: usize| found(&diagonal(), Some((0.0, &[0, 1, 2, 3, 4, 5].map(|i| if i == k { 0.0 } else { 300.0 }))));
    (0..SAMPLES).map(|k| alone(k).map(|found| found.map)).collect()
}

#[test]
fn one_weight_for_all_is_none() -> Check {
    for objective in [diagonal(), Objective::default()] {
        let (plain, weighed) = (found(&objective, None)?, found(&objective, Some((1.3, &[0.0; SAMPLES])))?);
        plain.map.iter().zip(&weighed.map).for_each(|(a, b)| near(*a, *b));
        // What is reported does not change.
        assert_eq!(plain.losses[1..], weighed.losses[1..]);
        // The total has one term more: sg(m) e^(−u) + u.
        let mean = plain.losses[1] / ITEM as f64 + 1e-6;
        near(weighed.losses[0], plain.losses[0] + mean * (-1.3f64).exp() + 1.3);
    }
    Ok(())
}

#[test]
fn samples_are_weighed_by_the_inverse_of_their_scale() -> Check {
    let numbers = [0.5, -1.0, 0.0, 2.0, 0.25, -0.5];
    let weighed = found(&diagonal(), Some((0.7, &numbers)))?;
    let shares = numbers.map(|u| (-u).exp());
    let total: f64 = shares.iter().sum();
    let mut expected = [0.0; 4];
    for (gradient, share) in by_sample()?.iter().zip(shares) {
        expected.iter_mut().zip(gradient).for_each(|(sum, g)| *sum += share / total * g);
    }
    weighed.map.iter().zip(expected).for_each(|(a, b)| near(*a, b));
    Ok(())
}

#[test]
fn the_scale_is_learned_by_its_own_loss_alone() -> Check {
    let numbers = [0.5, -1.0, 0.0, 2.0, 0.25, -0.5];
    let at = |shift: f64| found(&Objective::default(), Some((shift, &numbers)));
    // A shift of u changes no weight, so its derivative is that of mean(m e^(−u) + u).
    let step = 1e-5;
    let difference = (at(0.7 + step)?.losses[0] - at(0.7 - step)?.losses[0]) / (2.0 * step);
    let derivative = at(0.7)?.shift;
    assert!((difference - derivative).abs() < 1e-8 * derivative.abs().max(1.0), "{difference} and {derivative}");
    // Where all samples have one scale, the minimiser is e^u = mean m.
    let mean = found(&diagonal(), None)?.losses[1] / ITEM as f64 + 1e-6;
    let slope = |shift: f64| found(&diagonal(), Some((shift, &[0.0; SAMPLES]))).map(|found| found.shift);
    near(slope(mean.ln())?, 0.0);
    assert!(slope(mean.ln() - 0.1)? < 0.0 && slope(mean.ln() + 0.1)? > 0.0);
    Ok(())
}

#[test]
fn an_adaptive_weight_is_refused() -> Check {
    let objective = Objective { diagonal_weight: AdaptiveWeight { power: 0.5, ..AdaptiveWeight::NONE }, ..diagonal() };
    let refused = found(&objective, Some((0.0, &[0.0; SAMPLES])));
    assert!(matches!(refused, Err(Error::Unsupported { op: "training", .. })));
    Ok(())
}
