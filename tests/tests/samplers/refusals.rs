//! What a plan refuses, in one sentence.

use crate::Paper;
use crate::support::{F64, device, normal};
use mfm_core::best_of::best_of;
use mfm_core::coupling::Coupling;
use mfm_core::interpolant::Linear;
use mfm_core::plan::{Estimator, Plan};
use mfm_core::sample::{posterior_by_rollout, posterior_by_steps, sample_by_steps};
use mfm_core::search::{Keep, Search};
use mfm_core::{Condition, Device, Draws, Error, Noise, Operations, Result, Reward, Shape, Tensor, TimeGrid};

fn refusal(plan: &Plan, samples: usize) -> Result<Option<String>> {
    let paper = Paper::linear()?;
    let x: F64 = normal(&device(), samples, 2, 1)?;
    match plan.run(&paper.flow(), &paper.reward, &x, &Noise::new(2), &mut |_| Ok(())) {
        Err(error @ Error::Range { .. }) => Ok(Some(error.to_string())),
        outcome => outcome.map(|_| None),
    }
}

#[test]
fn no_samples_no_steps_and_no_draws_are_refused_by_all_alike() -> Result<()> {
    for estimator in Estimator::ALL {
        for dynamics in [Plan::new(estimator, 2, 2), Plan::new(estimator, 2, 2).by_sde()] {
            let plan = Plan { moves: 1, ..dynamics };
            assert_eq!(refusal(&plan, 0)?.as_deref(), Some("the number of samples is 0, but must be at least 1"), "{plan:?}");
            assert_eq!(
                refusal(&Plan { steps: 0, ..plan.clone() }, 2)?.as_deref(),
                Some("the number of steps is 0, but must be at least 1")
            );
            if estimator.has_draws() {
                for steps in [1, 2] {
                    let found = refusal(&Plan { draws: 0, steps, ..plan.clone() }, 2)?;
                    assert_eq!(found.as_deref(), Some("the number of draws is 0, but must be at least 1"), "{plan:?}, {steps} steps");
                }
            }
        }
    }
    Ok(())
}

/// From the best draw of all, a particle would go on in the condition of another.
#[test]
fn a_search_from_the_best_of_all_is_of_one_condition() -> Result<()> {
    let paper = Paper::linear()?;
    let x: F64 = normal(&device(), 2, 2, 1)?;
    let search = |keep, labels| {
        let search = Search { grid: TimeGrid::uniform(2), draws: Draws::new(2), keep, coupling: Coupling::Bridge };
        search.run(&paper.flow().with_condition(Condition::labels(labels)), &paper.reward, &x, &Noise::new(2), &mut |_, _| Ok(()))
    };
    let refused = search(Keep::Overall, &[0, 1]).err();
    assert!(matches!(refused, Some(Error::Unsupported { op: "search", .. })), "{refused:?}");
    search(Keep::Overall, &[1])?;
    search(Keep::PerParticle, &[0, 1])?;
    Ok(())
}

/// Neither dozens of zeros nor hundreds of digits.
#[test]
fn a_refusal_says_its_number_with_few_digits() -> Result<()> {
    let long = [0.0, -2.5, 1e-4, 9_999_999.5, 1e7, 9e-5, f64::from(1e-40_f32), -1e300, f64::INFINITY];
    let short = ["0", "-2.5", "0.0001", "9999999.5", "1e7", "9e-5", "9.99994610111476e-41", "-1e300", "inf"];
    for (value, digits) in long.into_iter().zip(short) {
        let sentence = Error::Range { what: "the scale", value, range: "a number" }.to_string();
        assert_eq!(sentence, format!("the scale is {digits}, but must be a number"));
    }
    let plan = Plan { damping: -1e-300, ..Plan::new(Estimator::MfmG, 2, 2) };
    assert_eq!(refusal(&plan, 2)?.as_deref(), Some("the damping is -1e-300, but must be at least 0 and finite"));
    Ok(())
}

#[test]
fn windows_and_factors_that_mean_nothing_are_refused() -> Result<()> {
    let plan = || Plan::new(Estimator::MfmG, 2, 2);
    for (from, until, what) in [
        (0.9, 0.1, "the first time of the window is 0.9, but must be no later than its last"),
        (f64::NAN, 1.0, "the first time of the window is NaN, but must be between 0 and 1"),
        (0.0, f64::NAN, "the last time of the window is NaN, but must be between 0 and 1"),
    ] {
        assert_eq!(refusal(&Plan { window: from..=until, ..plan() }, 2)?.as_deref(), Some(what));
    }
    for factor in [f64::NAN, f64::INFINITY, -1.0] {
        for (what, plan) in [
            ("the damping", Plan { damping: factor, ..plan() }),
            ("the rescaling", Plan { rescale: Some(factor), ..plan() }),
            ("the clipping", Plan { clip: Some(factor), ..plan() }),
        ] {
            assert!(refusal(&plan, 2)?.is_some_and(|sentence| sentence.starts_with(what)), "{what}, {factor}");
        }
    }
    Ok(())
}

/// So many rewards for each sample, and gradients of another shape than the samples'.
struct Ill {
    rewards: f64,
    gradient_too: bool,
}

impl Reward<F64> for Ill {
    fn value(&self, x: &F64) -> Result<F64> {
        x.device().zeros(Shape::new(&[(self.rewards * x.shape().batch() as f64) as usize])?)
    }

    fn value_and_gradient(&self, x: &F64) -> Result<(F64, F64)> {
        let gradient = x.zeros_like()?;
        Ok((self.value(x)?, if self.gradient_too { gradient.slice(1, 0, 1)? } else { gradient }))
    }
}

#[test]
fn rewards_are_one_of_each_sample() -> Result<()> {
    let paper = Paper::linear()?;
    let x: F64 = normal(&device(), 6, 2, 1)?;
    for estimator in Estimator::ALL.into_iter().filter(|estimator| *estimator != Estimator::Unsteered) {
        let plan = Plan { start: 0.1, moves: 1, ..Plan::new(estimator, 4, 3) };
        let run =
            |rewards: f64, gradient_too: bool| plan.run(&paper.flow(), &Ill { rewards, gradient_too }, &x, &Noise::new(2), &mut |_| Ok(()));
        for rewards in [0.0, 0.5, 2.0] {
            let outcome = run(rewards, false);
            assert!(matches!(outcome, Err(Error::Length { op: "the rewards of samples", .. })), "{estimator:?}, {rewards}: {outcome:?}");
        }
        assert!(run(1.0, false).is_ok(), "{estimator:?}");
        assert_eq!(run(1.0, true).is_err(), estimator.needs_gradient(), "{estimator:?}");
    }
    Ok(())
}

/// Neither too few, nor too many, of which the first would be taken.
#[test]
fn labels_are_one_of_each_sample_or_one_for_all() -> Result<()> {
    let paper = Paper::linear()?;
    let x: F64 = normal(&device(), 5, 2, 1)?;
    for estimator in Estimator::ALL.into_iter().filter(|estimator| !estimator.is_population()) {
        let plan = Plan { moves: 1, ..Plan::new(estimator, 3, 2) };
        let run = |condition: Condition<'_>| {
            plan.run(&paper.flow().with_condition(condition), &paper.reward, &x, &Noise::new(2), &mut |_| Ok(()))
        };
        for found in [0, 2, 6] {
            let labels = vec![0; found];
            let outcome = run(Condition::labels(&labels));
            let Err(Error::Length { op: "the labels", expected: 5, found: told }) = outcome else { panic!("{estimator:?}: {outcome:?}") };
            assert_eq!(told, found);
            let outcome = run(Condition::new(None, Some(&vec![1.0; found])));
            assert!(matches!(outcome, Err(Error::Length { op: "the guidance scales", expected: 5, .. })), "{estimator:?}: {outcome:?}");
        }
        for found in [1, 5] {
            run(Condition::labels(&vec![0; found]))?;
        }
    }
    Ok(())
}

/// Or states half of noise would be taken for draws.
#[test]
fn draws_are_made_from_noise_to_data() -> Result<()> {
    let paper = Paper::linear()?;
    let (flow, x): (_, F64) = (paper.flow(), normal(&device(), 3, 2, 1)?);
    for (grid, refused) in [
        (TimeGrid::uniform(2).starting_at(0.5), "the start of a grid from noise to data is 0.5, but must be 0"),
        (TimeGrid { end: 0.5, ..TimeGrid::uniform(2) }, "the end of a grid from noise to data is 0.5, but must be 1"),
    ] {
        for outcome in [
            posterior_by_steps(&flow, &grid, &x, 0.5, &x),
            posterior_by_rollout(&flow, &grid, &x, 0.5, &x),
            sample_by_steps(&flow, &grid, &x),
            best_of(&flow, &paper.reward, &grid, Draws::new(2), &x, &Noise::new(1), &mut |_, _| Ok(())),
        ] {
            assert_eq!(outcome.map(|_| ()).unwrap_err().to_string(), refused);
        }
    }
    let many = TimeGrid { start: 1.0 - 1e-12, ..TimeGrid::uniform(1 << 20) }.times(&Linear);
    assert!(matches!(many, Err(Error::Range { what: "the number of steps", .. })), "{many:?}");
    Ok(())
}

#[test]
fn times_lie_between_noise_and_data() -> Result<()> {
    let paper = Paper::linear()?;
    let (flow, x): (_, F64) = (paper.flow(), normal(&device(), 3, 2, 1)?);
    let grid = TimeGrid::uniform(2);
    for t in [-0.1, 1.5, f64::NAN] {
        for outcome in [
            flow.drift(t, &x),
            flow.posterior_mean(t, &x),
            flow.score(t, &x),
            flow.posterior(&x, t, &x),
            posterior_by_steps(&flow, &grid, &x, t, &x),
            posterior_by_rollout(&flow, &grid, &x, t, &x),
        ] {
            assert!(matches!(outcome, Err(Error::Range { .. })), "{t}: {outcome:?}");
        }
    }
    assert!(matches!(flow.score(1.0, &x), Err(Error::Range { what: "the time of a score", .. })));
    Ok(())
}
