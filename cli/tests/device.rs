//! `mfm device`, and `--device` with a driver and without.

#![allow(clippy::unwrap_used)] // also in helpers of tests

mod common;

use common::{Folder, TRAIN, is_refused, not_tested, texts};
use std::path::Path;
use std::process::Output;

/// A run with the driver at `driver`, and no other.
fn run(folder: &Folder, driver: &Path, arguments: &[&str]) -> Output {
    folder.command(arguments).env("MFM_LIBCUDA", driver).env("MFM_LIBCUBLASLT", driver).output().unwrap()
}

/// The emulated driver; `None`, said aloud, where there is none.
fn emulated() -> Option<&'static Path> {
    let path = mfm_cuda_emulator::path();
    if path.is_none() {
        not_tested("mfm on the emulated CUDA device", "there was no C++ compiler");
    }
    path
}

#[test]
fn without_a_driver() {
    let folder = Folder::with_model();
    let nowhere = Path::new("/nowhere/libcuda.so");
    let (out, err) = texts(&run(&folder, nowhere, &["device"]));
    assert!(
        out.contains("cpu") && out.contains("No GPU: no CUDA driver was found (/nowhere/libcuda.so") && out.contains("absent"),
        "{out}"
    );
    assert_eq!(err, "");
    let report = run(&folder, nowhere, &["device", "--json", "-", "-q"]);
    let report: serde_json::Value = serde_json::from_slice(&report.stdout).unwrap();
    assert_eq!(report["devices"].as_array().unwrap().len(), 0);
    assert!(report["no_gpu"].as_str().unwrap().starts_with("no CUDA driver was found"));

    let sample = ["sample", "model.mfm", "-n", "3"];
    is_refused(&run(&folder, nowhere, &[&sample[..], &["--device", "cuda:0"]].concat()), &["--device cuda:0: no CUDA driver was found"]);
    is_refused(&run(&folder, nowhere, &[&sample[..], &["--device", "gpu"]].concat()), &["--device", "cpu, cuda:0"]);
    is_refused(&run(&folder, nowhere, &[&sample[..], &["--graphs"]].concat()), &["--graphs: it is for a GPU, but --device is cpu"]);
    is_refused(&run(&folder, nowhere, &[&sample[..], &["--precision", "bf16"]].concat()), &["--precision: it is for a GPU"]);
    let auto = run(&folder, nowhere, &[&sample[..], &["--device", "auto"]].concat());
    let (out, err) = texts(&auto);
    assert!(auto.status.success() && err.contains("--device auto: the processor, since no CUDA driver was found"), "{err}");
    assert_eq!(out, folder.succeeds(&sample), "the processor gives what it always gives");
}

#[test]
fn on_the_emulated_device() {
    let Some(driver) = emulated() else { return };
    let folder = Folder::new();
    folder.points();
    let (out, _) = texts(&run(&folder, driver, &["device"]));
    assert!(
        out.contains("cuda:0") && out.contains("emulated device 0, compute capability 9.0") && out.contains("The driver offers CUDA 13.0."),
        "{out}"
    );
    assert!(out.matches("ready").count() == 2, "{out}");
    is_refused(&run(&folder, driver, &["device", "--device", "cuda:x"]), &["--device"]);

    folder.succeeds(&TRAIN);
    let numbers = |device: &[&str]| -> Vec<f64> {
        let train = [&TRAIN[..], &["-o", "gpu.mfm", "-q"], device].concat();
        let train: Vec<&str> = train.iter().enumerate().filter(|(i, _)| !(2..4).contains(i)).map(|(_, argument)| *argument).collect();
        let (_, err) = texts(&run(&folder, driver, &train));
        assert_eq!(err, "");
        let sample = run(&folder, driver, &[&["sample", "gpu.mfm", "-n", "20", "--steps", "2", "-q"], device].concat());
        let (out, err) = texts(&sample);
        assert_eq!(err, "");
        out.split([',', '\n']).filter(|cell| !cell.is_empty()).map(|cell| cell.parse().unwrap()).collect()
    };
    let host = numbers(&["--device", "cpu"]);
    assert_eq!(host.len(), 40);
    let apart = |other: &[f64]| host.iter().zip(other).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    // Twenty steps of training and two of the map away from the same noise: f32 roundings, and bf16 ones.
    let single = apart(&numbers(&["--device", "cuda:0"]));
    assert!(single < 1e-3, "{single}");
    assert_eq!(numbers(&["--device", "cuda:0"]), numbers(&["--device", "cuda:0", "--graphs"]), "graphs change no number");
    let half = apart(&numbers(&["--device", "auto", "--precision", "bf16"]));
    assert!(half > 1e-6 && half < 0.3, "{half}");
    is_refused(
        &run(&folder, driver, &["sample", "model.mfm", "-n", "3", "--device", "cuda:1"]),
        &["--device cuda:1: there is no CUDA device 1: the driver finds 1, counted from 0"],
    );
}
