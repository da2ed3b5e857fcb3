//! On every path the losses are those of the linear path at the times of the same signal-to-noise ratios (`StraightStep`).

use crate::gaussian_map::GaussianMap;
use crate::support::{F64, LATENT, device, normal};
use mfm_core::autodiff::Var;
use mfm_core::interpolant::{Interpolant, Linear, Trigonometric, VariancePreserving};
use mfm_core::tensor::Unary;
use mfm_core::training::{Batch, Choices, Consistency, FlowTimes, NoTeacher, Objective, Place, StopGradient, TimeLaw};
use mfm_core::{Device, Flow, Lift, MetaFlowMap, Noise, Operations, Query, Result, Shape, Tensor};

/// A path, whose α and β derivatives can be taken through.
#[derive(Clone, Copy, Debug)]
enum Bent {
    Trigonometric,
    VariancePreserving,
}

impl Bent {
    fn path(self) -> &'static dyn Interpolant {
        match self {
            Self::Trigonometric => &Trigonometric,
            Self::VariancePreserving => &VariancePreserving,
        }
    }

    /// c = α + β and τ = β/c.
    fn straight<T: Tensor>(self, time: &T) -> Result<(T, T)> {
        let (alpha, beta) = match self {
            Self::Trigonometric => {
                let angle = time.scale(std::f64::consts::FRAC_PI_2)?;
                (angle.unary(Unary::Cos)?, angle.unary(Unary::Sin)?)
            }
            Self::VariancePreserving => (time.square()?.neg()?.shift(1.0)?.sqrt()?, time.clone()),
        };
        let scale = alpha.add(&beta)?;
        Ok((scale.clone(), beta.div(&scale)?))
    }
}

/// A map of the linear path, on another.
struct OnPath<M>(M, Bent);

impl<T: Tensor, M: MetaFlowMap<T>> MetaFlowMap<T> for OnPath<M> {
    fn velocity(&self, query: &Query<'_, T>) -> Result<T> {
        let row = |time: &T| time.reshape(Shape::new(&[time.shape().elements(), 1])?);
        let [(c_s, s), (c_u, u), (c_t, t)] = [self.1.straight(&query.s)?, self.1.straight(&query.u)?, self.1.straight(&query.t)?];
        let x = query.x.div(&row(&c_s)?)?;
        let straight = Query { s: s.clone(), u: u.clone(), x: x.clone(), t, x_t: query.x_t.div(&row(&c_t)?)?, condition: query.condition };
        let velocity = self.0.velocity(&straight)?;
        let (from, to) = (query.s.to_vec::<f64>()?, query.u.to_vec::<f64>()?);
        if from == to {
            // dx/dt = (W/c) dy/dτ + (ċ/c) x
            let weights = from.iter().map(|&s| self.1.path().coefficients(s).straight_weights());
            let (slope, state): (Vec<f64>, Vec<f64>) = weights.map(|(slope, state)| (1.0 / slope, -state / slope)).unzip();
            let column = |values: &[f64]| row(&query.s.device().from_slice(values, query.s.shape())?);
            return velocity.mul(&column(&slope)?)?.add(&query.x.mul(&column(&state)?)?);
        }
        let end = x.add(&velocity.mul(&row(&u.sub(&s)?)?)?)?.mul(&row(&c_u)?)?;
        end.sub(&query.x)?.div(&row(&query.u.sub(&query.s)?)?)
    }
}

impl<T: Tensor, M: Lift<T>> Lift<T> for OnPath<M> {
    type Lifted<U: Tensor> = OnPath<M::Lifted<U>>;

    fn lift<U: Tensor>(&self, carry: &mut dyn FnMut(&T) -> Result<U>) -> Result<Self::Lifted<U>> {
        Ok(OnPath(self.0.lift(carry)?, self.1))
    }
}

fn losses<M: Lift<F64>>(objective: &Objective, map: &M, path: &dyn Interpolant, x1: &F64, choices: &Choices<F64>) -> Result<[f64; 2]> {
    let student = map.lift(&mut |p: &F64| Ok(Var::constant(p.clone())))?;
    let losses = objective.loss_of(&Flow::new(map, path), &student, None::<&NoTeacher>, x1, choices)?;
    Ok([losses.diagonal.to_vec::<f64>()?[0], losses.consistency.to_vec::<f64>()?[0]])
}

/// The same choices at the times of another path. A split stays where it is along the straight path.
fn on_path(path: &dyn Interpolant, choices: &Choices<F64>) -> Choices<F64> {
    let time = |tau: &f64| path.time_of_straight(*tau);
    let place = |place: &Place<F64>| {
        let split = place.s.iter().zip(&place.u).zip(&place.split);
        let split =
            split.map(|((s, u), gamma)| if u > s { (time(&(s + gamma * (u - s))) - time(s)) / (time(u) - time(s)) } else { *gamma });
        Place { split: split.collect(), s: place.s.iter().map(time).collect(), u: place.u.iter().map(time).collect(), ..place.clone() }
    };
    Choices {
        t: choices.t.iter().map(time).collect(),
        diagonal: place(&choices.diagonal),
        jump: choices.jump.as_ref().map(place),
        ..choices.clone()
    }
}

#[test]
fn losses_are_those_of_the_straight_path() -> Result<()> {
    let map = GaussianMap::new(&device(), 0.8, 0.5, [0.1, -0.2, 0.3, 0.2], &[0.0])?;
    let x1 = normal(&device(), 64, 2, 1)?;
    for consistency in [Consistency::None, Consistency::Semigroup, Consistency::Lagrangian(StopGradient::Neither)] {
        let objective = Objective { consistency, ..Objective::default() };
        let choices = objective.choose(&Batch { x1: &x1, labels: None }, &Noise::new(2))?;
        let expected = losses(&objective, &map, &Linear, &x1, &choices)?;
        for bent in [Bent::Trigonometric, Bent::VariancePreserving] {
            let found = losses(&objective, &OnPath(map.clone(), bent), bent.path(), &x1, &on_path(bent.path(), &choices))?;
            println!("{consistency:?}, {bent:?}: {found:?} against {expected:?}");
            for (found, expected) in found.iter().zip(expected) {
                assert!((found - expected).abs() <= 1e-7 * expected.abs(), "{consistency:?}, {bent:?}: {found} against {expected}");
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
        let mut choices = objective.choose(&Batch { x1: &x1, labels: None }, &Noise::new(4))?;
        choices.diagonal.s = vec![0.5, 1.0 - 1e-4, 1.0 - 1e-8, 1.0_f64.next_down()];
        choices.diagonal.u.clone_from(&choices.diagonal.s);
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

// Nor is any of them 1 itself, however far the law goes.
#[test]
fn flow_times_end_before_one() {
    let law = TimeLaw { flow: FlowTimes::LogitNormal { mean: 60.0, deviation: 1.0 }, ..TimeLaw::default() };
    let times = law.diagonal(8, &Noise::new(1));
    assert!(times.iter().all(|s| *s > 0.99 && *s < 1.0), "{times:?}");
}
