//! Several panels on one sheet.

use super::Picture;
use super::canvas::{Anchor, Face, picture};
use super::palette::INK;
use super::panel::Panel;
use super::text::Font;
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
        const PITCH: f64 = 20.0;
        let font = Font::load()?;
        let columns = self.columns.clamp(1, self.panels.len().max(1));
        let rows = self.panels.len().div_ceil(columns);
        let (width, height) = self.panel;
        let title = font.lines(&self.title, 15.0, true, (columns * width) as f64 - 16.0);
        let head = if title.is_empty() { 0.0 } else { 10.0 + PITCH * title.len() as f64 };
        // As many lines for all panels, so that their axes are of one size.
        let lines = self.panels.iter().map(|panel| panel.title_lines(font, [width as f64, height as f64]).len()).max().unwrap_or(0);
        let size = (columns * width + 2 * EDGE as usize, rows * height + (2.0 * EDGE + head) as usize);
        picture(font, size.0, size.1, |canvas| {
            let face = Face { bold: true, ..Face::new(15.0, INK, Anchor::Left) };
            canvas.lines(&title, [EDGE + 8.0, EDGE + 13.0], PITCH, face)?;
            for (i, panel) in self.panels.iter().enumerate() {
                let corner = [EDGE + (i % columns * width) as f64, EDGE + head + (i / columns * height) as f64];
                panel.draw(canvas, corner, [width as f64, height as f64], lines)?;
            }
            Ok(())
        })
    }
}
