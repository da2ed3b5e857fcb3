//! Files of classifiers keep the promises of model files: exact round trips, and every change is noticed.

use crate::common::{normal, values};
use mfm_core::{Noise, Shape};
use mfm_cpu_ref::{CpuDevice, CpuTensor};
use mfm_nn::file::{ClassifierFile, ClassifierHeader, FileError, Provenance, write_classifier, write_model};
use mfm_nn::{Classifier, ClassifierConfig, MlpConfig, Model, ModelConfig, ModelFile, ModelHeader};

fn classifier() -> Classifier<CpuTensor<f32>> {
    let config = ClassifierConfig { data: 4, width: 3, depth: 2, classes: 2 };
    Classifier::new(&CpuDevice::<f32>::new(), &config, &Noise::new(1)).unwrap()
}

fn header() -> ClassifierHeader {
    let classes = vec!["cat".into(), "dog".into()];
    ClassifierHeader { classifier: classifier().config().clone(), classes, provenance: Provenance { steps: 5, ..Provenance::default() } }
}

fn bytes() -> Vec<u8> {
    write_classifier(&classifier(), &header()).unwrap()
}

#[test]
fn classifiers_come_back_exactly() {
    let device = CpuDevice::<f32>::new();
    let bytes = bytes();
    let file = ClassifierFile::parse(&bytes).unwrap();
    assert_eq!(*file.header(), header());
    let x = normal(&device, 2, &[5, 4]);
    let logits = |classifier: &Classifier<CpuTensor<f32>>| values(&classifier.logits(&x).unwrap());
    assert_eq!(logits(&file.to_classifier(&device).unwrap()), logits(&classifier()));
}

#[test]
fn every_change_is_noticed() {
    let bytes = bytes();
    for place in 0..bytes.len() {
        assert!(ClassifierFile::parse(&bytes[..place]).is_err(), "{place} bytes");
        for bit in 0..8 {
            let mut changed = bytes.clone();
            changed[place] ^= 1 << bit;
            assert!(ClassifierFile::parse(&changed).is_err(), "bit {bit} of byte {place}");
        }
    }
    assert!(ClassifierFile::parse(&[&bytes[..], &[0]].concat()).is_err());
}

#[test]
fn the_kinds_are_told_apart() {
    let config = ModelConfig::mlp(MlpConfig { width: 3, depth: 1, ..MlpConfig::new(2) });
    let model = Model::<CpuTensor<f32>>::new(&CpuDevice::<f32>::new(), &config, &[], &Noise::new(1)).unwrap();
    let model = write_model(&model, &ModelHeader::new(config, Shape::new(&[2]).unwrap()), None).unwrap();
    assert_eq!(ClassifierFile::parse(&model), Err(FileError::Kind { found: "a model", expected: "a classifier" }));
    assert_eq!(ModelFile::parse(&bytes()), Err(FileError::Kind { found: "a classifier", expected: "a model" }));
    assert_eq!(ClassifierFile::parse(b"PK something else, of some length"), Err(FileError::Foreign));
}

#[test]
fn names_are_of_all_classes_or_none() {
    let with = |classes: &[&str]| {
        let classes = classes.iter().map(|name| (*name).to_owned()).collect();
        write_classifier(&classifier(), &ClassifierHeader { classes, ..header() })
    };
    assert!(with(&[]).is_ok());
    assert!(matches!(with(&["cat"]), Err(FileError::Header { .. })));
}
