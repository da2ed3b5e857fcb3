//! Plans of steering as the commands take and show them.

mod row;

pub use mfm_core::plan::{Diagnostics, Estimator, Plan};
pub use row::{Row, dash};

use crate::arguments::one_of;
use clap::builder::TypedValueParser;
use serde::ser::{SerializeMap, SerializeSeq, Serializer};

/// Reads the name of an estimator from the command line.
pub fn estimators() -> impl TypedValueParser<Value = Estimator> {
    one_of(Estimator::ALL.map(|estimator| (estimator.name(), help(estimator), estimator)))
}

fn help(estimator: Estimator) -> &'static str {
    match estimator {
        Estimator::Unsteered => "Not at all: samples of the model itself",
        Estimator::Dps => "By the reward's gradient at the posterior mean",
        Estimator::MfmG => "By the gradient of the value through posterior draws",
        Estimator::MfmGf => "By weighted posterior draws, without gradients",
        Estimator::Resampled => "By choosing posterior draws, exact in law for many draws",
        Estimator::Mcmc => "By Markov chains in the noise of the one-step map",
        Estimator::BestOfN => "The best of several samples",
        Estimator::Smc => "By a population of weighted particles (twisted diffusion sampler)",
        Estimator::MfmSmc => "By a population of particles weighed by their value, through posterior draws",
        Estimator::Search => "By keeping the best draws and renoising",
    }
}

/// Writes how steps went as a list of what is known of each.
///
/// # Errors
/// Those of the serializer.
pub fn serialize<S: Serializer>(steps: &[Diagnostics], serializer: S) -> Result<S::Ok, S::Error> {
    let mut list = serializer.serialize_seq(Some(steps.len()))?;
    for step in steps {
        list.serialize_element(&Step(step))?;
    }
    list.end()
}

struct Step<'a>(&'a Diagnostics);

impl serde::Serialize for Step<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("step", &self.0.step)?;
        for (name, value) in self.0.entries() {
            map.serialize_entry(&name.replace(' ', "_"), &value)?;
        }
        map.end()
    }
}
