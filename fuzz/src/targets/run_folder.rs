//! The folder of a training run.

use mfm_cli::Failure;
use mfm_cli::arguments::Arguments;
use mfm_cli::commands::{plot, train::LogRow};
use mfm_cli::context::{Context, Verbosity};
use mfm_cli::finetune::Row;
use mfm_cli::run::{Line, RunFolder, command_of};
use mfm_cpu_ref::{CpuDevice, CpuTensor};
use std::fs;

/// Options, log and checkpoint, each behind the last and a zero byte; one that is empty is no file. The run goes on with options that can be understood,
/// and is drawn; or there is a sentence that names the folder.
pub fn any_files(input: &[u8]) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    fs::create_dir(&path).unwrap();
    for (name, bytes) in ["config.json", "log.jsonl", "checkpoint.mfm"].into_iter().zip(input.splitn(3, |byte| *byte == 0)) {
        if !bytes.is_empty() {
            fs::write(path.join(name), bytes).unwrap();
        }
    }
    let place = path.to_str().unwrap();
    let names_it = |failure: Failure| assert!(failure.status() == 2 && failure.to_string().contains(place), "{failure}");
    let run = RunFolder::new(&path);
    let options = run.options();
    match Arguments::of(["mfm", "train", "--run", place, "--resume"]) {
        Ok(_) => assert!(options.is_ok()),
        Err(failure) => {
            assert!(!matches!(options, Ok(None)), "{failure}");
            names_it(failure);
        }
    }
    let context = Context::<CpuTensor<f32>>::new(CpuDevice::with_threads(1).unwrap(), 0, Some(1), Verbosity::Quiet, None).unwrap();
    match plot::draw(&context, &plot::Arguments { run: path.clone(), out: None }) {
        Ok(report) => {
            let last = match command_of(&options.unwrap().unwrap()) {
                "finetune" => run.lines().unwrap().last().map(Row::step),
                _ => run.lines().unwrap().last().map(LogRow::step),
            };
            assert_eq!(Some(report.step), last);
            assert!(!report.pictures.is_empty());
            for picture in report.pictures {
                assert!(fs::read(picture).unwrap().starts_with(b"\x89PNG"));
            }
        }
        Err(failure) => names_it(failure),
    }
    let beside: Vec<_> = fs::read_dir(&path)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .filter(|name| name.to_string_lossy().starts_with('.'))
        .collect();
    assert!(beside.is_empty(), "{beside:?} was left behind");
}
