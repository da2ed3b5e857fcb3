//! The laws on networks: those that are built in, and on a trained one the others, as well as it has learned them.
#![allow(clippy::unwrap_used)]

use crate::broken::{Broken, Fault, refused};
use crate::support::{F64, device};
use crate::{draws_within, probe};
use mfm_core::interpolant::Linear;
use mfm_core::{Condition, Device, Error, MetaFlowMap, Noise, Operations, Result, Shape, Tensor};
use mfm_nn::{Dit, DitConfig, Model, ModelFile, Module};
use mfm_tests::conformance::Check;
use mfm_tests::laws::{self, DrawLaw, Probe};
use mfm_toy2d::exact::MixtureDrift;
use mfm_toy2d::{Gaussian, GaussianMixture};

/// A preconditioned perceptron that was trained on 29,997 samples of [`mixture`]; `bare-metal/README.md` says how.
const MODEL: &[u8] = include_bytes!("../../bare-metal/model.mfm");

fn mixture() -> Result<GaussianMixture> {
    let components = [-3.0, 0.0, 3.0].map(|m| Gaussian::isotropic(&[m, m], 0.7 * 0.7));
    GaussianMixture::new(&[1.0; 3], components.into_iter().collect::<Result<_>>()?)
}

/// The laws that any network obeys: X = x + (u − s) v adds nothing where s = u, states are shared but for the order of sums, and v is smooth in u, so that
/// what is left of the tangent is the h² of its step, `tangent`.
fn built_in(map: &impl MetaFlowMap<F64>, probe: &Probe<'_, F64>, tangent: f64) -> Check {
    laws::identity(map, probe, 0.0)?;
    laws::shared_states(map, probe, 3, 1e-14)?;
    laws::tangent(map, probe, 1e-4, tangent)?;
    refused(laws::identity(&Broken(map, Fault::Restless), probe, 0.0), "X(s,s) = id")?;
    refused(laws::shared_states(&Broken(map, Fault::Shuffled), probe, 3, 1e-14), "a state's draws are rows")?;
    refused(laws::tangent(&Broken(map, Fault::Abrupt(10.0 * tangent)), probe, 1e-4, tangent), "v(s,u) tends to v(s,s)")
}

// Each tolerance is at most 1.5 times the error that was measured, which stands beside it; parameters a tenth too large are worse than that.
#[test]
fn a_trained_network_obeys_the_laws_as_well_as_it_has_learned_them() -> Check {
    let trained: Model<F64> = ModelFile::parse(MODEL).unwrap().to_model(&device()).unwrap();
    let mixture = mixture()?;
    let (drift, probe) = (MixtureDrift::new(&mixture, &Linear), probe(&mixture, &Linear)?);
    built_in(&trained, &probe, 8e-7)?; // 5.5e-7

    // At t = 0 it has seen noise, and need forget nothing else.
    let of_noise = Probe { state: device().normal(&Noise::new(3), probe.state.shape())?, ..probe.clone() };
    let roughly = DrawLaw { standard_errors: f64::INFINITY, floors: 1.0, margin: 0.05, ..DrawLaw::EXACT };
    type Law<'a> = (&'a str, &'a dyn Fn(&Model<F64>) -> Check);
    let learned: [Law<'_>; 4] = [
        ("X(w,u) after X(s,w) = X(s,u)", &|map| laws::semigroup(map, &probe, 0.049)), // 0.033
        ("v(s,s) = posterior velocity", &|map| laws::diagonal(map, &drift, &Linear, &probe, 0.38)), // 0.26
        ("t = 0", &|map| laws::forgetful(map, &of_noise, 0.3)),                       // 0.21
        ("draws from the posterior", &|map| draws_within(&roughly, map, &mixture, &Linear, 0.4)), // 0.097, where 0.119 are allowed
    ];
    let grown = trained.rebuild(&mut |_, parameter| parameter.scale(1.1))?;
    for (name, law) in learned {
        law(&trained)?;
        refused(law(&grown), name)?;
    }
    Ok(())
}

// All parameters random, for a new transformer is zero everywhere. What the tangent's step leaves is 6e-9, with labels 8e-9; the tolerance is 1.5 times that.
#[test]
fn a_fresh_transformer_obeys_the_laws_that_are_built_in() -> Check {
    let form = DitConfig { labels: 3, ..DitConfig::custom([8, 3, 2], 2, 4, 2) };
    let mut parts = 0..;
    let network = Dit::build::<Error>(&form, &mut |_, shape| {
        let noise = Noise::new(5).fork(parts.next().unwrap_or_default());
        device().normal(&noise, shape)?.scale(0.3)
    })?;
    let x1 = device().normal(&Noise::new(1), Shape::new(&[24, 2, 4, 4])?)?;
    let labels: Vec<usize> = (0..24).map(|k| k % 4).collect();
    for condition in [Condition::NONE, Condition::labels(&labels)] {
        built_in(&network, &Probe { condition, ..Probe::on_path(&Linear, &x1, 0.9, &Noise::new(2))? }, 1.2e-8)?;
    }
    Ok(())
}
