//! Networks that are guided by themselves.
#![allow(clippy::unwrap_used)]

mod common;

use common::{Device64, Tensor64, close, derivatives_match_differences, normal, small, tensor, values};
use mfm_core::{Condition, Error, MetaFlowMap, Noise, Query};
use mfm_nn::{DitConfig, MlpConfig, Network, NetworkConfig};

const DRAWS: usize = 3;

fn network(config: NetworkConfig) -> Network<Tensor64> {
    Network::new(&Device64::new(), &config, &Noise::new(3)).unwrap()
}

/// Two states of two numbers.
fn query<'a>(condition: Condition<'a>) -> Query<'a, Tensor64> {
    let device = Device64::new();
    let time = |t: f64| tensor(&device, &[t], &[1]);
    let (x, x_t) = (normal(&device, 1, &[2 * DRAWS, 2]), normal(&device, 2, &[2, 2]));
    Query { s: time(0.2), u: time(0.7), x, t: time(0.3), x_t, condition }
}

#[test]
fn a_scale_that_no_network_is_told_moves_away_from_the_unlabelled() {
    let network = network(NetworkConfig::Mlp(MlpConfig { labels: 3, ..small(2) }));
    let ask = |labels: &[usize], scales: Option<&[f64]>| values(&network.velocity(&query(Condition::new(Some(labels), scales))).unwrap());
    let labels = [2, 0];
    let (with, without) = (ask(&labels, None), ask(&[3], None));
    let expected = |scales: [f64; 2]| -> Vec<f64> {
        let row = |i: usize| scales[i / (2 * DRAWS)];
        with.iter().zip(&without).enumerate().map(|(i, (with, without))| without + row(i) * (with - without)).collect()
    };
    close(&ask(&labels, Some(&[2.5, -1.0])), &expected([2.5, -1.0]), 1e-14);
    close(&ask(&labels, Some(&[4.0])), &expected([4.0, 4.0]), 1e-14);
    // Asked once, and bit for bit.
    assert_eq!(ask(&labels, Some(&[1.0, 1.0])), with);
    // By nothing it is the unlabelled one.
    close(&ask(&labels, Some(&[0.0])), &without, 1e-14);
    // Estimators pull rewards back through it.
    derivatives_match_differences(&network, &query(Condition::new(Some(&labels), Some(&[2.5, -1.0]))));
}

#[test]
fn scales_that_say_nothing_are_refused() {
    let labelled = network(NetworkConfig::Mlp(MlpConfig { labels: 3, ..small(2) }));
    let asked = |network: &Network<Tensor64>, labels: Option<&[usize]>, scales: &[f64]| {
        network.velocity(&query(Condition::new(labels, Some(scales)))).unwrap_err()
    };
    assert!(matches!(asked(&labelled, Some(&[1]), &[f64::NAN]), Error::Range { what: "the guidance scale", .. }));
    assert!(matches!(asked(&labelled, Some(&[1]), &[2.0; 3]), Error::Length { op: "the guidance scales", expected: 2, found: 3 }));
    assert!(matches!(asked(&labelled, None, &[2.0]), Error::Unsupported { .. }));
    assert!(matches!(
        asked(&network(NetworkConfig::Mlp(MlpConfig { labels: 0, ..small(2) })), Some(&[1]), &[2.0]),
        Error::Unsupported { .. }
    ));
    // One that is told scales knows those of its training alone.
    let told = DitConfig { labels: 3, guidance: vec![1.0, 3.0], ..DitConfig::custom([8, 2, 2], 2, 1, 1) };
    assert!(matches!(asked(&network(NetworkConfig::Dit(told)), Some(&[1]), &[2.0]), Error::Range { .. }));
}
