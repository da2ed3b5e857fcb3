//! Each law on a map that breaks it.

use crate::support::F64;
use crate::{draws, pointwise, probe};
use mfm_core::interpolant::Linear;
use mfm_core::tensor::Compare;
use mfm_core::{MetaFlowMap, Operations, Query, Result, Tensor};
use mfm_tests::conformance::{Check, Failure};
use mfm_tests::laws;
use mfm_toy2d::GaussianMixture;
use mfm_toy2d::exact::{MixtureDrift, TransportMap};

/// What is wrong with a map.
#[derive(Clone, Copy)]
pub enum Fault {
    /// Jumps of no length move by a thousandth.
    Restless,
    /// The velocity at s in place of the average.
    Instantaneous,
    /// So much more velocity on average, over a span of any length, than at s.
    Abrupt(f64),
    /// All velocities a thousandth too large.
    Hasty,
    /// Draws shrunk by a tenth.
    Narrow,
    /// The state in reverse.
    Mirrored,
    /// A thousandth of the state is remembered at t = 0.
    Nostalgic,
    /// The states in reverse order for their draws.
    Shuffled,
}

pub struct Broken<'a, M>(pub &'a M, pub Fault);

impl<M: MetaFlowMap<F64>> MetaFlowMap<F64> for Broken<'_, M> {
    fn velocity(&self, query: &Query<'_, F64>) -> Result<F64> {
        let mut query = query.clone();
        match self.1 {
            Fault::Restless => self.0.velocity(&query),
            Fault::Instantaneous => self.0.velocity(&Query { u: query.s.clone(), ..query }),
            Fault::Abrupt(size) => {
                let moves = query.s.compare(Compare::Less, &query.u)?.per_item(query.x.shape())?;
                self.0.velocity(&query)?.add(&moves.scale(size)?)
            }
            Fault::Hasty => self.0.velocity(&query)?.scale(1.001),
            Fault::Narrow => F64::linear_combination(&[(0.9, &self.0.velocity(&query)?), (-0.1, &query.x)]),
            Fault::Mirrored => {
                query.x_t = query.x_t.neg()?;
                self.0.velocity(&query)
            }
            Fault::Nostalgic => {
                let memory = query.x_t.repeat_items(query.draws()?)?.scale(1e-3)?;
                self.0.velocity(&query)?.add(&memory)
            }
            Fault::Shuffled => {
                if query.draws()? > 1 {
                    let last = query.x_t.shape().batch() - 1;
                    query.x_t = query.x_t.gather(0, &(0..=last).rev().collect::<Vec<_>>())?;
                }
                self.0.velocity(&query)
            }
        }
    }

    fn map(&self, query: &Query<'_, F64>) -> Result<F64> {
        let span = query.u.sub(&query.s)?.per_item(query.x.shape())?;
        let moved = query.x.add(&self.velocity(query)?.mul(&span)?)?;
        if matches!(self.1, Fault::Restless) { moved.shift(1e-3) } else { Ok(moved) }
    }
}

/// Checks that a law was broken, and which.
pub fn refused(outcome: Check, law: &str) -> Check {
    match outcome {
        Ok(()) => Err(Failure::new(format!("a broken map passed the law '{law}'"))),
        Err(failure) if failure.to_string().contains(law) => Ok(()),
        Err(failure) => Err(failure.within("failed for another reason")),
    }
}

#[test]
fn each_law_catches_a_map_that_breaks_it() -> Check {
    let (mixture, path) = (GaussianMixture::paper(), &Linear);
    let drift = MixtureDrift::new(&mixture, path);
    let probe = probe(&mixture, path)?;
    let map = TransportMap::new(&mixture, path, 1);
    let broken = |fault| Broken(&map, fault);
    refused(laws::identity(&broken(Fault::Restless), &probe, 1e-10), "X(s,s) = id")?;
    refused(laws::semigroup(&broken(Fault::Restless), &probe, 1e-9), "X(s,u) = x + (u-s) v(s,u)")?;
    refused(laws::semigroup(&broken(Fault::Instantaneous), &probe, 1e-9), "X(w,u) after X(s,w) = X(s,u)")?;
    refused(laws::tangent(&broken(Fault::Abrupt(1e-3)), &probe, 1e-4, 1e-4), "v(s,u) tends to v(s,s)")?;
    refused(laws::diagonal(&broken(Fault::Hasty), &drift, path, &probe, 1e-12), "v(s,s) = posterior velocity")?;
    refused(laws::diagonal(&broken(Fault::Mirrored), &drift, path, &probe, 1e-12), "v(s,s) = posterior velocity")?;
    refused(laws::forgetful(&broken(Fault::Nostalgic), &probe, 1e-10), "t = 0 forgets x_t")?;
    refused(laws::shared_states(&broken(Fault::Shuffled), &probe, 3, 1e-12), "a state's draws are rows")?;
    refused(draws(&broken(Fault::Narrow), &mixture, path, 0.3), "draws from the posterior")?;
    refused(draws(&broken(Fault::Mirrored), &mixture, path, 0.3), "draws from the posterior")?;
    // The same map without a fault passes, so it is the fault that is caught.
    pointwise(&map, &drift, &mixture, 1e-9)?;
    laws::tangent(&map, &probe, 1e-4, 1e-4)?;
    draws(&map, &mixture, path, 0.3)
}
