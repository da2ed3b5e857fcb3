//! On every path the losses are those of the linear path at the times of the same signal-to-noise ratios (`StraightStep`).

use crate::gaussian_map::GaussianMap;
use crate::support::{F64, LATENT, device, normal};
use mfm_core::autodiff::Var;
use mfm_core::interpolant::{Interpolant, Linear, Trigonometric, VariancePreserving};
use mfm_core::training::{Batch, Choices, Consistency, FlowTimes, Objective, StopGradient, TimeLaw, Velocities};
use mfm_core::{Flow, Lift, Noise, Result, Tensor};
use mfm_nn::OnPath;

fn losses<M: Lift<F64>>(objective: &Objective, map: &M, path: &dyn Interpolant, x1: &F64, choices: &Choices<F64>) -> Result<[f64; 2]> {
    let student = map.lift(&mut |p: &F64| Ok(Var::constant(p.clone())))?;
    let losses = objective.loss_of(&Flow::new(map, path), &student, Velocities::Data, x1, choices)?;
    Ok([losses.diagonal.to_vec::<f64>()?[0], losses.consistency.to_vec::<f64>()?[0]])
}

#[test]
fn losses_are_those_of_the_straight_path() -> Result<()> {
    let map = GaussianMap::new(&device(), 0.8, 0.5, [0.1, -0.2, 0.3, 0.2], &[0.0])?;
    let x1 = normal(&device(), 64, 2, 1)?;
    for consistency in [Consistency::None, Consistency::Semigroup, Consistency::Lagrangian(StopGradient::Neither)] {
        let objective = Objective { consistency, ..Objective::default() };
        let choose = |path: &dyn Interpolant| objective.choose(path, &Batch { x1: &x1, labels: None }, &Noise::new(2));
        let expected = losses(&objective, &map, &Linear, &x1, &choose(&Linear)?)?;
        for path in [&Trigonometric as &dyn Interpolant, &VariancePreserving] {
            let found = losses(&objective, &OnPath::new(map.clone(), path.name())?, path, &x1, &choose(path)?)?;
            println!("{consistency:?}, {path:?}: {found:?} against {expected:?}");
            for (found, expected) in found.iter().zip(expected) {
                assert!((found - expected).abs() <= 1e-9 * expected.abs(), "{consistency:?}, {path:?}: {found} against {expected}");
            }
        }
    }
    Ok(())
}

// Where α̇ is infinite at 1 the mean square of İ is so too: an unweighted loss is now and then a thousand times its median.
#[test]
fn no_time_weighs_without_bound() -> Result<()> {
    let map = GaussianMap::new(&device(), 0.8, 0.5, [0.0; 4], &[0.0])?;
    let x1 = normal(&device(), 4, 2, 3)?;
    for (path, consistency) in [&VariancePreserving as &dyn Interpolant, &LATENT]
        .into_iter()
        .flat_map(|path| [(path, Consistency::None), (path, Consistency::MeanFlow)])
    {
        let objective = Objective { consistency, ..Objective::default() };
        let mut choices = objective.choose(path, &Batch { x1: &x1, labels: None }, &Noise::new(4))?;
        choices.diagonal.s = vec![0.5, 1.0 - 1e-4, 1.0 - 1e-8, 1.0_f64.next_down()];
        if let Some(jump) = &mut choices.jump {
            jump.s = vec![0.5, 0.9, 1.0 - 1e-8, 1.0 - 1e-12];
            jump.u = vec![1.0; 4];
        }
        let [diagonal, jump] = losses(&objective, &map, path, &x1, &choices)?;
        println!("{path:?}, {consistency:?}: {diagonal:.2} and {jump:.2}");
        assert!(diagonal < 20.0 && jump < 100.0, "{path:?}, {consistency:?}: {diagonal} and {jump}");
    }
    Ok(())
}

// Nor does any come so late that single precision could not tell it, however far the law goes.
#[test]
fn flow_times_end_before_one() -> Result<()> {
    let x1 = normal(&device(), 8, 2, 1)?;
    for (path, latest) in
        [(&Linear as &dyn Interpolant, 1.0), (&Trigonometric, 1.0), (&VariancePreserving, 0.999_991), (&LATENT, 0.999_991)]
    {
        let times = TimeLaw { flow: FlowTimes::LogitNormal { mean: 60.0, deviation: 1.0 }, ..TimeLaw::default() };
        let choices = Objective { times, ..Objective::default() }.choose(path, &Batch { x1: &x1, labels: None }, &Noise::new(1))?;
        assert!(choices.diagonal.s.iter().all(|s| *s > 0.99 && *s < latest), "{path:?}: {:?}", choices.diagonal.s);
    }
    Ok(())
}
