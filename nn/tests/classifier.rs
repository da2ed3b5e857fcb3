//! The classifier and its reward against plain arithmetic.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::{Device64, Tensor64, close, normal, tensor, values};
use mfm_core::autodiff::gradient;
use mfm_core::{Error, Noise, Reward, Shape, Tensor};
use mfm_nn::{ClassMixtureReward, Classifier, ClassifierConfig, Coordinates, Module};

fn classifier() -> Classifier<Tensor64> {
    let config = ClassifierConfig { data: 3, width: 6, depth: 2, classes: 4 };
    Classifier::new(&Device64::new(), &config, &Noise::new(4)).unwrap()
}

/// log p by the textbook.
fn log_probabilities(classifier: &Classifier<Tensor64>, x: &Tensor64) -> Vec<Vec<f64>> {
    let logits = values(&classifier.logits(x).unwrap());
    let row = |row: &[f64]| {
        let total: f64 = row.iter().map(|z| z.exp()).sum();
        row.iter().map(|z| z - total.ln()).collect()
    };
    logits.chunks(4).map(row).collect()
}

#[test]
fn probabilities_and_cross_entropy() {
    let (classifier, x) = (classifier(), normal(&Device64::new(), 1, &[5, 3]));
    let expected = log_probabilities(&classifier, &x);
    close(&values(&classifier.log_probabilities(&x).unwrap()), &expected.concat(), 1e-14);
    let labels = [3, 0, 1, 1, 2];
    let mean = expected.iter().zip(labels).map(|(row, label)| -row[label]).sum::<f64>() / 5.0;
    close(&values(&classifier.cross_entropy(&x, &labels).unwrap()), &[mean], 1e-14);
    let best = |row: &Vec<f64>| (0..4).max_by(|a, b| row[*a].total_cmp(&row[*b])).unwrap();
    assert_eq!(classifier.classify(&x).unwrap(), expected.iter().map(best).collect::<Vec<_>>());
    // An image is flattened.
    let image = x.reshape(Shape::new(&[5, 1, 3]).unwrap()).unwrap();
    assert_eq!(values(&classifier.logits(&image).unwrap()), values(&classifier.logits(&x).unwrap()));
}

#[test]
fn data_in_other_units() {
    let device = Device64::new();
    let coordinates = Coordinates::new(vec![3.0, -20.0, 0.5], vec![2.0, 0.25, 1.0]).unwrap();
    for depth in [0, 2] {
        let config = ClassifierConfig { data: 3, width: 6, depth, classes: 4 };
        let of_z = Classifier::<Tensor64>::new(&device, &config, &Noise::new(4)).unwrap();
        let (of_x, z) = (of_z.clone().leaving(&coordinates).unwrap(), normal(&device, 1, &[5, 3]));
        let x = coordinates.leave(&z).unwrap();
        close(&values(&of_x.logits(&x).unwrap()), &values(&of_z.logits(&z).unwrap()), 1e-13);
        let same = of_z.clone().leaving(&Coordinates::default()).unwrap();
        assert_eq!(values(&same.logits(&z).unwrap()), values(&of_z.logits(&z).unwrap()));
        assert!(matches!(of_z.leaving(&Coordinates::new(vec![0.0], vec![1.0]).unwrap()), Err(Error::Length { .. })));
    }
}

#[test]
fn gradients_of_the_cross_entropy_match_differences() {
    let (device, classifier) = (Device64::new(), classifier());
    let (x, labels) = (normal(&device, 1, &[5, 3]), [3, 0, 1, 1, 2]);
    let parameters: Vec<Tensor64> = classifier.parameters().into_iter().map(|(_, tensor)| tensor).collect();
    let (_, gradients) = gradient(&parameters.iter().collect::<Vec<_>>(), |variables| {
        classifier.with_parameters(variables)?.cross_entropy(&mfm_core::autodiff::Var::constant(x.clone()), &labels)
    })
    .unwrap();
    for (i, parameter) in parameters.iter().enumerate() {
        let loss = |h: f64| {
            let mut all = parameters.clone();
            let mut numbers = values(parameter);
            numbers[0] += h;
            all[i] = tensor(&device, &numbers, parameter.shape().axes());
            values(&classifier.with_parameters(&all).unwrap().cross_entropy(&x, &labels).unwrap())[0]
        };
        let slope = (loss(1e-5) - loss(-1e-5)) / 2e-5;
        assert!((values(&gradients[i])[0] - slope).abs() < 1e-9);
    }
}

#[test]
fn the_mixture_reward_and_its_gradient() {
    let (device, classifier) = (Device64::new(), classifier());
    let x = normal(&device, 1, &[5, 3]);
    // Unnormalised weights, one of them zero.
    let reward = ClassMixtureReward::new(classifier.clone(), &[(2, 3.0), (1, 0.0), (0, 1.0)]).unwrap();
    let expected = |x: &Tensor64| -> Vec<f64> {
        log_probabilities(&classifier, x).iter().map(|row| (0.75 * row[2].exp() + 0.25 * row[0].exp()).ln()).collect()
    };
    let (value, slope) = reward.value_and_gradient(&x).unwrap();
    close(&values(&value), &expected(&x), 1e-13);
    close(&values(&reward.value(&x).unwrap()), &expected(&x), 1e-13);
    for axis in 0..3 {
        let moved = |h: f64| {
            let shifted: Vec<f64> = values(&x).iter().enumerate().map(|(i, v)| if i % 3 == axis { v + h } else { *v }).collect();
            expected(&tensor(&device, &shifted, &[5, 3]))
        };
        let slopes: Vec<f64> = moved(1e-5).iter().zip(moved(-1e-5)).map(|(a, b)| (a - b) / 2e-5).collect();
        close(&values(&slope).chunks(3).map(|row| row[axis]).collect::<Vec<_>>(), &slopes, 1e-8);
    }
}

#[test]
fn the_mixture_reward_survives_underflow() {
    let device = Device64::new();
    // A linear classifier of two classes with logits ±1000 x.
    let config = ClassifierConfig { data: 1, width: 1, depth: 0, classes: 2 };
    let fresh = Classifier::<Tensor64>::new(&device, &config, &Noise::new(0)).unwrap();
    let steep = fresh.with_parameters(&[tensor(&device, &[1000.0, -1000.0], &[2, 1]), tensor(&device, &[0.0, 0.0], &[2])]).unwrap();
    let reward = ClassMixtureReward::new(steep, &[(1, 1e300)]).unwrap();
    let (value, slope) = reward.value_and_gradient(&tensor(&device, &[2.0], &[1, 1])).unwrap();
    close(&values(&value), &[-4000.0], 1e-12);
    close(&values(&slope), &[-2000.0], 1e-12);
}

#[test]
fn wrong_questions_are_errors() {
    let (device, classifier) = (Device64::new(), classifier());
    let x = normal(&device, 1, &[2, 3]);
    assert!(matches!(classifier.cross_entropy(&x, &[0]), Err(Error::Length { .. })));
    assert!(matches!(classifier.cross_entropy(&x, &[0, 4]), Err(Error::Index { .. })));
    assert!(matches!(classifier.cross_entropy(&normal(&device, 1, &[0, 3]), &[]), Err(Error::Range { .. })));
    assert!(matches!(classifier.logits(&normal(&device, 1, &[2, 4])), Err(Error::Shape { .. })));
    for weights in [&[(4, 1.0)][..], &[(0, -1.0)], &[(0, f64::NAN)], &[(0, 0.0)], &[]] {
        assert!(ClassMixtureReward::new(classifier.clone(), weights).is_err(), "{weights:?}");
    }
}
