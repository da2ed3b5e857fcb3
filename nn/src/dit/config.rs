//! The form of a transformer, and the sizes that have names.

use alloc::vec::Vec;
use mfm_core::{Error, Result};
use serde::{Deserialize, Serialize};

/// Which end of the flow has time 0 inside the network. The library's own times always run from noise to data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Orientation {
    /// Noise: s and u enter as they are, and the output is the velocity.
    #[default]
    NoiseAtZero,
    /// Data: 1 − s and 1 − u enter, and the output is the velocity's negative. The time t of the state enters as it is.
    DataAtZero,
}

/// Hidden width, depth and heads of the sizes of Peebles and Xie (*Scalable Diffusion Models with Transformers*, 2023, table 1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DitSize {
    /// Small: 384, 12, 6.
    S,
    /// Base: 768, 12, 12.
    B,
    /// Large: 1024, 24, 16.
    L,
    /// Extra large: 1152, 28, 16.
    XL,
}

impl DitSize {
    /// (hidden, depth, heads)
    pub fn numbers(self) -> (usize, usize, usize) {
        match self {
            Self::S => (384, 12, 6),
            Self::B => (768, 12, 12),
            Self::L => (1024, 24, 16),
            Self::XL => (1152, 28, 16),
        }
    }
}

/// The form of a [`Dit`](super::Dit). Items are images of [channels, side, side] in row-major order, under any shape.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DitConfig {
    /// The channels of an image, at least 1.
    pub channels: usize,
    /// Its height and width, a multiple of `patch`, at most 256 times it.
    pub side: usize,
    /// The height and width of a patch, which becomes a token; at least 1.
    pub patch: usize,
    /// The width of a token, a multiple of 4 and of `heads`.
    pub hidden: usize,
    /// The number of blocks, at least 1.
    pub depth: usize,
    /// The number of attention heads, at least 1.
    pub heads: usize,
    /// How many blocks, from the first on, belong to the encoder; the others and the final layer have embeddings of s and u of their
    /// own. At most `depth`.
    pub encoder: usize,
    /// The width of a block's hidden layer over `hidden`, at least 1.
    pub expansion: usize,
    /// The number of labels, 0 for a network without. A further label, of this number, stands for "none".
    pub labels: usize,
    /// The guidance scales that the network knows, each with an embedding, the first of which is 1 and stands for none; empty for a
    /// network without.
    pub guidance: Vec<f64>,
    /// Whether queries and keys are normalised, with a learnt scale and shift.
    pub normalised_attention: bool,
    /// The orientation of time.
    pub orientation: Orientation,
}

impl DitConfig {
    /// A network of a size that has a name for images of [channels, side, side], two thirds of whose blocks are the encoder.
    pub fn new(size: DitSize, channels: usize, side: usize, patch: usize) -> Self {
        let (hidden, depth, heads) = size.numbers();
        Self::custom([hidden, depth, heads], channels, side, patch)
    }

    /// The same of any [hidden, depth, heads].
    pub fn custom([hidden, depth, heads]: [usize; 3], channels: usize, side: usize, patch: usize) -> Self {
        Self {
            channels,
            side,
            patch,
            hidden,
            depth,
            heads,
            encoder: (2 * depth).div_ceil(3),
            expansion: 4,
            labels: 0,
            guidance: Vec::new(),
            normalised_attention: false,
            orientation: Orientation::NoiseAtZero,
        }
    }

    /// The number of numbers in an image.
    pub fn data(&self) -> usize {
        self.channels.saturating_mul(self.side).saturating_mul(self.side)
    }

    /// The number of patches along a side.
    pub(super) fn grid(&self) -> usize {
        self.side / self.patch
    }

    /// The number of patches.
    pub fn tokens(&self) -> usize {
        self.grid() * self.grid()
    }

    /// The number of numbers in a patch.
    pub(super) fn patch_data(&self) -> usize {
        self.channels.saturating_mul(self.patch).saturating_mul(self.patch)
    }

    /// Checks that every field is in its range.
    ///
    /// # Errors
    /// [`Error::Range`], naming the field.
    pub fn check(&self) -> Result<()> {
        let fields = [
            ("the transformer's number of channels", self.channels),
            ("the transformer's image side", self.side),
            ("the transformer's patch", self.patch),
            ("the transformer's width", self.hidden),
            ("the transformer's depth", self.depth),
            ("the transformer's number of heads", self.heads),
            ("the transformer's expansion", self.expansion),
        ];
        for (what, value) in fields {
            // Far beyond any use.
            if value == 0 || value > 1 << 16 {
                return Err(Error::Range { what, value: value as f64, range: "between 1 and 65536" });
            }
        }
        let number = |value: usize| value as f64;
        if !self.side.is_multiple_of(self.patch) {
            return Err(Error::Range { what: "the transformer's image side", value: number(self.side), range: "a multiple of its patch" });
        }
        // Positions are computed, so a file could claim any number of them.
        if self.grid() > 1 << 8 {
            let (tokens, range) = (number(self.grid()) * number(self.grid()), "at most 65536");
            return Err(Error::Range { what: "the transformer's number of tokens", value: tokens, range });
        }
        if !self.hidden.is_multiple_of(4) || !self.hidden.is_multiple_of(self.heads) {
            let range = "a multiple of 4 and of its number of heads";
            return Err(Error::Range { what: "the transformer's width", value: number(self.hidden), range });
        }
        if self.encoder > self.depth {
            let range = "at most its depth";
            return Err(Error::Range { what: "the transformer's encoder depth", value: number(self.encoder), range });
        }
        if self.labels > 1 << 24 {
            return Err(Error::Range { what: "the transformer's number of labels", value: number(self.labels), range: "at most 16777216" });
        }
        let is_scale = |(i, &scale): (usize, &f64)| if i == 0 { scale == 1.0 } else { scale > 1.0 && scale.is_finite() };
        match self.guidance.iter().enumerate().find(|scale| !is_scale(*scale)) {
            Some((_, &value)) => {
                Err(Error::Range { what: "a guidance scale of the transformer", value, range: "1 for the first, above 1 after" })
            }
            None => Ok(()),
        }
    }
}
