//! The laws on the exact maps of mixtures, on maps that break them, and on networks.

#[path = "../support/mod.rs"]
mod support;

mod broken;
mod networks;

use broken::refused;
use mfm_core::autodiff::{Var, vjp};
use mfm_core::interpolant::{Interpolant, Linear};
use mfm_core::{Condition, Device, Error, MetaFlowMap, Noise, Operations, Query, Result, Tensor};
use mfm_cpu_ref::CpuDevice;
use mfm_nn::OnPath;
use mfm_tests::conformance::Check;
use mfm_tests::laws::{self, DrawLaw, Probe};
use mfm_toy2d::exact::{ExactFlowMap, MixtureDrift, TransportMap};
use mfm_toy2d::{AtTime, GaussianMixture};
use support::{F64, PATHS, device, gaussian, random_mixture, rows};

fn probe(mixture: &GaussianMixture, path: &dyn Interpolant) -> Result<Probe<'static, F64>> {
    let x1 = rows(&device(), &mixture.sample(24, &Noise::new(1))?, mixture.dimension())?;
    Probe::on_path(path, &x1, 0.9, &Noise::new(2))
}

/// The laws that hold point by point but for the tangent; `tolerance` is the error of the map where it is not closed.
fn pointwise(map: &impl MetaFlowMap<F64>, drift: &MixtureDrift, mixture: &GaussianMixture, tolerance: f64) -> Check {
    let probe = probe(mixture, drift.path())?;
    laws::identity(map, &probe, 1e-10)?;
    laws::semigroup(map, &probe, tolerance)?;
    laws::diagonal(map, drift, drift.path(), &probe, 1e-12)?;
    laws::forgetful(map, &probe, 1e-10)?;
    laws::shared_states(map, &probe, 3, 1e-12)
}

/// Null: draws and exact samples are of one law; 2,048 of each, four standard errors and two floors, at a state of the path.
fn draws(map: &impl MetaFlowMap<F64>, mixture: &GaussianMixture, path: &dyn Interpolant, t: f64) -> Check {
    draws_within(&DrawLaw::EXACT, map, mixture, path, t)
}

fn draws_within(law: &DrawLaw, map: &impl MetaFlowMap<F64>, mixture: &GaussianMixture, path: &dyn Interpolant, t: f64) -> Check {
    let at = AtTime::new(mixture, path, t)?;
    let (alpha, beta) = (at.coefficients().alpha, at.coefficients().beta);
    let x1 = mixture.sample(1, &Noise::new(5))?;
    let state: Vec<f64> = x1.iter().zip([0.4, -0.9, 0.2]).map(|(x, z)| beta * x + alpha * z).collect();
    let posterior = at.posterior_mixture(&at.posterior(&state)?)?;
    let state = rows(&device(), &state, mixture.dimension())?;
    laws::posterior(map, (t, &state), Condition::NONE, |n, noise| posterior.sample(n, noise), law, &Noise::new(6))
}

fn priors() -> Result<[GaussianMixture; 3]> {
    Ok([GaussianMixture::paper(), random_mixture(3, 4, 11)?, gaussian(&[0.5, -1.0, 2.0], 0.7)?])
}

// The solver's error: 1e-8 is what sixteen spans leave at times up to 0.9, where the posterior is narrowest.
#[test]
fn the_exact_map_obeys_every_law_point_by_point() -> Check {
    for mixture in &priors()? {
        for path in PATHS {
            let map = ExactFlowMap::new(mixture, path, 16)?;
            let place = format!("{} on {path:?}", mixture.components().len());
            pointwise(&map, &MixtureDrift::new(mixture, path), mixture, 1e-8).map_err(|failure| failure.within(&place))?;
            // The error of the tangent is h² v'''/3, with derivatives that grow like powers of 1/(1 − t).
            laws::tangent(&map, &probe(mixture, path)?, 1e-4, 1e-4).map_err(|failure| failure.within(&place))?;
        }
    }
    Ok(())
}

#[test]
fn the_transport_map_obeys_every_law_point_by_point() -> Check {
    for mixture in &priors()? {
        for path in PATHS {
            let map = TransportMap::new(mixture, path, 2);
            let place = format!("{} on {path:?}", mixture.components().len());
            pointwise(&map, &MixtureDrift::new(mixture, path), mixture, 1e-9).map_err(|failure| failure.within(&place))?;
        }
    }
    Ok(())
}

// On the paper's mixture and on one Gaussian the transport is the flow of its diagonal; on a mixture in general it is not, as it says.
#[test]
fn the_transport_map_is_the_flow_only_where_it_says() -> Check {
    let [paper, random, single] = priors()?;
    for path in PATHS {
        for mixture in [&paper, &single] {
            laws::tangent(&TransportMap::new(mixture, path, 1), &probe(mixture, path)?, 1e-4, 1e-4)?;
        }
        let broken = laws::tangent(&TransportMap::new(&random, path, 1), &probe(&random, path)?, 1e-4, 1e-4);
        refused(broken, "tends to")?;
    }
    Ok(())
}

#[test]
fn both_maps_are_one_on_the_papers_mixture() -> Check {
    let mixture = GaussianMixture::paper();
    for path in PATHS {
        let (exact, transport) = (ExactFlowMap::new(&mixture, path, 16)?, TransportMap::new(&mixture, path, 2));
        let probe = probe(&mixture, path)?;
        let [s, _, u] = &probe.times;
        let vector = |values: &[f64]| device().from_slice(values, mfm_core::Shape::new(&[values.len()])?);
        let (s, u, t) = (vector(s)?, vector(u)?, vector(&probe.t)?);
        let query = Query { s, u, x: probe.place.clone(), t, x_t: probe.state.clone(), condition: Condition::NONE };
        let (a, b): (F64, F64) = (exact.velocity(&query)?, transport.velocity(&query)?);
        let error = support::relative_error(&a.to_vec()?, &b.to_vec()?, 1.0);
        assert!(error < 1e-8, "{error} on {path:?}");
    }
    Ok(())
}

#[test]
fn a_map_of_the_linear_path_put_on_another_is_that_of_the_other() -> Check {
    for mixture in &priors()? {
        let linear = || TransportMap::new(mixture, &Linear, 2);
        for &path in &PATHS[..3] {
            let (put, own) = (OnPath::new(linear(), path.name())?, TransportMap::new(mixture, path, 2));
            let place = format!("{} on {path:?}", mixture.components().len());
            pointwise(&put, &MixtureDrift::new(mixture, path), mixture, 1e-9).map_err(|failure| failure.within(&place))?;
            let probe = probe(mixture, path)?;
            let vector = |values: &[f64]| device().from_slice(values, mfm_core::Shape::new(&[values.len()])?);
            let [s, _, u] = &probe.times;
            for ends in [u, &vec![1.0; u.len()]] {
                let (s, u, t) = (vector(s)?, vector(ends)?, vector(&probe.t)?);
                let query = Query { s, u, x: probe.place.clone(), t, x_t: probe.state.clone(), condition: Condition::NONE };
                let (put, own): (F64, F64) = (put.velocity(&query)?, own.velocity(&query)?);
                let error = support::relative_error(&put.to_vec()?, &own.to_vec()?, 1.0);
                println!("{place}: {error:.1e}");
                assert!(error < 1e-13, "{error:e} for {place}");
            }
        }
        let latent = OnPath::new(linear(), PATHS[3].name());
        assert!(matches!(latent, Err(Error::Unsupported { .. })), "a path that no tensor knows");
    }
    Ok(())
}

#[test]
fn draws_of_the_transport_map_are_of_the_posterior() -> Check {
    for mixture in &priors()? {
        for path in PATHS {
            let map = TransportMap::new(mixture, path, 2);
            for t in [0.0, 0.4, 0.95] {
                draws(&map, mixture, path, t).map_err(|failure| failure.within(&format!("t = {t} on {path:?}")))?;
            }
        }
    }
    Ok(())
}

#[test]
fn draws_of_the_exact_map_are_of_the_posterior() -> Check {
    let [paper, random, single] = priors()?;
    for (mixture, path) in [(&paper, PATHS[0]), (&random, PATHS[0]), (&random, PATHS[3]), (&single, PATHS[2])] {
        draws(&ExactFlowMap::new(mixture, path, 2)?, mixture, path, 0.4).map_err(|failure| failure.within(&format!("on {path:?}")))?;
    }
    Ok(())
}

// f32 on the device: a few roundings of coordinates up to 5, amplified by 1/(1 − t) ≤ 10.
#[test]
fn the_laws_hold_in_f32() -> Check {
    let (mixture, device) = (GaussianMixture::paper(), CpuDevice::<f32>::new());
    let x1 = rows(&device, &mixture.sample(24, &Noise::new(1))?, 2)?;
    let probe = Probe::on_path(&Linear, &x1, 0.9, &Noise::new(2))?;
    let (map, drift) = (TransportMap::new(&mixture, &Linear, 1), MixtureDrift::new(&mixture, &Linear));
    laws::identity(&map, &probe, 1e-5)?;
    laws::semigroup(&map, &probe, 1e-4)?;
    laws::diagonal(&map, &drift, &Linear, &probe, 1e-5)?;
    laws::forgetful(&map, &probe, 1e-5)?;
    laws::shared_states(&map, &probe, 3, 1e-5)
}

// A row that rests beside one that moves: both have the derivatives that they have alone.
#[test]
fn rows_that_rest_beside_others_have_derivatives() -> Result<()> {
    let map = ExactFlowMap::new(&GaussianMixture::paper(), &Linear, 2)?;
    let gradients = |s: &[f64], u: &[f64], x: &[f64], x_t: &[f64]| -> Result<Vec<Vec<f64>>> {
        let times = |values: &[f64]| -> Result<Var<F64>> {
            Ok(Var::constant(device().from_slice(values, mfm_core::Shape::new(&[values.len()])?)?))
        };
        let inputs: [F64; 2] = [rows(&device(), x, 2)?, rows(&device(), x_t, 2)?];
        let (_, found) = vjp(
            &[&inputs[0], &inputs[1]],
            |v| {
                let (x, x_t) = (v[0].clone(), v[1].clone());
                map.velocity(&Query { s: times(s)?, u: times(u)?, x, t: times(&[0.3])?, x_t, condition: Condition::NONE })
            },
            |value| value.zeros_like()?.shift(1.0),
        )?;
        found.iter().map(Tensor::to_vec::<f64>).collect()
    };
    let (x, x_t) = ([0.3, -0.4, 1.0, 0.2], [0.1, 0.5, -0.6, 0.2]);
    let both = gradients(&[0.2, 0.4], &[0.2, 0.9], &x, &x_t)?;
    let alone = [gradients(&[0.2], &[0.2], &x[..2], &x_t[..2])?, gradients(&[0.4], &[0.9], &x[2..], &x_t[2..])?];
    for input in 0..2 {
        let expected = [alone[0][input].clone(), alone[1][input].clone()].concat();
        let close = both[input].iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-10 * (1.0 + b.abs()));
        assert!(close, "input {input}: {:?} against {expected:?}", both[input]);
    }
    Ok(())
}

#[test]
fn items_of_another_dimension_are_refused() -> Result<()> {
    let mixture = GaussianMixture::paper();
    let maps: [&dyn MetaFlowMap<F64>; 2] = [&TransportMap::new(&mixture, &Linear, 2), &ExactFlowMap::new(&mixture, &Linear, 1)?];
    for map in maps {
        for (values, width, times) in [(&[0.5][..], 1, 1), (&[0.5; 2], 1, 1), (&[0.5; 4], 4, 1), (&[0.5; 8], 4, 2)] {
            let x: F64 = rows(&device(), values, width)?;
            let time = |t: f64| device().full(t, mfm_core::Shape::new(&[1])?);
            let t = device().full(0.3, mfm_core::Shape::new(&[times])?)?;
            let outcome = map.velocity(&Query { s: time(0.0)?, u: time(1.0)?, x: x.clone(), t, x_t: x, condition: Condition::NONE });
            assert!(matches!(outcome, Err(Error::Length { .. })), "{values:?} of {width}: {outcome:?}");
        }
    }
    Ok(())
}
