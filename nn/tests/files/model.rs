//! Model files: exact round trips; whatever bytes are read, there is a file or an error, never a panic.

use crate::common::{normal, values};
use mfm_core::interpolant::{LatentScale, Linear, WithLatent};
use mfm_core::tensor::OptimiserState;
use mfm_core::{Condition, Device, MetaFlowMap, Noise, Shape, Tensor};
use mfm_cpu_ref::{CpuDevice, CpuTensor, Float};
use mfm_nn::file::{FileError, ItemShape, Jumps, ModelFile, ModelHeader, Precision, Provenance, VERSION, load, save, write_model};
use mfm_nn::{Coordinates, GaussianConfig, MlpConfig, Model, ModelConfig, Module, TrainingState};

fn tiny() -> MlpConfig {
    MlpConfig { data: 2, width: 3, depth: 2, frequencies: 1, labels: 1, zero_output: false }
}

fn model<E: Float>(preconditioned: bool) -> Model<CpuTensor<E>> {
    let mut config = ModelConfig::mlp(tiny());
    if preconditioned {
        config = config.preconditioned(GaussianConfig::new(1.5));
    }
    Model::new(&CpuDevice::<E>::new(), &config, &[0.1, 0.25], &Noise::new(1)).unwrap()
}

fn header<T: Tensor>(model: &Model<T>) -> ModelHeader {
    let mut header = ModelHeader::new(model.config(), Shape::new(&[1, 2]).unwrap());
    header.provenance = Provenance { steps: 5, seed: 6, objective: "none".into(), data: "naught".into(), library: "mfm 0".into() };
    header
}

fn bytes() -> Vec<u8> {
    let model = model::<f32>(true);
    write_model(&model, &header(&model), None).unwrap()
}

fn all<T: Tensor>(module: &impl Module<T>) -> Vec<(String, Vec<u64>)> {
    module.parameters().iter().map(|(name, tensor)| (name.clone(), values(tensor).iter().map(|v| v.to_bits()).collect())).collect()
}

#[test]
fn models_come_back_exactly() {
    fn check<E: Float>(preconditioned: bool, precision: Precision) {
        let device = CpuDevice::<E>::new();
        let model = model::<E>(preconditioned);
        let bytes = write_model(&model, &header(&model), None).unwrap();
        let file = ModelFile::parse(&bytes).unwrap();
        assert_eq!(*file.header(), header(&model));
        assert_eq!((file.header().labels(), file.header().item.shape().unwrap().axes()), (1, &[1, 2][..]));
        assert_eq!(file.tensor("first.weight").unwrap().precision, precision);
        assert!(file.tensors().iter().all(|tensor| tensor.offset % 64 == 0));
        assert!(file.to_training_state(&device).unwrap().is_none());
        let back = file.to_model(&device).unwrap();
        assert_eq!((all(&back), back.config(), back.mean()), (all(&model), model.config(), model.mean()));
        let (x, time) = (normal(&device, 1, &[2, 2]), normal(&device, 2, &[1]));
        let ask = |model: &Model<CpuTensor<E>>| values(&model.posterior(&x, &time, &x, Condition::labels(&[0])).unwrap());
        assert_eq!(ask(&back), ask(&model));
    }
    check::<f32>(false, Precision::F32);
    check::<f32>(true, Precision::F32);
    check::<f64>(true, Precision::F64);
}

#[test]
fn numbers_that_lie_as_the_machine_has_them_are_lent() {
    let content = bytes();
    let mut shifted = vec![0; content.len() + 8];
    let misalignment = shifted.as_ptr().align_offset(4);
    for shift in 0..8 {
        shifted[shift..shift + content.len()].copy_from_slice(&content);
        let file = ModelFile::parse(&shifted[shift..shift + content.len()]).unwrap();
        let view = file.tensor("first.weight").unwrap();
        let values: Vec<f32> = view.to_tensor(&CpuDevice::<f32>::new()).unwrap().to_vec().unwrap();
        let is_aligned = cfg!(target_endian = "little") && shift % 4 == misalignment % 4;
        assert_eq!(view.in_place(), is_aligned.then_some(&values[..]), "{shift}");
    }
    let double = model::<f64>(false);
    let content = write_model(&double, &header(&double), None).unwrap();
    assert!(ModelFile::parse(&content).unwrap().tensor("first.weight").unwrap().in_place().is_none());
}

#[test]
fn every_flipped_bit_is_noticed() {
    let bytes = bytes();
    for place in 0..bytes.len() {
        for bit in 0..8 {
            let mut changed = bytes.clone();
            changed[place] ^= 1 << bit;
            assert!(ModelFile::parse(&changed).is_err(), "bit {bit} of byte {place}");
        }
    }
}

#[test]
fn every_truncation_and_extension_is_noticed() {
    let mut bytes = bytes();
    for length in 0..bytes.len() {
        let error = ModelFile::parse(&bytes[..length]).unwrap_err();
        let expected = if length == 0 { matches!(error, FileError::Foreign) } else { matches!(error, FileError::Truncated { .. }) };
        assert!(expected, "{length}: {error}");
    }
    bytes.push(0);
    assert!(matches!(ModelFile::parse(&bytes), Err(FileError::Malformed { .. })));
}

#[test]
fn foreign_files_and_other_versions_say_so() {
    assert_eq!(ModelFile::parse(b"PK\x03\x04 something else entirely, long enough"), Err(FileError::Foreign));
    for found in [0, 1, 3] {
        let mut other = bytes();
        other[8] = found;
        let refused = ModelFile::parse(&other).unwrap_err();
        assert_eq!(refused.to_string(), format!("the file has format version {found}, and this library reads version 2 alone"));
    }
}

#[test]
fn embedded_files_need_no_alignment() {
    let mut shifted = vec![0];
    shifted.extend(bytes());
    let file = ModelFile::parse(&shifted[1..]).unwrap();
    assert_eq!(all(&file.to_model(&CpuDevice::<f32>::new()).unwrap()), all(&model::<f32>(true)));
}

/// A tensor's entry as the format has it, to be forged.
type Forged = (String, (u8, [u64; 6]), Precision, u64, u64, u32);

fn forge(header: &ModelHeader, count: u32, mut entries: Vec<Forged>, body: &[u8]) -> Vec<u8> {
    let encode = |entries: &[Forged]| {
        let mut bytes = postcard::to_allocvec(header).unwrap();
        bytes.extend(postcard::to_allocvec(&count).unwrap());
        entries.iter().for_each(|entry| bytes.extend(postcard::to_allocvec(entry).unwrap()));
        bytes
    };
    // Offsets are given from the first multiple of 64 after the header; 1000 bytes are always enough for it.
    entries.iter_mut().for_each(|entry| entry.3 += 1024);
    let mut bytes = encode(&entries);
    let start = (32 + bytes.len()).next_multiple_of(64);
    assert!(start <= 1024);
    entries.iter_mut().for_each(|entry| entry.3 = entry.3.wrapping_sub(1024).wrapping_add(start as u64));
    bytes = encode(&entries);
    // Both offsets take two bytes.
    assert_eq!((32 + bytes.len()).next_multiple_of(64), start);
    if body.is_empty() {
        return with_header(&bytes);
    }
    let mut file = prefixed(&bytes, start + body.len());
    file.resize(start, 0);
    file.extend(body);
    file
}

/// A file of so many bytes, as far as its header.
fn prefixed(header: &[u8], length: usize) -> Vec<u8> {
    let mut file = b"MFMMODEL".to_vec();
    file.extend(VERSION.to_le_bytes());
    file.extend((header.len() as u32).to_le_bytes());
    file.extend((length as u64).to_le_bytes());
    let checksum = crc32fast::hash(&[&file[..], header].concat());
    file.extend(checksum.to_le_bytes());
    file.extend([0; 4]);
    file.extend(header);
    file
}

/// A file of a header alone.
fn with_header(header: &[u8]) -> Vec<u8> {
    prefixed(header, 32 + header.len())
}

fn entry(name: &str, axes: &[u64], offset: u64, body: &[u8]) -> Forged {
    let mut six = [0; 6];
    six[..axes.len()].copy_from_slice(axes);
    (name.into(), (axes.len() as u8, six), Precision::F32, offset, body.len() as u64, crc32fast::hash(body))
}

#[test]
fn forged_tables_are_errors() {
    let header = header(&model::<f32>(false));
    let body = [0u8; 72];
    let parse = |count, entries: Vec<Forged>| ModelFile::parse(&forge(&header, count, entries, &body)).map(|file| file.tensors().len());
    let (a, b) = (entry("a", &[2], 0, &body[..8]), entry("b", &[1, 2], 64, &body[..8]));
    assert_eq!(parse(2, vec![a.clone(), b.clone()]), Ok(2));
    let change = |f: &dyn Fn(&mut Forged)| {
        let mut changed = b.clone();
        f(&mut changed);
        parse(2, vec![a.clone(), changed]).unwrap_err()
    };
    assert_eq!(change(&|b| b.0 = "a".into()), FileError::Duplicate { tensor: "a".into() });
    let cases: [&dyn Fn(&mut Forged); 8] = [
        &|b| b.1.1[0] = 2,
        &|b| b.1 = (200, [1; 6]),
        &|b| b.1 = (1, [2, 2, 0, 0, 0, 0]),
        &|b| b.1 = (6, [u64::MAX; 6]),
        &|b| b.2 = Precision::F64,
        &|b| b.3 = 0,
        &|b| b.3 = 65,
        &|b| b.4 = 4,
    ];
    for case in cases {
        assert!(matches!(change(case), FileError::Malformed { .. }));
    }
    assert_eq!(change(&|b| b.5 ^= 1).to_string().split(' ').next(), Some("b"));
    // A tensor of 2⁵⁰ bytes that are not there.
    let claim = |b: &mut Forged| (b.1, b.4) = ((1, [1 << 48, 0, 0, 0, 0, 0]), 1 << 50);
    assert!(matches!(change(&claim), FileError::Truncated { what, .. } if what == "b"));
    // More entries than there are, and fewer.
    assert!(matches!(parse(u32::MAX, vec![a.clone(), b.clone()]), Err(FileError::Malformed { .. })));
    assert!(matches!(parse(1, vec![a, b]), Err(FileError::Malformed { .. })));
}

#[test]
fn forged_models_are_errors() {
    let device = CpuDevice::<f32>::new();
    let good = header(&model::<f32>(false));
    let body = [0u8; 4];
    let open = |header: &ModelHeader, name: &str| {
        let bytes = forge(header, 1, vec![entry(name, &[1], 0, &body)], &body);
        ModelFile::parse(&bytes).unwrap().to_model(&device).map(|_| ()).unwrap_err()
    };
    assert_eq!(open(&good, "first.bias"), FileError::Missing { tensor: "first.weight".into() });
    assert!(matches!(open(&good, "first.weight"), FileError::TensorShape { .. }));
    let with = |change: &dyn Fn(&mut MlpConfig)| {
        let mut config = tiny();
        change(&mut config);
        let mut header = good.clone();
        header.item = ItemShape::from(Shape::new(&[config.data]).unwrap());
        header.model = ModelConfig::mlp(config);
        header
    };
    // Sizes that nothing could hold end at the first tensor that is not there.
    assert!(matches!(open(&with(&|c| (c.width, c.depth) = (1 << 24, 1 << 24)), "a"), FileError::Missing { .. }));
    assert!(matches!(open(&with(&|c| c.depth = usize::MAX), "a"), FileError::Tensor(mfm_core::Error::Range { .. })));
    assert!(matches!(open(&with(&|c| c.width = 0), "a"), FileError::Tensor(mfm_core::Error::Range { .. })));
    let mut means = good.clone();
    means.model = means.model.preconditioned(GaussianConfig::new(1.0));
    assert_eq!(open(&means, "a"), FileError::Missing { tensor: "preconditioning.mean".into() });
}

#[test]
fn what_is_said_of_a_model_comes_back_exactly() {
    let model = model::<f32>(true);
    for jumps in [Jumps::Trained, Jumps::Untrained, Jumps::LeftBehind] {
        let mut header = header(&model);
        header.coordinates = Coordinates::new(vec![0.1, -2e6], vec![1.0 / 3.0, 1e3]).unwrap();
        (header.guided_by, header.jumps) = (Some(1.1), jumps);
        let bytes = write_model(&model, &header, None).unwrap();
        let file = ModelFile::parse(&bytes).unwrap();
        assert_eq!(*file.header(), header);
        assert_eq!(all(&file.to_model(&CpuDevice::<f32>::new()).unwrap()), all(&model));
    }
}

/// Who changes the format must give it another version, and this file with it.
#[test]
fn the_example_is_as_this_library_writes_it() {
    let bytes = include_bytes!("../../../ffi/examples/digits.mfm");
    let file = ModelFile::parse(bytes).unwrap();
    let model = file.to_model(&CpuDevice::<f32>::new()).unwrap();
    assert!(write_model(&model, file.header(), None).unwrap() == bytes);
}

/// What is neither read nor written.
#[test]
fn a_header_that_contradicts_itself_is_refused() {
    let model = model::<f32>(false);
    let refusal = |change: &dyn Fn(&mut ModelHeader)| {
        let mut header = header(&model);
        change(&mut header);
        let refused = write_model(&model, &header, None).unwrap_err();
        assert_eq!(ModelFile::parse(&forge(&header, 0, Vec::new(), &[])).unwrap_err().to_string(), refused.to_string());
        refused
    };
    let item = refusal(&|header| header.item = ItemShape::from(Shape::new(&[3]).unwrap()));
    assert_eq!(item.to_string(), "the header contradicts itself: the item's shape is not that of the model's data");
    let coordinates = refusal(&|header| header.coordinates = Coordinates::new(vec![0.0; 3], vec![1.0; 3]).unwrap());
    assert_eq!(coordinates.to_string(), "the header contradicts itself: the coordinates are not those of the model's data");
    for bad in [1.0, 0.5, -2.0, f64::NAN, f64::INFINITY] {
        let refused = refusal(&|header| header.guided_by = Some(bad));
        assert!(matches!(refused, FileError::Tensor(mfm_core::Error::Range { .. })), "{bad}: {refused}");
    }
    // Coordinates that only a file can hold: lists of these lengths, which may be no more than claimed, and these numbers.
    let forged = |means: usize, scales: &[f64], claimed: u32| {
        let (mark, mut header) = (Coordinates::new(vec![7.0; 2], vec![11.0; 2]).unwrap(), header(&model));
        header.coordinates = mark.clone();
        let encode = |means: &[f64], scales: &[f64], claimed: u32| {
            let numbers = |list: &[f64]| list.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<_>>();
            let length = |length: u32| postcard::to_allocvec(&length).unwrap();
            [length(means.len() as u32), numbers(means), length(claimed), numbers(scales)].concat()
        };
        let (whole, marked) = (postcard::to_allocvec(&header).unwrap(), encode(mark.mean(), mark.scale(), 2));
        let place = whole.windows(marked.len()).position(|part| part == marked).unwrap();
        let bytes = [&whole[..place], &encode(&vec![7.0; means], scales, claimed), &whole[place + marked.len()..], &[0]].concat();
        ModelFile::parse(&with_header(&bytes)).map(|_| ()).unwrap_err()
    };
    for (means, scales) in [(2, &[1.0][..]), (0, &[1.0]), (2, &[]), (2, &[1.0; 3])] {
        assert!(
            matches!(forged(means, scales, scales.len() as u32), FileError::Tensor(mfm_core::Error::Length { .. })),
            "{means} {scales:?}"
        );
    }
    for bad in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert!(matches!(forged(2, &[1.0, bad], 2), FileError::Tensor(mfm_core::Error::Range { .. })), "{bad}");
    }
    assert!(matches!(forged(2, &[1.0], u32::MAX), FileError::Malformed { .. }));
}

#[test]
fn a_training_state_is_not_written_without_its_record() {
    let model = model::<f32>(true);
    let zeros = CpuDevice::<f32>::new().zeros(Shape::new(&[2]).unwrap()).unwrap();
    let state = TrainingState { step: 1, optimiser: OptimiserState::new(zeros, false).unwrap() };
    let refused = write_model(&model, &header(&model), Some(&state)).unwrap_err();
    assert_eq!(refused.to_string(), "this cannot be written: a training state needs a training record in the header");
}

/// What could be written, but not be read again.
#[test]
fn a_path_that_no_reader_knows_is_not_written() {
    let named = |latent: f64| {
        let path = WithLatent { path: Linear, latent: LatentScale(latent) };
        let config = ModelConfig::mlp(tiny()).on_path(&path);
        let model = Model::new(&CpuDevice::<f32>::new(), &config, &[], &Noise::new(1)).unwrap();
        write_model(&model, &header(&model), None)
    };
    let refused = named(0.5).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "the path \"with a latent\" is none of the library's, by whose names files and their readers know them"
    );
    // Without a latent it is the path itself.
    let plain = Model::new(&CpuDevice::<f32>::new(), &ModelConfig::mlp(tiny()), &[], &Noise::new(1)).unwrap();
    assert_eq!(named(0.0).unwrap(), write_model(&plain, &header(&plain), None).unwrap());
}

#[test]
fn files_on_a_disk_are_replaced_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.mfm");
    save(&path, b"old").unwrap();
    save(&path, &bytes()).unwrap();
    assert_eq!(load(&path).unwrap(), bytes());
    // Nothing temporary is left.
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1);
    let missing = folder.path().join("nowhere").join("model.mfm");
    assert!(matches!(save(&missing, b"x"), Err(FileError::Io { .. })));
    assert!(matches!(load(&missing), Err(FileError::Io { .. })));
    assert!(matches!(load(folder.path()), Err(FileError::Io { .. })));
    // What does not begin as a model is refused before there is room for the rest of it, a tebibyte that is nowhere on the disk.
    let zeros = folder.path().join("zeros");
    std::fs::File::create(&zeros).unwrap().set_len(1 << 40).unwrap();
    assert!(matches!(load(&zeros), Err(FileError::In { source, .. }) if *source == FileError::Foreign));
    std::fs::remove_file(&zeros).unwrap();
    // A folder cannot be replaced by a file, and the temporary one is removed.
    std::fs::create_dir(folder.path().join("taken")).unwrap();
    assert!(matches!(save(folder.path().join("taken"), b"x"), Err(FileError::Io { .. })));
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 2);
}
