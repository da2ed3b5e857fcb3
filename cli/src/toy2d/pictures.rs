//! What the 2D experiment looks like.

use super::problem::Problem;
use crate::Result;
use crate::output::{self, Directory};
use mfm_core::interpolant::Linear;
use mfm_core::{Device, Flow, MetaFlowMap, Noise, Shape, Tensor};
use mfm_picture::{Axis, BLUE, Figure, GREY, Layer, ORANGE, Panel};
use mfm_toy2d::{AtTime, ValueAt};

/// Half the side of every picture, in units of the data.
const REACH: f64 = 5.5;

/// Row-major pairs as points.
fn points(values: &[f64]) -> Vec<[f64; 2]> {
    values.chunks_exact(2).map(|p| [p[0], p[1]]).collect()
}

fn axes() -> (Axis, Axis) {
    (Axis::new("", -REACH, REACH), Axis::new("", -REACH, REACH))
}

fn panel(title: impl Into<String>) -> Panel {
    let (x, y) = axes();
    Panel::new(title, x, y)
}

/// The drift and the gradient of the value, with the marginal density behind them: the model's drift over the exact one.
pub fn fields<T: Tensor, M: MetaFlowMap<T>>(
    problem: &Problem,
    flow: &Flow<'_, M>,
    device: &T::Device,
    out: &Directory,
    noise: &Noise,
) -> Result<()> {
    let mut figure = Figure::new("Drift b and value gradient ∇V over the density of x_t", 3);
    let side = 15;
    let place = |k: usize| -REACH + 2.0 * REACH * (k as f64 + 0.5) / side as f64;
    let grid: Vec<f64> = (0..side * side).flat_map(|k| [place(k % side), place(k / side)]).collect();
    let arrows = |vectors: &[f64]| points(&grid).into_iter().zip(points(vectors)).collect::<Vec<_>>();
    let times = [0.2, 0.5, 0.8];
    let mut states = Vec::new();
    for (k, t) in times.into_iter().enumerate() {
        let at = AtTime::new(&problem.prior, &Linear, t)?;
        let x1 = problem.prior.sample(4000, &noise.fork(k as u64))?;
        let mut x0 = vec![0.0; x1.len()];
        noise.fork(k as u64).stream(9).fill_normal(&mut x0);
        let cloud: Vec<f64> = x0.iter().zip(&x1).map(|(a, b)| (1.0 - t) * a + t * b).collect();
        let x = device.from_slice(&grid, Shape::new(&[side * side, 2])?)?;
        let model: Vec<f64> = flow.drift(t, &x)?.to_vec()?;
        let mut exact = vec![0.0; grid.len()];
        at.drift(&grid, &mut exact)?;
        figure = figure.with(
            panel(format!("b at t = {t}"))
                .with(Layer::Density { points: points(&cloud), colour: GREY })
                .with_named("exact", Layer::Arrows { arrows: arrows(&exact), colour: ORANGE, longest: 1.0 })
                .with_named("map", Layer::Arrows { arrows: arrows(&model), colour: BLUE, longest: 1.0 }),
        );
        states.push((t, at, cloud));
    }
    for (t, at, cloud) in states {
        let value = ValueAt::new(&at, &problem.reward)?;
        let (mut values, mut gradients) = (vec![0.0; side * side], vec![0.0; grid.len()]);
        value.values_and_gradients(&grid, &mut values, &mut gradients)?;
        figure = figure.with(
            panel(format!("∇V at t = {t}"))
                .with(Layer::Density { points: points(&cloud), colour: GREY })
                .with_named("exact", Layer::Arrows { arrows: arrows(&gradients), colour: ORANGE, longest: 1.0 }),
        );
    }
    output::picture(&out.file("fields.png"), &figure.draw()?)
}

/// Posterior draws of the model beside exact ones, for one state at each of several times.
pub fn posteriors<T: Tensor, M: MetaFlowMap<T>>(
    problem: &Problem,
    flow: &Flow<'_, M>,
    device: &T::Device,
    out: &Directory,
    noise: &Noise,
) -> Result<()> {
    let mut figure = Figure::new("Posteriors p(x1 | x_t): one step of the map against exact draws", 3);
    let draws = 1500;
    for (k, t) in [0.0, 0.1, 0.3, 0.5, 0.7, 0.9].into_iter().enumerate() {
        let state = [0.6 * t * 3.0, -0.2];
        let at = AtTime::new(&problem.prior, &Linear, t)?;
        let exact = at.posterior_mixture(&at.posterior(&state)?)?.sample(draws, &noise.fork(k as u64))?;
        let eps = device.normal(&noise.fork(100 + k as u64), Shape::new(&[draws, 2])?)?;
        let x_t = device.from_slice(&state, Shape::new(&[1, 2])?)?;
        let model: Vec<f64> = flow.posterior(&eps, t, &x_t)?.to_vec()?;
        let (x, y) = axes();
        figure = figure.with(
            Panel::new(format!("t = {t}, x_t = ({:.2}, {:.2})", state[0], state[1]), x, y)
                .with_named("exact", Layer::points(points(&exact), ORANGE))
                .with_named("map", Layer::points(points(&model), BLUE)),
        );
    }
    output::picture(&out.file("posteriors.png"), &figure.draw()?)
}

/// The samples of each estimator over the density of the target.
pub fn steered(problem: &Problem, sets: &[(String, Vec<f64>)], out: &Directory, noise: &Noise) -> Result<()> {
    let target = points(&problem.target.sample(8000, noise)?);
    let mut figure = Figure::new("Steered samples (blue) over the exact target (grey)", 4);
    for (title, samples) in sets {
        let shown = points(&samples[..samples.len().min(2 * 1500)]);
        figure = figure
            .with(panel(title.clone()).with(Layer::Density { points: target.clone(), colour: GREY }).with(Layer::points(shown, BLUE)));
    }
    output::picture(&out.file("steered.png"), &figure.draw()?)
}
