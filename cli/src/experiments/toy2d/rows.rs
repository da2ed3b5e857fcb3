//! Which plans are compared, and the rows they come to.

use super::problem::{Distance, FLOOR_PAIRS, Problem, Spread};
use crate::steering::{self, Diagnostics, Estimator, Plan, dash};
use crate::table::{decimals, number};
use crate::{Context, Result, Table};
use mfm_core::{Device, Flow, Lift, Noise, Tensor};
use mfm_toy2d::exact::ExactGradient;
use serde::Serialize;
use std::time::Instant;

/// One line of the table.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    #[serde(flatten)]
    pub run: steering::Row,
    /// Sliced W2 to the target, the mean over the seeds.
    pub sw2: f64,
    /// Its standard deviation over the seeds; 0 for one.
    pub sw2_deviation: f64,
    /// MMD² to the target.
    pub mmd: f64,
    /// The mean reward of the samples.
    pub mean_reward: f64,
    /// Samples that ran away, of all seeds: NaN, infinite or beyond 50. They are measured as 0, or 50 away.
    pub lost: usize,
    /// The number of seeds.
    pub seeds: usize,
}

/// What a row is made by.
#[derive(Clone, Debug)]
pub struct Job {
    pub plan: Plan,
    /// Whether the exact gradient takes the place of the plan's estimator.
    pub exact: bool,
    /// The number of seeds it is run with.
    pub seeds: usize,
}

impl Job {
    pub fn new(plan: Plan, seeds: usize) -> Self {
        Self { plan, exact: false, seeds }
    }

    /// Runs the job, and measures what it made.
    pub fn run<C: Tensor, T: Tensor, M: Lift<T>>(
        &self,
        context: &Context<C>,
        problem: &Problem,
        flow: &Flow<'_, M>,
        device: &T::Device,
    ) -> Result<(Row, Vec<f64>)> {
        let plan = &self.plan;
        let name = if self.exact { "exact gradient" } else { plan.estimator.name() };
        let progress = context.progress(
            &format!("{name} {} {} × {}", plan.sampler(), plan.steps, plan.draws),
            (plan.reports(problem.shape()?)? * self.seeds) as u64,
        );
        let start = Instant::now();
        let mut distances: Vec<Distance> = Vec::new();
        let mut first = Vec::new();
        let (mut seconds, mut lost) = (0.0, 0);
        for seed in 0..self.seeds as u64 {
            let noise = context.noise.fork(1000 + seed);
            let clock = Instant::now();
            let mut points = self.samples(problem, flow, device, &noise, &mut |step| {
                progress.advance(1);
                if let Some(size) = step.effective_sample_size {
                    progress.remark(format!("effective sample size {size:.1}"));
                }
                context.detail_above(&progress, format!("{name}, {} steps: {step}", plan.steps));
                Ok(())
            })?;
            seconds += clock.elapsed().as_secs_f64();
            lost += contain(&mut points, problem.dimension());
            distances.push(problem.distance(&points)?);
            if first.is_empty() {
                first = points;
            }
        }
        drop(progress);
        context.detail(format!("{name}: {:.1} s with measuring", start.elapsed().as_secs_f64()));
        let over = |of: fn(&Distance) -> f64| Spread::of(&distances.iter().map(of).collect::<Vec<_>>());
        let sliced = over(|d| d.sliced_wasserstein);
        let row = Row {
            run: steering::Row::new(name, plan, flow.path, seconds / self.seeds as f64),
            sw2: sliced.mean,
            sw2_deviation: if self.seeds > 1 { sliced.deviation } else { 0.0 },
            mmd: over(|d| d.mmd).mean,
            mean_reward: over(|d| d.mean_reward).mean,
            lost,
            seeds: self.seeds,
        };
        Ok((row, first))
    }

    fn samples<T: Tensor, M: Lift<T>>(
        &self,
        problem: &Problem,
        flow: &Flow<'_, M>,
        device: &T::Device,
        noise: &Noise,
        on_step: &mut dyn FnMut(Diagnostics) -> mfm_core::Result<()>,
    ) -> Result<Vec<f64>> {
        let x = device.normal(&noise.stream(1), problem.shape()?)?;
        let samples = if self.exact {
            let guide = ExactGradient { mixture: &problem.prior, reward: &problem.reward };
            self.plan.guided(flow, guide, &x, noise, on_step)?
        } else {
            self.plan.run(flow, &problem.reward, &x, noise, on_step)?
        };
        Ok(samples.to_vec()?)
    }
}

/// Brings samples that ran away back to where a distance can be measured, and counts them.
fn contain(points: &mut [f64], dimension: usize) -> usize {
    const REACH: f64 = 50.0;
    let away = |v: &f64| !v.is_finite() || v.abs() > REACH;
    let lost = points.chunks_exact(dimension).filter(|point| point.iter().any(away)).count();
    for value in points.iter_mut() {
        *value = if value.is_nan() { 0.0 } else { value.clamp(-REACH, REACH) };
    }
    lost
}

impl Job {
    /// The same with few steps and draws and one seed, to see that it runs.
    #[must_use]
    pub fn quick(mut self) -> Self {
        let Plan { steps, draws, moves, .. } = &mut self.plan;
        (*steps, *draws, *moves) = ((*steps).min(3), (*draws).min(4), (*moves).min(2));
        Self { seeds: 1, ..self }
    }
}

/// The jobs on the paper's mixture. A full run takes up to 128 draws at 1,000 steps, with 20 seeds. Best-of-n and search are not here: they aim at the largest
/// reward, not at the tilted law.
pub fn paper_jobs(exact: bool, full: bool) -> Vec<Job> {
    let (seeds, steps) = if full { (20, 1000) } else { (1, 200) };
    let few = seeds.max(4);
    let mut jobs = vec![Job::new(Plan::new(Estimator::Unsteered, 0, steps), seeds), Job::new(Plan::new(Estimator::Dps, 0, steps), seeds)];
    if exact {
        jobs.push(Job { exact: true, ..Job::new(Plan::new(Estimator::Unsteered, 0, steps), few) });
    }
    let many: &[usize] = if full {
        &[1, 4, 16, 64, 128]
    } else if exact {
        &[16, 64]
    } else {
        &[4, 16]
    };
    jobs.extend(many.iter().map(|&n| Job::new(Plan::new(Estimator::MfmG, n, steps), seeds)));
    let many: &[usize] = if full { &[1, 4, 16, 64, 128] } else { &[4, 16] };
    jobs.extend(many.iter().map(|&n| Job::new(Plan::new(Estimator::MfmGf, n, steps), seeds)));
    jobs.push(Job::new(Plan::new(Estimator::MfmGf, 16, 250).by_sde(), seeds));
    let many: &[(usize, usize)] = if full { &[(4, 16), (8, 8), (8, 16), (8, 32), (8, 64), (8, 128)] } else { &[(4, 16), (8, 8), (8, 32)] };
    jobs.extend(many.iter().map(|&(steps, n)| Job::new(Plan::new(Estimator::Resampled, n, steps), few)));
    jobs.push(Job::new(Plan { moves: 8, ..Plan::new(Estimator::Mcmc, 32, 8) }, few));
    jobs.push(Job::new(Plan::new(Estimator::Smc, 0, 250), few));
    jobs.push(Job::new(Plan::new(Estimator::MfmSmc, 32, 8), few));
    jobs.push(Job::new(Plan::new(Estimator::MfmSmc, 16, 100).by_sde(), few));
    jobs
}

/// The jobs on an inverse problem.
pub fn inverse_jobs(full: bool) -> Vec<Job> {
    let seeds = if full { 20 } else { 1 };
    let steps = 250;
    let plan = |estimator, draws| Plan::new(estimator, draws, steps).by_sde();
    vec![
        Job::new(plan(Estimator::Unsteered, 0), seeds),
        Job::new(plan(Estimator::Dps, 0), seeds),
        Job::new(plan(Estimator::MfmG, 16), seeds),
        Job::new(plan(Estimator::MfmGf, 16), seeds),
        Job::new(Plan::new(Estimator::Resampled, 64, 32), seeds),
        Job::new(Plan { moves: 8, ..Plan::new(Estimator::Mcmc, 8, 32) }, seeds),
        Job::new(Plan { moves: 40, ..Plan::new(Estimator::Mcmc, 8, 16) }, seeds),
        Job::new(plan(Estimator::Smc, 0), seeds),
        Job::new(plan(Estimator::MfmSmc, 16), seeds),
    ]
}

/// The rows as a table for people.
pub fn table(rows: &[Row], floor: Spread, exact_reward: f64) -> Table {
    let mut table = Table::new([
        "estimator",
        "sampler",
        "draws",
        "steps",
        "moves",
        "evaluations",
        "sliced W2",
        "× floor",
        "MMD²",
        "mean reward",
        "lost",
        "seconds",
        "seeds",
    ]);
    for row in rows {
        let run = &row.run;
        let sw2 = if row.seeds > 1 { format!("{:.3} ± {:.3}", row.sw2, row.sw2_deviation) } else { format!("{:.3}", row.sw2) };
        table.row([
            run.estimator.to_owned(),
            run.sampler.to_owned(),
            dash(run.draws),
            run.steps.to_string(),
            dash(run.moves),
            run.evaluations.to_string(),
            sw2,
            format!("{:.2}", row.sw2 / floor.mean),
            decimals(row.mmd, 5),
            number(row.mean_reward, 4),
            row.lost.to_string(),
            format!("{:.1}", run.seconds),
            row.seeds.to_string(),
        ]);
    }
    table.row([
        "exact against exact",
        "–",
        "–",
        "–",
        "–",
        "–",
        &format!("{:.3} ± {:.3}", floor.mean, floor.deviation),
        "1.00",
        "0",
        &number(exact_reward, 4),
        "0",
        "–",
        &FLOOR_PAIRS.to_string(),
    ]);
    table
}
