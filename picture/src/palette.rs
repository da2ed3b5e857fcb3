//! Colours that go together and that colour-blind readers can tell apart (after Paul Tol's *bright* and *vibrant* schemes).

/// Red, green, blue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Colour(
    /// Red.
    pub u8,
    /// Green.
    pub u8,
    /// Blue.
    pub u8,
);

/// The first colour of choice.
pub const BLUE: Colour = Colour(0x2f, 0x6d, 0xb5);
/// The second.
pub const ORANGE: Colour = Colour(0xe8, 0x7a, 0x1d);
/// The third.
pub const GREEN: Colour = Colour(0x1a, 0x93, 0x7a);
/// The fourth.
pub const RED: Colour = Colour(0xc8, 0x37, 0x3c);
/// The fifth.
pub const PURPLE: Colour = Colour(0x8e, 0x4f, 0xa8);
/// The sixth.
pub const SKY: Colour = Colour(0x4d, 0xb6, 0xd6);
/// For what stands in the background.
pub const GREY: Colour = Colour(0x9a, 0x9f, 0xa6);
/// For text and axes.
pub const INK: Colour = Colour(0x2a, 0x2d, 0x33);
/// Behind everything.
pub(super) const PAPER: Colour = Colour(0xff, 0xff, 0xff);
/// For grid lines.
pub(super) const RULE: Colour = Colour(0xe6, 0xe8, 0xeb);

/// Colours for several series, in order.
pub const SERIES: [Colour; 6] = [BLUE, ORANGE, GREEN, RED, PURPLE, SKY];

impl Colour {
    /// `share` of `other` in place of this colour.
    #[must_use]
    pub fn mix(self, other: Self, share: f64) -> Self {
        let share = share.clamp(0.0, 1.0);
        let mix = |a: u8, b: u8| (f64::from(a) + share * (f64::from(b) - f64::from(a))).round() as u8;
        Self(mix(self.0, other.0), mix(self.1, other.1), mix(self.2, other.2))
    }
}
