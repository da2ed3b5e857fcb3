//! What a panel shows, one layer over another.

use super::axis::Axis;
use super::canvas::Canvas;
use super::grid::Grid;
use super::outline::{level, pieces};
use super::palette::{Colour, PAPER};
use crate::error::Result;

/// One layer of a panel. What lies outside the axes is not drawn.
#[derive(Clone, Debug, PartialEq)]
pub enum Layer {
    /// Dots.
    Points {
        /// Where.
        points: Vec<[f64; 2]>,
        /// Their colour.
        colour: Colour,
        /// Their radius in pixels.
        radius: f64,
        /// From 0 to 1.
        opacity: f64,
    },
    /// The density of points, smoothed, as shades of a colour.
    Density {
        /// The points.
        points: Vec<[f64; 2]>,
        /// The colour of the densest place.
        colour: Colour,
    },
    /// A function on an even grid, as shades from paper to a colour.
    Heat {
        /// The function.
        grid: Grid,
        /// The colour of the highest value.
        colour: Colour,
    },
    /// Outlines of the smallest regions that hold shares of a density on an even grid.
    Outlines {
        /// The density.
        grid: Grid,
        /// The shares, each between 0 and 1.
        shares: Vec<f64>,
        /// The colour of the lines.
        colour: Colour,
    },
    /// Arrows (place, vector).
    Arrows {
        /// The places and vectors.
        arrows: Vec<([f64; 2], [f64; 2])>,
        /// Their colour.
        colour: Colour,
        /// What a vector is multiplied by to give the arrow in units of the axes.
        scale: f64,
        /// The width of the lines in pixels.
        width: f64,
    },
    /// A line through points.
    Curve {
        /// The points, in order.
        points: Vec<[f64; 2]>,
        /// Its colour.
        colour: Colour,
        /// Whether each point is marked.
        marked: bool,
    },
    /// A dashed horizontal line.
    Level {
        /// At this height.
        height: f64,
        /// Its colour.
        colour: Colour,
    },
    /// Upright bars from zero: (centre, height).
    Bars {
        /// Centres and heights.
        bars: Vec<[f64; 2]>,
        /// The width of one.
        width: f64,
        /// Their colour.
        colour: Colour,
    },
}

/// Where the axes lie on the canvas.
pub(super) struct Frame<'a> {
    pub x: &'a Axis,
    pub y: &'a Axis,
    /// The upper left corner.
    pub from: [f64; 2],
    /// The lower right corner.
    pub to: [f64; 2],
}

impl Frame<'_> {
    /// The place of a point on the canvas.
    pub fn at(&self, [x, y]: [f64; 2]) -> [f64; 2] {
        let [left, top] = self.from;
        let [right, bottom] = self.to;
        [left + self.x.place(x) * (right - left), bottom - self.y.place(y) * (bottom - top)]
    }

    fn contains(&self, [x, y]: [f64; 2]) -> bool {
        (self.from[0] - 0.5..=self.to[0] + 0.5).contains(&x) && (self.from[1] - 0.5..=self.to[1] + 0.5).contains(&y)
    }
}

impl Layer {
    /// Small dots.
    pub fn points(points: Vec<[f64; 2]>, colour: Colour) -> Self {
        // Many points are drawn smaller and fainter.
        let opacity = (22.0 / (points.len().max(1) as f64).sqrt()).clamp(0.25, 0.9);
        let radius = if points.len() > 500 { 1.2 } else { 2.2 };
        Self::Points { points, colour, radius, opacity }
    }

    /// A marked curve.
    pub fn curve(points: Vec<[f64; 2]>, colour: Colour) -> Self {
        Self::Curve { points, colour, marked: true }
    }

    pub(super) fn colour(&self) -> Colour {
        match self {
            Self::Points { colour, .. }
            | Self::Density { colour, .. }
            | Self::Heat { colour, .. }
            | Self::Outlines { colour, .. }
            | Self::Arrows { colour, .. }
            | Self::Curve { colour, .. }
            | Self::Level { colour, .. }
            | Self::Bars { colour, .. } => *colour,
        }
    }

    pub(super) fn draw(&self, canvas: &Canvas<'_>, frame: &Frame<'_>) -> Result<()> {
        match self {
            Self::Points { points, colour, radius, opacity } => {
                let places = points.iter().map(|&point| frame.at(point)).filter(|&place| frame.contains(place));
                places.into_iter().try_for_each(|place| canvas.dot(place, *radius, *colour, *opacity))
            }
            Self::Density { points, colour } => heat(canvas, frame, &smoothed(points, frame, 90), *colour),
            Self::Heat { grid, colour } => heat(canvas, frame, grid, *colour),
            Self::Outlines { grid, shares, colour } => {
                let found = shares.iter().flat_map(|share| pieces(&grid.values, grid.columns, level(&grid.values, *share)));
                let mut found = found.map(|piece| piece.map(|place| frame.at(grid.place(place))));
                found.try_for_each(|piece| {
                    if piece.iter().all(|&place| frame.contains(place)) { canvas.path(&piece, *colour, 1.3) } else { Ok(()) }
                })
            }
            Self::Arrows { arrows, colour, scale, width } => {
                arrows.iter().try_for_each(|&(place, vector)| arrow(canvas, frame, place, vector.map(|part| scale * part), *colour, *width))
            }
            Self::Curve { points, colour, marked } => {
                let places: Vec<[f64; 2]> = points.iter().map(|&point| frame.at(point)).collect();
                // Split where the curve leaves the frame.
                for part in places.split(|&place| !frame.contains(place)).filter(|part| !part.is_empty()) {
                    canvas.path(part, *colour, 1.6)?;
                    for &place in part.iter().filter(|_| *marked) {
                        canvas.dot(place, 2.6, *colour, 1.0)?;
                    }
                }
                Ok(())
            }
            Self::Level { height, colour } => {
                let [left, y] = frame.at([frame.x.low, *height]);
                if !frame.contains([left, y]) {
                    return Ok(());
                }
                let dashes = ((frame.to[0] - left) / 9.0).floor() as usize;
                (0..dashes).map(|k| left + 9.0 * k as f64).try_for_each(|x| canvas.path(&[[x, y], [x + 5.0, y]], *colour, 1.3))
            }
            Self::Bars { bars, width, colour } => bars.iter().try_for_each(|&[centre, height]| {
                let ([left, top], [right, bottom]) = (frame.at([centre - width / 2.0, height]), frame.at([centre + width / 2.0, 0.0]));
                let end = frame.from[1];
                if top.max(end) >= bottom {
                    return Ok(());
                }
                canvas.rectangle([left, top.max(end)], [right, bottom.min(frame.to[1])], *colour)?;
                if top >= end - 0.5 {
                    return Ok(());
                }
                // A gap across a bar shows that it goes on beyond the panel.
                let slanted = |y: f64| [[left - 1.0, y + 3.0], [right + 1.0, y - 3.0], [right + 1.0, y], [left - 1.0, y + 6.0]];
                canvas.polygon(&slanted(end + 12.0), PAPER)
            }),
        }
    }
}

/// Shades that let the grid lines below them be seen.
fn heat(canvas: &Canvas<'_>, frame: &Frame<'_>, grid: &Grid, colour: Colour) -> Result<()> {
    let finite = || grid.values.iter().copied().filter(|value| value.is_finite());
    let (low, high) = finite().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
    for (i, &value) in grid.values.iter().enumerate().take(grid.rows() * grid.columns) {
        let share = (value - low) / (high - low);
        let (column, row) = ((i % grid.columns) as f64, (i / grid.columns) as f64);
        let corner = |aside: f64| frame.at(grid.place([column + aside, row + aside]));
        let ([left, bottom], [right, top]) = (corner(-0.5), corner(0.5));
        if share > 0.004 && frame.contains([left, top]) && frame.contains([right, bottom]) {
            canvas.shade([left, top], [right, bottom], colour, share)?;
        }
    }
    Ok(())
}

/// A histogram over the frame, blurred by a Gaussian, its square root taken so that thin places are seen.
fn smoothed(points: &[[f64; 2]], frame: &Frame<'_>, columns: usize) -> Grid {
    let rows = columns;
    let mut counts = vec![0.0; rows * columns];
    for &[x, y] in points {
        let (column, row) = (frame.x.place(x) * columns as f64, frame.y.place(y) * rows as f64);
        if (0.0..columns as f64).contains(&column) && (0.0..rows as f64).contains(&row) {
            counts[row as usize * columns + column as usize] += 1.0;
        }
    }
    let kernel: Vec<f64> = (-4i32..=4).map(|k| (-0.5 * (f64::from(k) / 1.5).powi(2)).exp()).collect();
    for stride in [1, columns] {
        let before = counts.clone();
        for (i, count) in counts.iter_mut().enumerate() {
            let place = (i / stride) % columns;
            let near = kernel.iter().enumerate().filter_map(|(k, weight)| {
                let other = (place + k).checked_sub(4).filter(|&other| other < columns)?;
                Some(weight * before[i - place * stride + other * stride])
            });
            *count = near.sum();
        }
    }
    let (from, to) = ([frame.x.low, frame.y.low], [frame.x.high, frame.y.high]);
    Grid { values: counts.into_iter().map(f64::sqrt).collect(), columns, from, to }
}

/// An arrow; one that would leave the frame, or is too short to be seen, is not drawn.
fn arrow(canvas: &Canvas<'_>, frame: &Frame<'_>, [x, y]: [f64; 2], [dx, dy]: [f64; 2], colour: Colour, width: f64) -> Result<()> {
    let (tail, tip) = (frame.at([x, y]), frame.at([x + dx, y + dy]));
    let (across, down) = (tip[0] - tail[0], tip[1] - tail[1]);
    let length = across.hypot(down);
    if !frame.contains(tail) || !frame.contains(tip) || length.is_nan() || length <= 1.0 {
        return Ok(());
    }
    let head = (0.42 * length).clamp(1.5, 4.6 + width);
    let (along, aside) = ([across / length, down / length], [-down / length, across / length]);
    let base = [tip[0] - head * along[0], tip[1] - head * along[1]];
    canvas.path(&[tail, base], colour, width)?;
    let half = (0.45 * head).max(0.8 * width);
    let corner = |side: f64| [base[0] + side * half * aside[0], base[1] + side * half * aside[1]];
    canvas.polygon(&[tip, corner(1.0), corner(-1.0)], colour)
}
