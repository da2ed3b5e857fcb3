//! What is steered: a prior, a reward, and the exact target they make.

use crate::Result;
use mfm_core::{Noise, Shape};
use mfm_toy2d::{Directions, GaussianMixture, InverseProblemSpec, QuadraticReward, mmd_squared, sliced_wasserstein, tilt};

/// Pairs of exact sets whose distance is the floor of a metric.
pub const FLOOR_PAIRS: usize = 20;

/// Exact sets that a set of samples is compared with.
const REFERENCES: usize = 3;

/// A prior, a reward, and the exact law p1 exp(r)/Z that steering should reach.
#[derive(Debug)]
pub struct Problem {
    pub prior: GaussianMixture,
    pub reward: QuadraticReward,
    pub target: GaussianMixture,
    /// How many samples a set holds.
    pub samples: usize,
    directions: Directions,
    references: Vec<Vec<f64>>,
}

/// A mean with its standard deviation over repetitions.
#[derive(Clone, Copy, Debug)]
pub struct Spread {
    pub mean: f64,
    pub deviation: f64,
}

impl Spread {
    pub fn of(values: &[f64]) -> Self {
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let variance = values.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / (n - 1.0).max(1.0);
        Self { mean, deviation: variance.sqrt() }
    }
}

/// How far a set of samples is from the target.
#[derive(Clone, Copy, Debug)]
pub struct Distance {
    pub sliced_wasserstein: f64,
    pub mmd: f64,
    pub mean_reward: f64,
}

impl Problem {
    /// The paper's mixture of three and its observation, judged by sets of `samples`.
    pub fn paper(samples: usize, noise: &Noise) -> Result<Self> {
        Self::new(GaussianMixture::paper(), QuadraticReward::paper(), samples, noise)
    }

    /// A random linear-Gaussian inverse problem, judged by sets of `samples`.
    pub fn inverse(spec: &InverseProblemSpec, samples: usize, noise: &Noise) -> Result<Self> {
        let problem = spec.generate()?;
        Self::new(problem.prior, problem.reward, samples, noise)
    }

    fn new(prior: GaussianMixture, reward: QuadraticReward, samples: usize, noise: &Noise) -> Result<Self> {
        let target = tilt(&prior, &reward)?.mixture;
        let directions = Directions::standard(prior.dimension(), &noise.fork(0))?;
        let references = (0..REFERENCES as u64).map(|k| target.sample(samples, &noise.fork(1 + k))).collect::<Result<_, _>>()?;
        Ok(Self { prior, reward, target, samples, directions, references })
    }

    pub fn dimension(&self) -> usize {
        self.prior.dimension()
    }

    /// [samples, dimension].
    pub fn shape(&self) -> Result<Shape> {
        Ok(Shape::new(&[self.samples, self.dimension()])?)
    }

    /// The distances between exact sets of `law`: (sliced W2, MMD²).
    pub fn floor(&self, law: &GaussianMixture, noise: &Noise) -> Result<(Spread, Spread)> {
        let (mut sliced, mut mmd) = (Vec::new(), Vec::new());
        for pair in 0..FLOOR_PAIRS as u64 {
            let left = law.sample(self.samples, &noise.fork(2 * pair))?;
            let right = law.sample(self.samples, &noise.fork(2 * pair + 1))?;
            sliced.push(sliced_wasserstein(&left, &right, &self.directions)?);
            mmd.push(mmd_squared(self.dimension(), &left, &right)?);
        }
        Ok((Spread::of(&sliced), Spread::of(&mmd)))
    }

    /// The sliced W2 of `points` from exact sets of `law`, the mean over several.
    pub fn distance_to(&self, law: &GaussianMixture, points: &[f64], noise: &Noise) -> Result<f64> {
        let mut sum = 0.0;
        for k in 0..REFERENCES as u64 {
            sum += sliced_wasserstein(points, &law.sample(self.samples, &noise.fork(k))?, &self.directions)?;
        }
        Ok(sum / REFERENCES as f64)
    }

    /// How far `points` are from the target.
    pub fn distance(&self, points: &[f64]) -> Result<Distance> {
        let (mut sliced, mut mmd) = (0.0, 0.0);
        for reference in &self.references {
            sliced += sliced_wasserstein(points, reference, &self.directions)? / REFERENCES as f64;
            mmd += mmd_squared(self.dimension(), points, reference)? / REFERENCES as f64;
        }
        Ok(Distance { sliced_wasserstein: sliced, mmd, mean_reward: self.mean_reward(points)? })
    }

    /// The mean reward of `points`.
    pub fn mean_reward(&self, points: &[f64]) -> Result<f64> {
        let mut rewards = vec![0.0; points.len() / self.dimension()];
        self.reward.value(points, &mut rewards)?;
        Ok(rewards.iter().sum::<f64>() / rewards.len() as f64)
    }
}
