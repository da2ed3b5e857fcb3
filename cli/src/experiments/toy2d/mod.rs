//! `mfm toy2d`: estimators against closed forms, on the paper's mixture and on linear-Gaussian inverse problems.

mod pictures;
mod problem;
mod rows;
mod train;

use crate::arguments::{at_least_one, positive};
use crate::failure::Failure;
use crate::output::Directory;
use crate::{Context, Result};
use mfm_core::interpolant::Linear;
use mfm_core::sample::sample_by_steps;
use mfm_core::{Device, Flow, Lift, Tensor, TimeGrid};
use mfm_cpu_ref::CpuTensor;
use mfm_toy2d::InverseProblemSpec;
use mfm_toy2d::exact::TransportMap;
use pictures::Set;
use problem::Problem;
use rows::{Job, Row};
use serde::Serialize;
use std::path::PathBuf;
use train::Recipe;

/// What is steered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// Three Gaussians in 2D and one observation, as in the paper
    Paper,
    /// A random linear-Gaussian inverse problem
    Inverse,
}

/// The options of `mfm toy2d`.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    /// The folder for pictures
    #[arg(long, value_name = "DIR", default_value = "mfm-toy2d")]
    pub out: PathBuf,
    /// Which problem
    #[arg(long, value_enum, default_value = "paper")]
    pub problem: Kind,
    /// The exact posterior in place of a trained network
    #[arg(long)]
    pub exact: bool,
    /// Up to 128 draws, 1,000 steps, 20 seeds, and a larger network: hours
    #[arg(long)]
    pub full: bool,
    /// A few steps of everything, to see that it runs: the figures mean nothing
    #[arg(long, hide = true, conflicts_with = "full")]
    pub quick: bool,
    /// Training steps of the network
    #[arg(long, value_name = "N", value_parser = at_least_one, conflicts_with = "exact")]
    pub train_steps: Option<usize>,
    /// Inverse problem: the dimension [default: 64]
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub dim: Option<usize>,
    /// Inverse problem: the number of observations [default: 32]
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub observations: Option<usize>,
    /// Inverse problem: the standard deviation of an observation [default: 0.1]
    #[arg(long, value_name = "S", value_parser = positive)]
    pub noise: Option<f64>,
    /// Inverse problem: the number of Gaussians in the prior [default: 1]
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub components: Option<usize>,
}

impl Arguments {
    /// The problem's options; the paper's has none.
    fn inverse(&self, seed: u64) -> Result<Option<InverseProblemSpec>> {
        let Self { dim, observations, noise, components, .. } = *self;
        if self.problem == Kind::Inverse {
            return Ok(Some(InverseProblemSpec {
                dimension: dim.unwrap_or(64),
                observations: observations.unwrap_or(32),
                sigma: noise.unwrap_or(0.1),
                components: components.unwrap_or(1),
                seed,
            }));
        }
        let given = [
            ("--dim", dim.is_some()),
            ("--observations", observations.is_some()),
            ("--noise", noise.is_some()),
            ("--components", components.is_some()),
        ];
        match given.iter().find(|(_, is_given)| *is_given) {
            Some((option, _)) => Err(Failure::input(format!("{option}: it is for --problem inverse"))),
            None => Ok(None),
        }
    }
}

/// What `--json` gives.
#[derive(Debug, Serialize)]
struct Results {
    problem: &'static str,
    dimension: usize,
    map: &'static str,
    samples: usize,
    seed: u64,
    floor: f64,
    floor_deviation: f64,
    floor_mmd: f64,
    exact_mean_reward: f64,
    unconditional: Vec<Unconditional>,
    rows: Vec<Row>,
    training_seconds: f64,
    seconds: f64,
}

/// Unsteered samples in a few steps of the map, against the prior.
#[derive(Debug, Serialize)]
struct Unconditional {
    steps: usize,
    sw2: f64,
    floor: f64,
}

/// Runs `mfm toy2d`.
///
/// # Errors
/// One sentence for the user.
pub fn run<T: Tensor>(context: &Context<T>, arguments: &Arguments) -> Result<()> {
    let spec = arguments.inverse(context.seed)?;
    let out = Directory::create(&arguments.out)?;
    let noise = context.noise.fork(1);
    let samples = |whole: usize| if arguments.quick { 64 } else { whole };
    let problem = match spec {
        None => Problem::paper(samples(4096), &noise)?,
        Some(spec) => Problem::inverse(&spec, samples(512), &noise)?,
    };
    if arguments.exact {
        // Closed forms in f64 are the host's business, whatever the device.
        let device = crate::arguments::device::host::<f64>(context.threads)?;
        let map = TransportMap::new(&problem.prior, &Linear, device.threads());
        return experiment::<_, CpuTensor<f64>, _>(context, arguments, &problem, &Flow::new(&map, &Linear), &device, &out, 0.0);
    }
    let recipe = recipe(arguments);
    context.say(format!("training a network of {} × {} for {} steps of {}", recipe.depth, recipe.width, recipe.steps, recipe.batch));
    let before = context.seconds();
    let model = train::train(context, &problem, &recipe)?;
    let seconds = context.seconds() - before;
    experiment::<_, T, _>(context, arguments, &problem, &Flow::new(&model, &Linear), &context.device, &out, seconds)
}

/// The network and its training: small by default, the reference's size for a full run.
fn recipe(arguments: &Arguments) -> Recipe {
    let steps = |default: u64| arguments.train_steps.map_or(default, |n| n as u64);
    if arguments.quick {
        return Recipe { width: 32, depth: 2, steps: steps(5), batch: 64, rate: 1e-3 };
    }
    match (arguments.full, arguments.problem) {
        (true, _) => Recipe { width: 256, depth: 4, steps: steps(20_000), batch: 4096, rate: 1e-3 },
        (false, Kind::Paper) => Recipe { width: 128, depth: 4, steps: steps(12_000), batch: 1024, rate: 4e-3 },
        (false, Kind::Inverse) => Recipe { width: 256, depth: 3, steps: steps(3_000), batch: 512, rate: 1e-3 },
    }
}

fn experiment<C: Tensor, T: Tensor, M: Lift<T>>(
    context: &Context<C>,
    arguments: &Arguments,
    problem: &Problem,
    flow: &Flow<'_, M>,
    device: &T::Device,
    out: &Directory,
    training_seconds: f64,
) -> Result<()> {
    let noise = context.noise.fork(2);
    let (floor, floor_mmd) = problem.floor(&problem.target, &noise.fork(0))?;
    let (prior_floor, _) = problem.floor(&problem.prior, &noise.fork(1))?;
    let exact_mean_reward = problem.mean_reward(&problem.target.sample(20_000, &noise.fork(2))?)?;
    let mut unconditional = Vec::new();
    for steps in [1, 2, 4] {
        let x = device.normal(&noise.fork(3), problem.shape()?)?;
        let samples: Vec<f64> = sample_by_steps(flow, &TimeGrid::uniform(steps), &x)?.to_vec()?;
        unconditional.push(Unconditional {
            steps,
            sw2: problem.distance_to(&problem.prior, &samples, &noise.fork(4))?,
            floor: prior_floor.mean,
        });
    }
    let jobs: Vec<Job> = match arguments.problem {
        Kind::Paper => rows::paper_jobs(arguments.exact, arguments.full),
        Kind::Inverse => rows::inverse_jobs(arguments.full),
    };
    let mut sets = Vec::new();
    for job in jobs {
        let job = if arguments.quick { job.quick() } else { job };
        let (row, samples) = job.run(context, problem, flow, device)?;
        sets.push(Set { row, samples });
    }
    let rows: Vec<Row> = sets.iter().map(|set| set.row.clone()).collect();
    for sample in &unconditional {
        context.print(format!(
            "unsteered, {} step{} of the map: sliced W2 {:.3} to the prior, {:.2} × its floor of {:.3}",
            sample.steps,
            if sample.steps == 1 { "" } else { "s" },
            sample.sw2,
            sample.sw2 / sample.floor,
            sample.floor
        ))?;
    }
    context.print("")?;
    context.table(&rows::table(&rows, floor, exact_mean_reward))?;
    context.print(
        "\nSliced W2 and MMD² are distances to exact samples of the tilted law; an evaluation is a pass through the network for one sample, a backward \
         pass counts two.\nMFM-G and MFM-GF are biased where few draws carry the weight, MFM-G towards the gradient at single draws and MFM-GF towards no steering; \
         both biases fall as 1/draws.\nLost samples ran away to more than 50 from the origin (too few draws for a gradient, too few steps for a stiff one).",
    )?;
    if arguments.problem == Kind::Paper {
        pictures::fields(problem, flow, device, if arguments.quick { 4 } else { 1024 }, out, &noise.fork(5))?;
        pictures::posteriors(problem, flow, device, out, &noise.fork(6))?;
        pictures::steered(problem, &sets, out)?;
        context.print(format!(
            "\nPictures in {}: fields.png (drift and value gradient), posteriors.png (one-step draws and the exact law), steered.png (samples of \
             every row and the target).",
            out.path().display()
        ))?;
    }
    context.results(&Results {
        problem: match arguments.problem {
            Kind::Paper => "paper",
            Kind::Inverse => "inverse",
        },
        dimension: problem.dimension(),
        map: if arguments.exact { "exact" } else { "network" },
        samples: problem.samples,
        seed: context.seed,
        floor: floor.mean,
        floor_deviation: floor.deviation,
        floor_mmd: floor_mmd.mean,
        exact_mean_reward,
        unconditional,
        rows,
        training_seconds,
        seconds: context.seconds(),
    })
}
