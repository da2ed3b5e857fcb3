//! How fast a network runs forward and backward, against the matrix products alone.
//!
//! `cargo run --release -p mfm-cpu-ref --example speed -- [threads]`

use mfm_core::autodiff::{Tape, Var};
use mfm_core::tensor::Activation;
use mfm_core::{Device, Noise, Operations, Result, Shape, Tensor};
use mfm_cpu_ref::{CpuDevice, CpuTensor};
use std::time::Instant;

const WIDTHS: [usize; 6] = [2, 256, 256, 256, 256, 2];

type Layers<T> = Vec<(T, T)>;

fn shape(axes: &[usize]) -> Result<Shape> {
    Shape::new(axes)
}

/// The network of any tensor.
fn network<T: Tensor>(x: &T, layers: &Layers<T>) -> Result<T> {
    let mut h = x.clone();
    for (i, (weight, bias)) in layers.iter().enumerate() {
        let activation = if i + 1 == layers.len() { Activation::Identity } else { Activation::Silu };
        h = h.linear(weight, Some(bias), activation)?;
    }
    Ok(h)
}

fn step(x: &CpuTensor<f32>, layers: &Layers<CpuTensor<f32>>) -> Result<()> {
    let tape = Tape::new();
    let tracked: Layers<Var<_>> = layers.iter().map(|(w, b)| (tape.variable(w.clone()), tape.variable(b.clone()))).collect();
    let y = network(&Var::constant(x.clone()), &tracked)?;
    let loss = y.square()?.mean_all()?;
    let gradients = tape.backward(&loss, x.device().full(1.0, Shape::SCALAR)?)?;
    for (w, b) in &tracked {
        gradients.of(w)?;
        gradients.of(b)?;
    }
    Ok(())
}

/// The best and the middle time of a call, in seconds.
fn time(mut call: impl FnMut() -> Result<()>) -> Result<(f64, f64)> {
    let start = Instant::now();
    call()?;
    let once = start.elapsed().as_secs_f64().max(1e-7);
    let inner = (1e-3 / once).ceil().max(1.0) as usize;
    let mut times = Vec::new();
    let begin = Instant::now();
    while times.len() < 7 || begin.elapsed().as_secs_f64() < 0.6 {
        let start = Instant::now();
        for _ in 0..inner {
            call()?;
        }
        times.push(start.elapsed().as_secs_f64() / inner as f64);
    }
    times.sort_by(f64::total_cmp);
    Ok((times[0], times[times.len() / 2]))
}

/// Multiplications and additions of one forward pass of one row.
fn operations() -> f64 {
    WIDTHS.windows(2).map(|w| 2.0 * (w[0] * w[1]) as f64).sum()
}

fn main() -> Result<()> {
    let threads = std::env::args().nth(1).and_then(|n| n.parse().ok()).unwrap_or(0);
    let device = if threads == 0 { CpuDevice::<f32>::new() } else { CpuDevice::with_threads(threads)? };
    println!("{} threads", device.threads());
    let noise = Noise::new(1);
    let mut layers = Vec::new();
    for (i, w) in WIDTHS.windows(2).enumerate() {
        let weight = device.normal(&noise.stream(i as u64 + 1), shape(&[w[1], w[0]])?)?.scale((w[0] as f64).powf(-0.5))?;
        layers.push((weight, device.normal(&noise.stream(i as u64 + 9), shape(&[w[1]])?)?));
    }
    let line = |what: &str, operations: f64, (best, middle): (f64, f64)| {
        println!("{what:44} best {:9.3} ms, middle {:9.3} ms, {:7.1} GFLOP/s", best * 1e3, middle * 1e3, operations / best / 1e9);
    };

    let (a, b) = (device.normal(&noise, shape(&[4096, 256])?)?, device.normal(&noise, shape(&[256, 256])?)?);
    let single = 2.0 * 4096.0 * 65536.0;
    line("product 4096 x 256 x 256", single, time(|| a.matmul(&b, mfm_core::tensor::Transpose::NONE).map(drop))?);
    line("product, right transposed", single, time(|| a.matmul_transposed(&b).map(drop))?);
    let left = mfm_core::tensor::Transpose::LEFT;
    line("product 256 x 4096 x 256, left transposed", single, time(|| a.matmul(&a, left).map(drop))?);
    for rows in [1, 2, 4, 8, 16, 64, 256, 4096, 65536] {
        let x = device.normal(&noise, shape(&[rows, 2])?)?;
        line(&format!("forward, {rows} rows"), operations() * rows as f64, time(|| network(&x, &layers).map(drop))?);
    }
    for rows in [1, 64, 256, 4096] {
        let x = device.normal(&noise, shape(&[rows, 2])?)?;
        line(&format!("forward and backward, {rows} rows"), 3.0 * operations() * rows as f64, time(|| step(&x, &layers))?);
    }
    let x = device.normal(&noise, shape(&[4096, 2])?)?;
    let training = time(|| {
        network(&x, &layers)?;
        network(&x, &layers)?;
        step(&x, &layers)
    })?;
    line("training step: and two forward passes", 5.0 * operations() * 4096.0, training);
    let h = device.normal(&noise, shape(&[4096, 256])?)?;
    let millions = 4096.0 * 256.0;
    for i in [0, 1, 2, 3, 4] {
        let (weight, bias) = &layers[i];
        let (x, g) =
            (h.slice(1, 0, WIDTHS[i])?.reshape(shape(&[4096, WIDTHS[i]])?)?.scale(1.5)?, h.slice(1, 0, WIDTHS[i + 1])?.scale(0.5)?);
        let op = mfm_core::tensor::Fused::Linear { activation: if i == 4 { Activation::Identity } else { Activation::Silu } };
        let flops = 2.0 * 4096.0 * (WIDTHS[i] * WIDTHS[i + 1]) as f64;
        line(&format!("layer {i}: value"), flops, time(|| op.apply(&[&x, weight, bias]).map(drop))?);
        line(&format!("layer {i}: value, kept"), flops, time(|| CpuTensor::fused_vjp(&op, &[&x, weight, bias], &[true; 3]).map(drop))?);
        if let Some((_, pull)) = CpuTensor::fused_vjp(&op, &[&x, weight, bias], &[true; 3])? {
            line(&format!("layer {i}: pullback"), 2.0 * flops, time(|| pull(&g).map(drop))?);
        }
        if let Some((_, pull)) = CpuTensor::fused_vjp(&op, &[&x, weight, bias], &[false, true, true])? {
            line(&format!("layer {i}: pullback to the parameters"), flops, time(|| pull(&g).map(drop))?);
        }
    }
    line("add (G elements/s)", millions, time(|| h.add(&h).map(drop))?);
    line("exp (G elements/s)", millions, time(|| h.exp().map(drop))?);
    line("silu (G elements/s)", millions, time(|| h.activate(Activation::Silu).map(drop))?);
    line("sum of columns (G elements/s)", millions, time(|| h.sum(0).map(drop))?);
    line("sum of rows (G elements/s)", millions, time(|| h.sum(1).map(drop))?);
    line("transposed copy (G elements/s)", millions, time(|| h.permute(&[1, 0])?.reshape(shape(&[4096 * 256])?).map(drop))?);
    line("normal (G elements/s)", millions, time(|| device.normal(&noise, h.shape()).map(drop))?);
    println!("{:?}", device.memory());
    Ok(())
}
