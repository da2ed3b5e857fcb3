//! The evaluations that a sampler states are those that it makes: a forward pass counts one, with a backward pass three.

use crate::Paper;
use crate::support::counting::Counting;
use crate::support::{F64, device, normal};
use mfm_core::best_of::best_of;
use mfm_core::coupling::Coupling;
use mfm_core::guidance::{Dps, Guide, MfmGradient, MfmGradientFree, Unsteered};
use mfm_core::interpolant::Linear;
use mfm_core::plan::{Estimator, Plan};
use mfm_core::population::{Bridged, GuidedSde, Potential, SequentialMonteCarlo};
use mfm_core::posterior_mcmc::{PosteriorMcmc, steer_by_mcmc};
use mfm_core::resample::{Resampling, steer_by_resampling};
use mfm_core::sample::Sampler;
use mfm_core::search::{Keep, Search};
use mfm_core::steer::{Dynamics, Scheme, Steering, steer};
use mfm_core::{Draws, Flow, Noise, Result, TimeGrid};
use mfm_toy2d::exact::TransportMap;

const SAMPLES: usize = 6;

struct Meter {
    paper: Paper,
    map: Counting<TransportMap>,
}

impl Meter {
    fn new() -> Result<Self> {
        let paper = Paper::linear()?;
        Ok(Self { map: Counting::new(paper.map.clone()), paper })
    }

    fn flow(&self) -> Flow<'_, Counting<TransportMap>> {
        Flow::new(&self.map, self.paper.path)
    }

    #[track_caller]
    fn expect(&self, stated: usize, what: &str) {
        assert_eq!(self.map.take(), stated * SAMPLES, "{what}");
    }
}

#[test]
fn guides_and_equations_cost_what_they_say() -> Result<()> {
    let meter = Meter::new()?;
    let x: F64 = normal(&device(), SAMPLES, 2, 1)?;
    let reward = &meter.paper.reward;
    let draws = Draws { count: 5, rows: 12 };
    let (free, gradient, dps) = (MfmGradientFree { reward, draws }, MfmGradient { reward, draws }, Dps { reward });
    let guides: [&dyn Guide<F64, Counting<TransportMap>>; 4] = [&Unsteered, &free, &gradient, &dps];
    for (guide, (what, evaluations)) in guides.iter().zip([("unsteered", 1), ("gradient-free", 1 + 5), ("gradient", 1 + 3 * 5), ("DPS", 3)])
    {
        guide.guide(&meter.flow(), 0.3, &x, &Noise::new(2))?;
        meter.expect(evaluations, what);
    }
    for dynamics in [Dynamics::Ode, Dynamics::Sde] {
        for scheme in [Scheme::Euler, Scheme::Heun] {
            for end in [0.9, 1.0] {
                let steering = Steering { dynamics, scheme, grid: TimeGrid { start: 0.1, end, steps: 4, power: 1.0 } };
                steer(&meter.flow(), &free, &steering, &x, &Noise::new(2), &mut |_| Ok(()))?;
                meter.expect(steering.evaluations(6), &format!("{dynamics:?}, {scheme:?}, to {end}"));
            }
        }
    }
    for sampler in [Sampler::steps(3), Sampler::refinement(4), Sampler::ode(5), Sampler::sde(6)] {
        sampler.sample(&meter.flow(), &x, &Noise::new(2))?;
        meter.expect(sampler.evaluations(), &format!("{sampler:?}"));
    }
    Ok(())
}

// Outside the window the drift alone is asked, and a plan of nothing costs nothing.
#[test]
fn plans_cost_what_they_say() -> Result<()> {
    let meter = Meter::new()?;
    let x: F64 = normal(&device(), SAMPLES, 2, 1)?;
    for estimator in Estimator::ALL {
        for (window, start) in [(0.0..=1.0, 0.1), (0.0..=1.0, 0.0), (0.4..=0.8, 0.0), (0.02..=0.05, 0.1)] {
            for scheme in [Scheme::Euler, Scheme::Heun] {
                // Particles of TDS follow the SDE, which cannot start at 0.
                let start = if estimator == Estimator::Smc { 0.1 } else { start };
                let plan = Plan { window: window.clone(), scheme, moves: 1, start, ..Plan::new(estimator, 3, 4) };
                plan.run(&meter.flow(), &meter.paper.reward, &x, &Noise::new(2), &mut |_| Ok(()))?;
                meter.expect(plan.evaluations(meter.flow().path), &format!("{plan:?}"));
            }
        }
        assert_eq!(Plan::new(estimator, 3, 0).evaluations(&Linear), 0, "{estimator:?}");
        let _ = Plan { moves: usize::MAX, ..Plan::new(estimator, usize::MAX, usize::MAX) }.evaluations(&Linear);
    }
    Ok(())
}

#[test]
fn resampling_chains_and_searches_cost_what_they_say() -> Result<()> {
    let meter = Meter::new()?;
    let x: F64 = normal(&device(), SAMPLES, 2, 1)?;
    let (reward, noise, grid) = (&meter.paper.reward, Noise::new(3), TimeGrid::uniform(3));
    let draws = Draws { count: 5, rows: 12 };
    let resampling = Resampling { grid, draws, coupling: Coupling::Bridge };
    steer_by_resampling(&meter.flow(), reward, &resampling, &x, &noise, &mut |_, _| Ok(()))?;
    meter.expect(resampling.evaluations(), "resampling");
    for moves in [0, 1, 4] {
        let options = PosteriorMcmc { fresh: draws, ..PosteriorMcmc::new(3, moves) };
        steer_by_mcmc(&meter.flow(), reward, &options, &x, &noise, &mut |_| Ok(()))?;
        meter.expect(options.evaluations(), "posterior MCMC");
    }
    // At each time 8 fresh draws, and 3 for the first gradient and for each move: 16 (8 + 3·5) and 32 (8 + 3·9).
    assert_eq!((PosteriorMcmc::new(16, 4).evaluations(), PosteriorMcmc::new(32, 8).evaluations()), (368, 1120));
    let search = Search { grid, draws, keep: Keep::Overall, coupling: Coupling::FreshNoise };
    search.run(&meter.flow(), reward, &x, &noise, &mut |_, _| Ok(()))?;
    meter.expect(search.evaluations(), "search");
    let _: F64 = best_of(&meter.flow(), reward, &grid, draws, &x, &noise, &mut |_, _| Ok(()))?;
    meter.expect(3 * 5, "the best of five, in three steps each");
    Ok(())
}

#[test]
fn populations_cost_what_they_say() -> Result<()> {
    let meter = Meter::new()?;
    let x: F64 = normal(&device(), SAMPLES, 2, 1)?;
    let reward = &meter.paper.reward;
    let draws = Draws { count: 5, rows: 12 };
    for potential in [Potential::PosteriorMean, Potential::Value(draws)] {
        for end in [0.9, 1.0] {
            let population = SequentialMonteCarlo { grid: TimeGrid { start: 0.1, end, steps: 4, power: 1.0 }, potential, threshold: 0.5 };
            population.run(&meter.flow(), reward, &GuidedSde(Unsteered), &x, &Noise::new(4), &mut |_| Ok(()))?;
            meter.expect(population.evaluations(1), &format!("{potential:?} to {end}, unsteered"));
            let guided = GuidedSde(MfmGradientFree { reward, draws });
            population.run(&meter.flow(), reward, &guided, &x, &Noise::new(4), &mut |_| Ok(()))?;
            meter.expect(population.evaluations(6), &format!("{potential:?} to {end}, guided"));
            let bridged = SequentialMonteCarlo { grid: TimeGrid { start: 0.0, ..population.grid }, ..population };
            bridged.run(&meter.flow(), reward, &Bridged::default(), &x, &Noise::new(4), &mut |_| Ok(()))?;
            meter.expect(bridged.evaluations(1), &format!("{potential:?} to {end}, bridged from noise"));
        }
    }
    Ok(())
}
