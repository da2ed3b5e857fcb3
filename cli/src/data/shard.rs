//! One shard of latents: a safetensors file with `latents` [n, c, h, w] and, if there are labels, `labels` [n].
//!
//! The header alone is kept. A row is read from the file when it is asked for, so a set may be of any size; nothing is mapped, so a file that is
//! cut off meanwhile gives an error and not a signal, and address space is not taken either.

use super::read_at::ReadAt;
use crate::failure::{Failure, Result, reason};
use mfm_nn::file::safetensors::numbers;
use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};
use std::io;

/// The longest header that is read.
const LONGEST_HEADER: u64 = 16 << 20;
/// The bytes of the header's length.
const PREFIX: u64 = 8;

/// A shard; all rows have the same shape.
#[derive(Debug)]
pub struct Shard {
    bytes: Box<dyn ReadAt>,
    source: String,
    item: [usize; 3],
    rows: usize,
    latents: Block,
    labels: Option<Block>,
}

/// Rows of equal length, one after another.
#[derive(Clone, Copy, Debug)]
struct Block {
    kind: Dtype,
    offset: u64,
    /// The bytes of a row.
    width: usize,
}

impl Shard {
    /// The shard in the bytes of a file named `source`, of which only the header is read. Latents are f16, bf16, f32 or f64, labels whole numbers.
    ///
    /// # Errors
    /// One sentence naming the file: it is no shard, or not as long as its header promises.
    pub fn read(bytes: impl ReadAt + 'static, source: &str) -> Result<Self> {
        let complain = |what: String| Failure::input(format!("{source}: {what}"));
        let length = bytes.length().map_err(|error| complain(reason(&error)))?;
        let (metadata, start) = header(&bytes, length).map_err(complain)?;
        let promised = start.saturating_add(metadata.data_len() as u64);
        if length != promised {
            let what = if length < promised { "the shard is cut off" } else { "more follows than the header promises" };
            return Err(complain(format!("{what}: the header promises {promised} bytes, {length} are there")));
        }
        let latents = metadata.info("latents").ok_or_else(|| complain("there is no tensor \"latents\" in this shard".into()))?;
        if !matches!(latents.dtype, Dtype::F16 | Dtype::BF16 | Dtype::F32 | Dtype::F64) {
            return Err(complain(format!("its latents are of the type {:?}, but must be F16, BF16, F32 or F64", latents.dtype)));
        }
        let &[rows, channels, height, width] = &latents.shape[..] else {
            return Err(complain(format!("its latents have the shape {:?}, but must have [n, channels, height, width]", latents.shape)));
        };
        let block = |info: &TensorInfo| Block {
            kind: info.dtype,
            offset: start + info.data_offsets.0 as u64,
            width: (info.data_offsets.1 - info.data_offsets.0) / rows.max(1),
        };
        let latents = Some(block(latents)).filter(|block| block.width > 0 && rows > 0);
        let latents =
            latents.ok_or_else(|| complain(format!("there is nothing in its latents of [{rows}, {channels}, {height}, {width}]")))?;
        let labels = match metadata.info("labels") {
            None => None,
            Some(info) if info.shape != [rows] => {
                return Err(complain(format!("its labels have the shape {:?}, but there are {rows} latents", info.shape)));
            }
            Some(info) if whole(info.dtype, &[0; 8]).is_none() => {
                return Err(complain(format!("its labels are of the type {:?}, but must be whole numbers", info.dtype)));
            }
            Some(info) => Some(block(info)),
        };
        Ok(Self { bytes: Box::new(bytes), source: source.to_owned(), item: [channels, height, width], rows, latents, labels })
    }

    /// The file.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The channels, height and width of a row.
    pub fn item(&self) -> [usize; 3] {
        self.item
    }

    /// The number of rows.
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Whether there is no row, which cannot be.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Whether there are labels.
    pub fn has_labels(&self) -> bool {
        self.labels.is_some()
    }

    /// Appends the numbers of a row, all of them finite.
    ///
    /// # Errors
    /// One sentence naming the file and the row, counted from 1.
    pub fn append_row(&self, row: usize, to: &mut Vec<f32>) -> Result<()> {
        let bytes = self.bytes_of(&self.latents, row)?;
        let values = numbers(self.latents.kind, &bytes).unwrap_or_default();
        let start = to.len();
        to.extend(values.iter().map(|value| *value as f32));
        match to[start..].iter().position(|value| !value.is_finite()) {
            Some(place) => {
                Err(self.complain(row, &format!("number {} is {}, or too large for single precision", place + 1, values[place])))
            }
            None => Ok(()),
        }
    }

    /// The label of a row; `None` if there are no labels.
    ///
    /// # Errors
    /// One sentence naming the file and the row.
    pub fn label(&self, row: usize) -> Result<Option<usize>> {
        let Some(block) = &self.labels else { return Ok(None) };
        let bytes = self.bytes_of(block, row)?;
        self.to_label(row, whole(block.kind, &bytes)).map(Some)
    }

    /// The largest label, all of which are read; `None` if there are no labels.
    ///
    /// # Errors
    /// As [`label`](Self::label).
    pub fn largest_label(&self) -> Result<Option<usize>> {
        const AT_ONCE: usize = 8192;
        let Some(block) = &self.labels else { return Ok(None) };
        let mut largest = 0;
        for start in (0..self.rows).step_by(AT_ONCE) {
            let some = Block {
                offset: block.offset + (start * block.width) as u64,
                width: block.width * AT_ONCE.min(self.rows - start),
                ..*block
            };
            let bytes = self.bytes_of(&some, 0)?;
            for (i, bytes) in bytes.chunks_exact(block.width).enumerate() {
                largest = largest.max(self.to_label(start + i, whole(block.kind, bytes))?);
            }
        }
        Ok(Some(largest))
    }

    fn to_label(&self, row: usize, value: Option<i128>) -> Result<usize> {
        let value = value.unwrap_or(-1);
        match u16::try_from(value) {
            Ok(label) => Ok(usize::from(label)),
            Err(_) => Err(self.complain(row, &format!("the label {value} is not between 0 and {}", u16::MAX))),
        }
    }

    fn bytes_of(&self, block: &Block, row: usize) -> Result<Vec<u8>> {
        let mut bytes = vec![0; block.width];
        self.bytes.fill(&mut bytes, block.offset + row as u64 * block.width as u64).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => self.complain(row, "it is not there any more"),
            _ => self.complain(row, &reason(&error)),
        })?;
        Ok(bytes)
    }

    fn complain(&self, row: usize, what: &str) -> Failure {
        Failure::input(format!("{}: row {}: {what}", self.source, row + 1))
    }
}

/// The header of a safetensors file, and where its data begin.
fn header(file: &impl ReadAt, length: u64) -> Result<(Metadata, u64), String> {
    let mut prefix = [0; PREFIX as usize];
    if length < PREFIX {
        return Err(format!("this is no safetensors file: it has {length} bytes"));
    }
    file.fill(&mut prefix, 0).map_err(|error| reason(&error))?;
    let size = u64::from_le_bytes(prefix);
    if size > LONGEST_HEADER {
        return Err("this is no safetensors file, or its header is too long".into());
    }
    if size > length - PREFIX {
        return Err(format!("the shard is cut off: its header has {size} bytes, the file {length}"));
    }
    let mut text = vec![0; size as usize];
    file.fill(&mut text, PREFIX).map_err(|error| reason(&error))?;
    let text = std::str::from_utf8(&text).map_err(|_| "this is no safetensors file: its header is not text")?;
    let metadata = serde_json::from_str(text).map_err(|error| format!("its safetensors header is damaged ({error})"))?;
    Ok((metadata, PREFIX + size))
}

/// A whole number of the first bytes; `None` for a type of other numbers.
fn whole(kind: Dtype, bytes: &[u8]) -> Option<i128> {
    fn first<const N: usize>(bytes: &[u8]) -> [u8; N] {
        bytes.first_chunk().copied().unwrap_or([0; N])
    }
    Some(match kind {
        Dtype::U8 => u8::from_le_bytes(first(bytes)).into(),
        Dtype::I8 => i8::from_le_bytes(first(bytes)).into(),
        Dtype::U16 => u16::from_le_bytes(first(bytes)).into(),
        Dtype::I16 => i16::from_le_bytes(first(bytes)).into(),
        Dtype::U32 => u32::from_le_bytes(first(bytes)).into(),
        Dtype::I32 => i32::from_le_bytes(first(bytes)).into(),
        Dtype::U64 => u64::from_le_bytes(first(bytes)).into(),
        Dtype::I64 => i64::from_le_bytes(first(bytes)).into(),
        _ => return None,
    })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use safetensors::tensor::TensorView;

    /// The bytes of a shard.
    pub fn shard(kind: Dtype, shape: &[usize], latents: &[u8], labels: Option<(Dtype, &[u8])>) -> Vec<u8> {
        let mut all = vec![("latents", TensorView::new(kind, shape.to_vec(), latents).unwrap())];
        if let Some((kind, bytes)) = labels {
            let count = bytes.len() * 8 / kind.bitsize();
            all.push(("labels", TensorView::new(kind, vec![count], bytes).unwrap()));
        }
        safetensors::serialize(all, None).unwrap()
    }

    fn floats(values: &[f32]) -> Vec<u8> {
        values.iter().flat_map(|value| value.to_le_bytes()).collect()
    }

    fn complaint(bytes: Vec<u8>) -> String {
        Shard::read(bytes, "a.safetensors").unwrap_err().to_string()
    }

    #[test]
    fn rows_of_every_type() {
        let values = [0.5f32, -2.0, 1.0, 0.25];
        let half = [0x3800u16, 0xc000, 0x3c00, 0x3400];
        let brain = values.map(|value| (value.to_bits() >> 16) as u16);
        let double: Vec<u8> = values.iter().flat_map(|value| f64::from(*value).to_le_bytes()).collect();
        let words = |words: [u16; 4]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>();
        for (kind, bytes) in [(Dtype::F32, floats(&values)), (Dtype::F16, words(half)), (Dtype::BF16, words(brain)), (Dtype::F64, double)] {
            let shard = Shard::read(shard(kind, &[2, 1, 1, 2], &bytes, Some((Dtype::I64, &[3i64, 7].map(i64::to_le_bytes).concat()))), "a")
                .unwrap();
            let mut row = vec![9.0];
            shard.append_row(1, &mut row).unwrap();
            assert_eq!((row, shard.len(), shard.item()), (vec![9.0, 1.0, 0.25], 2, [1, 1, 2]), "{kind:?}");
            assert_eq!((shard.label(1).unwrap(), shard.largest_label().unwrap()), (Some(7), Some(7)));
        }
    }

    #[test]
    fn bad_numbers_are_found_where_they_are_read() {
        let bytes = shard(
            Dtype::F32,
            &[2, 1, 1, 2],
            &floats(&[1.0, 2.0, 3.0, f32::NAN]),
            Some((Dtype::I32, &[1i32, -1].map(i32::to_le_bytes).concat())),
        );
        let shard = Shard::read(bytes, "a.safetensors").unwrap();
        assert!(shard.append_row(0, &mut Vec::new()).is_ok());
        let error = shard.append_row(1, &mut Vec::new()).unwrap_err().to_string();
        assert!(error.starts_with("a.safetensors: row 2: number 2 is NaN"), "{error}");
        assert_eq!(shard.label(1).unwrap_err().to_string(), "a.safetensors: row 2: the label -1 is not between 0 and 65535");
        assert_eq!(shard.largest_label().unwrap_err(), shard.label(1).unwrap_err());
    }

    #[test]
    fn lies_are_found() {
        let good = shard(Dtype::F32, &[2, 1, 1, 2], &floats(&[0.0; 4]), None);
        assert!(Shard::read(good.clone(), "a").is_ok());
        for length in 0..good.len() {
            assert!(complaint(good[..length].to_vec()).starts_with("a.safetensors: "), "{length}");
        }
        assert!(complaint(good[..good.len() - 1].to_vec()).contains("the shard is cut off"));
        assert!(complaint([&good[..], &[0]].concat()).contains("more follows"));
        assert!(complaint(shard(Dtype::F32, &[2, 2], &floats(&[0.0; 4]), None)).contains("must have [n, channels, height, width]"));
        assert!(complaint(shard(Dtype::F32, &[0, 1, 1, 2], &[], None)).contains("there is nothing"));
        assert!(complaint(shard(Dtype::I32, &[2, 1, 1, 1], &[0; 8], None)).contains("of the type I32"));
        let labelled = |kind, bytes: &[u8]| complaint(shard(Dtype::F32, &[2, 1, 1, 2], &floats(&[0.0; 4]), Some((kind, bytes))));
        assert!(labelled(Dtype::U8, &[0; 3]).contains("its labels have the shape [3], but there are 2 latents"));
        assert!(labelled(Dtype::F32, &[0; 8]).contains("must be whole numbers"));
        let text = br#"{"latents":{"dtype":"F32","shape":[4000000000,4000000000,4,4],"data_offsets":[0,8]}}"#;
        let forged = [&(text.len() as u64).to_le_bytes()[..], text, &[0; 8]].concat();
        assert!(complaint(forged).contains("damaged"));
        let text = format!(r#"{{"latents":{{"dtype":"U8","shape":[{0}],"data_offsets":[0,{0}]}}}}"#, u64::MAX);
        assert!(complaint([&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat()).starts_with("a.safetensors: "));
        assert!(complaint([&u64::MAX.to_le_bytes()[..], b"{}"].concat()).contains("no safetensors file"));
    }
}
