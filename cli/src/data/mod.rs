//! Data: one sample a row, from tables (`.csv`, `.csv.gz`, `.npy`), IDX images, PNG and JPEG images by class, and shards of latents; and the digits
//! that ship with the program.

mod dataset;
mod digits;
mod folder;
mod idx;
mod image;
mod load;
mod npy;
mod numbers;
mod permutation;
mod read_at;
mod shard;
mod shards;
mod source;
mod text;
mod values;
mod write;

pub use dataset::Dataset;
pub use digits::{DIGIT_SIDE, digits};
pub use image::{Image, LARGEST_SIDE, square};
pub use load::{load, load_labelled, open, read};
pub use numbers::{LabelColumn, Numbers};
pub use read_at::ReadAt;
pub use shard::Shard;
pub use shards::{Rows, Shards};
pub use source::{Feed, Source};
pub use values::{Row, Values};
pub use write::{save_csv, save_npy};
