//! The time of one posterior draw for each of n states in Rust: what `mfm_posterior` does, without the C++ around it. See run.py.
//!
//! `posterior MODEL THREADS` prints lines "Rust n SECONDS".

use mfm_core::sample::posterior_by_steps;
use mfm_core::{Device, Draws, Flow, Noise, Shape, Tensor, TimeGrid};
use mfm_cpu_ref::CpuDevice;
use mfm_nn::{ModelFile, file};
use std::time::Instant;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, path, threads] = &arguments[..] else { return Err("usage: posterior MODEL THREADS".into()) };
    let device = CpuDevice::<f32>::with_threads(threads.parse()?)?;
    let bytes = file::load(path)?;
    let file = ModelFile::parse(&bytes)?;
    let model = file.to_model(&CpuDevice::<f32>::with_threads(1)?)?;
    let flow = Flow::new(&model, file.header().model.path().ok_or("an unknown path")?);
    let d = file.header().model.network.data();
    for n in [1, 16, 256] {
        let (states, mut draws) = (vec![0.3f32; n * d], vec![0.0f32; n * d]);
        let mut draw = || -> mfm_core::Result<()> {
            let states = device.from_slice(&states, Shape::new(&[n, d])?)?;
            let (each, grid, noise) = (Draws::new(1), TimeGrid::uniform(1), Noise::new(0));
            let [made] = each.for_blocks(&flow, &states, |flow, block, part| {
                Ok([posterior_by_steps(flow, &grid, &each.noise(&noise, part, block)?, 0.4, part)?])
            })?;
            draws.copy_from_slice(&made.to_vec::<f32>()?);
            Ok(())
        };
        let mut time = |calls: usize| -> mfm_core::Result<f64> {
            let start = Instant::now();
            (0..calls).try_for_each(|_| draw())?;
            Ok(start.elapsed().as_secs_f64() / calls as f64)
        };
        let calls = ((0.01 / time(20)?) as usize).max(1);
        let mut seconds = (0..60).map(|_| time(calls)).collect::<mfm_core::Result<Vec<f64>>>()?;
        seconds.sort_by(f64::total_cmp);
        println!("Rust {n} {:.9}", seconds[seconds.len() / 2]);
    }
    Ok(())
}
