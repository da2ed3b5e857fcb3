//! Images and labels in the IDX format of MNIST, compressed by gzip or not.
//!
//! A file is two zero bytes, the type of an element (8: unsigned byte), the number of axes, each axis as a big-endian u32, and the elements.

use super::Dataset;
use super::text::Unpacked;
use crate::failure::{Failure, Result, reason};
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

/// The type of an unsigned byte.
const BYTE: u8 = 8;

/// Whether a file of this name, in lower case, is one of IDX images.
pub(super) fn is_images(name: &str) -> bool {
    let name = name.strip_suffix(".gz").unwrap_or(name);
    name.ends_with("idx3-ubyte") || name.ends_with(".idx3")
}

/// The images of a file, one a row, with pixels from −1 (0) to 1 (255); with labels, if beside `…images-idx3…` there is `…labels-idx1…`.
///
/// # Errors
/// One sentence naming the file.
pub(super) fn load(path: &Path) -> Result<Dataset> {
    let source = path.display().to_string();
    let mut data = read(open(path)?, &source)?;
    if let Some(path) = labels_beside(path) {
        let labels = path.display().to_string();
        let Array { axes: [found], elements } = unpack(open(&path)?, &labels)?;
        if found != data.len() {
            return Err(Failure::input(format!("{labels}: it holds {found} labels, but {source} {} images", data.len())));
        }
        data.labels = Some(elements.into_iter().map(usize::from).collect());
    }
    Ok(data)
}

/// The images in the bytes of a file named `source`, without labels.
///
/// # Errors
/// As [`load`].
pub(super) fn read(bytes: impl Read, source: &str) -> Result<Dataset> {
    let Array { axes: [count, height, width], elements } = unpack(bytes, source)?;
    let dimension = height * width;
    if count * dimension == 0 {
        return Err(Failure::input(format!("{source}: there are no pixels in its {count} images of {height} × {width}")));
    }
    let rows = elements.into_iter().map(|pixel| f32::from(pixel) / 127.5 - 1.0).collect();
    Ok(Dataset { rows, dimension, image: Some([1, height, width]), source: source.to_owned(), ..Dataset::default() })
}

/// The file of labels that belongs to one of images, if it is there.
fn labels_beside(path: &Path) -> Option<PathBuf> {
    let name = path.file_name()?.to_str()?;
    let labels = name.replace("images", "labels").replace("idx3", "idx1");
    let labels = path.with_file_name(&labels);
    (labels != path && labels.is_file()).then_some(labels)
}

/// An array of bytes.
#[derive(Debug, PartialEq)]
struct Array<const N: usize> {
    axes: [usize; N],
    elements: Vec<u8>,
}

fn open(path: &Path) -> Result<File> {
    if path.is_dir() {
        return Err(Failure::input(format!("cannot read {}: it is a directory", path.display())));
    }
    File::open(path).map_err(|error| Failure::file("read", path, &error))
}

/// The array in bytes that are compressed by gzip or not.
fn unpack<const N: usize>(bytes: impl Read, source: &str) -> Result<Array<N>> {
    let mut bytes = BufReader::new(bytes);
    let start = bytes.fill_buf().map_err(|error| Failure::input(format!("cannot read {source}: {}", reason(&error))))?;
    let array = if start.starts_with(&[0x1f, 0x8b]) { array(Unpacked::new(bytes)) } else { array(bytes) };
    array.map_err(|what| Failure::input(format!("{source}: {what}")))
}

/// The array in a file. Memory grows with what is really there, not with what the header promises.
fn array<const N: usize>(mut file: impl Read) -> Result<Array<N>, String> {
    let mut start = [0; 4];
    fill(&mut file, &mut start)?;
    if start[..2] != [0, 0] || start[3] == 0 {
        return Err("this is no IDX file".into());
    }
    if start[2] != BYTE {
        return Err(format!("its elements are of type {}, but only bytes (type {BYTE}) are read", start[2]));
    }
    if usize::from(start[3]) != N {
        return Err(format!("the array has {} axes, but must have {N}", start[3]));
    }
    let (mut axes, mut promised) = ([0; N], Some(1usize));
    for axis in &mut axes {
        let mut bytes = [0; 4];
        fill(&mut file, &mut bytes)?;
        *axis = u32::from_be_bytes(bytes) as usize;
        promised = promised.and_then(|product| product.checked_mul(*axis));
    }
    // A gigabyte of pixels becomes four of numbers.
    let promised = promised.filter(|bytes| *bytes <= 1 << 32).ok_or("its header promises more than 4 GiB")?;
    let mut elements = Vec::new();
    file.take(promised as u64 + 1).read_to_end(&mut elements).map_err(|error| reason(&error))?;
    match elements.len() {
        found if found < promised => Err(format!("the file is cut off: its header promises {promised} bytes of data, {found} are there")),
        found if found > promised => Err(format!("more bytes follow than the {promised} that its header promises")),
        _ => Ok(Array { axes, elements }),
    }
}

fn fill(file: &mut impl Read, bytes: &mut [u8]) -> Result<(), String> {
    file.read_exact(bytes).map_err(|error| match error.kind() {
        std::io::ErrorKind::UnexpectedEof => "the file is cut off inside its header".to_owned(),
        _ => reason(&error),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn idx(axes: &[u32], elements: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0, 0, BYTE, axes.len() as u8];
        bytes.extend(axes.iter().flat_map(|axis| axis.to_be_bytes()));
        bytes.extend(elements);
        bytes
    }

    fn compressed(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn images_are_read_with_their_labels() {
        let folder = tempfile::tempdir().unwrap();
        let images = folder.path().join("a-images-idx3-ubyte.gz");
        std::fs::write(&images, compressed(&idx(&[2, 1, 3], &[0, 255, 51, 1, 2, 3]))).unwrap();
        assert_eq!(load(&images).unwrap().labels, None);
        let labels = folder.path().join("a-labels-idx1-ubyte.gz");
        std::fs::write(&labels, compressed(&idx(&[2], &[7, 1]))).unwrap();
        let data = load(&images).unwrap();
        assert_eq!((data.len(), data.dimension, data.labels.as_deref()), (2, 3, Some(&[7, 1][..])));
        assert_eq!(data.row(0), [-1.0, 1.0, -0.6]);
        std::fs::write(&labels, idx(&[3], &[7, 1, 2])).unwrap();
        assert!(load(&images).unwrap_err().to_string().contains("it holds 3 labels, but"));
    }

    #[test]
    fn what_unpacks_out_of_all_proportion_is_refused() {
        let packed = compressed(&idx(&[1, 1 << 10, 20 << 10], &vec![0; 20 << 20]));
        let error = unpack::<3>(&packed[..], "zeros").unwrap_err().to_string();
        assert!(error.starts_with("zeros: ") && error.contains("out of all proportion"), "{error}");
    }

    #[test]
    fn lies_are_found() {
        let of = |bytes: &[u8]| array::<3>(bytes).unwrap_err();
        assert!(of(&idx(&[2, 1, 3], &[0; 5])).contains("promises 6 bytes of data, 5 are there"));
        assert!(of(&idx(&[2, 1, 3], &[0; 7])).contains("more bytes follow than the 6"));
        assert!(of(&idx(&[u32::MAX; 3], &[0; 7])).contains("more than 4 GiB"));
        assert!(of(&idx(&[1 << 31, 1, 1], &[0; 7])).contains("7 are there"));
        assert!(of(&idx(&[2], &[7, 1])).contains("1 axes, but must have 3"));
        assert!(of(&[0, 0, 13, 3]).contains("of type 13"));
        assert!(of(b"PK\x03\x04").contains("no IDX file"));
        let whole = compressed(&idx(&[2, 1, 3], &[1; 6]));
        for length in 0..whole.len() {
            let decoder = flate2::bufread::MultiGzDecoder::new(&whole[..length]);
            assert!(array::<3>(decoder).is_err(), "{length}");
        }
    }
}
