//! Drawing by plotters at several times the size, then shrinking, so that every edge is smooth.

use super::Picture;
use super::palette::{Colour, PAPER};
use super::text::Font;
use crate::error::{Error, Result};
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::FontTransform;
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// By how much larger is drawn.
pub(super) const SCALE: usize = 3;

/// How a text is placed by its point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Anchor {
    /// The point is at the middle of its left edge.
    Left,
    /// At its centre.
    Centre,
    /// At the middle of its right edge.
    Right,
}

/// A text's looks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Face {
    pub size: f64,
    pub colour: Colour,
    pub bold: bool,
    pub anchor: Anchor,
    pub upright: bool,
}

impl Face {
    pub fn new(size: f64, colour: Colour, anchor: Anchor) -> Self {
        Self { size, colour, bold: false, anchor, upright: false }
    }
}

/// A sheet to draw on; lengths are in pixels of the finished picture.
pub(super) struct Canvas<'a> {
    area: DrawingArea<BitMapBackend<'a>, Shift>,
    /// The font of its texts.
    pub font: Font,
}

/// A picture of the given size, drawn by `draw`.
pub(super) fn picture(font: Font, width: usize, height: usize, draw: impl FnOnce(&Canvas<'_>) -> Result<()>) -> Result<Picture> {
    let (wide, high) = (width * SCALE, height * SCALE);
    let mut large = vec![0; wide * high * 3];
    {
        let area = BitMapBackend::with_buffer(&mut large, (wide as u32, high as u32)).into_drawing_area();
        let canvas = Canvas { area, font };
        canvas.rectangle([0.0, 0.0], [width as f64, height as f64], PAPER)?;
        draw(&canvas)?;
        canvas.area.present().map_err(Error::drawing)?;
    }
    let mut rgb = Vec::with_capacity(width * height * 3);
    let mut sums = vec![0u32; width * 3];
    for band in large.chunks_exact(wide * 3 * SCALE) {
        sums.fill(0);
        for row in band.chunks_exact(wide * 3) {
            for (sum, pixels) in sums.chunks_exact_mut(3).zip(row.chunks_exact(3 * SCALE)) {
                for pixel in pixels.chunks_exact(3) {
                    sum.iter_mut().zip(pixel).for_each(|(sum, value)| *sum += u32::from(*value));
                }
            }
        }
        const AREA: u32 = (SCALE * SCALE) as u32;
        rgb.extend(sums.iter().map(|sum| ((sum + AREA / 2) / AREA) as u8));
    }
    Ok(Picture { width, height, rgb })
}

impl Canvas<'_> {
    /// A filled rectangle between two corners.
    pub fn rectangle(&self, from: [f64; 2], to: [f64; 2], colour: Colour) -> Result<()> {
        self.draw(&Rectangle::new([large(from), large(to)], style(colour, 1.0).filled()))
    }

    /// A filled rectangle that lets what is below be seen; neighbours touch, and cover nothing of one another.
    pub fn shade(&self, from: [f64; 2], to: [f64; 2], colour: Colour, opacity: f64) -> Result<()> {
        self.draw(&Rectangle::new([large(from), large(to)], style(colour, opacity).filled()))
    }

    /// A polyline.
    pub fn path(&self, points: &[[f64; 2]], colour: Colour, width: f64) -> Result<()> {
        let width = (width * SCALE as f64).round().max(1.0) as u32;
        self.draw(&PathElement::new(points.iter().copied().map(large).collect::<Vec<_>>(), style(colour, 1.0).stroke_width(width)))
    }

    /// A filled polygon.
    pub fn polygon(&self, points: &[[f64; 2]], colour: Colour) -> Result<()> {
        self.draw(&Polygon::new(points.iter().copied().map(large).collect::<Vec<_>>(), style(colour, 1.0)))
    }

    /// A dot.
    pub fn dot(&self, centre: [f64; 2], radius: f64, colour: Colour, opacity: f64) -> Result<()> {
        let radius = (radius * SCALE as f64).round().max(1.0) as i32;
        self.draw(&Circle::new(large(centre), radius, style(colour, opacity).filled()))
    }

    /// A line of text.
    pub fn text(&self, text: &str, at: [f64; 2], face: Face) -> Result<()> {
        let horizontal = match face.anchor {
            Anchor::Left => HPos::Left,
            Anchor::Centre => HPos::Center,
            Anchor::Right => HPos::Right,
        };
        let mut font = self.font.of_size(face.size, face.bold);
        if face.upright {
            font = font.transform(FontTransform::Rotate270);
        }
        let text_style = font.color(&style(face.colour, 1.0)).pos(Pos::new(horizontal, VPos::Center));
        self.draw(&Text::new(text.to_owned(), large(at), text_style))
    }

    /// Lines of text, each `pitch` below the one before.
    pub fn lines(&self, lines: &[String], [x, y]: [f64; 2], pitch: f64, face: Face) -> Result<()> {
        lines.iter().enumerate().try_for_each(|(k, line)| self.text(line, [x, y + k as f64 * pitch], face))
    }

    fn draw<'b, E>(&self, element: &'b E) -> Result<()>
    where
        &'b E: plotters::element::PointCollection<'b, (i32, i32)>,
        for<'c> E: plotters::element::Drawable<BitMapBackend<'c>>,
    {
        self.area.draw(element).map_err(Error::drawing)
    }
}

fn large([x, y]: [f64; 2]) -> (i32, i32) {
    let scaled = |v: f64| (v * SCALE as f64).round() as i32;
    (scaled(x), scaled(y))
}

fn style(colour: Colour, opacity: f64) -> RGBAColor {
    RGBColor(colour.0, colour.1, colour.2).mix(opacity)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::palette::INK;

    #[test]
    fn shades_touch_without_seams() {
        let font = Font::load().unwrap();
        let drawn = picture(font, 12, 6, |canvas| {
            // Upside down as well.
            canvas.shade([0.0, 6.0], [4.5, 0.0], INK, 0.5)?;
            canvas.shade([4.5, 0.0], [8.1, 6.0], INK, 0.5)?;
            canvas.shade([8.1, 0.0], [12.0, 6.0], INK, 0.5)
        });
        let rgb = drawn.unwrap().rgb;
        // Blending rounds one way or the other.
        let is_half = |pixel: &[u8]| pixel.iter().zip([INK.0, INK.1, INK.2]).all(|(value, ink)| value.abs_diff(ink / 2 + 127) <= 2);
        assert!(rgb.chunks_exact(3).all(is_half), "{rgb:?}");
    }
}
