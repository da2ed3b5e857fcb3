//! One panel: a title, two axes, and layers.

use super::axis::Axis;
use super::canvas::{Anchor, Canvas, Face};
use super::layer::{Frame, Layer};
use super::palette::{Colour, INK, RULE};
use super::text::Font;
use crate::error::Result;

const SMALL: f64 = 11.0;
const MEDIUM: f64 = 12.0;
/// A title's letters, and from one of its lines to the next.
const TITLE: f64 = 13.0;
const PITCH: f64 = 18.0;
/// The room right of a panel's frame.
const AFTER: f64 = 12.0;
/// The least distance from one tick to the next, about, in pixels.
const APART: f64 = 50.0;

/// One panel of a [`Figure`](super::Figure).
#[derive(Clone, Debug, PartialEq)]
pub struct Panel {
    /// What stands above it; empty for nothing.
    pub title: String,
    /// The horizontal axis.
    pub x: Axis,
    /// The vertical axis.
    pub y: Axis,
    /// The layers, each with its name in the legend (empty for none), the lowest first.
    pub layers: Vec<(String, Layer)>,
    /// Whether a unit is as long on one axis as on the other; then the shorter axis is made longer.
    pub equal: bool,
}

impl Panel {
    /// An empty panel.
    pub fn new(title: impl Into<String>, x: Axis, y: Axis) -> Self {
        Self { title: title.into(), x, y, layers: Vec::new(), equal: false }
    }

    /// The panel with units as long on one axis as on the other.
    #[must_use]
    pub fn with_equal_units(self) -> Self {
        Self { equal: true, ..self }
    }

    /// The panel with one more layer on top.
    #[must_use]
    pub fn with(self, layer: Layer) -> Self {
        self.with_named("", layer)
    }

    /// The panel with one more layer on top, which the legend names.
    #[must_use]
    pub fn with_named(mut self, name: impl Into<String>, layer: Layer) -> Self {
        self.layers.push((name.into(), layer));
        self
    }

    /// The room left of its frame.
    fn before(&self, font: Font, height: f64) -> f64 {
        let ticks = self.y.ticks(height / APART);
        let widest = ticks.iter().map(|(_, text)| font.width(text, SMALL, false)).fold(0.0, f64::max);
        14.0 + widest + if self.y.caption().is_empty() { 0.0 } else { 18.0 }
    }

    /// The lines of its title in a panel of this size.
    pub(super) fn title_lines(&self, font: Font, [width, height]: [f64; 2]) -> Vec<String> {
        font.lines(&self.title, TITLE, true, width - self.before(font, height) - AFTER)
    }

    /// Draws the panel into a part of the canvas, with room for that many lines of title.
    pub(super) fn draw(&self, canvas: &Canvas<'_>, [left, top]: [f64; 2], [width, height]: [f64; 2], title_lines: usize) -> Result<()> {
        let before = self.before(canvas.font, height);
        let legend = self.legend(canvas.font, width - before - AFTER);
        let rows = legend.last().map_or(0, |(row, ..)| row + 1);
        let above = 10.0 + PITCH * title_lines as f64 + 18.0 * rows as f64;
        let below = 26.0 + if self.x.caption().is_empty() { 0.0 } else { 17.0 };
        let from = [left + before, top + above];
        let to = [left + width - AFTER, top + height - below];
        if to[0] <= from[0] || to[1] <= from[1] {
            return Ok(());
        }
        let (mut x, mut y) = (self.x.clone(), self.y.clone());
        if self.equal {
            let unit = ((x.high - x.low) / (to[0] - from[0])).max((y.high - y.low) / (to[1] - from[1]));
            (x, y) = (x.spanning(unit * (to[0] - from[0])), y.spanning(unit * (to[1] - from[1])));
        }
        let frame = Frame { x: &x, y: &y, from, to };

        let bold = Face { bold: true, ..Face::new(TITLE, INK, Anchor::Left) };
        let title = self.title_lines(canvas.font, [width, height]);
        // Next to its panel, whatever room others need.
        let first = top + 15.0 + PITCH * (title_lines.saturating_sub(title.len()) as f64);
        canvas.lines(&title, [from[0], first], PITCH, bold)?;
        for (row, aside, name, layer) in legend {
            mark(canvas, name, layer, [from[0] + aside, from[1] - 12.0 - 18.0 * (rows - 1 - row) as f64])?;
        }
        rules(canvas, &frame, [left, top + height])?;
        for (_, layer) in &self.layers {
            layer.draw(canvas, &frame)?;
        }
        let corners = [from, [to[0], from[1]], to, [from[0], to[1]], from];
        canvas.path(&corners, Colour(0xb4, 0xb8, 0xbe), 1.0)
    }

    /// The named layers, each with its row in the legend and how far from its left edge it stands.
    fn legend(&self, font: Font, width: f64) -> Vec<(usize, f64, &str, &Layer)> {
        let (mut row, mut x) = (0, 0.0);
        let named = self.layers.iter().filter(|(name, _)| !name.is_empty());
        named
            .map(|(name, layer)| {
                let needed = 17.0 + font.width(name, SMALL, false);
                if x > 0.0 && x + needed > width {
                    (row, x) = (row + 1, 0.0);
                }
                let place = x;
                x += needed + 14.0;
                (row, place, name.as_str(), layer)
            })
            .collect()
    }
}

/// What stands for a layer in the legend, and its name.
fn mark(canvas: &Canvas<'_>, name: &str, layer: &Layer, [x, y]: [f64; 2]) -> Result<()> {
    let colour = layer.colour();
    match layer {
        Layer::Curve { .. } | Layer::Outlines { .. } => canvas.path(&[[x, y], [x + 13.0, y]], colour, 2.0)?,
        Layer::Level { .. } => {
            [0.0, 9.0].into_iter().try_for_each(|dash| canvas.path(&[[x + dash, y], [x + dash + 5.0, y]], colour, 1.6))?;
        }
        Layer::Points { radius, .. } => canvas.dot([x + 6.5, y], radius.max(3.0), colour, 1.0)?,
        _ => canvas.rectangle([x + 2.0, y - 4.5], [x + 11.0, y + 4.5], colour)?,
    }
    canvas.text(name, [x + 17.0, y], Face::new(SMALL, INK, Anchor::Left))
}

/// Grid lines, what is written at the ticks, and the labels of the axes.
fn rules(canvas: &Canvas<'_>, frame: &Frame<'_>, [left, bottom]: [f64; 2]) -> Result<()> {
    let ([x0, y0], [x1, y1]) = (frame.from, frame.to);
    for (value, text) in frame.y.ticks((y1 - y0) / APART) {
        let y = frame.at([frame.x.low, value])[1];
        canvas.path(&[[x0, y], [x1, y]], RULE, 1.0)?;
        canvas.text(&text, [x0 - 6.0, y], Face::new(SMALL, INK, Anchor::Right))?;
    }
    for (value, text) in frame.x.ticks((x1 - x0) / APART) {
        let x = frame.at([value, frame.y.low])[0];
        if frame.x.names.is_empty() {
            canvas.path(&[[x, y0], [x, y1]], RULE, 1.0)?;
        }
        canvas.text(&text, [x, y1 + 12.0], Face::new(SMALL, INK, Anchor::Centre))?;
    }
    let face = Face::new(MEDIUM, INK, Anchor::Centre);
    canvas.text(&frame.x.caption(), [(x0 + x1) / 2.0, bottom - 10.0], face)?;
    canvas.text(&frame.y.caption(), [left + 11.0, (y0 + y1) / 2.0], Face { upright: true, ..face })
}
