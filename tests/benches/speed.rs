//! Speed beside PyTorch: the same network, the same batch, the same cores, f32, in one run.
//!
//! `cargo bench -p mfm-tests`, or `cargo bench -p mfm-tests -- training` (`steering`, `draw`) for one part. PyTorch (`cpu.py`) is run where
//! `MFM_PYTHON` (or `python3`) can import torch; elsewhere only our side is timed, and that is said. The two alternate; each side's figure is
//! the median of its best round, so that what else the machine does disturbs a round, not the ratio; PyTorch's is the better of eager and
//! compiled. No figure is asserted.
#![allow(clippy::expect_used)] // A benchmark may stop where a call fails.

mod support;

use criterion::Criterion;
use mfm_core::guidance::{Guide, MfmGradient, MfmGradientFree};
use mfm_core::interpolant::Linear;
use mfm_core::training::{Objective, Velocities};
use mfm_core::{Condition, Device, Draws, Flow, MetaFlowMap, Noise, Result, Shape};
use mfm_cpu_ref::{CpuDevice, CpuTensor};
use mfm_nn::mlp::{Mlp, MlpConfig};
use mfm_nn::train::{Samples, Trainer, TrainingConfig};
use mfm_nn::{Model, ModelConfig};
use mfm_toy2d::{GaussianMixture, QuadraticReward};
use std::cell::RefCell;
use std::time::{Duration, Instant};
use support::{MODES, PyTorch, best, median, product_rate, report, theirs};

const BATCH: usize = 4096;
/// How often the two sides alternate.
const ROUNDS: usize = 2;

type Tensor32 = CpuTensor<f32>;

/// Times `work` through criterion, and answers the median of a call in seconds.
fn time(criterion: &mut Criterion, name: &str, mut work: impl FnMut()) -> f64 {
    let seconds = RefCell::new(Vec::new());
    criterion.bench_function(name, |bencher| {
        bencher.iter_custom(|calls| {
            let mut total = Duration::ZERO;
            for _ in 0..calls {
                let start = Instant::now();
                work();
                let one = start.elapsed();
                seconds.borrow_mut().push(one.as_secs_f64());
                total += one;
            }
            total
        });
    });
    median(&mut seconds.into_inner())
}

fn training(criterion: &mut Criterion, device: &CpuDevice<f32>, torch: Option<&PyTorch>) -> Result<()> {
    let prior = GaussianMixture::paper();
    let model: Model<Tensor32> = Model::new(device, &ModelConfig::mlp(MlpConfig::new(2)), &[], &Noise::new(1))?;
    let mut trainer = Trainer::new(TrainingConfig { steps: u64::MAX, ..TrainingConfig::default() }, &model)?;
    let objective = Objective::default();
    let mut data = |_: u64, size: usize, noise: &Noise| {
        Ok(Samples { x1: device.from_slice(&prior.sample(size, noise)?, Shape::new(&[size, 2])?)?, labels: None })
    };
    let mut step = || {
        let advanced = trainer.advance(&mut data, &mut |input: mfm_nn::train::LossInput<'_, Tensor32, Model<Tensor32>>| {
            let flow = Flow::new(input.frozen, &Linear);
            objective.loss(&flow, input.student, Velocities::Data, input.samples.batch(), input.noise)
        });
        std::hint::black_box(advanced.expect("a training step"));
    };
    for _ in 0..5 {
        step();
    }
    let before = device.memory();
    let (mut ours, mut pytorch) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let [theirs] = theirs(torch, &MODES, &["training"], device.threads(), ["step"]);
        pytorch.extend(theirs);
        ours.push(time(criterion, "training step, 4 × 256, batch 4096", &mut step));
    }
    let after = device.memory();
    println!(
        "memory: live {} → {} bytes, pooled {} → {}, allocations {} → {}",
        before.live, after.live, before.pooled, after.pooled, before.allocations, after.allocations
    );
    report("training step", &ours, &pytorch);
    // Four forward passes and two backward ones of twice the work; the first layer's inputs need no gradient.
    let (first, hidden, last) = (55.0 * 256.0, 3.0 * 256.0 * 256.0, 256.0 * 2.0);
    let operations = 2.0 * BATCH as f64 * (8.0 * (hidden + last) + 6.0 * first);
    let floor = operations / product_rate(device, BATCH, 256)?;
    println!(
        "FLOOR training step: {:.1} GFLOP, {:.1} ms at the rate of one large product, {:.0} % of it reached",
        operations / 1e9,
        1e3 * floor,
        100.0 * floor / best(&ours)
    );
    Ok(())
}

fn steering(criterion: &mut Criterion, device: &CpuDevice<f32>, torch: Option<&PyTorch>) -> Result<()> {
    let model = Mlp::new(device, &MlpConfig::new(2), &Noise::new(1))?;
    let flow = Flow::new(&model, &Linear);
    let reward = QuadraticReward::paper();
    let draws = Draws { count: 16, rows: 8192 };
    let x = device.normal(&Noise::new(2), Shape::new(&[BATCH, 2])?)?;
    let (mut ours_free, mut ours_gradient, mut theirs_free, mut theirs_gradient) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let [free, gradient] = theirs(torch, &MODES, &["steering"], device.threads(), ["mfm-gf", "mfm-g"]);
        theirs_free.extend(free);
        theirs_gradient.extend(gradient);
        let guide = MfmGradientFree { reward: &reward, draws };
        ours_free.push(time(criterion, "steering step, MFM-GF, 4096 × 16", || {
            std::hint::black_box(guide.guide(&flow, 0.5, &x, &Noise::new(3)).expect("a step"));
        }));
        let guide = MfmGradient { reward: &reward, draws };
        ours_gradient.push(time(criterion, "steering step, MFM-G, 4096 × 16", || {
            std::hint::black_box(guide.guide(&flow, 0.5, &x, &Noise::new(3)).expect("a step"));
        }));
    }
    report("steering step, MFM-GF (4096 samples × 16 draws; × 250 for a run)", &ours_free, &theirs_free);
    report("steering step, MFM-G (4096 samples × 16 draws; × 250 for a run)", &ours_gradient, &theirs_gradient);
    Ok(())
}

fn single(criterion: &mut Criterion, torch: Option<&PyTorch>) -> Result<()> {
    let device = CpuDevice::<f32>::with_threads(1)?;
    let model = Mlp::new(&device, &MlpConfig::new(2), &Noise::new(1))?;
    let one = Shape::new(&[1, 2])?;
    let (noise, x_t) = (device.normal(&Noise::new(2), one)?, device.normal(&Noise::new(3), one)?);
    let t = device.full(0.5, Shape::new(&[1])?)?;
    let (mut ours, mut pytorch) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let [draw] = theirs(torch, &MODES, &["draw"], 1, ["draw"]);
        pytorch.extend(draw);
        ours.push(time(criterion, "one posterior draw, batch 1", || {
            std::hint::black_box(model.posterior(&noise, &t, &x_t, Condition::NONE).expect("a draw"));
        }));
    }
    report("one posterior draw, batch 1", &ours, &pytorch);
    Ok(())
}

fn main() -> Result<()> {
    let torch = PyTorch::find();
    let torch = torch.as_ref();
    let part = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    let chosen = |name: &str| part.as_deref().is_none_or(|part| part == name);
    let device = CpuDevice::<f32>::new();
    let mut slow = Criterion::default().sample_size(20).measurement_time(Duration::from_secs(4));
    if chosen("training") {
        training(&mut slow, &device, torch)?;
    }
    if chosen("steering") {
        steering(&mut slow, &device, torch)?;
    }
    if chosen("draw") {
        single(&mut Criterion::default().measurement_time(Duration::from_secs(3)), torch)?;
    }
    Ok(())
}
