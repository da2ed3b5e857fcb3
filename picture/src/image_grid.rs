//! Grids of small images, enlarged, with captions.

use super::Picture;
use super::canvas::{Anchor, Face, picture};
use super::palette::{Colour, INK, PAPER};
use super::text::Font;
use crate::error::{Error, Result};

/// What stands for a number that is none.
const WRONG: Colour = Colour(0xc8, 0x37, 0x3c);
/// What stands for [`UNSEEN`].
const HIDDEN: Colour = Colour(0xb9, 0xd3, 0xee);

/// In place of a pixel's number: it was not observed, and is shown in pale blue.
pub const UNSEEN: f32 = f32::NEG_INFINITY;

/// A row of images.
#[derive(Clone, Debug, PartialEq)]
pub struct ImageRow {
    /// What stands before it; empty for nothing.
    pub caption: String,
    /// The images, one after another, each channel after channel, row by row from the top.
    pub pixels: Vec<f32>,
}

/// A grid of small images.
#[derive(Clone, Debug, PartialEq)]
pub struct ImageGrid {
    /// What stands above all; empty for nothing.
    pub title: String,
    /// The height and width of an image in its own pixels.
    pub image: (usize, usize),
    /// 1 for grey images, 3 for red, green and blue, each from −1 (dark) to 1.
    pub channels: usize,
    /// The side of one of these pixels in the picture.
    pub magnify: usize,
    /// The values of white and of black, for grey images.
    pub range: (f32, f32),
    /// What stands above the columns; may be shorter than the rows.
    pub columns: Vec<String>,
    /// A wider gap after this many columns; 0 for none.
    pub gap_after: usize,
    /// The rows.
    pub rows: Vec<ImageRow>,
}

impl ImageGrid {
    /// An empty grid for square images of values from −1 (white) to 1 (black).
    pub fn new(title: impl Into<String>, side: usize) -> Self {
        let magnify = (56 / side.max(1)).max(1);
        let (columns, rows) = (Vec::new(), Vec::new());
        Self { title: title.into(), image: (side, side), channels: 1, magnify, range: (-1.0, 1.0), columns, gap_after: 0, rows }
    }

    /// The grid for images of as many channels.
    #[must_use]
    pub fn with_channels(self, channels: usize) -> Self {
        Self { channels, ..self }
    }

    /// The grid with captions above its columns.
    #[must_use]
    pub fn with_columns<C: Into<String>>(self, captions: impl IntoIterator<Item = C>) -> Self {
        Self { columns: captions.into_iter().map(Into::into).collect(), ..self }
    }

    /// The grid with a wider gap after its first columns.
    #[must_use]
    pub fn with_gap_after(self, columns: usize) -> Self {
        Self { gap_after: columns, ..self }
    }

    /// The grid with one more row.
    #[must_use]
    pub fn with_row(mut self, caption: impl Into<String>, pixels: Vec<f32>) -> Self {
        self.rows.push(ImageRow { caption: caption.into(), pixels });
        self
    }

    /// Draws it.
    ///
    /// # Errors
    /// If the pixels of a row are not whole images.
    pub fn draw(&self) -> Result<Picture> {
        const EDGE: f64 = 14.0;
        const GAP: f64 = 4.0;
        const PITCH: f64 = 20.0;
        const NARROWEST: f64 = 300.0;
        let (rows, columns) = self.image;
        let item = self.channels * rows * columns;
        if let Some(row) = self.rows.iter().position(|row| item == 0 || !row.pixels.len().is_multiple_of(item)) {
            return Err(Error::Pixels { row, image: self.image });
        }
        let most = self.rows.iter().map(|row| row.pixels.len() / item).max().unwrap_or(0);
        let (high, wide) = ((rows * self.magnify) as f64, (columns * self.magnify) as f64);
        let font = Font::load()?;
        let caption = self.rows.iter().map(|row| font.width(&row.caption, 12.0, false)).fold(0.0, f64::max);
        let before = if caption == 0.0 { 0.0 } else { caption + 14.0 };
        let wider = if self.gap_after > 0 && self.gap_after < most { 14.0 } else { 0.0 };
        // A title needs room even over few images.
        let inner = (before + most as f64 * (wide + GAP) + wider).max(NARROWEST);
        let title = font.lines(&self.title, 15.0, true, inner);
        let head = if title.is_empty() { 0.0 } else { 10.0 + PITCH * title.len() as f64 };
        let above = head + if self.columns.is_empty() { 0.0 } else { 20.0 };
        let width = inner + 2.0 * EDGE;
        let height = above + self.rows.len() as f64 * (high + GAP) + 2.0 * EDGE;
        let left = |column: usize| EDGE + before + column as f64 * (wide + GAP) + if column >= self.gap_after { wider } else { 0.0 };
        picture(font, width.ceil() as usize, height.ceil() as usize, |canvas| {
            let bold = Face { bold: true, ..Face::new(15.0, INK, Anchor::Left) };
            canvas.lines(&title, [EDGE, EDGE + 10.0], PITCH, bold)?;
            for (column, text) in self.columns.iter().enumerate() {
                canvas.text(text, [left(column) + wide / 2.0, EDGE + above - 9.0], Face::new(11.0, INK, Anchor::Centre))?;
            }
            for (i, row) in self.rows.iter().enumerate() {
                let top = EDGE + above + i as f64 * (high + GAP);
                canvas.text(&row.caption, [EDGE + before - 10.0, top + high / 2.0], Face::new(12.0, INK, Anchor::Right))?;
                for (column, image) in row.pixels.chunks_exact(item).enumerate() {
                    let corner = [left(column), top];
                    canvas.rectangle(
                        [corner[0] - 1.0, corner[1] - 1.0],
                        [corner[0] + wide + 1.0, corner[1] + high + 1.0],
                        Colour(0xd5, 0xd8, 0xdc),
                    )?;
                    for k in 0..rows * columns {
                        let (x, y) = ((k % columns * self.magnify) as f64, (k / columns * self.magnify) as f64);
                        let (from, side) = ([corner[0] + x, corner[1] + y], self.magnify as f64);
                        canvas.rectangle(from, [from[0] + side, from[1] + side], self.colour(image, k))?;
                    }
                }
            }
            Ok(())
        })
    }

    /// The colour of a pixel. NaN is shown as what it is not: neither black nor white.
    fn colour(&self, image: &[f32], pixel: usize) -> Colour {
        if image.get(pixel) == Some(&UNSEEN) {
            return HIDDEN;
        }
        let channel = |c: usize| image.get(c * self.image.0 * self.image.1 + pixel).copied().unwrap_or(f32::NAN);
        if self.channels == 3 {
            let [red, green, blue] = [0, 1, 2].map(|c| ((channel(c) + 1.0) * 127.5).round());
            return if (red + green + blue).is_nan() { WRONG } else { Colour(red as u8, green as u8, blue as u8) };
        }
        let (white, black) = self.range;
        let share = f64::from((channel(0) - white) / (black - white));
        if share.is_nan() { WRONG } else { PAPER.mix(Colour(0x14, 0x18, 0x22), share) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_those_of_the_channels() {
        let grid = ImageGrid::new("", 2).with_channels(3);
        let image = [1.0, -1.0, 0.0, f32::NAN, -1.0, 1.0, 0.0, 0.0, -1.0, 9.0, 0.0, 0.0];
        let expected = [Colour(255, 0, 0), Colour(0, 255, 255), Colour(128, 128, 128), WRONG];
        assert_eq!([0, 1, 2, 3].map(|pixel| grid.colour(&image, pixel)), expected);
        let grey = ImageGrid::new("", 2);
        assert_eq!((grey.colour(&image, 1), grey.colour(&image, 3)), (PAPER, WRONG));
        assert_eq!(grey.colour(&[UNSEEN; 4], 2), HIDDEN);
        assert!(grid.with_row("", image[..6].to_vec()).draw().is_err());
    }
}
