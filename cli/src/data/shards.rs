//! A folder of shards as one set, whose order is a function of the epoch.

use super::folder::entries;
use super::permutation::Permutation;
use super::read_at::OpenFiles;
use super::shard::Shard;
use crate::failure::{Failure, Result};
use mfm_core::Noise;
use std::path::{Path, PathBuf};

/// A set of latents in shards, of which no row is kept in memory.
#[derive(Debug)]
pub struct Shards {
    shards: Vec<Shard>,
    /// The number of rows in the shards before each.
    starts: Vec<usize>,
    rows: usize,
    label_count: usize,
    source: String,
}

/// Some rows of a set, one after another, with their labels if there are any.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rows {
    /// The numbers.
    pub values: Vec<f32>,
    /// The labels.
    pub labels: Option<Vec<usize>>,
}

/// Whether a folder is one of shards.
pub(super) fn is_folder_of_shards(folder: &Path) -> Result<bool> {
    Ok(entries(folder)?.iter().any(|path| is_shard(path)))
}

fn is_shard(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("safetensors"))
}

impl Shards {
    /// The `.safetensors` files of a folder, in the order of their names. Their labels are read, their latents are not.
    ///
    /// # Errors
    /// One sentence naming the shard that is damaged, or differs from the first in shape or in having labels.
    pub fn open(folder: &Path) -> Result<Self> {
        let paths = entries(folder)?;
        let files = OpenFiles::default();
        let open = |path: &PathBuf| {
            let file = files.file(path).map_err(|error| Failure::file("read", path, &error))?;
            Shard::read(file, &path.display().to_string())
        };
        let shards: Vec<Shard> = paths.iter().filter(|path| is_shard(path)).map(open).collect::<Result<_>>()?;
        Self::new(shards, &folder.display().to_string())
    }

    fn new(shards: Vec<Shard>, source: &str) -> Result<Self> {
        let Some(first) = shards.first() else { return Err(Failure::input(format!("{source}: there is no .safetensors shard in it"))) };
        let (mut starts, mut rows, mut label_count) = (Vec::new(), 0, 0);
        for shard in &shards {
            let complain = |what: String| Err(Failure::input(format!("{}: {what}", shard.source())));
            if shard.item() != first.item() {
                return complain(format!("its latents are of {:?}, but those of {} of {:?}", shard.item(), first.source(), first.item()));
            }
            if shard.has_labels() != first.has_labels() {
                let [own, other] = [shard, first].map(|shard| if shard.has_labels() { "has labels" } else { "has none" });
                return complain(format!("it {own}, but {} {other}", first.source()));
            }
            label_count = label_count.max(shard.largest_label()?.map_or(0, |largest| largest + 1));
            starts.push(rows);
            rows += shard.len();
        }
        Ok(Self { shards, starts, rows, label_count, source: source.to_owned() })
    }

    /// The folder.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The number of rows.
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Whether there is no row, which cannot be.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// The channels, height and width of a row.
    pub fn item(&self) -> [usize; 3] {
        self.shards.first().map_or([0; 3], Shard::item)
    }

    /// The number of labels, one more than the largest; 0 without labels.
    pub fn label_count(&self) -> usize {
        self.label_count
    }

    /// Rows by their number in the set.
    ///
    /// # Errors
    /// One sentence naming the shard and the row where a number is not finite, or cannot be read.
    pub fn rows(&self, numbers: impl IntoIterator<Item = usize>) -> Result<Rows> {
        let mut rows = Rows { values: Vec::new(), labels: (self.label_count > 0).then(Vec::new) };
        for number in numbers {
            let index = self.starts.partition_point(|start| *start <= number).saturating_sub(1);
            let Some(shard) = self.shards.get(index) else { continue };
            let row = number - self.starts[index];
            shard.append_row(row, &mut rows.values)?;
            if let (Some(labels), Some(label)) = (&mut rows.labels, shard.label(row)?) {
                if label >= self.label_count {
                    return Err(Failure::input(format!("{}: row {}: its label has changed since the start", shard.source(), row + 1)));
                }
                labels.push(label);
            }
        }
        Ok(rows)
    }

    /// The rows at `count` places of an endless sequence, from place `start` on: epoch after epoch, each in an order of its own, which `noise` and
    /// the epoch decide. Nothing is remembered from call to call.
    ///
    /// # Errors
    /// As [`rows`](Self::rows).
    pub fn shuffled(&self, start: u64, count: usize, noise: &Noise) -> Result<Rows> {
        let length = self.rows.max(1) as u64;
        let order = |epoch| (epoch, Permutation::new(length, &noise.fork(epoch)));
        let mut current = order(start / length);
        self.rows((0..count as u64).map(|i| {
            let place = start.wrapping_add(i);
            if place / length != current.0 {
                current = order(place / length);
            }
            current.1.at(place % length) as usize
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::shard::tests::shard;
    use safetensors::Dtype;

    /// Shards of the numbers 0, 1, 2, …, of which each row is one, and its own label.
    fn shards(sizes: &[usize]) -> Shards {
        let mut next = 0u16;
        let all = sizes.iter().map(|size| {
            let numbers: Vec<u16> = (next..next + *size as u16).collect();
            next += *size as u16;
            let latents: Vec<u8> = numbers.iter().flat_map(|number| f32::from(*number).to_le_bytes()).collect();
            let labels: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
            Shard::read(shard(Dtype::F32, &[*size, 1, 1, 1], &latents, Some((Dtype::U16, &labels))), "s").unwrap()
        });
        Shards::new(all.collect(), "set").unwrap()
    }

    #[test]
    fn every_epoch_has_every_row_once_in_an_order_of_its_own() {
        let set = shards(&[3, 1, 6]);
        assert_eq!((set.len(), set.label_count(), set.item()), (10, 10, [1, 1, 1]));
        let noise = Noise::new(5);
        let whole = set.shuffled(0, 30, &noise).unwrap();
        let labels = whole.labels.clone().unwrap();
        assert!(whole.values.iter().zip(&labels).all(|(value, label)| *value == *label as f32));
        for epoch in labels.chunks(10) {
            let mut sorted = epoch.to_vec();
            sorted.sort_unstable();
            assert_eq!(sorted, (0..10).collect::<Vec<_>>());
        }
        assert!(labels[..10] != labels[10..20] && labels[10..20] != labels[20..]);
        // From any place on, in parts of any size, it is the same sequence.
        for size in [1, 4, 7, 10] {
            let parts = (0..30).step_by(size).map(|start| set.shuffled(start, size.min(30 - start as usize), &noise).unwrap());
            assert_eq!(parts.flat_map(|part| part.labels.unwrap()).collect::<Vec<_>>(), labels);
        }
        assert_ne!(set.shuffled(0, 10, &Noise::new(6)).unwrap().labels.unwrap(), labels[..10]);
    }

    #[test]
    fn shards_must_agree() {
        let make = |shape: &[usize], labels: Option<(Dtype, &[u8])>, name: &str| {
            let latents = vec![0; 4 * shape.iter().product::<usize>()];
            Shard::read(shard(Dtype::F32, shape, &latents, labels), name).unwrap()
        };
        let of = |second| Shards::new(vec![make(&[2, 1, 2, 2], None, "a"), second], "set").unwrap_err().to_string();
        assert_eq!(of(make(&[2, 1, 2, 3], None, "b")), "b: its latents are of [1, 2, 3], but those of a of [1, 2, 2]");
        assert_eq!(of(make(&[2, 1, 2, 2], Some((Dtype::U8, &[1, 2])), "b")), "b: it has labels, but a has none");
    }
}
