//! The first GPU beside PyTorch on the same GPU, in one run: bandwidth, products, attention, the other kernels of a transformer, and a training step of the
//! XL-sized transformer.
//!
//! `cargo bench -p mfm-tests --bench gpu`, or `-- attention` (`bandwidth`, `products`, `kernels`, `transformer`) for one part; `--quick` for tiny sizes, with which
//! the emulated driver goes through all of it. PyTorch is run where `MFM_PYTHON` (or `python3`) can import torch and that finds a GPU; elsewhere our
//! side alone is timed, and that is said. Each figure is a median; floors are by bytes and operations. No figure is asserted.
#![allow(clippy::expect_used)] // A benchmark may stop where a call fails.

mod support;

use mfm_core::interpolant::Linear;
use mfm_core::tensor::{Activation, Fused, OptimiserState, OptimiserStep, Transpose};
use mfm_core::training::{Consistency, Objective, Velocities};
use mfm_core::{Device, Flow, Noise, Operations, Result, Shape, Tensor};
use mfm_gpu_cuda::{CudaDevice, CudaTensor, Epilogues, Options, Precision, libraries};
use mfm_nn::train::{LossInput, Samples, Trainer, TrainingConfig};
use mfm_nn::{DitConfig, DitSize, Model, ModelConfig};
use std::time::Instant;
use support::{Figures, PyTorch, median};

/// Two sides of a comparison.
struct Bench {
    torch: Option<PyTorch>,
    quick: bool,
}

impl Bench {
    fn device(&self, precision: Precision) -> CudaDevice {
        self.device_with(Options { precision, ..Options::default() })
    }

    fn device_with(&self, options: Options) -> CudaDevice {
        CudaDevice::with_options(0, options).expect("the GPU, which was found before")
    }

    /// What PyTorch prints for a part.
    fn theirs(&self, part: &str) -> Figures {
        self.torch.as_ref().map(|torch| torch.run("gpu.py", &[part, if self.quick { "1" } else { "0" }])).unwrap_or_default()
    }

    fn pick<S>(&self, tiny: S, whole: S) -> S {
        if self.quick { tiny } else { whole }
    }
}

/// The median over rounds of the seconds of one call of `work`, which is queued `calls` times between two looks of the host.
fn seconds(device: &CudaDevice, rounds: usize, calls: usize, mut work: impl FnMut() -> Result<()>) -> Result<f64> {
    for _ in 0..3 {
        work()?;
    }
    device.sync()?;
    let mut found = Vec::with_capacity(rounds);
    for _ in 0..rounds {
        let start = Instant::now();
        for _ in 0..calls {
            work()?;
        }
        device.sync()?;
        found.push(start.elapsed().as_secs_f64() / calls as f64);
    }
    Ok(median(&mut found))
}

fn line(what: &str, ours: f64, theirs: Option<f64>, floor: &str) {
    let beside =
        theirs.map_or("PyTorch not measured".into(), |theirs| format!("PyTorch {:.1} us, {:.2} x as fast", 1e6 * theirs, theirs / ours));
    println!("RATIO {what}: ours {:.1} us, {beside}; {floor}", 1e6 * ours);
}

fn normal(device: &CudaDevice, index: u64, axes: &[usize]) -> Result<CudaTensor> {
    device.normal(&Noise::new(index), Shape::new(axes)?)
}

/// Element-wise kernels against a copy from device to device.
fn bandwidth(bench: &Bench) -> Result<()> {
    let device = bench.device(Precision::F32);
    let n = bench.pick(1 << 16, 1 << 27);
    let (x, y, z) = (normal(&device, 1, &[n])?, normal(&device, 2, &[n])?, normal(&device, 3, &[n])?);
    let copy = bench.theirs("bandwidth").get("copy").map(|seconds| 8.0 * n as f64 / seconds);
    let kernel = |name: &str, passes: usize, work: &dyn Fn() -> Result<CudaTensor>| -> Result<()> {
        let time = seconds(&device, 7, 10, || work().map(drop))?;
        let rate = (4 * passes * n) as f64 / time;
        let share =
            copy.map_or("a copy not measured".into(), |copy| format!("{:.0} % of a copy's {:.0} GB/s", 100.0 * rate / copy, copy / 1e9));
        println!("BANDWIDTH {name}: {:.0} GB/s, {share}", rate / 1e9);
        Ok(())
    };
    kernel("unary", 2, &|| x.exp())?;
    kernel("binary", 3, &|| x.add(&y))?;
    kernel("activate", 2, &|| x.activate(Activation::Silu))?;
    kernel("gated_residual", 4, &|| x.gated_residual(&y, &z))?;
    kernel("combine of 3", 4, &|| CudaTensor::linear_combination(&[(1.0, &x), (0.5, &y), (0.25, &z)]))
}

/// Matrix products in each precision.
fn products(bench: &Bench) -> Result<()> {
    let theirs = bench.theirs("products");
    let sizes = bench.pick(&[[64, 32, 48]][..], &[[8192, 1152, 1152], [8192, 1152, 4608], [8192, 8192, 8192]]);
    for (name, precision) in [("f32", Precision::F32), ("tf32", Precision::Tf32), ("bf16", Precision::Bf16)] {
        let device = bench.device(precision);
        for &[m, k, n] in sizes {
            let (a, b) = (normal(&device, 1, &[m, k])?, normal(&device, 2, &[n, k])?);
            let time = seconds(&device, 7, 10, || a.matmul(&b, Transpose::RIGHT).map(drop))?;
            let what = format!("{name}-{m}x{k}x{n}");
            line(&format!("product {what}"), time, theirs.get(&what), &format!("{:.1} Tflop/s", 2.0 * (m * k * n) as f64 / time / 1e12));
        }
    }
    Ok(())
}

/// softmax(q kᵀ/√d) v and its pullback.
fn attention(bench: &Bench) -> Result<()> {
    let device = bench.device(Precision::Bf16);
    let axes = bench.pick([2, 2, 16, 24], [32, 16, 256, 72]);
    let [q, k, v, g] = [1, 2, 3, 4].map(|index| normal(&device, index, &axes));
    let (q, k, v, g) = (q?, k?, v?, g?);
    let theirs = bench.theirs("attention");
    let products = 2.0 * (axes[0] * axes[1] * axes[2] * axes[2] * axes[3]) as f64;
    let rate = |count: f64, time: f64| format!("{:.1} Tflop/s", count * products / time / 1e12);
    // As many as let the look at the end take no share: PyTorch's side is timed by events.
    let time = seconds(&device, 7, 100, || Fused::Attention.apply(&[&q, &k, &v]).map(drop))?;
    line("attention forward", time, theirs.get("forward"), &rate(2.0, time));
    let (_, pullback) = CudaTensor::fused_vjp(&Fused::Attention, &[&q, &k, &v], &[true; 3])?.expect("the backend's own attention");
    let time = seconds(&device, 7, 50, || pullback(&g).map(drop))?;
    line("attention backward", time, theirs.get("backward"), &rate(7.0, time));
    let moving = [Some(&k), Some(&v), Some(&q)];
    let time = seconds(&device, 7, 50, || CudaTensor::fused_jvp(&Fused::Attention, &[&q, &k, &v], &moving).map(drop))?;
    line("attention tangent", time, None, &rate(6.0, time));
    Ok(())
}

/// What else a step of the XL transformer is made of, in bf16, each with the rate of the bytes that it must move at least.
fn kernels(bench: &Bench) -> Result<()> {
    let device = bench.device(Precision::Bf16);
    let [batch, tokens, heads, hidden] = bench.pick([2, 16, 2, 64], [32, 256, 16, 1152]);
    let wide = 4 * hidden;
    let rows = batch * tokens;
    let (x, y, g) = (
        normal(&device, 1, &[batch, tokens, hidden])?,
        normal(&device, 2, &[batch, tokens, hidden])?,
        normal(&device, 3, &[batch, tokens, hidden])?,
    );
    let (up, g_up) = (normal(&device, 4, &[rows, wide])?, normal(&device, 5, &[rows, wide])?);
    let (scale, shift) = (normal(&device, 6, &[batch, 1, hidden])?, normal(&device, 7, &[batch, 1, hidden])?);
    let [flat, g_flat] = [&x, &g].map(|x| x.reshape(Shape::new(&[rows, hidden])?));
    let (flat, g_flat) = (flat?, g_flat?);
    let (weight, bias) = (normal(&device, 8, &[wide, hidden])?, normal(&device, 9, &[wide])?);
    let by_head = x.reshape(Shape::new(&[batch, tokens, heads, hidden / heads])?)?.permute(&[0, 2, 1, 3])?;
    let norm = Fused::LayerNorm { epsilon: 1e-6 };
    let gelu = Fused::Activate { activation: Activation::Gelu };
    let linear = Fused::Linear { activation: Activation::Gelu };
    let pullback = |op: &Fused, inputs: &[&CudaTensor]| -> Result<_> {
        Ok(CudaTensor::fused_vjp(op, inputs, &vec![true; inputs.len()])?.expect("the backend's own kernel").1)
    };
    // Bytes of a whole tensor of tokens, and of what lies between the layers of the perceptron.
    let (narrow_bytes, wide_bytes) = (2 * rows * hidden, 2 * rows * wide);
    let kernel = |name: &str, bytes: usize, work: &dyn Fn() -> Result<()>| -> Result<()> {
        let time = seconds(&device, 7, 10, work)?;
        println!("KERNEL {name}: {:.1} us, {:.0} GB/s of {:.1} MB", 1e6 * time, bytes as f64 / time / 1e9, bytes as f64 / 1e6);
        Ok(())
    };
    kernel("layer norm", 2 * narrow_bytes, &|| norm.apply(&[&x, &scale, &shift]).map(drop))?;
    let pull = pullback(&norm, &[&x, &scale, &shift])?;
    kernel("layer norm, pullback", 3 * narrow_bytes, &|| pull(&g).map(drop))?;
    kernel("gated residual", 3 * narrow_bytes, &|| x.gated_residual(&scale, &y).map(drop))?;
    let pull = pullback(&Fused::GatedResidual, &[&x, &scale, &y])?;
    kernel("gated residual, pullback", 3 * narrow_bytes, &|| pull(&g).map(drop))?;
    kernel("gelu", 2 * wide_bytes, &|| gelu.apply(&[&up]).map(drop))?;
    let pull = pullback(&gelu, &[&up])?;
    kernel("gelu, pullback", 3 * wide_bytes, &|| pull(&g_up).map(drop))?;
    kernel("linear with gelu", narrow_bytes + 2 * wide * hidden + wide_bytes, &|| linear.apply(&[&flat, &weight, &bias]).map(drop))?;
    let pull = pullback(&linear, &[&flat, &weight, &bias])?;
    kernel("linear with gelu, pullback", 2 * narrow_bytes + 4 * wide * hidden + 2 * wide_bytes, &|| pull(&g_up).map(drop))?;
    let (down, down_bias) = (normal(&device, 20, &[hidden, wide])?, normal(&device, 21, &[hidden])?);
    let both = Fused::Layers { between: Activation::Gelu, last: Activation::Identity };
    let pull = pullback(&both, &[&flat, &weight, &bias, &down, &down_bias])?;
    kernel("perceptron, pullback", 3 * narrow_bytes + 8 * wide * hidden + 4 * wide_bytes, &|| pull(&g_flat).map(drop))?;
    kernel("sum over rows", narrow_bytes, &|| flat.sum(0).map(drop))?;
    kernel("sum over wide rows", wide_bytes, &|| up.sum(0).map(drop))?;
    kernel("sum over tokens", narrow_bytes, &|| x.sum(1).map(drop))?;
    kernel("sum over columns", narrow_bytes, &|| flat.sum(1).map(drop))?;
    kernel("add", 3 * narrow_bytes, &|| x.add(&y).map(drop))?;
    kernel("copy of permuted heads", 2 * narrow_bytes, &|| by_head.contiguous().map(drop))?;
    kernel("normal numbers", narrow_bytes, &|| normal(&device, 10, &[rows, hidden]).map(drop))?;
    kernel("softmax", 2 * narrow_bytes, &|| Fused::Softmax { axis: 1 }.apply(&[&flat]).map(drop))?;
    kernel("log mean exp", narrow_bytes, &|| Fused::LogMeanExp { axis: 1 }.apply(&[&flat]).map(drop))?;
    let numbers = bench.pick(1 << 12, 1 << 27);
    let of = |index| normal(&device.precise(), index, &[numbers]);
    let state = OptimiserState { parameters: of(11)?, first: of(12)?, second: of(13)?.square()?, average: Some(of(14)?) };
    let gradient = normal(&device, 15, &[numbers])?;
    let row = gradient.reshape(Shape::new(&[1, numbers])?)?;
    kernel("square norm of the gradient", 2 * numbers, &|| row.square_norm_items().map(drop))?;
    let step = OptimiserStep { first_decay: 0.9, second_decay: 0.999, epsilon: Some(1e-8), size: 1e-4, keep: 1.0, average_decay: 0.999 };
    kernel("optimiser", (8 * 4 + 2 + 2) * numbers, &|| CudaTensor::optimise(&step, &state, &gradient).map(drop))
}

/// Seconds of a training step in bf16: the loss of a flow model, its gradient, Adam and the moving average, whose state is in f32.
fn training_step(device: &CudaDevice, config: &DitConfig, batch: usize, rounds: usize, calls: usize) -> Result<f64> {
    let model = Model::<CudaTensor>::new(device, &ModelConfig::dit(config.clone()), &[], &Noise::new(1))?;
    let settings = TrainingConfig { steps: u64::MAX, batch, ..TrainingConfig::default() };
    let mut trainer = Trainer::new(settings, &model)?;
    drop(model);
    let objective = Objective { consistency: Consistency::None, ..Objective::default() };
    let mut data =
        |_: u64, size: usize, noise: &Noise| Ok(Samples { x1: device.normal(noise, Shape::new(&[size, config.data()])?)?, labels: None });
    seconds(device, rounds, calls, || {
        let advanced = trainer.advance(&mut data, &mut |input: LossInput<'_, CudaTensor, Model<CudaTensor>>| {
            let flow = Flow::new(input.frozen, &Linear);
            objective.loss(&flow, input.student, Velocities::Data, input.samples.batch(), input.noise)
        });
        drop(advanced.expect("a training step"));
        Ok(())
    })
}

/// A training step of the XL-sized transformer, and of a small one, which is bound by launches; also without epilogues of products,
/// and in graphs.
fn transformer(bench: &Bench) -> Result<()> {
    let theirs = bench.theirs("transformer").get("step");
    let whole = DitConfig::new(DitSize::XL, 4, 32, 2);
    let config = bench.pick(DitConfig::custom([64, 2, 2], 4, 8, 2), whole);
    let batch = bench.pick(2, 32);
    let (hidden, tokens) = (config.hidden as f64, config.tokens() as f64);
    // Of a block and a token: projections 12 hidden², attention 2 tokens hidden; backward twice that; two operations each.
    let work = 3.0 * 2.0 * batch as f64 * tokens * config.depth as f64 * (12.0 * hidden * hidden + 2.0 * tokens * hidden);
    let small = DitConfig::custom([64, bench.pick(1, 12), 2], 4, 8, 2);
    let plain = Options { precision: Precision::Bf16, ..Options::default() };
    let with = |epilogues: Epilogues| Options { epilogues, ..plain };
    for (name, options) in [
        ("", plain),
        (", without GELU in products", with(Epilogues { gelu: false, ..Epilogues::ALL })),
        (", without GELU's slope in products", with(Epilogues { slope: false, ..Epilogues::ALL })),
        (", without sums in products", with(Epilogues { sums: false, ..Epilogues::ALL })),
        (", without epilogues", with(Epilogues::NONE)),
        (", in graphs", Options { graphs: true, ..plain }),
    ] {
        let device = bench.device_with(options);
        let time = training_step(&device, &config, batch, 3, 5)?;
        line(&format!("transformer training step{name}"), time, theirs, &format!("{:.1} Tflop/s", work / time / 1e12));
        let memory = device.memory();
        let peak = memory.peak as f64 / f64::from(1 << 20);
        println!(
            "MEMORY transformer training step{name}: {peak:.0} MiB at most; the driver was asked for memory {} times",
            memory.allocations
        );
        let time = training_step(&device, &small, 4, 3, bench.pick(2, 50))?;
        println!("STEP small transformer{name}: {:.1} us", 1e6 * time);
        if let Some(graphs) = device.graphs() {
            println!("GRAPHS {graphs:?}");
        }
    }
    Ok(())
}

type Part = fn(&Bench) -> Result<()>;

fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let quick = words.iter().any(|word| word == "--quick");
    let device = match CudaDevice::new(0) {
        Ok(device) => device,
        Err(error) => {
            println!("nothing was measured: {error}");
            return Ok(());
        }
    };
    println!("{:?}", device.properties());
    // Without it, other kernels are measured.
    println!("cuBLASLt: {}", if device.has_cublaslt() { "used" } else { "ABSENT: products go by a plain kernel" });
    for library in libraries() {
        println!("{}: {}", library.name, library.file.unwrap_or_else(|reason| reason));
    }
    drop(device);
    let bench = Bench { torch: PyTorch::find(), quick };
    let parts: [(&str, Part); 5] =
        [("bandwidth", bandwidth), ("products", products), ("attention", attention), ("kernels", kernels), ("transformer", transformer)];
    let named: Vec<&String> = words.iter().filter(|word| !word.starts_with("--")).collect();
    for (name, part) in parts {
        if named.is_empty() || named.iter().any(|word| *word == name) {
            part(&bench)?;
        }
    }
    Ok(())
}
