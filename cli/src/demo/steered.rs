//! Steering to a mixture of classes, by every estimator.

use super::Size;
use crate::steering::{self, Estimator, Plan};
use crate::{Context, Result};
use mfm_core::{Device, Flow, Lift, Shape, Tensor};
use mfm_nn::{ClassMixtureReward, Classifier};
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

/// All estimators, from the same noise.
pub fn run_all<T: Tensor, M: Lift<T>>(
    context: &Context<T>,
    flow: &Flow<'_, M>,
    reward: &ClassMixtureReward<T>,
    judge: &Classifier<T>,
    wanted: &[f64; 10],
    size: &Size,
) -> Result<Vec<Run>> {
    let (many, few) = (size.time_steps, size.time_steps.min(8));
    let plans = [
        Plan::new(Estimator::Unsteered, 0, many),
        Plan::new(Estimator::Dps, 0, many),
        Plan::new(Estimator::MfmG, 8, many),
        Plan::new(Estimator::MfmGf, 32, many),
        Plan::new(Estimator::Resampled, 32, few),
        Plan { moves: 4, ..Plan::new(Estimator::Mcmc, 8, few) },
    ];
    let noise = context.noise.fork(4);
    let x = context.device.normal(&noise.stream(1), Shape::new(&[size.samples, 64])?)?;
    let mut runs = Vec::new();
    for plan in plans {
        let name = plan.estimator.name();
        let progress = context.progress(&format!("steering: {name}"), plan.steps as u64);
        let start = Instant::now();
        let samples = plan.run(flow, reward, &x, &noise, &mut |step| {
            progress.advance(1);
            context.detail_above(&progress, format!("{name}, {} steps: {step}", plan.steps));
            Ok(())
        })?;
        let seconds = start.elapsed().as_secs_f64();
        let mut classes = vec![0.0; wanted.len()];
        for class in judge.classify(&samples)? {
            classes[class] += 1.0 / size.samples as f64;
        }
        let l2 = classes.iter().zip(wanted).map(|(share, w)| (share - w) * (share - w)).sum::<f64>().sqrt();
        let row = Row { run: steering::Row::new(name, &plan, seconds), l2, classes };
        runs.push(Run { row, samples: samples.to_vec()? });
    }
    Ok(runs)
}
