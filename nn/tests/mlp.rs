//! The network against plain arithmetic: values, sharing, derivatives.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::{Device64, Plain, Tensor64, close, normal, small, tensor, values};
use mfm_core::autodiff::{gradient, jvp};
use mfm_core::{Condition, Error, Lift, MetaFlowMap, Noise, Operations, Query, Shape, Tensor};
use mfm_nn::{Mlp, MlpConfig, Module};

fn network(config: &MlpConfig) -> Mlp<Tensor64> {
    Mlp::new(&Device64::new(), config, &Noise::new(3)).unwrap()
}

/// A query whose s, u and t have the given lengths.
fn query<'a>(device: &Device64, [s, u, t]: [usize; 3], states: usize, draws: usize, labels: Option<&'a [usize]>) -> Query<'a, Tensor64> {
    let time = |n: usize, from: f64, step: f64| tensor(device, &(0..n).map(|i| from + step * i as f64).collect::<Vec<_>>(), &[n]);
    Query {
        s: time(s, 0.1, 0.02),
        u: time(u, 0.6, 0.03),
        x: normal(device, 1, &[states * draws, 2]),
        t: time(t, 0.3, 0.05),
        x_t: normal(device, 2, &[states, 2]),
        condition: labels.map_or(Condition::NONE, Condition::labels),
    }
}

/// Every row by plain arithmetic.
fn expected(plain: &Plain, query: &Query<'_, Tensor64>) -> Vec<f64> {
    let (s, u, t, x, x_t) = (values(&query.s), values(&query.u), values(&query.t), values(&query.x), values(&query.x_t));
    let draws = x.len() / x_t.len();
    let pick = |all: &[f64], i: usize| all[i % all.len()];
    (0..x.len() / 2)
        .flat_map(|row| {
            let state = row / draws;
            let label = query.condition.labels.map(|labels| labels[state % labels.len()]);
            let times = [pick(&s, row), pick(&u, row), pick(&t, state)];
            plain.velocity(times, &x[2 * row..2 * row + 2], &x_t[2 * state..2 * state + 2], label)
        })
        .collect()
}

#[test]
fn equals_plain_arithmetic_however_inputs_are_shared() {
    let device = Device64::new();
    // The deepest has more layers than are asked for as one operation.
    for (labels, depth) in [(0, 3), (3, 3), (0, 1), (3, 8)] {
        let config = MlpConfig { labels, depth, ..small(2) };
        let network = network(&config);
        let plain = Plain::of(&config, &network);
        for (states, draws) in [(1, 1), (1, 5), (4, 1), (4, 3)] {
            let rows = states * draws;
            for (s, u, t) in [(1, 1, 1), (rows, 1, 1), (1, rows, states), (rows, rows, 1), (rows, rows, states), (1, 1, states)] {
                let all: &[usize] = &[2, 0, 3, 1][..states];
                let choices = if labels == 0 { vec![None] } else { vec![None, Some(&[1usize][..]), Some(all)] };
                for labels in choices {
                    let query = query(&device, [s, u, t], states, draws, labels);
                    let velocity = network.velocity(&query).unwrap();
                    assert_eq!(velocity.shape(), query.x.shape());
                    close(&values(&velocity), &expected(&plain, &query), 1e-13);
                }
            }
        }
    }
}

#[test]
fn items_of_any_shape_are_flattened() {
    let device = Device64::new();
    let network = network(&MlpConfig { data: 6, ..small(6) });
    let one = tensor(&device, &[0.5], &[1]);
    let ask = |axes: &[usize]| {
        let (x, x_t) = (normal(&device, 1, axes), normal(&device, 2, axes));
        network.velocity(&Query { s: one.clone(), u: one.clone(), x, t: one.clone(), x_t, condition: Condition::NONE }).unwrap()
    };
    let (flat, images) = (ask(&[4, 6]), ask(&[4, 1, 2, 3]));
    assert_eq!(images.shape().axes(), [4, 1, 2, 3]);
    assert_eq!(values(&flat), values(&images));
}

#[test]
fn wrong_questions_are_errors() {
    let device = Device64::new();
    let plain = network(&MlpConfig { labels: 0, ..small(2) });
    let labelled = network(&small(2));
    let good = query(&device, [1, 1, 1], 2, 1, None);
    let with = |condition| Query { condition, ..good.clone() };
    assert!(matches!(plain.velocity(&with(Condition::labels(&[0]))), Err(Error::Unsupported { .. })));
    assert!(matches!(labelled.velocity(&with(Condition::labels(&[4]))), Err(Error::Index { .. })));
    let mut guided = Condition::NONE;
    guided.guidance = Some(&[2.0]);
    assert!(matches!(labelled.velocity(&with(guided)), Err(Error::Unsupported { .. })));
    let wide = Query { x: normal(&device, 1, &[2, 3]), x_t: normal(&device, 1, &[2, 3]), ..good.clone() };
    assert!(matches!(labelled.velocity(&wide), Err(Error::Shape { .. })));
    for bad in [MlpConfig { width: 0, ..small(2) }, MlpConfig { depth: 0, ..small(2) }, MlpConfig { data: usize::MAX, ..small(2) }] {
        assert!(matches!(Mlp::<Tensor64>::new(&device, &bad, &Noise::new(0)), Err(Error::Range { .. })));
    }
}

/// The central difference of `f` along `direction` of parameter or input values.
fn difference(base: &[f64], direction: &[f64], f: impl Fn(&[f64]) -> f64) -> f64 {
    let at = |h: f64| f(&base.iter().zip(direction).map(|(x, d)| x + h * d).collect::<Vec<_>>());
    let h = 1e-4;
    (8.0 * (at(h) - at(-h)) - (at(2.0 * h) - at(-2.0 * h))) / (12.0 * h)
}

#[test]
fn gradients_by_parameters_match_differences() {
    let device = Device64::new();
    let network = network(&small(2));
    let labels: &[usize] = &[1, 3];
    // Shared and unshared inputs take different paths through the first layer.
    for (draws, times) in [(1, [2, 2, 2]), (3, [1, 6, 1])] {
        let query = query(&device, times, 2, draws, Some(labels));
        let parameters = network.parameters();
        let tensors: Vec<&Tensor64> = parameters.iter().map(|(_, tensor)| tensor).collect();
        let (_, gradients) = gradient(&tensors, |variables| {
            let lifted = network.with_parameters(variables)?;
            lifted.velocity(&query.constant())?.square()?.mean_all()
        })
        .unwrap();
        for (i, (name, tensor)) in parameters.iter().enumerate() {
            let direction = values(&normal(&device, 90 + i as u64, tensor.shape().axes()));
            let found: f64 = values(&gradients[i]).iter().zip(&direction).map(|(g, d)| g * d).sum();
            let wanted = difference(&values(tensor), &direction, |changed| {
                let mut all: Vec<Tensor64> = parameters.iter().map(|(_, tensor)| tensor.clone()).collect();
                all[i] = common::tensor(&device, changed, tensor.shape().axes());
                let moved = network.with_parameters(&all).unwrap();
                values(&moved.velocity(&query).unwrap().square().unwrap().mean_all().unwrap())[0]
            });
            assert!((found - wanted).abs() < 1e-9 * (1.0 + wanted.abs()), "{name}: {found} and {wanted}");
        }
    }
}

#[test]
fn tangents_match_differences() {
    let device = Device64::new();
    let network = network(&small(2));
    let query = query(&device, [4, 4, 2], 2, 2, None);
    let inputs = [&query.s, &query.u, &query.x, &query.t, &query.x_t];
    let directions: Vec<Tensor64> = inputs.iter().zip(20..).map(|(x, seed)| normal(&device, seed, x.shape().axes())).collect();
    let ask = |inputs: &[&Tensor64]| {
        let [s, u, x, t, x_t] = [0, 1, 2, 3, 4].map(|i| inputs[i].clone());
        values(&network.velocity(&Query { s, u, x, t, x_t, condition: Condition::NONE }).unwrap())
    };
    let (_, tangent) = jvp(&inputs, &directions.iter().collect::<Vec<_>>(), |duals| {
        let lifted = network.lift(&mut |p| Ok(mfm_core::autodiff::Dual::constant(p.clone())))?;
        let [s, u, x, t, x_t] = [0, 1, 2, 3, 4].map(|i| duals[i].clone());
        lifted.velocity(&Query { s, u, x, t, x_t, condition: Condition::NONE })
    })
    .unwrap();
    let h = 1e-5;
    let shifted = |h: f64| {
        let moved: Vec<Tensor64> = inputs.iter().zip(&directions).map(|(x, d)| x.add(&d.scale(h).unwrap()).unwrap()).collect();
        ask(&moved.iter().collect::<Vec<_>>())
    };
    let slopes: Vec<f64> = shifted(h).iter().zip(shifted(-h)).map(|(a, b)| (a - b) / (2.0 * h)).collect();
    close(&values(&tangent), &slopes, 1e-7);
}

#[test]
fn initial_parameters_are_those_of_a_linear_layer() {
    let network = network(&MlpConfig { zero_output: true, labels: 4, ..MlpConfig::new(2) });
    assert_eq!(network.parameter_count(), 212_226 + 5 * 256);
    let check = |name: &str, numbers: &[f64], bound: f64| {
        let largest = numbers.iter().fold(0.0f64, |a, b| a.max(b.abs()));
        assert!(largest <= bound && largest >= 0.9 * bound, "{name}: {largest} of {bound}");
        let mean = numbers.iter().sum::<f64>() / numbers.len() as f64;
        // The mean of n uniforms in ±bound has the standard error bound/√(3 n); six of them.
        assert!(mean.abs() <= 6.0 * bound / (3.0 * numbers.len() as f64).sqrt(), "{name}: mean {mean}");
    };
    network.visit(&mut |name, tensor| {
        let numbers = values(tensor);
        match name {
            // x and x_t, the last four of 55 inputs, have a fan-in of their own.
            "first.weight" => {
                let (times, places): (Vec<&[f64]>, Vec<&[f64]>) = numbers.chunks_exact(55).map(|row| row.split_at(51)).unzip();
                check("first.weight of times", &times.concat(), 1.0 / 55f64.sqrt());
                check("first.weight of places", &places.concat(), 0.5);
            }
            "first.bias" => check(name, &numbers, 1.0 / 55f64.sqrt()),
            "output.weight" | "output.bias" => check(name, &numbers, 0.0),
            _ => check(name, &numbers, 1.0 / 16.0),
        }
    });
}

#[test]
fn replacing_parameters_checks_them() {
    let network = network(&small(2));
    let mut tensors: Vec<Tensor64> = network.parameters().into_iter().map(|(_, tensor)| tensor).collect();
    assert!(network.with_parameters(&tensors).is_ok());
    tensors[0] = tensors[0].reshape(Shape::new(&[tensors[0].shape().elements()]).unwrap()).unwrap();
    assert!(matches!(network.with_parameters(&tensors), Err(Error::Shape { .. })));
    tensors.pop();
    assert!(matches!(network.with_parameters(&tensors), Err(Error::Length { .. })));
}
