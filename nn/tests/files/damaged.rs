//! 1,000 files damaged in every region, of which the header's checksum is right again: a file or an error, never a panic.

use mfm_core::{Condition, Device, MetaFlowMap, Noise, Shape, Tensor};
use mfm_cpu_ref::CpuDevice;
use mfm_nn::file::{TrainingRecord, write_model};
use mfm_nn::{GaussianConfig, MlpConfig, Model, ModelConfig, ModelFile, ModelHeader, Trainer, TrainingConfig};

const FILES: u64 = 1_000;

/// A checkpoint: a header, parameters, a mean, and a training state.
fn checkpoint() -> Vec<u8> {
    let device = CpuDevice::<f32>::new();
    let form = MlpConfig { data: 2, width: 3, depth: 2, frequencies: 1, labels: 2, zero_output: false };
    let config = ModelConfig::mlp(form).preconditioned(GaussianConfig::new(1.5));
    let model = Model::new(&device, &config, &[0.1, 0.2], &Noise::new(1)).unwrap();
    let mut header = ModelHeader::new(config, Shape::new(&[2]).unwrap());
    let settings = TrainingConfig { average: Some(0.9), ..TrainingConfig::default() };
    header.training = Some(TrainingRecord { step: 0, config: settings, average: true, memory: Vec::new() });
    let trainer = Trainer::new(settings, &model).unwrap();
    write_model(&model, &header, Some(&trainer.state())).unwrap()
}

/// Whether the bytes are still read as a model, and as a training state. They are used, too.
fn open(bytes: &[u8]) -> [bool; 2] {
    let device = CpuDevice::<f32>::new();
    let Ok(file) = ModelFile::parse(bytes) else { return [false; 2] };
    let model = file.to_model(&device);
    if let Ok(model) = &model {
        let shape = Shape::new(&[1, file.header().model.network.data()]).unwrap();
        let (x, time) = (device.full(0.5, shape).unwrap(), device.full(0.5, Shape::new(&[1]).unwrap()).unwrap());
        assert_eq!(model.posterior(&x, &time, &x, Condition::NONE).unwrap().shape(), shape);
    }
    [model.is_ok(), matches!(file.to_training_state(&device), Ok(Some(_)))]
}

/// Puts the header's checksum right.
fn mend(bytes: &mut [u8]) {
    let Some(length) = bytes.get(12..16).map(|word| u32::from_le_bytes(word.try_into().unwrap()) as usize) else { return };
    let Some(header) = bytes.get(32..32usize.saturating_add(length)) else { return };
    let checksum = crc32fast::hash(&[&bytes[..24], header].concat());
    bytes[24..28].copy_from_slice(&checksum.to_le_bytes());
}

#[test]
fn damage_behind_right_checksums() {
    let good = checkpoint();
    assert_eq!(open(&good), [true; 2]);
    let file = ModelFile::parse(&good).unwrap();
    let header_end = 32 + u32::from_le_bytes(good[12..16].try_into().unwrap()) as usize;
    // The prefix, the header (four times as often), and each tensor.
    let mut regions = vec![(0, 32), (32, header_end), (32, header_end), (32, header_end), (32, header_end)];
    regions.extend(file.tensors().iter().map(|tensor| (tensor.offset, tensor.offset + tensor.bytes.len())));
    let mut read = [0, 0];
    for k in 0..FILES {
        let mut words = [0; 4];
        Noise::new(3).skip(4 * k).fill_words(&mut words);
        let (start, end) = regions[k as usize % regions.len()];
        let place = start + words[0] as usize % (end - start);
        let mut bytes = good.clone();
        match words[1] % 5 {
            0 => bytes[place] ^= 1 << (words[2] % 8),
            1 => bytes[place] ^= (words[2] as u8).max(1),
            2 => bytes.truncate(place),
            3 => drop(bytes.remove(place)),
            _ => bytes.insert(place, words[2] as u8),
        }
        mend(&mut bytes);
        let found = open(&bytes);
        read[0] += u32::from(found[0]);
        read[1] += u32::from(found[1]);
        // A tensor's own checksum is not mended.
        assert!(start < header_end || found == [false; 2], "damage at byte {place} of a tensor is not noticed");
    }
    println!("of {FILES} damaged files {} are models and {} checkpoints, by what their headers now say", read[0], read[1]);
    assert!(read[0] > 0 && read[0] < FILES as u32 / 2);
}
