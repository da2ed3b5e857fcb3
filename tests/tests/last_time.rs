//! At t = 1 the posterior is the state itself.

mod support;

use mfm_core::flow_map::time;
use mfm_core::guidance::estimate_value_gradient;
use mfm_core::interpolant::{Coefficients, Interpolant};
use mfm_core::{Condition, Device, Draws, Flow, Lift, MetaFlowMap, Noise, Query, Result, Shape, Tensor};
use mfm_toy2d::exact::{ExactFlowMap, TransportMap};
use mfm_toy2d::{GaussianMixture, QuadraticReward};
use support::{F64, PATHS, device, random_mixture, rows};

const STATES: [f64; 4] = [0.4, -0.3, 40.0, -2.0];

/// Draws, and the value and its gradient, of a map.
fn check<M: Lift<F64>>(map: &M, path: &'static dyn Interpolant, what: &str) -> Result<()> {
    let device = device();
    let tensor = |values: &[f64], shape: &[usize]| device.from_slice(values, Shape::new(shape)?);
    let (states, noise) = (tensor(&STATES, &[2, 2])?, device.normal(&Noise::new(1), Shape::new(&[6, 2])?)?);
    let flow = Flow::new(map, path);
    let draws = flow.posterior(&noise, 1.0, &states)?.to_vec::<f64>()?;
    let expected: Vec<f64> = STATES.chunks(2).flat_map(|state| state.repeat(3)).collect();
    assert_eq!(draws, expected, "{what} on {}", path.name());
    // A draw of another time in the same query is what it is alone.
    let times = tensor(&[1.0, 0.5], &[2])?;
    let mixed = map.posterior(&noise, &times, &states, Condition::NONE)?.to_vec::<f64>()?;
    let alone = map.posterior(&noise.slice(0, 3, 3)?, &tensor(&[0.5], &[1])?, &states.slice(0, 1, 1)?, Condition::NONE)?.to_vec::<f64>()?;
    assert_eq!(mixed[..6], expected[..6], "{what} on {}", path.name());
    assert!(mixed[6..].iter().zip(&alone).all(|(a, b)| (a - b).abs() < 1e-12 * (1.0 + b.abs())), "{what} on {}: {mixed:?}", path.name());
    let reward = QuadraticReward::linear(&[0.9, -0.4], 0.1)?;
    let found = estimate_value_gradient(&flow, &reward, 1.0, &states, Draws::new(3), &Noise::new(2))?;
    let (value, gradient) = (found.value.to_vec::<f64>()?, found.gradient.to_vec::<f64>()?);
    for (value, x) in value.iter().zip(STATES.chunks(2)) {
        assert!((value - (0.9 * x[0] - 0.4 * x[1] + 0.1)).abs() < 1e-12, "{what} on {}: {value}", path.name());
    }
    assert!(
        gradient.chunks(2).all(|g| (g[0] - 0.9).abs() < 1e-14 && (g[1] + 0.4).abs() < 1e-14),
        "{what} on {}: {gradient:?}",
        path.name()
    );
    Ok(())
}

#[test]
fn every_draw_is_the_state() -> Result<()> {
    let single = GaussianMixture::from_parts(2, &[1.0], &[1.0, 2.0], &[0.5, 0.2, 0.2, 0.9])?;
    for mixture in [GaussianMixture::paper(), random_mixture(2, 3, 5)?, single] {
        for path in PATHS {
            check(&TransportMap::new(&mixture, path, 1), path, "the transport")?;
            check(&ExactFlowMap::new(&mixture, path, 2)?, path, "the flow")?;
        }
    }
    Ok(())
}

// Half-way there, both maps keep the noise of the state's law: I_s = α_s ε + β_s x_t goes to α_u ε + β_u x_t.
#[test]
fn jumps_on_the_way_keep_the_noise() -> Result<()> {
    let mixture = GaussianMixture::paper();
    for path in PATHS {
        let (from, to) = (path.coefficients(0.3), path.coefficients(0.8));
        let at = |c: &Coefficients| -> Vec<f64> { [0.7, -1.1].iter().zip(&STATES).map(|(e, x)| c.alpha * e + c.beta * x).collect() };
        let query = Query {
            s: time(&device(), 0.3)?,
            u: time(&device(), 0.8)?,
            x: rows(&device(), &at(&from), 2)?,
            t: time(&device(), 1.0)?,
            x_t: rows(&device(), &STATES[..2], 2)?,
            condition: Condition::NONE,
        };
        let maps: [&dyn MetaFlowMap<F64>; 2] = [&ExactFlowMap::new(&mixture, path, 2)?, &TransportMap::new(&mixture, path, 1)];
        for map in maps {
            let end = map.map(&query)?.to_vec::<f64>()?;
            assert!(end.iter().zip(at(&to)).all(|(a, b)| (a - b).abs() < 1e-12), "{}: {end:?}", path.name());
        }
    }
    Ok(())
}
