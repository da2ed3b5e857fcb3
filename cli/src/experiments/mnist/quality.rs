//! How near samples are to real digits.

use super::Effort;
use crate::experiments::digits::{self, Digits, Experts};
use crate::steering::{Estimator, Plan, dash};
use crate::table::number;
use crate::{Context, Result, Table};
use mfm_core::guidance::Unsteered;
use mfm_core::interpolant::Linear;
use mfm_core::sample::sample_by_steps;
use mfm_core::{Device, Flow, Reward, Shape, Tensor, TimeGrid};
use mfm_nn::Model;
use mfm_toy2d::frechet_distance;
use serde::Serialize;

/// Samples of a model, against real digits.
#[derive(Clone, Debug, Serialize)]
pub struct Quality {
    /// What was sampled.
    pub sampler: &'static str,
    /// Evaluations of the network for each sample.
    pub evaluations: usize,
    /// The Fréchet distance to the training digits in the judge's features.
    pub frechet: f64,
    /// The L2 distance of the classes to the wanted mixture, if each sample counts exp r: what steering could reach that were exact.
    pub reweighted_l2: f64,
}

/// What the distances are, for people.
pub const EXPLANATION: &str = "\nThe Fréchet distance is between samples and the training digits, in the last hidden layer of the judge, a classifier of \
    half of them; held-out digits are as near as real ones come. L2 is that of the samples' classes to the wanted mixture, as told by the judge, if each sample \
    counts exp r: what steering would reach that were exact.\n";

/// The distances of the flow model's ODE, and of the map in one, two and four steps.
pub fn measure<T: Tensor>(
    context: &Context<T>,
    digits: &Digits,
    experts: &Experts<T>,
    teacher: &Model<T>,
    map: &Model<T>,
    effort: &Effort,
) -> Result<Vec<Quality>> {
    let features = |x: &T| -> Result<Vec<f64>> { Ok(experts.judge.features(x)?.to_vec()?) };
    let width = experts.judge.config().width;
    let real = features(&digits.train.tensor(&context.device)?)?;
    let row = |sampler, evaluations, x: &T| -> Result<Quality> {
        let rewards = experts.reward.value(x)?.to_vec::<f64>()?;
        let largest = rewards.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let weights: Vec<f64> = rewards.iter().map(|reward| (reward - largest).exp()).collect();
        let reweighted_l2 = digits::l2(&digits::shares(&experts.judge.classify(x)?, &weights));
        Ok(Quality { sampler, evaluations, frechet: frechet_distance(&real, &features(x)?, width)?, reweighted_l2 })
    };
    let some: Vec<usize> = (0..effort.judged.min(digits.held_out.len())).collect();
    let mut rows = vec![row("held-out digits", 0, &digits.held_out.subset(&some).tensor(&context.device)?)?];

    let x = context.device.normal(&context.noise.fork(30), Shape::new(&[effort.judged, digits.pixels()])?)?;
    let plan = Plan::new(Estimator::Unsteered, 0, effort.ode_steps);
    for (name, model) in [("flow model, ODE", teacher), ("map, ODE along its diagonal", map)] {
        let progress = context.progress(name, plan.steps as u64);
        let samples = plan.guided(&Flow::new(model, &Linear), Unsteered, &x, &context.noise, &mut |_| {
            progress.advance(1);
            Ok(())
        })?;
        rows.push(row(name, plan.evaluations(&Linear), &samples)?);
    }
    let flow = Flow::new(map, &Linear);
    for (name, steps) in [("map, 1 step", 1), ("map, 2 steps", 2), ("map, 4 steps", 4)] {
        rows.push(row(name, steps, &sample_by_steps(&flow, &TimeGrid::uniform(steps), &x)?)?);
    }
    Ok(rows)
}

/// The rows for people.
pub fn table(rows: &[Quality]) -> Table {
    let mut table = Table::new(["samples", "evaluations", "Fréchet distance", "L2, reweighted"]);
    for row in rows {
        table.row([row.sampler.to_owned(), dash(row.evaluations), number(row.frechet, 3), number(row.reweighted_l2, 3)]);
    }
    table
}
