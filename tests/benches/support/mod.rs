//! What the benchmarks share: PyTorch's programs, medians, and the floor.
#![allow(dead_code)] // Each benchmark uses its own part.

use mfm_core::{Device, Noise, Result, Shape, Tensor};
use mfm_cpu_ref::CpuDevice;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

pub fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The best round.
pub fn best(rounds: &[f64]) -> f64 {
    rounds.iter().copied().fold(f64::NAN, f64::min)
}

/// The PyTorch programs, where they can be run.
pub struct PyTorch {
    python: String,
    programs: PathBuf,
    scratch: tempfile::TempDir,
}

impl PyTorch {
    pub fn find() -> Result<Self, String> {
        Self::with_programs(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/bench"))
    }

    /// Those in a folder.
    pub fn with_programs(folder: &Path) -> Result<Self, String> {
        let programs = folder.canonicalize().map_err(|_| format!("{} is absent", folder.display()))?;
        let python = std::env::var("MFM_PYTHON").unwrap_or_else(|_| "python3".into());
        let torch = Command::new(&python).args(["-c", "import torch"]).output();
        if !torch.is_ok_and(|output| output.status.success()) {
            return Err(format!("{python} cannot import torch (set MFM_PYTHON)"));
        }
        let scratch = tempfile::tempdir().map_err(|error| error.to_string())?;
        Ok(Self { python, programs, scratch })
    }

    /// What a program prints; of one that fails nothing, and why.
    pub fn run(&self, program: &str, arguments: &[&str]) -> String {
        let mut command = Command::new(&self.python);
        command.current_dir(self.scratch.path()).env("PYTHONPATH", &self.programs);
        if program == "-c" {
            command.arg("-c")
        } else {
            command.arg(self.programs.join(program))
        };
        let why = match command.args(arguments).output() {
            Ok(output) if output.status.success() => return String::from_utf8_lossy(&output.stdout).into_owned(),
            Ok(output) => String::from_utf8_lossy(&output.stderr).lines().last().unwrap_or_default().to_owned(),
            Err(error) => error.to_string(),
        };
        println!("PyTorch's {program} failed: {why}");
        String::new()
    }
}

/// The number after `mark`.
pub fn number_after(text: &str, mark: &str) -> Option<f64> {
    let rest = text.split(mark).nth(1)?.trim_start();
    rest.split(|c: char| !(c.is_ascii_digit() || c == '.')).next()?.parse().ok()
}

pub fn report(what: &str, ours: &[f64], theirs: &[f64]) {
    let (ours, theirs) = (best(ours), best(theirs));
    if theirs.is_nan() {
        println!("RATIO {what}: ours {:.3} ms, PyTorch not measured", 1e3 * ours);
    } else {
        println!("RATIO {what}: ours {:.3} ms, PyTorch {:.3} ms, {:.2} × as fast", 1e3 * ours, 1e3 * theirs, theirs / ours);
    }
}

/// The rate of one large matrix product, [rows, width] × [width, width], in operations a second: the floor of a training step.
pub fn product_rate(device: &CpuDevice<f32>, rows: usize, width: usize) -> Result<f64> {
    let a = device.normal(&Noise::new(1), Shape::new(&[rows, width])?)?;
    let b = device.normal(&Noise::new(2), Shape::new(&[width, width])?)?;
    let mut best = f64::INFINITY;
    for _ in 0..40 {
        let start = Instant::now();
        std::hint::black_box(a.matmul(&b, mfm_core::tensor::Transpose::NONE)?);
        best = best.min(start.elapsed().as_secs_f64());
    }
    Ok(2.0 * (rows * width * width) as f64 / best)
}
