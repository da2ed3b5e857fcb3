//! Several panels on one sheet.

use super::Picture;
use super::canvas::{Anchor, Face, picture};
use super::palette::INK;
use super::panel::Panel;
use crate::error::Result;

/// Several panels on one sheet, row by row.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// What stands above all; empty for nothing.
    pub title: String,
    /// How many panels stand side by side; at least 1.
    pub columns: usize,
    /// The width and height of a panel in pixels, its labels included.
    pub panel: (usize, usize),
    /// The panels.
    pub panels: Vec<Panel>,
}

impl Figure {
    /// An empty sheet for square panels.
    pub fn new(title: impl Into<String>, columns: usize) -> Self {
        Self { title: title.into(), columns, panel: (330, 330), panels: Vec::new() }
    }

    /// The same sheet with panels of another size.
    #[must_use]
    pub fn with_panel_size(self, width: usize, height: usize) -> Self {
        Self { panel: (width, height), ..self }
    }

    /// The sheet with one more panel.
    #[must_use]
    pub fn with(mut self, panel: Panel) -> Self {
        self.panels.push(panel);
        self
    }

    /// Draws it.
    ///
    /// # Errors
    /// None that is the caller's fault.
    pub fn draw(&self) -> Result<Picture> {
        const EDGE: f64 = 8.0;
        let columns = self.columns.clamp(1, self.panels.len().max(1));
        let rows = self.panels.len().div_ceil(columns);
        let head = if self.title.is_empty() { 0.0 } else { 30.0 };
        let (width, height) = self.panel;
        let size = (columns * width + 2 * EDGE as usize, rows * height + (2.0 * EDGE + head) as usize);
        picture(size.0, size.1, |canvas| {
            let face = Face { bold: true, ..Face::new(15.0, INK, Anchor::Left) };
            canvas.text(&self.title, [EDGE + 8.0, EDGE + 13.0], face)?;
            for (i, panel) in self.panels.iter().enumerate() {
                let corner = [EDGE + (i % columns * width) as f64, EDGE + head + (i / columns * height) as f64];
                panel.draw(canvas, corner, [width as f64, height as f64])?;
            }
            Ok(())
        })
    }
}
