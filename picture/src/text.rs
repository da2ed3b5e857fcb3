//! The built-in font: how wide its texts are, and where they are broken.

use super::canvas::SCALE;
use crate::error::{Error, Result};
use plotters::prelude::*;
use plotters::style::register_font;

/// The family under which the built-in font is registered.
const FAMILY: &str = "mfm";

/// The built-in font, ready to be measured and drawn.
#[derive(Clone, Copy, Debug)]
pub(super) struct Font(());

impl Font {
    /// Registers the font.
    ///
    /// # Errors
    /// If it cannot be read, which is not the caller's fault.
    pub fn load() -> Result<Self> {
        for (style, bytes) in [(FontStyle::Normal, dejavu::sans::regular()), (FontStyle::Bold, dejavu::sans::bold())] {
            register_font(FAMILY, style, bytes).map_err(|_| Error::drawing("the built-in font cannot be read"))?;
        }
        Ok(Self(()))
    }

    /// The font in a size, as plotters takes it.
    pub fn of_size(self, size: f64, bold: bool) -> FontDesc<'static> {
        FontDesc::new(FontFamily::Name(FAMILY), size * SCALE as f64, if bold { FontStyle::Bold } else { FontStyle::Normal })
    }

    /// The width of a line of text.
    pub fn width(self, text: &str, size: f64, bold: bool) -> f64 {
        // A text that cannot be measured is taken for one of usual letters.
        let usual = || text.chars().count() as f64 * size * 0.6;
        self.of_size(size, bold).box_size(text).map_or_else(|_| usual(), |(width, _)| f64::from(width) / SCALE as f64)
    }

    /// The lines of a text, broken at its line feeds and where it would be wider than `width`: between words, or within one that is too wide by itself.
    pub fn lines(self, text: &str, size: f64, bold: bool, width: f64) -> Vec<String> {
        let fits = |line: &str| self.width(line, size, bold) <= width;
        let mut lines = Vec::new();
        for paragraph in text.lines() {
            let mut line = String::new();
            for word in paragraph.split(' ') {
                let longer = if line.is_empty() { word.to_owned() } else { format!("{line} {word}") };
                if fits(&longer) {
                    line = longer;
                    continue;
                }
                if !line.is_empty() {
                    lines.push(std::mem::take(&mut line));
                }
                for letter in word.chars() {
                    line.push(letter);
                    if !fits(&line) && line.chars().count() > 1 {
                        line.pop();
                        lines.push(std::mem::replace(&mut line, letter.to_string()));
                    }
                }
            }
            lines.push(line);
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_no_wider_than_asked_and_lose_nothing() {
        let font = Font::load().unwrap();
        let text =
            "2,000 samples by map, 1 network evaluation each, of /a/path/without/any/space/that/goes/on/and/on/for/more/than/a/line.mfm";
        let lines = font.lines(text, 15.0, true, 300.0);
        assert!(lines.len() > 3 && lines.iter().all(|line| font.width(line, 15.0, true) <= 300.0), "{lines:?}");
        let letters = |text: &str| text.replace(' ', "");
        assert_eq!(letters(&lines.concat()), letters(text));
        assert_eq!(font.lines("one\ntwo three", 12.0, false, 1000.0), ["one", "two three"]);
        assert_eq!(font.lines("ab", 12.0, false, 0.0), ["a", "b"]);
        assert!(font.lines("", 12.0, false, 9.0).is_empty());
    }
}
