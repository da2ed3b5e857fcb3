//! Pictures: grids of small grey images, and panels of points, densities, fields, curves and bars.

mod axis;
mod canvas;
mod figure;
mod image_grid;
mod layer;
mod palette;
mod panel;

pub use axis::Axis;
pub use figure::Figure;
pub use image_grid::{ImageGrid, ImageRow};
pub use layer::Layer;
pub use palette::{BLUE, Colour, GREEN, GREY, INK, ORANGE, PURPLE, RED, SERIES, SKY};
pub use panel::Panel;

use crate::failure::{Failure, Result};
use crate::output;
use std::path::Path;

/// A finished picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// Its width in pixels.
    pub width: usize,
    /// Its height in pixels.
    pub height: usize,
    /// Red, green and blue of each pixel, row by row from the top.
    pub rgb: Vec<u8>,
}

impl Picture {
    /// Writes the picture as a PNG file, whole or not at all.
    ///
    /// # Errors
    /// One sentence naming the path.
    pub fn save(&self, path: &Path) -> Result<()> {
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, self.width as u32, self.height as u32);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        encoder
            .write_header()
            .and_then(|mut writer| writer.write_image_data(&self.rgb))
            .map_err(|error| Failure::Internal(format!("{}: {error}", path.display())))?;
        output::write_bytes(path, &bytes)
    }
}
