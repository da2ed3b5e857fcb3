//! Steering to a mixture of classes, by every estimator.

use crate::steering::{Estimator, Plan};
use crate::{Context, Result};
use mfm_core::{Device, Flow, Lift, Shape, Tensor};
use mfm_nn::{ClassMixtureReward, Classifier};
use serde::Serialize;
use std::time::Instant;

/// Samples of each estimator.
pub const SAMPLES: usize = 1024;

/// One line of the table.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// The estimator.
    pub estimator: &'static str,
    /// ODE, SDE, or bridge.
    pub sampler: &'static str,
    /// Posterior draws for each state.
    pub draws: usize,
    /// Time steps.
    pub steps: usize,
    /// MALA moves at each time.
    pub moves: usize,
    /// Network evaluations for each sample; a backward pass counts two.
    pub evaluations: usize,
    /// The L2 distance between the shares of the classes and the wanted ones.
    pub l2: f64,
    /// The share of each class.
    pub classes: Vec<f64>,
    /// Seconds for all samples.
    pub seconds: f64,
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
) -> Result<Vec<Run>> {
    let plans = [
        Plan::new(Estimator::Unsteered, 0, 50),
        Plan::new(Estimator::Dps, 0, 50),
        Plan::new(Estimator::MfmGradient, 8, 50),
        Plan::new(Estimator::MfmGradientFree, 32, 50),
        Plan::new(Estimator::Resampled, 32, 8),
        Plan { moves: 4, ..Plan::new(Estimator::Mcmc, 8, 8) },
    ];
    let noise = context.noise.fork(4);
    let x = context.device.normal(&noise.stream(1), Shape::new(&[SAMPLES, 64])?)?;
    let mut runs = Vec::new();
    for plan in plans {
        let name = plan.estimator.name();
        let progress = context.progress(&format!("steering: {name}"), plan.steps as u64);
        let start = Instant::now();
        let samples = plan.run(flow, reward, &x, &noise, &mut |p| {
            progress.advance(1);
            context.detail_above(&progress, format!("{name} step {} of {}: {p:?}", p.done, plan.steps));
            Ok(())
        })?;
        let seconds = start.elapsed().as_secs_f64();
        let mut classes = vec![0.0; wanted.len()];
        for class in judge.classify(&samples)? {
            classes[class] += 1.0 / SAMPLES as f64;
        }
        let l2 = classes.iter().zip(wanted).map(|(share, w)| (share - w) * (share - w)).sum::<f64>().sqrt();
        let row = Row {
            estimator: name,
            sampler: plan.sampler(),
            draws: plan.draws,
            steps: plan.steps,
            moves: plan.moves,
            evaluations: plan.evaluations(),
            l2,
            classes,
            seconds,
        };
        runs.push(Run { row, samples: samples.to_vec()? });
    }
    Ok(runs)
}
