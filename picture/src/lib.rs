//! Pictures: grids of small images, and panels of points, densities, fields, curves and bars.
#![forbid(unsafe_code)]

mod axis;
mod canvas;
mod error;
mod figure;
mod grid;
mod image_grid;
mod layer;
mod outline;
mod palette;
mod panel;
mod text;

pub use axis::Axis;
pub use error::{Error, Result};
pub use figure::Figure;
pub use grid::Grid;
pub use image_grid::{ImageGrid, ImageRow, UNSEEN};
pub use layer::Layer;
pub use palette::{BLUE, Colour, GREEN, GREY, INK, ORANGE, PURPLE, RED, SERIES, SKY};
pub use panel::Panel;

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
    /// The picture as a PNG file.
    ///
    /// # Errors
    /// [`Error::Drawing`] if `rgb` has not the length that width and height say.
    pub fn png(&self) -> Result<Vec<u8>> {
        let side = |length: usize| u32::try_from(length).map_err(Error::drawing);
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, side(self.width)?, side(self.height)?);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        encoder.write_header().and_then(|mut writer| writer.write_image_data(&self.rgb)).map_err(Error::drawing)?;
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_holds_the_pixels() {
        let picture = Picture { width: 2, height: 3, rgb: (0..18).collect() };
        let bytes = picture.png().unwrap();
        let mut reader = png::Decoder::new(std::io::Cursor::new(&bytes)).read_info().unwrap();
        let mut rgb = vec![0; 18];
        let info = reader.next_frame(&mut rgb).unwrap();
        assert_eq!((info.width, info.height, rgb), (2, 3, picture.rgb));
        assert!(Picture { width: 2, height: 3, rgb: vec![0; 17] }.png().is_err());
    }
}
