//! Data: one sample a row, from `.csv`, `.csv.gz` and `.npy` files and from IDX images, and the digits that ship with the program.

mod dataset;
mod digits;
mod idx;
mod npy;
mod numbers;
mod standard;
mod text;
mod write;

pub use dataset::Dataset;
pub use digits::{DIGIT_SIDE, digits, split_digits};
pub use numbers::{LabelColumn, Numbers, load, read};
pub use standard::Standardisation;
pub use write::{save_csv, save_npy};
