//! Model files and checkpoints.

use mfm_core::{Condition, Device, MetaFlowMap, Shape, Tensor};
use mfm_cpu_ref::CpuDevice;
use mfm_nn::file::{ClassifierFile, FileError, VERSION, write_classifier, write_model};
use mfm_nn::{ModelFile, Module, Trainer};

/// A file of any bytes.
pub fn any_bytes(input: &[u8]) {
    open(input);
    open_classifier(input);
}

/// There is an error in words, or a classifier that can be written again.
fn open_classifier(bytes: &[u8]) {
    let words = |error: &dyn std::fmt::Display| assert!(!error.to_string().is_empty());
    let file = match ClassifierFile::parse(bytes) {
        Ok(file) => file,
        Err(error) => return words(&error),
    };
    match file.to_classifier(&CpuDevice::<f64>::with_threads(1).unwrap()) {
        Ok(classifier) => drop(write_classifier(&classifier, file.header()).unwrap()),
        Err(error) => words(&error),
    }
}

/// A file whose prefix, lengths and header checksum are put right, so that what lies behind them is reached: two bytes give the header's
/// length; the header follows, then the tensors.
pub fn repaired(input: &[u8]) {
    let Some((length, rest)) = input.split_first_chunk() else { return };
    let length = usize::from(u16::from_le_bytes(*length)).min(rest.len());
    let (header, body) = rest.split_at(length);
    let start = (32 + length).next_multiple_of(64);
    let mut file = b"MFMMODEL".to_vec();
    file.extend(VERSION.to_le_bytes());
    file.extend((length as u32).to_le_bytes());
    file.extend(((if body.is_empty() { 32 + length } else { start + body.len() }) as u64).to_le_bytes());
    let checksum = crc32(&[&file, header].concat());
    file.extend(checksum.to_le_bytes());
    file.extend([0; 4]);
    file.extend(header);
    if !body.is_empty() {
        file.resize(start, 0);
        file.extend(body);
    }
    open(&file);
}

/// CRC-32 (IEEE), bit by bit.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes
        .iter()
        .fold(!0, |sum, byte| (0..8).fold(sum ^ u32::from(*byte), |sum, _| if sum & 1 == 1 { (sum >> 1) ^ 0xEDB8_8320 } else { sum >> 1 }))
}

/// There is an error in words, or a model that is whole: it evaluates, and comes back from a file of its own.
fn open(bytes: &[u8]) {
    let file = match ModelFile::parse(bytes) {
        Ok(file) => file,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    let device = CpuDevice::<f32>::with_threads(1).unwrap();
    let model = match file.to_model(&device) {
        Ok(model) => model,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    // A path of any name is read, but not written.
    match write_model(&model, file.header(), None) {
        Err(FileError::Path { .. }) => assert!(file.header().model.path().is_none()),
        written => {
            let again = ModelFile::parse(&written.unwrap()).unwrap().to_model(&device).unwrap();
            assert_eq!((again.config(), again.parameter_count()), (model.config(), model.parameter_count()));
        }
    }
    let shape = Shape::new(&[1, file.header().model.network.data()]).unwrap();
    let (state, time) = (device.full(0.5, shape).unwrap(), device.full(0.5, Shape::new(&[1]).unwrap()).unwrap());
    let draws = model.posterior(&state, &time, &state, Condition::NONE).unwrap();
    assert_eq!(draws.shape(), shape);
    match file.to_training_state(&device) {
        Ok(Some(state)) => {
            let record = file.header().training.as_ref().unwrap();
            // A batch is the run's own affair.
            if let Err(error) = Trainer::resume(record.config, &model, state) {
                assert!(!error.to_string().is_empty());
            }
        }
        Ok(None) => assert!(file.header().training.is_none()),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}
