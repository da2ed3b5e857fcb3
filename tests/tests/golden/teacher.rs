//! The posterior velocity of a flow model, guided in two ways or not at all.

use crate::file::{Bench, Real};
use crate::network::Inputs;
use mfm_core::drift::{AsDrift, ClassifierFree, posterior_velocity};
use mfm_core::interpolant::Linear;
use mfm_core::{Condition, Result};

/// The scale by which the reference takes its teacher to be guided already.
pub const OWN_SCALE: f64 = 2.5;

pub fn check<E: Real>(bench: &Bench<'_, E>) -> Result<()> {
    let (inputs, teacher) = (Inputs::new(bench)?, bench.network("teacher")?);
    let [_, _, y, _, x] = &inputs.query;
    let (s, t) = (bench.golden.host("in.s"), bench.golden.host("in.t"));
    let guided = |own_scale| ClassifierFree {
        map: &teacher,
        null_label: Some(bench.golden.config.labels),
        scale: 1.0,
        own_scale,
        takes_scale: true,
    };
    for (name, own_scale) in [("glass.sit", 1.0), ("glass.dmf", OWN_SCALE)] {
        bench.compare(name, &posterior_velocity(&guided(own_scale), &Linear, &s, y, &t, x, inputs.condition())?)?;
    }
    bench.compare("glass.unlabelled", &posterior_velocity(&AsDrift(&teacher), &Linear, &s, y, &t, x, Condition::NONE)?)
}
