//! Steering to a mixture of classes, by every estimator.

use super::{Digits, Experts, l2, shares};
use crate::steering::{self, Plan, dash};
use crate::table::number;
use crate::{Context, Result, Table};
use mfm_core::{Device, Flow, Lift, Shape, Tensor};
use serde::Serialize;
use std::time::Instant;

/// One line of the table.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    #[serde(flatten)]
    pub run: steering::Row,
    /// The L2 distance between the shares of the classes and the wanted ones.
    pub l2: f64,
    /// The share of each class.
    pub classes: Vec<f64>,
}

/// A row with its samples.
#[derive(Debug)]
pub struct Run {
    pub row: Row,
    pub samples: Vec<f32>,
}

/// Each plan, from the same noise.
pub fn run_all<T: Tensor, M: Lift<T>>(
    context: &Context<T>,
    flow: &Flow<'_, M>,
    experts: &Experts<T>,
    digits: &Digits,
    plans: &[Plan],
    samples: usize,
) -> Result<Vec<Run>> {
    plans.iter().map(|plan| run(context, plan.estimator.name(), flow, experts, digits, plan, samples)).collect()
}

/// One plan under a name.
pub fn run<T: Tensor, M: Lift<T>>(
    context: &Context<T>,
    name: &'static str,
    flow: &Flow<'_, M>,
    experts: &Experts<T>,
    digits: &Digits,
    plan: &Plan,
    samples: usize,
) -> Result<Run> {
    let noise = context.noise.fork(4);
    let x = context.device.normal(&noise.stream(1), Shape::new(&[samples, digits.pixels()])?)?;
    let progress = context.progress(&format!("steering: {name}"), plan.reports(x.shape())? as u64);
    let start = Instant::now();
    let samples = plan.run(flow, &experts.reward, &x, &noise, &mut |step| {
        progress.advance(1);
        context.detail_above(&progress, format!("{name}, {} steps: {step}", plan.steps));
        Ok(())
    })?;
    let seconds = start.elapsed().as_secs_f64();
    let judged = experts.judge.classify(&samples)?;
    let classes = shares(&judged, &vec![1.0; judged.len()]);
    let row = Row { run: steering::Row::new(name, plan, flow.path, seconds), l2: l2(&classes), classes: classes.to_vec() };
    drop(progress);
    context.say(format!("{name}, {} draws, {} steps: L2 {}, in {seconds:.1} s", dash(plan.draws), plan.steps, number(row.l2, 3)));
    Ok(Run { row, samples: samples.to_vec()? })
}

/// The rows for people.
pub fn table(runs: &[Run]) -> Table {
    let mut table = Table::new(["estimator", "sampler", "draws", "steps", "moves", "evaluations", "L2 to the class mixture", "seconds"]);
    for Row { run, l2, .. } in runs.iter().map(|run| &run.row) {
        table.row([
            run.estimator.to_owned(),
            run.sampler.to_owned(),
            dash(run.draws),
            run.steps.to_string(),
            dash(run.moves),
            run.evaluations.to_string(),
            number(*l2, 3),
            format!("{:.1}", run.seconds),
        ]);
    }
    table
}
