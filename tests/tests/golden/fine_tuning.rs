//! The raw fine-tuning loss and its gradient.

use crate::file::{Bench, Real};
use crate::steering::Quadratic;
use mfm_core::autodiff::Tape;
use mfm_core::interpolant::Linear;
use mfm_core::reward::ByDifferentiation;
use mfm_core::training::{Batch, FineTuning, FineTuningChoices, FineTuningMaps};
use mfm_core::{Condition, Flow, Lift, Operations, Result, Tensor};
use mfm_nn::Module;

/// λ and σ² of the reference, and the guidance scale of its posterior draws.
const STRENGTH: f64 = 0.7;
const SIGMA_SQUARED: f64 = 1.5;
const SCALE: [f64; 1] = [2.5];

pub fn check<E: Real>(bench: &Bench<'_, E>) -> Result<()> {
    let [student, teacher, base] = ["student", "teacher", "base"].map(|which| bench.network(which));
    let (student, teacher, base) = (student?, teacher?, base?);
    let reward = ByDifferentiation(Quadratic::new(bench));
    let (x1, labels) = (bench.tensor("loss.x1")?, bench.golden.labels("loss.label"));
    let choices = FineTuningChoices {
        t: bench.golden.host("finetune.draw.00.rand"),
        state: bench.tensor("finetune.draw.01.randn_like")?,
        draw: bench.tensor("finetune.draw.02.randn_like")?,
    };
    let under = |scale| {
        let mut condition = Condition::NONE;
        condition.guidance = Some(scale);
        condition
    };
    let tape = Tape::new();
    let tracked = student.lift(&mut |p| Ok(tape.variable(p.clone())))?;
    let maps = FineTuningMaps {
        base: Flow::new(&base, &Linear).with_condition(under(&[1.0])),
        sampler: Flow::new(&teacher, &Linear).with_condition(under(&SCALE)),
        student: &tracked,
    };
    let options = FineTuning { strength: STRENGTH, half_sigma_squared: Some(SIGMA_SQUARED / 2.0), ..FineTuning::default() };
    let loss = options.loss_of(&maps, &reward, Batch { x1: &x1, labels: Some(&labels) }, None, &choices)?;
    // The reference takes means over pixels as well.
    let pixels = x1.shape().item() as f64;
    bench.compare("finetune.loss", &loss.total.value().scale(1.0 / pixels)?)?;
    bench.compare_numbers("finetune.expected_reward", &[STRENGTH * loss.mean_reward])?;
    let gradients = tape.backward(&loss.total, loss.total.value().zeros_like()?.shift(1.0 / pixels)?)?;
    for (name, variable) in tracked.parameters() {
        bench.compare(&format!("finetune.grad.model.dit.{name}"), &gradients.of_or_zeros(&variable)?)?;
    }
    Ok(())
}
