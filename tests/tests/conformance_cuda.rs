//! The conformance suite on the CUDA backend: on the first GPU where there is one, else on the emulated driver, which runs the same kernels on the CPU.
#![allow(clippy::unwrap_used)] // helpers of tests are tests

use mfm_core::autodiff::{Tape, Var};
use mfm_core::tensor::Activation;
use mfm_core::{Device, Noise, Operations, Result as Outcome, Shape, Tensor};
use mfm_gpu_cuda::{CudaDevice, CudaTensor, Options, Precision};
use mfm_tests::conformance::Tolerances;
use std::io::Write;
use std::sync::Once;

/// The GPU; the emulated one where there is none, and an error where there is neither. Says which.
fn device(options: Options) -> Result<CudaDevice, String> {
    static SAY: Once = Once::new();
    if !std::path::Path::new("/dev/nvidiactl").exists() {
        mfm_cuda_emulator::install()?;
    }
    let device = CudaDevice::with_options(0, options).unwrap();
    SAY.call_once(|| {
        // Past the test harness, which hides what passing tests print.
        let _ = writeln!(std::io::stderr(), "conformance of the CUDA backend on: {}", device.properties().name);
    });
    Ok(device)
}

mfm_tests::conformance!(f32, try device(Options { cublaslt: false, ..Options::default() }), Tolerances::F32);
// Products go by cuBLASLt, or its stand-in, which in f32 add as they like.
mfm_tests::conformance!(bf16, try device(Options { precision: Precision::Bf16, ..Options::default() }), Tolerances::BF16);
mfm_tests::conformance!(graphs, try device(Options { graphs: true, ..Options::default() }), Tolerances::F32, without exacting);

/// The losses and the last weights of a network in bf16, each with the graphs that were made until then. Every other step something is in the way, so that
/// tensors, and with them products, come by other places.
fn train(device: &CudaDevice, steps: u64) -> Outcome<Vec<(Vec<f32>, u64)>> {
    let of = |axes: &[usize]| Shape::new(axes);
    let mut weights =
        [device.normal(&Noise::new(1), of(&[256, 32])?)?.scale(0.1)?, device.normal(&Noise::new(2), of(&[32, 256])?)?.scale(0.1)?];
    let bias = device.normal(&Noise::new(3), of(&[256])?)?;
    let (mut held, mut all) = (None, Vec::new());
    for step in 0..steps {
        let noise = |which| Noise::new(4).stream(step).fork(which);
        let (x, target) = (device.normal(&noise(0), of(&[256, 32])?)?, device.normal(&noise(1), of(&[256, 32])?)?);
        let tape = Tape::new();
        let [first, second] = [0, 1].map(|k| tape.variable(weights[k].clone()));
        let constant = |x: &CudaTensor| Var::constant(x.clone());
        let hidden = constant(&x).linear(&first, Some(&constant(&bias)), Activation::Gelu)?;
        let loss = hidden.linear(&second, None, Activation::Identity)?.sub(&constant(&target))?.square()?.mean_all()?;
        let gradients = tape.backward(&loss, device.full(1.0, loss.shape())?)?;
        let rate = -0.1 / (step + 1) as f64;
        weights = [weights[0].add(&gradients.of(&first)?.scale(rate)?)?, weights[1].add(&gradients.of(&second)?.scale(rate)?)?];
        held = if step % 2 == 0 { Some(x.exp()?) } else { None };
        all.push((loss.value().to_vec()?, device.graphs().map_or(0, |graphs| graphs.made)));
    }
    drop(held);
    for weight in weights {
        all.push((weight.to_vec()?, device.graphs().map_or(0, |graphs| graphs.made)));
    }
    Ok(all)
}

#[test]
fn graphs_of_products_that_come_by_other_places() -> Result<(), String> {
    let of = |graphs| device(Options { precision: Precision::Bf16, graphs, ..Options::default() });
    let (plain, gathered) = (of(false)?, of(true)?);
    let run = |device: &CudaDevice| train(device, 40).map_err(|error| error.to_string());
    let (expected, found) = (run(&plain)?, run(&gathered)?);
    for (step, (expected, found)) in expected.iter().zip(&found).enumerate() {
        assert_eq!(expected.0, found.0, "bit for bit, at {step}");
    }
    assert!(found[0].0 != found[39].0 && found[39].0[0].is_finite());
    assert_eq!(found[20].1, found[39].1, "a steady loop makes no graphs: {:?}", gathered.graphs());
    Ok(())
}
