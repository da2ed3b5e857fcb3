//! Files as bytes.

use super::container::{PREFIX, aligned, header_checksum};
use super::tensor::Entry;
use super::{ClassifierHeader, FileError, Header, ModelHeader, Precision, VERSION};
use crate::classifier::Classifier;
use crate::model::Model;
use crate::module::Module;
use crate::train::TrainingState;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use mfm_core::tensor::OptimiserState;
use mfm_core::{Shape, Tensor, memory};

/// The name of the data's mean in a file.
pub(super) const MEAN: &str = "preconditioning.mean";
/// The names of a training state in a file.
pub(super) const STATE: [&str; 4] = ["training.parameters", "training.first", "training.second", "training.average"];

/// A tensor to be written: f32 where that is exact, else f64.
struct Content {
    name: String,
    shape: Shape,
    precision: Precision,
    bytes: Vec<u8>,
}

impl Content {
    fn new(name: impl Into<String>, shape: Shape, values: &[f64]) -> Result<Self, FileError> {
        let single = values.iter().all(|value| f64::from(*value as f32).to_bits() == value.to_bits());
        let precision = if single { Precision::F32 } else { Precision::F64 };
        let mut bytes = memory::room("a file", values.len().saturating_mul(precision.bytes()))?;
        for value in values {
            match precision {
                Precision::F32 => bytes.extend((*value as f32).to_le_bytes()),
                Precision::F64 => bytes.extend(value.to_le_bytes()),
            }
        }
        Ok(Self { name: name.into(), shape, precision, bytes })
    }

    fn tensor<T: Tensor>(name: &str, tensor: &T) -> Result<Self, FileError> {
        Self::new(name, tensor.shape(), &tensor.to_vec::<f64>()?)
    }
}

/// The bytes of a model file: `header` with its `model` and `training` replaced by those of what is written. With a training state the file
/// is a checkpoint. Every number is stored exactly: as f32 where the whole tensor fits, else as f64.
///
/// # Errors
/// [`FileError::Path`] for a path that [`by_name`](mfm_core::interpolant::by_name) does not know; as [`Header::check`]; [`FileError::Unwritable`] for a training
/// state without a record in the header; [`FileError::Tensor`] if a tensor cannot be read back.
pub fn write_model<T: Tensor>(model: &Model<T>, header: &ModelHeader, training: Option<&TrainingState<T>>) -> Result<Vec<u8>, FileError> {
    let mut header = header.clone();
    header.model = model.config();
    if header.model.path().is_none() {
        return Err(FileError::Path { name: header.model.interpolant });
    }
    header.training = match (header.training, training) {
        (_, None) => None,
        (Some(record), Some(state)) => {
            Some(super::TrainingRecord { step: state.step, average: state.optimiser.average.is_some(), ..record })
        }
        (None, Some(_)) => return Err(FileError::Unwritable { what: "a training state needs a training record in the header" }),
    };
    let mut contents = parameters(model)?;
    if let Some(mean) = model.mean() {
        contents.push(Content::new(MEAN, Shape::new(&[mean.len()])?, mean)?);
    }
    if let Some(state) = training {
        let OptimiserState { parameters, first, second, average } = &state.optimiser;
        let tensors = [Some(parameters), Some(first), Some(second), average.as_ref()];
        for (name, tensor) in STATE.iter().zip(tensors) {
            if let Some(tensor) = tensor {
                contents.push(Content::tensor(name, tensor)?);
            }
        }
    }
    assemble(&header, &contents)
}

/// The bytes of a classifier's file: `header` with its `classifier` replaced by that of what is written. Every number is stored exactly.
///
/// # Errors
/// As [`Header::check`]; [`FileError::Tensor`] if a tensor cannot be read back.
pub fn write_classifier<T: Tensor>(classifier: &Classifier<T>, header: &ClassifierHeader) -> Result<Vec<u8>, FileError> {
    let header = ClassifierHeader { classifier: classifier.config().clone(), ..header.clone() };
    assemble(&header, &parameters(classifier)?)
}

/// The parameters of a module.
fn parameters<T: Tensor>(module: &impl Module<T>) -> Result<Vec<Content>, FileError> {
    module.parameters().iter().map(|(name, tensor)| Content::tensor(name, tensor)).collect()
}

/// The header as bytes, if the first tensor is placed after a header of `length` bytes.
fn encode(header: &impl Header, contents: &[Content], length: usize) -> Result<(Vec<u8>, Vec<usize>), FileError> {
    let failed = |_| FileError::Unwritable { what: "the header cannot be encoded" };
    let too_long = FileError::Unwritable { what: "the file would be too long" };
    let mut bytes = postcard::to_allocvec(header).map_err(failed)?;
    let count = u32::try_from(contents.len()).map_err(|_| too_long.clone())?;
    bytes.extend(postcard::to_allocvec(&count).map_err(failed)?);
    let (mut reached, mut offsets) = (PREFIX + length, Vec::with_capacity(contents.len()));
    for content in contents {
        let offset = aligned(reached).ok_or_else(|| too_long.clone())?;
        let entry = Entry {
            name: &content.name,
            shape: content.shape.into(),
            precision: content.precision,
            offset: offset as u64,
            length: content.bytes.len() as u64,
            checksum: crc32fast::hash(&content.bytes),
        };
        bytes.extend(postcard::to_allocvec(&entry).map_err(failed)?);
        offsets.push(offset);
        reached = offset + content.bytes.len();
    }
    Ok((bytes, offsets))
}

fn assemble<H: Header>(header: &H, contents: &[Content]) -> Result<Vec<u8>, FileError> {
    header.check()?;
    // The header's length depends on the offsets in it, and they on its length; it only grows, so this ends.
    let mut length = 0;
    let (bytes, offsets) = loop {
        let (bytes, offsets) = encode(header, contents, length)?;
        if bytes.len() == length {
            break (bytes, offsets);
        }
        length = bytes.len();
    };
    let end = match (offsets.last(), contents.last()) {
        (Some(offset), Some(content)) => offset + content.bytes.len(),
        _ => PREFIX + bytes.len(),
    };
    let length = u32::try_from(bytes.len()).map_err(|_| FileError::Malformed { what: "the header is too long", offset: 12 })?;
    let mut file = memory::room("a file", end)?;
    file.extend(H::MAGIC);
    file.extend(VERSION.to_le_bytes());
    file.extend(length.to_le_bytes());
    file.extend((end as u64).to_le_bytes());
    let checksum = header_checksum(&file, &bytes);
    file.extend(checksum.to_le_bytes());
    file.extend([0; 4]);
    file.extend(bytes);
    for (offset, content) in offsets.iter().zip(contents) {
        file.resize(*offset, 0);
        file.extend(&content.bytes);
    }
    Ok(file)
}

/// The place of `name` in an error.
pub(super) fn missing(name: &str) -> FileError {
    FileError::Missing { tensor: name.to_string() }
}
