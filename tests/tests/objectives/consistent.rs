//! With the exact map as flow and student: residuals of zero, or of zero mean.

use crate::gaussian_map::{GaussianMap, NONE};
use crate::support::statistics::Mean;
use crate::support::{F64, device, gaussian, normal, rows};
use mfm_core::autodiff::{Tape, Var};
use mfm_core::interpolant::Linear;
use mfm_core::training::{
    AdaptiveWeight, Batch, Consistency, FlowTimes, Guided, Losses, Objective, Ramp, StopGradient, TimeLaw, TimeSchedule, Velocities,
};
use mfm_core::{Error, Flow, Lift, MetaFlowMap, Noise, Operations, Result, Tensor};
use mfm_cpu_ref::CpuDevice;
use mfm_tests::conformance::Check;
use mfm_tests::laws::{self, Probe};
use mfm_toy2d::exact::{ExactFlowMap, MixtureDrift};

const DEVIATION: f64 = 0.8;
const MEAN: f64 = 0.5;

fn exact() -> Result<GaussianMap<F64>> {
    GaussianMap::new(&device(), DEVIATION, MEAN, [0.0; 4], &[0.0])
}

fn samples(n: usize, seed: u64) -> Result<F64> {
    normal(&device(), n, 2, seed)?.scale(DEVIATION)?.shift(MEAN)
}

/// The losses of a map on a batch, and the gradient by (μ, θ).
fn losses(
    objective: &Objective,
    map: &GaussianMap<F64>,
    teacher: Option<&MixtureDrift>,
    x1: &F64,
    noise: &Noise,
) -> Result<(Losses<F64>, Vec<f64>)> {
    let tape = Tape::new();
    let student = map.lift(&mut |p: &F64| Ok(tape.variable(p.clone())))?;
    let flow = Flow::new(map, &Linear);
    let batch = Batch { x1, labels: None };
    let velocities = teacher.map_or(Velocities::Data, |teacher| Velocities::Teacher(teacher));
    let losses = objective.loss(&flow, &student, velocities, batch, noise)?;
    let gradients = tape.backward(&losses.total, losses.total.value().zeros_like()?.shift(1.0)?)?;
    let list = [gradients.of_or_zeros(&student.mean)?.to_vec::<f64>()?, gradients.of_or_zeros(&student.theta)?.to_vec::<f64>()?].concat();
    Ok((losses, list))
}

fn number(x: &F64) -> Result<f64> {
    Ok(x.to_vec::<f64>()?[0])
}

// The map that the other tests rely on obeys the laws, and is the one that the solver finds.
#[test]
fn the_gaussian_map_is_exact() -> Check {
    let (map, prior) = (exact()?, gaussian(&[MEAN; 2], DEVIATION * DEVIATION)?);
    let probe = Probe::on_path(&Linear, &samples(24, 1)?, 0.95, &Noise::new(2))?;
    let drift = MixtureDrift::new(&prior, &Linear);
    laws::identity(&map, &probe, 1e-12)?;
    laws::semigroup(&map, &probe, 1e-11)?;
    laws::diagonal(&map, &drift, &Linear, &probe, 1e-11)?;
    laws::tangent(&map, &probe, 1e-4, 1e-4)?;
    laws::forgetful(&map, &probe, 1e-12)?;
    laws::shared_states(&map, &probe, 3, 1e-12)?;
    let solver = ExactFlowMap::new(&prior, &Linear, 16)?;
    let ends = |map: &dyn MetaFlowMap<F64>| -> Result<Vec<f64>> {
        map.posterior(&probe.place, &mfm_core::flow_map::time(&device(), 0.4)?, &probe.state, NONE)?.to_vec()
    };
    assert!(crate::support::relative_error(&ends(&map)?, &ends(&solver)?, 1.0) < 1e-9);
    Ok(())
}

#[test]
fn consistency_losses_vanish_at_the_exact_map() -> Result<()> {
    let (map, x1) = (exact()?, samples(256, 3)?);
    let teacher = MixtureDrift::new(&gaussian(&[MEAN; 2], DEVIATION * DEVIATION)?, &Linear);
    let stops = [StopGradient::Jump, StopGradient::Velocity, StopGradient::Neither];
    let own = [Consistency::Semigroup, Consistency::Eulerian].into_iter().chain(stops.map(Consistency::Lagrangian));
    for consistency in own {
        let objective = Objective { consistency, ..Objective::default() };
        let (losses, _) = losses(&objective, &map, None, &x1, &Noise::new(4))?;
        let loss = number(&losses.consistency)?;
        println!("{consistency:?}: {loss:.1e}");
        assert!(loss < 1e-20, "{consistency:?}: {loss:e}");
    }
    // From a teacher even the diagonal loss is zero, and so is the gradient of all.
    for consistency in [
        Consistency::None,
        Consistency::Semigroup,
        Consistency::MeanFlow,
        Consistency::Eulerian,
        Consistency::Lagrangian(StopGradient::Velocity),
        Consistency::Lagrangian(StopGradient::Neither),
    ] {
        let objective = Objective { consistency, ..Objective::default() };
        let (losses, gradient) = losses(&objective, &map, Some(&teacher), &x1, &Noise::new(5))?;
        let total = number(losses.total.value())?;
        assert!(total < 1e-20 && gradient.iter().all(|g| g.abs() < 1e-9), "{consistency:?}: {total:e}, {gradient:?}");
    }
    let jump = Objective { consistency: Consistency::Lagrangian(StopGradient::Jump), ..Objective::default() };
    assert!(matches!(losses(&jump, &map, Some(&teacher), &x1, &Noise::new(5)), Err(Error::Unsupported { .. })));
    Ok(())
}

// A map that is off by a thousandth in one parameter has a loss that is not zero, so zero above says something.
#[test]
fn consistency_losses_see_a_spoilt_map() -> Result<()> {
    let x1 = samples(256, 3)?;
    // θ_0 x alone spoils every law; an offset that does not depend on s, u or x would be consistent with itself.
    let spoilt = GaussianMap::new(&device(), DEVIATION, MEAN, [1e-3, 1e-3, 0.0, 0.0], &[0.0])?;
    for consistency in [
        Consistency::Semigroup,
        Consistency::Eulerian,
        Consistency::Lagrangian(StopGradient::Jump),
        Consistency::Lagrangian(StopGradient::Velocity),
        Consistency::Lagrangian(StopGradient::Neither),
    ] {
        let objective = Objective { consistency, ..Objective::default() };
        let (losses, _) = losses(&objective, &spoilt, None, &x1, &Noise::new(4))?;
        assert!(number(&losses.consistency)? > 1e-9, "{consistency:?}");
    }
    Ok(())
}

// Null: the expected gradient by (μ, θ) vanishes at the exact map: of the diagonal loss from data, whose residual has mean zero given the
// place, and of the mean flow loss, whose residual is linear in İ. 200 batches of 512; 4.5 standard errors for the worst of 5.
#[test]
fn from_data_the_expected_gradient_vanishes() -> Result<()> {
    let spoilt = GaussianMap::new(&device(), DEVIATION, MEAN, [0.05, 0.0, 0.0, 0.0], &[0.0])?;
    for consistency in [Consistency::None, Consistency::MeanFlow] {
        let objective = Objective { consistency, ..Objective::default() };
        let gradient = |map: &GaussianMap<F64>| -> Result<Mean> {
            let mut mean = Mean::default();
            for seed in 0..200 {
                mean.add(&losses(&objective, map, None, &samples(512, 1000 + seed)?, &Noise::new(seed))?.1);
            }
            Ok(mean)
        };
        let at_exact = gradient(&exact()?)?.errors_from(&[0.0; 5]);
        let at_spoilt = gradient(&spoilt)?.errors_from(&[0.0; 5]);
        println!("{consistency:?}: the gradient is {at_exact:.1} standard errors from zero, {at_spoilt:.0} at a spoilt map");
        assert!(at_exact < 4.5, "{consistency:?}: {at_exact}");
        assert!(at_spoilt > 10.0, "{consistency:?}: {at_spoilt}");
    }
    Ok(())
}

#[test]
fn bad_batches_are_errors() -> Result<()> {
    let map = exact()?;
    let flow = Flow::new(&map, &Linear);
    let student = map.lift(&mut |p: &F64| Ok(Var::constant(p.clone())))?;
    let objective = Objective::default();
    let empty: F64 = rows(&CpuDevice::new(), &[], 2)?;
    let outcome = objective.loss(&flow, &student, Velocities::Data, Batch { x1: &empty, labels: None }, &Noise::new(1));
    assert!(matches!(outcome, Err(Error::Range { .. })), "{outcome:?}");
    let x1 = samples(3, 1)?;
    let outcome = objective.loss(&flow, &student, Velocities::Data, Batch { x1: &x1, labels: Some(&[0, 0]) }, &Noise::new(1));
    assert!(matches!(outcome, Err(Error::Length { .. })), "{outcome:?}");
    Ok(())
}

#[test]
fn more_times_than_memory_are_an_error() {
    let (n, noise, law) = (usize::MAX / 16, Noise::new(6), TimeLaw::default());
    let normal = TimeLaw { flow: FlowTimes::LogitNormal { mean: 0.0, deviation: 1.0 }, ..law };
    let outcomes = [law.states(n, &noise), law.diagonal(n, &noise), normal.diagonal(n, &noise), law.pairs(n, &noise).map(|pairs| pairs.0)];
    for outcome in outcomes {
        assert!(matches!(outcome, Err(Error::OutOfMemory { .. })), "{:?}", outcome.map(|times| times.len()));
    }
}

// t = U² nine times in ten, else 0; sorted pairs, shortened by the span. 2^16 times, 4.5 standard errors.
#[test]
fn times_follow_their_laws() {
    let (n, noise) = (1 << 16, Noise::new(6));
    let law = TimeLaw::default();
    let t = law.states(n, &noise).unwrap();
    let statistics: Vec<f64> = t.iter().flat_map(|t| [f64::from(u8::from(*t == 0.0)), t.sqrt(), *t]).collect();
    assert!(Mean::of_rows(&statistics, 3).errors_from(&[0.1, 0.9 / 2.0, 0.9 / 3.0]) < 4.5);
    let (s, u) = law.pairs(n, &noise).unwrap();
    assert!(s.iter().zip(&u).all(|(s, u)| (0.0..1.0).contains(s) && s <= u && *u < 1.0));
    let statistics: Vec<f64> = s.iter().zip(&u).flat_map(|(s, u)| [*s, *u, s * u]).collect();
    assert!(Mean::of_rows(&statistics, 3).errors_from(&[1.0 / 3.0, 2.0 / 3.0, 0.25]) < 4.5);
    let (short_s, short_u) = TimeLaw { span: 0.25, ..law }.pairs(n, &noise).unwrap();
    assert!(short_s == s && short_u.iter().zip(&s).zip(&u).all(|((short, s), u)| (short - s - 0.25 * (u - s)).abs() < 1e-15));
    assert!(Mean::of_rows(&law.diagonal(n, &noise).unwrap(), 1).errors_from(&[0.5]) < 4.5);
    let s = TimeLaw { flow: FlowTimes::LogitNormal { mean: -0.5, deviation: 0.75 }, ..law }.diagonal(n, &noise).unwrap();
    assert!(s.iter().all(|s| (0.0..=1.0).contains(s)));
    let z = s.iter().map(|s| (s / (1.0 - s)).ln());
    let statistics: Vec<f64> = z.flat_map(|z| [z, (z + 0.5).powi(2), (z + 0.5).powi(3)]).collect();
    assert!(Mean::of_rows(&statistics, 3).errors_from(&[-0.5, 0.5625, 0.0]) < 4.5);
}

#[test]
fn laws_of_times_change_along_straight_lines() {
    let ramp = |from, to, steps| Ramp { from, to, steps };
    let schedule = TimeSchedule { span: ramp(0.0, 1.0, 100), at_zero: ramp(0.5, 0.1, 10), ..TimeSchedule::default() };
    for (step, span, at_zero) in [(0, 0.0, 0.5), (5, 0.05, 0.3), (10, 0.1, 0.1), (50, 0.5, 0.1), (100, 1.0, 0.1), (u64::MAX, 1.0, 0.1)] {
        let law = schedule.at(step);
        assert!((law.span - span).abs() < 1e-15 && (law.at_zero - at_zero).abs() < 1e-15, "{step}: {law:?}");
        assert_eq!(TimeLaw { span: 1.0, at_zero: 0.1, ..law }, TimeLaw::default());
    }
    assert!(schedule.check().is_ok());
    for bad in [ramp(0.5, 1.5, 100), ramp(-0.5, 1.0, 100), ramp(0.0, f64::NAN, 100)] {
        let outcome = TimeSchedule { span: bad, ..schedule }.check();
        assert!(matches!(outcome, Err(Error::Range { what: "the longest jump", .. })), "{bad:?}: {outcome:?}");
    }
}

#[test]
fn a_law_of_times_out_of_its_range_is_refused() -> Result<()> {
    let (law, flow) = (TimeLaw::default(), |mean, deviation| FlowTimes::LogitNormal { mean, deviation });
    let bad = [
        ("the power of the state times", TimeLaw { power: 0.0, ..law }),
        ("the share of the batch at t = 0", TimeLaw { at_zero: 1.5, ..law }),
        ("the longest jump", TimeLaw { span: f64::NAN, ..law }),
        ("the mean of the flow times", TimeLaw { flow: flow(f64::INFINITY, 1.0), ..law }),
        ("the deviation of the flow times", TimeLaw { flow: flow(0.0, 0.0), ..law }),
    ];
    let x1 = rows(&device(), &[0.0; 4], 2)?;
    for (expected, times) in bad {
        let outcome = Objective { times, ..Objective::default() }.choose(&Linear, &Batch { x1: &x1, labels: None }, &Noise::new(1));
        assert!(matches!(outcome, Err(Error::Range { what, .. }) if what == expected), "{expected}: {outcome:?}");
    }
    Ok(())
}

#[test]
fn shares_and_weights_out_of_their_ranges_are_refused() -> Result<()> {
    let map = GaussianMap::new(&device(), DEVIATION, MEAN, [0.0; 4], &[0.0; 3])?;
    let flow = Flow::new(&map, &Linear);
    let student = map.lift(&mut |p: &F64| Ok(Var::constant(p.clone())))?;
    let x1 = samples(3, 1)?;
    let refused = |objective: Objective| {
        let outcome = objective.loss(&flow, &student, Velocities::Data, Batch { x1: &x1, labels: Some(&[0, 1, 1]) }, &Noise::new(1));
        if let Err(Error::Range { what, .. }) = outcome { Some(what) } else { None }
    };
    let whole = Guided { null_label: 2, dropout: 0.0, scale: 1.0, plain: Some(1.0) };
    for share in [-0.1, 1.1, f64::NAN] {
        for (what, guided) in [
            ("the share of dropped labels", Guided { dropout: share, ..whole }),
            ("the share without guidance", Guided { plain: Some(share), ..whole }),
            ("the guidance scale", Guided { scale: share - 0.2, ..whole }),
        ] {
            assert_eq!(refused(Objective { guided: Some(guided), ..Objective::default() }), Some(what), "{share}");
        }
    }
    for (what, weight) in [
        ("the offset of the adaptive weight", AdaptiveWeight { offset: 0.0, power: 1.0 }),
        ("the offset of the adaptive weight", AdaptiveWeight { offset: f64::NAN, power: 1.0 }),
        ("the power of the adaptive weight", AdaptiveWeight { offset: 0.01, power: -1.0 }),
        ("the power of the adaptive weight", AdaptiveWeight { offset: 0.01, power: f64::INFINITY }),
    ] {
        assert_eq!(refused(Objective { diagonal_weight: weight, ..Objective::default() }), Some(what), "{weight:?}");
        assert_eq!(refused(Objective { consistency_weight: weight, ..Objective::default() }), Some(what), "{weight:?}");
    }
    assert_eq!(refused(Objective { guided: Some(whole), ..Objective::default() }), None);
    Ok(())
}

// What the mean flow loss needs: d/ds of the map along (1, 0, w) by tangents, which an exact map of a mixture refuses.
#[test]
fn a_map_that_knows_no_derivative_by_time_says_so() -> Result<()> {
    let prior = gaussian(&[MEAN; 2], DEVIATION * DEVIATION)?;
    let map = ExactFlowMap::new(&prior, &Linear, 1)?;
    let flow = Flow::new(&map, &Linear);
    let student: ExactFlowMap = Lift::<F64>::lift(&map, &mut |p: &F64| Ok(Var::constant(p.clone())))?;
    let objective = Objective { consistency: Consistency::MeanFlow, ..Objective::default() };
    let outcome = objective.loss(&flow, &student, Velocities::Data, Batch { x1: &samples(3, 1)?, labels: None }, &Noise::new(1));
    assert!(matches!(outcome, Err(Error::NotDifferentiable { .. })), "{outcome:?}");
    Ok(())
}
