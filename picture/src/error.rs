//! What keeps a picture from being drawn.

use std::fmt;

/// The result of drawing.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a picture was not drawn, as one sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// The pixels of an image grid's row are not whole images of this height and width.
    Pixels {
        /// The row, counted from 0.
        row: usize,
        /// The height and width of an image.
        image: (usize, usize),
    },
    /// What a library that draws or encodes said.
    Drawing(String),
}

impl Error {
    pub(crate) fn drawing(reason: impl fmt::Display) -> Self {
        Self::Drawing(reason.to_string())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pixels { row, image: (height, width) } => {
                write!(f, "row {row} of a grid of images is not made of images of {height} by {width}")
            }
            Self::Drawing(reason) => write!(f, "drawing a picture: {reason}"),
        }
    }
}

impl std::error::Error for Error {}
