//! Training with progress, as commands and experiments share it: in one go here, fine-tuning in runs that can be kept in `fine_tuning`.

pub mod fine_tuning;

use crate::{Context, Place, Result};
use mfm_core::Tensor;
use mfm_nn::Module;
use mfm_nn::train::{DataSource, LossInput, StepLoss, Trainer, TrainingConfig};
use std::ops::ControlFlow;

/// The trainer of `fresh` at its end.
///
/// # Errors
/// Those of the data and the loss, and of [`Trainer::run`], with `what` before them.
pub fn train<T: Tensor, M: Module<T, Over<T> = M>, L: Into<StepLoss<T>>>(
    context: &Context<T>,
    what: &str,
    settings: TrainingConfig,
    fresh: &M,
    data: &mut impl DataSource<T>,
    loss: impl FnMut(LossInput<'_, T, M>) -> mfm_core::Result<L>,
) -> Result<Trainer<T, M>> {
    let mut trainer = Trainer::new(settings, fresh)?;
    let progress = context.progress(what, settings.steps);
    let outcome = trainer.run(data, loss, |_, step| {
        if step.step % 50 == 0
            && let Ok(loss) = step.loss_value()
        {
            progress.remark(format!("loss {loss:.3}"));
        }
        progress.advance(1);
        ControlFlow::Continue(())
    });
    outcome.at(what)?;
    Ok(trainer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::Verbosity;
    use mfm_core::autodiff::Var;
    use mfm_core::{Error, Noise};
    use mfm_cpu_ref::{CpuDevice, CpuTensor};
    use mfm_nn::{Classifier, ClassifierConfig};

    #[test]
    fn no_room_is_no_mistake_of_the_program() {
        let context = Context::<CpuTensor<f32>>::new(CpuDevice::new(), 0, None, Verbosity::Quiet, None).unwrap();
        let form = ClassifierConfig { data: 2, width: 4, depth: 1, classes: 2 };
        let fresh = Classifier::new(&context.device, &form, &context.noise).unwrap();
        let mut data = |_: u64, _: usize, _: &Noise| Err(Error::OutOfMemory { op: "batch", bytes: 7 });
        let failed = train(&context, "training the judge", TrainingConfig::default(), &fresh, &mut data, |input| {
            input.student.cross_entropy(&Var::constant(input.samples.x1.clone()), &[])
        });
        let failure = failed.unwrap_err();
        assert!(failure.status() == 2 && failure.to_string().starts_with("training the judge: "), "{failure}");
    }
}
