//! What the benchmarks share: PyTorch's programs, medians, and the floor.
#![allow(dead_code)] // Each benchmark uses its own part.

use mfm_core::{Device, Noise, Result, Shape, Tensor};
use mfm_cpu_ref::CpuDevice;
use std::path::Path;
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

/// PyTorch, where it can be run; its programs lie beside the benchmarks.
pub struct PyTorch {
    python: String,
    programs: &'static Path,
}

impl PyTorch {
    /// Says so where there is none.
    pub fn find() -> Option<Self> {
        let python = std::env::var("MFM_PYTHON").unwrap_or_else(|_| "python3".into());
        let torch = Command::new(&python).args(["-c", "import torch"]).output();
        if !torch.is_ok_and(|output| output.status.success()) {
            println!("PyTorch is not measured: {python} cannot import torch (set MFM_PYTHON)");
            return None;
        }
        // Where this was compiled, or the repository's root on another machine.
        let folders = [concat!(env!("CARGO_MANIFEST_DIR"), "/benches"), "tests/benches"].map(Path::new);
        let programs = folders.into_iter().find(|folder| folder.is_dir()).unwrap_or(folders[0]);
        Some(Self { python, programs })
    }

    /// What a program prints, lines of a name and a number; of one that fails nothing, and why.
    pub fn run(&self, program: &str, arguments: &[&str]) -> Figures {
        let why = match Command::new(&self.python).arg("-B").arg(self.programs.join(program)).args(arguments).output() {
            Ok(output) if output.status.success() => return Figures(String::from_utf8_lossy(&output.stdout).into_owned()),
            Ok(output) => String::from_utf8_lossy(&output.stderr).lines().last().unwrap_or_default().to_owned(),
            Err(error) => error.to_string(),
        };
        println!("PyTorch's {program} {} failed: {why}", arguments.join(" "));
        Figures::default()
    }
}

/// Lines of a name and a number.
#[derive(Default)]
pub struct Figures(String);

impl Figures {
    pub fn get(&self, name: &str) -> Option<f64> {
        self.0.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
    }
}

/// How PyTorch runs a program of `cpu.py`: each way in a process of its own.
pub const MODES: [&str; 2] = ["eager", "compiled"];

/// The better of PyTorch's ways at `part` of `cpu.py`, in seconds for each of `names`; none where there is no PyTorch.
pub fn theirs<const N: usize>(
    torch: Option<&PyTorch>,
    modes: &[&str],
    part: &[&str],
    threads: usize,
    names: [&str; N],
) -> [Option<f64>; N] {
    let mut best = [None; N];
    let Some(torch) = torch else { return best };
    for mode in modes {
        let figures = torch.run("cpu.py", &[&[part[0], mode, &threads.to_string()], &part[1..]].concat());
        let found = names.map(|name| figures.get(name));
        println!("PyTorch {mode}, {}: {found:?} s", part.join(" "));
        for (best, found) in best.iter_mut().zip(found) {
            *best = [*best, found].into_iter().flatten().reduce(f64::min);
        }
    }
    best
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
