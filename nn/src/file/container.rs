//! The container: what is read from bytes that nobody vouches for.

use super::header::{ClassifierHeader, Header, ModelHeader};
use super::tensor::Entry;
use super::{ALIGNMENT, FileError, TensorView, VERSION};
use alloc::collections::BTreeSet;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

/// The length of what comes before the header.
pub(super) const PREFIX: usize = 32;

/// The number at `offset`, which must lie within the prefix.
fn word(bytes: &[u8], offset: usize) -> Result<u32, FileError> {
    let found = bytes.get(offset..).and_then(<[u8]>::first_chunk).ok_or_else(|| truncated("the prefix", PREFIX as u64, bytes))?;
    Ok(u32::from_le_bytes(*found))
}

fn truncated(what: impl Into<String>, needed: u64, bytes: &[u8]) -> FileError {
    FileError::Truncated { what: what.into(), needed, found: bytes.len() as u64 }
}

/// The CRC-32 of the prefix (up to its own checksum) and the header.
pub(super) fn header_checksum(prefix: &[u8], header: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(prefix);
    hasher.update(header);
    hasher.finalize()
}

/// The next multiple of [`ALIGNMENT`].
pub(super) fn aligned(offset: usize) -> Option<usize> {
    offset.checked_next_multiple_of(ALIGNMENT)
}

/// The header and the tensors of a file, all checked.
pub(super) fn parse<H: Header>(bytes: &[u8]) -> Result<(H, Vec<TensorView<'_>>), FileError> {
    if !bytes.starts_with(&H::MAGIC) {
        let kinds = [(ModelHeader::MAGIC, ModelHeader::WHAT), (ClassifierHeader::MAGIC, ClassifierHeader::WHAT)];
        // A file that ends within the magic is a truncated one only if it has begun.
        return Err(if !bytes.is_empty() && H::MAGIC.starts_with(bytes) {
            truncated("the magic", PREFIX as u64, bytes)
        } else if let Some((_, found)) = kinds.into_iter().find(|(magic, _)| bytes.starts_with(magic)) {
            FileError::Kind { found, expected: H::WHAT }
        } else {
            FileError::Foreign
        });
    }
    let version = word(bytes, 8)?;
    if version != VERSION {
        return Err(FileError::Version { found: version });
    }
    let (length, low, high, checksum, reserved) =
        (word(bytes, 12)?, word(bytes, 16)?, word(bytes, 20)?, word(bytes, 24)?, word(bytes, 28)?);
    let file_length = u64::from(low) | u64::from(high) << 32;
    let end = PREFIX as u64 + u64::from(length);
    let header_bytes =
        usize::try_from(end).ok().and_then(|end| bytes.get(PREFIX..end)).ok_or_else(|| truncated("the header", end, bytes))?;
    if header_checksum(&bytes[..24], header_bytes) != checksum {
        return Err(FileError::Checksum { what: "the header".to_string(), offset: PREFIX as u64 });
    }
    if reserved != 0 {
        return Err(FileError::Malformed { what: "reserved bytes must be zero", offset: 28 });
    }
    let malformed = |rest: &[u8], what| FileError::Malformed { what, offset: end - rest.len() as u64 };
    let (header, rest) = postcard::take_from_bytes::<H>(header_bytes)
        .map_err(|_| FileError::Malformed { what: "the header cannot be decoded", offset: PREFIX as u64 })?;
    header.check()?;
    let (count, mut rest) =
        postcard::take_from_bytes::<u32>(rest).map_err(|_| malformed(rest, "the number of tensors cannot be decoded"))?;
    // Grows with what is really there, not with what the count claims.
    let (mut tensors, mut names) = (Vec::new(), BTreeSet::new());
    let mut reached = PREFIX + header_bytes.len();
    for _ in 0..count {
        let at = malformed(rest, "a tensor's entry cannot be decoded");
        let (entry, after) = postcard::take_from_bytes::<Entry<'_>>(rest).map_err(|_| at)?;
        if !names.insert(entry.name) {
            return Err(FileError::Duplicate { tensor: entry.name.to_string() });
        }
        let view = place(bytes, &entry, reached, end - rest.len() as u64)?;
        reached = view.offset + view.bytes.len();
        tensors.push(view);
        rest = after;
    }
    if !rest.is_empty() {
        return Err(malformed(rest, "there are bytes after the last entry"));
    }
    if file_length != reached as u64 {
        return Err(FileError::Malformed { what: "the file's length is not that of its parts", offset: 16 });
    }
    if bytes.len() > reached {
        return Err(FileError::Malformed { what: "there are bytes after the last tensor", offset: file_length });
    }
    Ok((header, tensors))
}

/// The tensor of an entry (itself at byte `at`), which must lie at the first aligned place from `reached`.
fn place<'a>(bytes: &'a [u8], entry: &Entry<'a>, reached: usize, at: u64) -> Result<TensorView<'a>, FileError> {
    let malformed = |what| FileError::Malformed { what, offset: at };
    let shape = entry.shape.shape().map_err(|_| malformed("a tensor's shape is impossible"))?;
    // Shapes keep eight bytes an element within isize.
    if entry.length != (shape.elements() * entry.precision.bytes()) as u64 {
        return Err(malformed("a tensor's length is not that of its shape"));
    }
    let offset = aligned(reached).ok_or_else(|| malformed("a tensor lies beyond what can be addressed"))?;
    if entry.offset != offset as u64 {
        return Err(malformed("a tensor is not where it must be"));
    }
    let end = entry.offset.saturating_add(entry.length);
    let cut = || truncated(entry.name, end, bytes);
    let gap = bytes.get(reached..offset).ok_or_else(cut)?;
    if let Some(place) = gap.iter().position(|byte| *byte != 0) {
        return Err(FileError::Malformed { what: "a gap between tensors must be zero", offset: (reached + place) as u64 });
    }
    let content = usize::try_from(end).ok().and_then(|end| bytes.get(offset..end)).ok_or_else(cut)?;
    if crc32fast::hash(content) != entry.checksum {
        return Err(FileError::Checksum { what: entry.name.to_string(), offset: entry.offset });
    }
    Ok(TensorView { name: entry.name, shape, precision: entry.precision, offset, bytes: content })
}
