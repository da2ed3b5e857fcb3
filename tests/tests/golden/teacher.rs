//! The posterior velocity of a flow model, guided in two ways or not at all.

use crate::file::{Bench, Real};
use crate::network::Inputs;
use mfm_core::drift::{AsDrift, ClassifierFree, posterior_velocity};
use mfm_core::interpolant::Linear;
use mfm_core::{Condition, Result};

/// By which scale the reference takes its teacher to be guided already, 1/(1 − ω) of its ω = 0.6.
pub const GUIDED_BY: Option<f64> = Some(2.5);

pub fn check<E: Real>(bench: &Bench<'_, E>) -> Result<()> {
    let (inputs, teacher) = (Inputs::new(bench)?, bench.network("teacher")?);
    let [_, _, y, _, x] = &inputs.query;
    let (s, t) = (bench.golden.host("in.s"), bench.golden.host("in.t"));
    let guided = |guided_by| ClassifierFree {
        map: &teacher,
        null_label: Some(bench.golden.config.labels),
        scale: 1.0,
        guided_by,
        takes_scale: true,
    };
    for (name, guided_by) in [("glass.sit", None), ("glass.dmf", GUIDED_BY)] {
        bench.compare(name, &posterior_velocity(&guided(guided_by), &Linear, &s, y, &t, x, inputs.condition())?)?;
    }
    bench.compare("glass.unlabelled", &posterior_velocity(&AsDrift(&teacher), &Linear, &s, y, &t, x, Condition::NONE)?)
}
