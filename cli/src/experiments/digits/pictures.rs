//! What experiments on digits show.

use super::{Digits, Run, wanted};
use crate::output::{self, Directory};
use crate::table::things;
use crate::{Context, Result};
use mfm_core::guidance::estimate_value;
use mfm_core::sample::sample_by_steps;
use mfm_core::{Device, Draws, Flow, MetaFlowMap, Shape, Tensor, TimeGrid};
use mfm_nn::ClassMixtureReward;
use mfm_picture::{Axis, BLUE, Figure, GREY, ImageGrid, Layer, ORANGE, Panel, SERIES};

const COLUMNS: usize = 16;

/// Real digits, and samples in a few steps of the map.
pub fn samples<T: Tensor, M: MetaFlowMap<T>>(context: &Context<T>, flow: &Flow<'_, M>, digits: &Digits, out: &Directory) -> Result<()> {
    let noise = context.noise.fork(20);
    let pixels = digits.pixels();
    let real = (0..2).fold(ImageGrid::new("Digits: real, and of the model", digits.side), |grid, row| {
        let name = if row == 0 { "real" } else { "" };
        grid.with_row(name, digits.train.rows[row * COLUMNS * pixels..(row + 1) * COLUMNS * pixels].to_vec())
    });
    let x = context.device.normal(&noise, Shape::new(&[2 * COLUMNS, pixels])?)?;
    let mut grid = real;
    for steps in [1, 2, 4] {
        let samples: Vec<f32> = sample_by_steps(flow, &TimeGrid::uniform(steps), &x)?.to_vec()?;
        for (row, images) in samples.chunks_exact(COLUMNS * pixels).enumerate() {
            let name = if row == 0 { things(steps, "step") } else { String::new() };
            grid = grid.with_row(name, images.to_vec());
        }
    }
    output::picture(&out.file("samples.png"), &grid.draw()?)
}

/// Held-out digits under noise, and draws of what they may have been.
pub fn posteriors<T: Tensor, M: MetaFlowMap<T>>(
    context: &Context<T>,
    flow: &Flow<'_, M>,
    reward: &ClassMixtureReward<T>,
    digits: &Digits,
    out: &Directory,
) -> Result<()> {
    let noise = context.noise.fork(21);
    let draws = COLUMNS - 2;
    let names = ["digit".to_owned(), "x_t".to_owned()].into_iter().chain((1..=draws).map(|k| k.to_string()));
    let mut grid = ImageGrid::new("Posterior draws p(x1 | x_t), one step each, with the value V_t of the state", digits.side)
        .with_columns(names)
        .with_gap_after(2);
    for (k, t) in [0.1, 0.3, 0.5, 0.7, 0.9].into_iter().enumerate() {
        for which in 0..2 {
            let digit = digits.held_out.row(2 * k + which + 3);
            let noise = noise.fork((2 * k + which) as u64);
            let x_t = noised(digit, t, &noise);
            let state = context.device.from_slice(&x_t, Shape::new(&[1, digits.pixels()])?)?;
            let eps = context.device.normal(&noise.stream(1), Shape::new(&[draws, digits.pixels()])?)?;
            let ends: Vec<f32> = flow.posterior(&eps, t, &state)?.to_vec()?;
            let value = estimate_value(flow, reward, t, &state, Draws::new(256), &noise.stream(2))?;
            let value: Vec<f64> = value.value.to_vec()?;
            let pixels = digit.iter().copied().chain(x_t.iter().map(|v| v.clamp(-1.0, 1.0))).chain(ends).collect();
            grid = grid.with_row(format!("t = {t}, V = {:.2}", value[0]), pixels);
        }
    }
    output::picture(&out.file("posteriors.png"), &grid.draw()?)
}

/// x_t on the linear path.
fn noised(digit: &[f32], t: f64, noise: &mfm_core::Noise) -> Vec<f32> {
    let mut eps = vec![0.0; digit.len()];
    noise.fill_normal(&mut eps);
    digit.iter().zip(eps).map(|(x1, x0)| ((1.0 - t) * x0 + t * f64::from(*x1)) as f32).collect()
}

/// The value along t: the mean over some held-out digits of each of a few classes, and the effective sample size.
pub fn values<T: Tensor, M: MetaFlowMap<T>>(
    context: &Context<T>,
    flow: &Flow<'_, M>,
    reward: &ClassMixtureReward<T>,
    digits: &Digits,
    out: &Directory,
) -> Result<()> {
    let labels = digits.held_out.labels.as_deref().unwrap_or(&[]);
    let (draws, most) = (64, 64);
    let times: Vec<f64> = (0..10).map(|k| f64::from(k) / 10.0).collect();
    let mut curves = Vec::new();
    let mut sizes = Panel::new(
        format!("Effective sample size of {draws} draws"),
        Axis::new("t", 0.0, 0.9),
        Axis::new("effective sample size", 0.0, draws as f64),
    );
    let classes = [9, 5, 1, 0, 8];
    let progress = context.progress("values of held-out digits", (classes.len() * times.len()) as u64);
    for (class, colour) in classes.into_iter().zip(SERIES) {
        let rows: Vec<usize> = (0..digits.held_out.len()).filter(|&i| labels.get(i) == Some(&class)).take(most).collect();
        if rows.is_empty() {
            // A small set may hold none of a class out.
            continue;
        }
        let (mut values, mut effective) = (Vec::new(), Vec::new());
        for (k, &t) in times.iter().enumerate() {
            let noise = context.noise.fork(22).fork((class * 100 + k) as u64);
            let states: Vec<f32> =
                rows.iter().enumerate().flat_map(|(i, &row)| noised(digits.held_out.row(row), t, &noise.stream(i as u64))).collect();
            let x = context.device.from_slice(&states, Shape::new(&[rows.len(), digits.pixels()])?)?;
            let estimate = estimate_value(flow, reward, t, &x, Draws::new(draws), &noise.fork(0))?;
            let all: Vec<f64> = estimate.value.to_vec()?;
            values.push([t, all.iter().sum::<f64>() / all.len() as f64]);
            effective.push([t, estimate.concentration()?.effective_sample_size]);
            progress.advance(1);
        }
        curves.push((format!("digit {class}"), values, colour));
        sizes = sizes.with_named(format!("digit {class}"), Layer::curve(effective, colour));
    }
    let all = curves.iter().flat_map(|(_, values, _)| values.iter().map(|point| point[1])).chain([0.0]);
    let panel = Panel::new("The value V_t(x_t) of held-out digits", Axis::new("t", 0.0, 0.9), Axis::fit("V", all));
    let panel = curves.into_iter().fold(panel, |panel, (name, values, colour)| panel.with_named(name, Layer::curve(values, colour)));
    let figure = Figure::new("Wanted: 9 most, 5 and 7, 1 and 3; unwanted: even digits", 2).with_panel_size(430, 330);
    output::picture(&out.file("values.png"), &figure.with(panel).with(sizes).draw()?)
}

/// Samples of each estimator.
pub fn steered(runs: &[Run], digits: &Digits, out: &Directory) -> Result<()> {
    let row_size = COLUMNS * digits.pixels();
    let mut grid = ImageGrid::new("Steered to w ∝ [0,1,0,1,0,2,0,2,0,4]", digits.side);
    for run in runs {
        for (row, name) in [run.row.run.way(), run.row.run.effort()].into_iter().enumerate() {
            grid = grid.with_row(name, run.samples[row * row_size..(row + 1) * row_size].to_vec());
        }
    }
    output::picture(&out.file("steered.png"), &grid.draw()?)
}

/// The shares of the classes of each estimator, beside the wanted ones.
pub fn classes(runs: &[Run], out: &Directory) -> Result<()> {
    let title = "Shares of the classes: samples (blue) and wanted (orange); dashed: a tenth, if all classes were alike";
    let all = runs.iter().flat_map(|run| run.row.classes.iter().copied()).chain(wanted());
    let highest = (10.0 * all.fold(0.45, f64::max)).ceil() / 10.0;
    let mut figure = Figure::new(title, 3);
    for run in runs {
        let bars = |shares: &[f64], shift: f64| shares.iter().enumerate().map(|(class, share)| [class as f64 + shift, *share]).collect();
        let axes = (Axis::named("class", (0..10).map(|class| class.to_string())), Axis::new("share", 0.0, highest));
        figure = figure.with(
            Panel::new(format!("{}, {}\nL2 = {:.3}", run.row.run.way(), run.row.run.effort(), run.row.l2), axes.0, axes.1)
                .with(Layer::Bars { bars: bars(&run.row.classes, -0.2), width: 0.36, colour: BLUE })
                .with(Layer::Bars { bars: bars(&wanted(), 0.2), width: 0.36, colour: ORANGE })
                .with(Layer::Level { height: 0.1, colour: GREY }),
        );
    }
    output::picture(&out.file("classes.png"), &figure.draw()?)
}
