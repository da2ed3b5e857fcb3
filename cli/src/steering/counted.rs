//! Progress of an estimator that tells of no steps.

use crate::progress::Progress;
use mfm_core::{Result, Reward, Tensor};

/// A reward that counts the samples that were chosen by it, each among `draws`.
#[derive(Debug)]
pub struct Counted<'a, R> {
    /// The reward.
    pub reward: &'a R,
    /// Where they are counted, if anywhere.
    pub progress: Option<&'a Progress>,
    /// How many were judged for each.
    pub draws: usize,
}

impl<T: Tensor, R: Reward<T>> Reward<T> for Counted<'_, R> {
    fn value(&self, x: &T) -> Result<T> {
        let value = self.reward.value(x)?;
        if let Some(progress) = self.progress {
            progress.advance((value.shape().batch() / self.draws.max(1)) as u64);
        }
        Ok(value)
    }

    fn value_and_gradient(&self, x: &T) -> Result<(T, T)> {
        self.reward.value_and_gradient(x)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::{Context, Verbosity};
    use crate::reward::AnyReward;
    use crate::steering::{Estimator, Plan};
    use mfm_core::interpolant::Linear;
    use mfm_core::{Device, Flow, Shape};
    use mfm_cpu_ref::{CpuDevice, CpuTensor};
    use mfm_nn::{MlpConfig, Model, ModelConfig};

    #[test]
    fn the_best_of_several_samples_tells_how_far_it_is() {
        let context = Context::<CpuTensor<f32>>::new(CpuDevice::new(), 3, None, Verbosity::Quiet, None).unwrap();
        let form = ModelConfig::mlp(MlpConfig { width: 4, depth: 1, ..MlpConfig::new(2) });
        let model = Model::new(&context.device, &form, &[0.0; 2], &context.noise).unwrap();
        let reward = AnyReward::new(&context, "linear:1,0", 2).unwrap();
        let progress = context.progress("steering", 6);
        let counted = Counted { reward: &reward, progress: Some(&progress), draws: 4 };
        let x = context.device.zeros(Shape::new(&[6, 2]).unwrap()).unwrap();
        let plan = Plan::new(Estimator::BestOfN, 4, 2);
        plan.run(&Flow::new(&model, &Linear), &counted, &x, &context.noise, &mut |_| Ok(())).unwrap();
        assert_eq!(progress.position(), 6);
    }
}
