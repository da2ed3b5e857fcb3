//! One panel: a title, two axes, and layers.

use super::axis::Axis;
use super::canvas::{Anchor, Canvas, Face};
use super::layer::{Frame, Layer};
use super::palette::{Colour, INK, RULE};
use crate::error::Result;

const SMALL: f64 = 11.0;
const MEDIUM: f64 = 12.0;

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
}

impl Panel {
    /// An empty panel.
    pub fn new(title: impl Into<String>, x: Axis, y: Axis) -> Self {
        Self { title: title.into(), x, y, layers: Vec::new() }
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

    /// Draws the panel into a part of the canvas.
    pub(super) fn draw(&self, canvas: &Canvas<'_>, [left, top]: [f64; 2], [width, height]: [f64; 2]) -> Result<()> {
        let has_legend = self.layers.iter().any(|(name, _)| !name.is_empty());
        let ticks = self.y.ticks((height / 55.0) as usize);
        let widest = ticks.iter().map(|(_, text)| canvas.text_width(text, SMALL)).fold(0.0, f64::max);
        let before = 14.0 + widest + if self.y.label.is_empty() { 0.0 } else { 18.0 };
        let above = 8.0 + if self.title.is_empty() { 0.0 } else { 20.0 } + if has_legend { 20.0 } else { 0.0 };
        let below = 26.0 + if self.x.label.is_empty() { 0.0 } else { 17.0 };
        let from = [left + before, top + above];
        let to = [left + width - 12.0, top + height - below];
        if to[0] <= from[0] || to[1] <= from[1] {
            return Ok(());
        }
        let frame = Frame { x: &self.x, y: &self.y, from, to };

        let bold = Face { bold: true, ..Face::new(MEDIUM + 1.0, INK, Anchor::Left) };
        canvas.text(&self.title, [from[0], top + 15.0], bold)?;
        if has_legend {
            self.legend(canvas, [from[0], from[1] - 12.0])?;
        }
        self.rules(canvas, &frame, &ticks, [left, top + height])?;
        for (_, layer) in &self.layers {
            layer.draw(canvas, &frame)?;
        }
        let corners = [from, [to[0], from[1]], to, [from[0], to[1]], from];
        canvas.path(&corners, Colour(0xb4, 0xb8, 0xbe), 1.0)
    }

    fn legend(&self, canvas: &Canvas<'_>, [mut x, y]: [f64; 2]) -> Result<()> {
        for (name, layer) in self.layers.iter().filter(|(name, _)| !name.is_empty()) {
            match layer {
                Layer::Curve { .. } | Layer::Level { .. } => canvas.path(&[[x, y], [x + 13.0, y]], layer.colour(), 2.0)?,
                _ => canvas.rectangle([x + 2.0, y - 4.5], [x + 11.0, y + 4.5], layer.colour())?,
            }
            canvas.text(name, [x + 17.0, y], Face::new(SMALL, INK, Anchor::Left))?;
            x += 17.0 + canvas.text_width(name, SMALL) + 14.0;
        }
        Ok(())
    }

    /// Grid lines, what is written at the ticks, and the labels of the axes.
    fn rules(&self, canvas: &Canvas<'_>, frame: &Frame<'_>, ticks: &[(f64, String)], [left, bottom]: [f64; 2]) -> Result<()> {
        let ([x0, y0], [x1, y1]) = (frame.from, frame.to);
        for (value, text) in ticks {
            let y = frame.at([self.x.low, *value])[1];
            canvas.path(&[[x0, y], [x1, y]], RULE, 1.0)?;
            canvas.text(text, [x0 - 6.0, y], Face::new(SMALL, INK, Anchor::Right))?;
        }
        for (value, text) in self.x.ticks((((x1 - x0) / 60.0) as usize).max(2)) {
            let x = frame.at([value, self.y.low])[0];
            if self.x.names.is_empty() {
                canvas.path(&[[x, y0], [x, y1]], RULE, 1.0)?;
            }
            canvas.text(&text, [x, y1 + 12.0], Face::new(SMALL, INK, Anchor::Centre))?;
        }
        let face = Face::new(MEDIUM, INK, Anchor::Centre);
        canvas.text(&self.x.label, [(x0 + x1) / 2.0, bottom - 10.0], face)?;
        canvas.text(&self.y.label, [left + 11.0, (y0 + y1) / 2.0], Face { upright: true, ..face })
    }
}
