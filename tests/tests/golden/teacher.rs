//! The posterior velocity of a flow model, guided in two ways or not at all.

use crate::file::{Bench, Real};
use crate::network::Inputs;
use mfm_core::interpolant::Linear;
use mfm_core::posterior_velocity::{AsDrift, ClassifierFree, posterior_velocity};
use mfm_core::{Condition, Result};

/// By how much the reference takes its teacher to be guided already.
pub const ABSORBED: f64 = 0.6;

pub fn check<E: Real>(bench: &Bench<'_, E>) -> Result<()> {
    let (inputs, teacher) = (Inputs::new(bench)?, bench.network("teacher")?);
    let [_, _, y, _, x] = &inputs.query;
    let (s, t) = (bench.golden.host("in.s"), bench.golden.host("in.t"));
    let guided =
        |absorbed| ClassifierFree { map: &teacher, null_label: Some(bench.golden.config.labels), scale: 1.0, absorbed, told: true };
    for (name, absorbed) in [("glass.sit", 0.0), ("glass.dmf", ABSORBED)] {
        bench.compare(name, &posterior_velocity(&guided(absorbed), &Linear, &s, y, &t, x, inputs.condition())?)?;
    }
    bench.compare("glass.unlabelled", &posterior_velocity(&AsDrift(&teacher), &Linear, &s, y, &t, x, Condition::NONE)?)
}
