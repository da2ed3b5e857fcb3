//! A training step of a small transformer beside PyTorch: sixteen tokens, hidden 128, depth 6, 4 heads, batch 128, f32, the same cores, in one run.
//!
//! `cargo bench -p mfm-tests --bench dit`. PyTorch (`cpu.py`) is run where `MFM_PYTHON` (or `python3`) can import torch; elsewhere only our side
//! is timed, and that is said. The two alternate; each side's figure is the median of its best round. No figure is asserted.
//! `MFM_COMPILED=1` times PyTorch's compiled step as well, which takes minutes to compile.
#![allow(clippy::expect_used)] // A benchmark may stop where a call fails.

mod support;

use mfm_core::interpolant::Linear;
use mfm_core::training::{Consistency, Objective, Velocities};
use mfm_core::{Device, Flow, Noise, Result, Shape};
use mfm_cpu_ref::{CpuDevice, CpuTensor};
use mfm_nn::train::{LossInput, Samples, Trainer, TrainingConfig};
use mfm_nn::{DitConfig, Model, ModelConfig};
use std::time::Instant;
use support::{MODES, PyTorch, best, median, product_rate, report, theirs};

const BATCH: usize = 128;
/// How often the two sides alternate, and the steps of each time.
const ROUNDS: usize = 3;
const STEPS: usize = 12;

type Tensor32 = CpuTensor<f32>;

/// The highest resident memory of this process so far, in MiB, where the system tells.
fn peak_memory() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let kilobytes = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?.trim_end_matches("kB").trim();
    Some(kilobytes.parse::<f64>().ok()? / 1024.0)
}

/// Multiplications and additions of one forward pass of a batch.
fn operations(config: &DitConfig) -> f64 {
    let (hidden, wide) = (config.hidden as f64, (config.hidden * config.expansion) as f64);
    let tokens = (BATCH * config.tokens()) as f64;
    let block = tokens * (4.0 * hidden * hidden + 2.0 * hidden * wide + 2.0 * hidden * config.tokens() as f64)
        + BATCH as f64 * 6.0 * hidden * hidden;
    2.0 * config.depth as f64 * block
}

fn main() -> Result<()> {
    let torch = PyTorch::find();
    let device = CpuDevice::<f32>::new();
    let modes = if std::env::var_os("MFM_COMPILED").is_some() { &MODES[..] } else { &MODES[..1] };
    let config = DitConfig::custom([128, 6, 4], 1, 8, 2);
    for (consistency, loss, passes) in [(Consistency::Semigroup, "semigroup", 8.0), (Consistency::MeanFlow, "mean-flow", 8.0)] {
        let model: Model<Tensor32> = Model::new(&device, &ModelConfig::dit(config.clone()), &[], &Noise::new(1))?;
        let settings = TrainingConfig { steps: u64::MAX, batch: BATCH, ..TrainingConfig::default() };
        let mut trainer = Trainer::new(settings, &model)?;
        let objective = Objective { consistency, ..Objective::default() };
        let mut data = |_: u64, size: usize, noise: &Noise| {
            Ok(Samples { x1: device.normal(noise, Shape::new(&[size, config.data()])?)?, labels: None })
        };
        let mut step = || {
            let advanced = trainer.advance(&mut data, &mut |input: LossInput<'_, Tensor32, Model<Tensor32>>| {
                let flow = Flow::new(input.frozen, &Linear);
                objective.loss(&flow, input.student, Velocities::Data, input.samples.batch(), input.noise)
            });
            std::hint::black_box(advanced.expect("a training step"));
        };
        step();
        step();
        let (mut ours, mut pytorch, mut memory) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let [time, peak] = theirs(torch.as_ref(), modes, &["transformer", loss], device.threads(), ["step", "peak"]);
            pytorch.extend(time);
            memory.extend(peak);
            let mut seconds: Vec<f64> = (0..STEPS)
                .map(|_| {
                    let start = Instant::now();
                    step();
                    start.elapsed().as_secs_f64()
                })
                .collect();
            ours.push(median(&mut seconds));
        }
        println!("{loss}: ours {:.2} steps a second", 1.0 / best(&ours));
        report(&format!("transformer training step, {loss}"), &ours, &pytorch);
        let all = passes * operations(&config);
        let floor = all / product_rate(&device, BATCH * config.tokens(), config.hidden)?;
        println!(
            "FLOOR {loss}: {:.1} GFLOP, {:.1} ms at the rate of one product, {:.0} % of it reached",
            all / 1e9,
            1e3 * floor,
            100.0 * floor / best(&ours)
        );
        let own = peak_memory().unwrap_or(f64::NAN);
        println!(
            "MEMORY {loss}: ours {own:.0} MiB at most, PyTorch {:.0} MiB; of ours {} bytes live",
            median(&mut memory),
            device.memory().live
        );
    }
    Ok(())
}
