//! What the 2D experiment looks like.

use super::problem::Problem;
use super::rows::Row;
use crate::Result;
use crate::output::{self, Directory};
use crate::table::{count, number};
use mfm_core::guidance::estimate_value_gradient;
use mfm_core::interpolant::Linear;
use mfm_core::{Device, Draws, Flow, Lift, MetaFlowMap, Noise, Shape, Tensor};
use mfm_picture::{Axis, BLUE, Colour, Figure, GREY, Grid, Layer, ORANGE, Panel};
use mfm_toy2d::{AtTime, GaussianMixture, ValueAt};

/// Half the side of a picture, in units of the data.
const REACH: f64 = 5.5;
/// What the smallest regions that are outlined hold of an exact law.
const SHARES: [f64; 2] = [0.5, 0.95];
/// The exact arrows, wide and pale, below those of the map: where both agree, both are seen.
const PALE: Colour = Colour(0xf8, 0xc2, 0x8e);
/// No arrow is drawn longer than so many of the longest exact one: far from all draws an estimate may be of any length.
const CUT: f64 = 1.5;
/// Arrows along each axis.
const SIDE: usize = 15;

/// Row-major pairs as points.
fn points(values: &[f64]) -> Vec<[f64; 2]> {
    values.chunks_exact(2).map(|p| [p[0], p[1]]).collect()
}

fn panel(title: impl Into<String>, [x, y]: [f64; 2], reach: f64) -> Panel {
    Panel::new(title, Axis::new("x₁", x - reach, x + reach), Axis::new("x₂", y - reach, y + reach)).with_equal_units()
}

/// The outlines of an exact law on a panel.
fn outlines(law: &GaussianMixture, [x, y]: [f64; 2], reach: f64) -> Result<Layer> {
    // A panel of equal units may be longer one way.
    let reach = 1.3 * reach;
    let grid = Grid::new(220, [x - reach, y - reach], [x + reach, y + reach], |place| law.density(&place))?;
    Ok(Layer::Outlines { grid, shares: SHARES.to_vec(), colour: ORANGE })
}

/// The drift and the gradient of the value, the map's over the exact ones, with the density of the states behind them.
pub fn fields<T: Tensor, M: Lift<T>>(
    problem: &Problem,
    flow: &Flow<'_, M>,
    device: &T::Device,
    draws: usize,
    out: &Directory,
    noise: &Noise,
) -> Result<()> {
    let title = format!(
        "Drift b and value gradient ∇V, exact and of the map ({draws} draws a state), over the density of x_t (grey); arrows are cut at {CUT} times the longest exact one"
    );
    let mut figure = Figure::new(title, 3).with_panel_size(360, 390);
    let place = |k: usize| -REACH + 2.0 * REACH * (k as f64 + 0.5) / SIDE as f64;
    let states: Vec<f64> = (0..SIDE * SIDE).flat_map(|k| [place(k % SIDE), place(k / SIDE)]).collect();
    let x = device.from_slice(&states, Shape::new(&[SIDE * SIDE, 2])?)?;
    let times = [0.2, 0.5, 0.8];
    for t in times {
        let at = AtTime::new(&problem.prior, &Linear, t)?;
        let mut exact = vec![0.0; states.len()];
        at.drift(&states, &mut exact)?;
        let model: Vec<f64> = flow.drift(t, &x)?.to_vec()?;
        figure = figure.with(arrows(format!("b at t = {t}"), &at, &states, &exact, &model)?);
    }
    for (k, t) in times.into_iter().enumerate() {
        let at = AtTime::new(&problem.prior, &Linear, t)?;
        let (mut values, mut exact) = (vec![0.0; SIDE * SIDE], vec![0.0; states.len()]);
        ValueAt::new(&at, &problem.reward)?.values_and_gradients(&states, &mut values, &mut exact)?;
        let noise = noise.fork(k as u64);
        let model = estimate_value_gradient(flow, &problem.reward, t, &x, Draws::new(draws), &noise)?.gradient.to_vec()?;
        figure = figure.with(arrows(format!("∇V at t = {t}"), &at, &states, &exact, &model)?);
    }
    output::picture(&out.file("fields.png"), &figure.draw()?)
}

/// Two fields on one scale: the longest exact arrow goes nearly from one state to the next.
fn arrows(title: String, at: &AtTime, states: &[f64], exact: &[f64], model: &[f64]) -> Result<Panel> {
    let longest = |field: &[f64]| field.chunks_exact(2).map(|p| p[0].hypot(p[1])).filter(|l| l.is_finite()).fold(0.0, f64::max);
    let density = Grid::new(180, [-REACH; 2], [REACH; 2], |place| -> Result<f64> {
        let mut found = [0.0];
        at.log_density(&place, &mut found)?;
        // Its root, so that thin places are seen; at half strength, below arrows.
        Ok((0.5 * found[0]).exp())
    })?;
    let scale = 1.2 / longest(exact).max(f64::MIN_POSITIVE);
    let most = CUT * longest(exact);
    let shortened = |vector: [f64; 2]| vector.map(|part| part * (most / vector[0].hypot(vector[1])).min(1.0));
    let layer = |field: &[f64], colour, width| {
        let arrows = points(states).into_iter().zip(points(field).into_iter().map(shortened)).collect();
        Layer::Arrows { arrows, colour, scale, width }
    };
    let named = |name: &str, field: &[f64]| format!("{name}, up to {}", number(longest(field), 2));
    Ok(panel(title, [0.0; 2], REACH)
        .with(Layer::Heat { grid: density, colour: GREY })
        .with_named(named("exact", exact), layer(exact, PALE, 3.4))
        .with_named(named("map", model), layer(model, BLUE, 0.9)))
}

/// Posterior draws of the model with the outlines of the exact law, for one state at each of several times.
pub fn posteriors<T: Tensor, M: MetaFlowMap<T>>(
    problem: &Problem,
    flow: &Flow<'_, M>,
    device: &T::Device,
    out: &Directory,
    noise: &Noise,
) -> Result<()> {
    let draws = 1500;
    let title = format!(
        "Posteriors p(x1 | x_t): {} draws of the map in one step, and the smallest regions with 50 % and 95 % of the exact law (each panel has axes of its own)",
        count(draws)
    );
    let mut figure = Figure::new(title, 3).with_panel_size(360, 390);
    for (k, t) in [0.0, 0.1, 0.3, 0.5, 0.7, 0.9].into_iter().enumerate() {
        let state = [0.6 * t * 3.0, -0.2];
        let at = AtTime::new(&problem.prior, &Linear, t)?;
        let law = at.posterior_mixture(&at.posterior(&state)?)?;
        let eps = device.normal(&noise.fork(100 + k as u64), Shape::new(&[draws, 2])?)?;
        let x_t = device.from_slice(&state, Shape::new(&[1, 2])?)?;
        let model: Vec<f64> = flow.posterior(&eps, t, &x_t)?.to_vec()?;
        let (middle, reach) = middle_and_reach(&law.sample(draws, &noise.fork(k as u64))?);
        let title = format!("t = {t}, x_t = ({:.2}, −{:.2})", state[0], -state[1]);
        figure = figure.with(
            panel(title, middle, reach)
                .with_named("draws of the map", Layer::points(points(&model), BLUE))
                .with_named("exact, 50 % and 95 %", outlines(&law, middle, reach)?),
        );
    }
    output::picture(&out.file("posteriors.png"), &figure.draw()?)
}

/// The middle of a square around all points, and half its side.
fn middle_and_reach(values: &[f64]) -> ([f64; 2], f64) {
    let ends = [0, 1].map(|k| {
        let along = values.iter().skip(k).step_by(2);
        along.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(*value), high.max(*value)))
    });
    (ends.map(|(low, high)| (low + high) / 2.0), ends.map(|(low, high)| 0.55 * (high - low)).into_iter().fold(0.1, f64::max))
}

/// The samples of one estimator.
#[derive(Debug)]
pub struct Set {
    /// How they were made.
    pub row: Row,
    /// Those of the first seed.
    pub samples: Vec<f64>,
}

/// The samples of each estimator with the outlines of the target.
pub fn steered(problem: &Problem, sets: &[Set], out: &Directory) -> Result<()> {
    const SHOWN: usize = 1500;
    let title = format!(
        "Steered samples (blue, {} of {}), and the smallest regions with 50 % and 95 % of the exact target (orange)",
        count(SHOWN.min(problem.samples)),
        count(problem.samples)
    );
    let mut figure = Figure::new(title, 4).with_panel_size(345, 400);
    let target = outlines(&problem.target, [0.0; 2], REACH)?;
    for Set { row, samples } in sets {
        let all = points(samples);
        let beyond = all.iter().filter(|point| point.iter().any(|x| x.abs() > REACH)).count();
        let share = 100.0 * beyond as f64 / all.len() as f64;
        let share = if share < 0.1 { "less than 0.1".into() } else { format!("{share:.1}") };
        let beyond = match (beyond, row.lost) {
            (0, 0) => String::new(),
            (0, lost) => format!("\n{} lost", count(lost)),
            (_, 0) => format!("\n{share} % beyond the edges"),
            (_, lost) => format!("\n{share} % beyond the edges, {} lost", count(lost)),
        };
        let title = format!("{}\n{}{beyond}", row.run.way(), row.run.effort());
        let shown = all.into_iter().take(SHOWN).collect();
        figure = figure.with(panel(title, [0.0; 2], REACH).with(Layer::points(shown, BLUE)).with(target.clone()));
    }
    output::picture(&out.file("steered.png"), &figure.draw()?)
}
