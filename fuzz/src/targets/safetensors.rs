//! Transformers in safetensors files.

use mfm_core::Shape;
use mfm_cpu_ref::{CpuDevice, CpuTensor};
use mfm_nn::dit::Orientation;
use mfm_nn::file::safetensors::{DitExtras, SafetensorsFile, write_dit};
use mfm_nn::{Dit, ModelConfig, ModelHeader};

/// A file of any bytes.
pub fn any_bytes(input: &[u8]) {
    open(input);
}

/// A file whose lengths are right: two bytes give that of the tensors in units of 4, which are all zeros; the header follows.
pub fn header(input: &[u8]) {
    let Some((length, header)) = input.split_first_chunk() else { return };
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header);
    file.resize(file.len() + 4 * usize::from(u16::from_le_bytes(*length)), 0);
    open(&file);
}

/// There is an error in words, or a transformer that comes back from a file of its own.
fn open(bytes: &[u8]) {
    let words = |error: &dyn std::fmt::Display| assert!(!error.to_string().is_empty());
    let file = match SafetensorsFile::parse(bytes) {
        Ok(file) => file,
        Err(error) => return words(&error),
    };
    let usual = DitExtras { heads: 1, encoder: 1, guidance: Vec::new(), orientation: Orientation::NoiseAtZero };
    let config = match file.config("", &file.extras().unwrap_or(usual)) {
        Ok(config) => config,
        Err(error) => return words(&error),
    };
    let device = CpuDevice::<f32>::with_threads(1).unwrap();
    let network: Dit<CpuTensor<f32>> = match file.to_dit(&device, "", &config) {
        Ok(network) => network,
        Err(error) => return words(&error),
    };
    let shape = Shape::new(&[config.channels, config.side, config.side]).unwrap();
    let mut header = ModelHeader::new(ModelConfig::dit(config.clone()), shape);
    if let Err(error) = file.recall(&mut header) {
        return words(&error);
    }
    let written = write_dit(&network, "", &header).unwrap();
    let again = SafetensorsFile::parse(&written).unwrap();
    assert_eq!(again.config("", &again.extras().unwrap()).unwrap(), config);
    again.to_dit(&device, "", &config).unwrap();
}
