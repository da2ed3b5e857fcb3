//! A data set from a file or folder, by its name.

use super::numbers::into_dataset;
use super::shards::is_folder_of_shards;
use super::{Dataset, Image, LabelColumn, Shards, Source, folder, idx, image, npy, text};
use crate::failure::{Failure, Result, reason};
use std::io::Read;
use std::path::Path;

/// What to train on: a data set as [`load`] reads it, or a folder of `.safetensors` shards.
///
/// # Errors
/// As [`load`].
pub fn open(path: &Path, labels: LabelColumn) -> Result<Source> {
    if path.is_dir() && is_folder_of_shards(path)? {
        no_column(labels, &path.display().to_string(), "shards")?;
        return Shards::open(path).map(Source::Shards);
    }
    load(path, labels).map(Source::Memory)
}

/// The data set in a `.csv`, `.tsv`, `.csv.gz` or `.npy` file, in text on standard input for `-`, in one of IDX images, whose labels are in a file of their own, in a PNG or JPEG image, or in a
/// folder of folders of those, one for each class.
///
/// # Errors
/// One sentence naming the file, and the row and column where there is one.
pub fn load(path: &Path, labels: LabelColumn) -> Result<Dataset> {
    if path.as_os_str() == "-" {
        let source = "standard input";
        return into_dataset(text::read(std::io::stdin().lock(), source)?, labels, source);
    }
    let source = path.display().to_string();
    if path.is_dir() {
        no_column(labels, &source, "images by class")?;
        if is_folder_of_shards(path)? {
            return Err(Failure::input(format!("{source}: shards are for training alone")));
        }
        return folder::load(path);
    }
    if labels == LabelColumn::None && idx::is_images(&source.to_lowercase()) {
        return idx::load(path);
    }
    let file = std::fs::File::open(path).map_err(|error| Failure::file("read", path, &error))?;
    read(file, &source, labels)
}

/// The data set with its labels: its own, if it is one of images, else those in the last column.
///
/// # Errors
/// As [`load`].
pub fn load_labelled(path: &Path) -> Result<Dataset> {
    let has_own = path.is_dir() || idx::is_images(&path.display().to_string().to_lowercase());
    load(path, if has_own { LabelColumn::None } else { LabelColumn::Last })
}

/// The data set in bytes, whose format is that of a file named `source`; of IDX images without labels.
///
/// # Errors
/// As [`load`].
pub fn read(mut bytes: impl Read, source: &str, labels: LabelColumn) -> Result<Dataset> {
    let name = source.to_lowercase();
    if idx::is_images(&name) {
        no_column(labels, source, "IDX images")?;
        return idx::read(bytes, source);
    }
    if image::is_image(&name) {
        no_column(labels, source, "images")?;
        let mut all = Vec::new();
        bytes.read_to_end(&mut all).map_err(|error| Failure::input(format!("cannot read {source}: {}", reason(&error))))?;
        return Ok(Image::read(&all, source)?.into_dataset(source));
    }
    let numbers = if name.ends_with(".npy") {
        npy::read(bytes, source)?
    } else if name.ends_with(".csv.gz") {
        text::read_gzip(bytes, source)?
    } else if name.ends_with(".csv") || name.ends_with(".tsv") {
        text::read(bytes, source)?
    } else {
        let known = ".csv, .tsv, .csv.gz, .npy, idx3-ubyte, .png or .jpg";
        return Err(Failure::input(format!("cannot read {source}: data files end in {known}")));
    };
    into_dataset(numbers, labels, source)
}

/// Checks that no column of labels was asked for.
fn no_column(labels: LabelColumn, source: &str, what: &str) -> Result<()> {
    if labels == LabelColumn::None {
        return Ok(());
    }
    Err(Failure::input(format!("{source}: {what} have no column of labels; they bring their own")))
}
