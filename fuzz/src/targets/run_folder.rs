//! The folder of a training run.

use mfm_cli::Failure;
use mfm_cli::arguments::{Arguments, Command};
use mfm_cli::commands::plot;
use mfm_cli::commands::train::{self, LogRow};
use mfm_cli::context::{Context, Verbosity};
use mfm_cli::run::{Line, RunFolder, command_of};
use mfm_cli::training::fine_tuning::Row;
use mfm_cpu_ref::{CpuDevice, CpuTensor};
use mfm_nn::ModelFile;
use std::fs;
use std::path::Path;

/// A run of four steps, saved after the third.
const TINY: &str = "mfm train --digits --raw --precondition off --width 1 --depth 1 --frequencies 1 --batch 2 --steps 4 --checkpoint-every 3 --log-every 1";

fn context() -> Context<CpuTensor<f32>> {
    Context::new(CpuDevice::with_threads(1).unwrap(), 0, Some(1), Verbosity::Quiet, None).unwrap()
}

/// Checks that the failure is one sentence that names the folder.
fn names(place: &Path, failure: &Failure) {
    assert!(failure.status() == 2 && failure.to_string().contains(place.to_str().unwrap()), "{failure}");
}

/// Options, log and checkpoint, each behind the last and a zero byte; one that is empty is no file. Options that can be understood are taken for the run, which
/// is drawn; or there is a sentence that names the folder. [Another run](goes_on) goes on from log and checkpoint.
pub fn any_files(input: &[u8]) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    fs::create_dir(&path).unwrap();
    for (name, bytes) in ["config.json", "log.jsonl", "checkpoint.mfm"].into_iter().zip(input.splitn(3, |byte| *byte == 0)) {
        if !bytes.is_empty() {
            fs::write(path.join(name), bytes).unwrap();
        }
    }
    let run = RunFolder::new(&path);
    let options = run.options();
    match Arguments::of(["mfm", "train", "--run", path.to_str().unwrap(), "--resume"]) {
        Ok(_) => assert!(options.is_ok()),
        Err(failure) => {
            assert!(!matches!(options, Ok(None)), "{failure}");
            names(&path, &failure);
        }
    }
    match plot::draw(&context(), &plot::Arguments { run: path.clone(), out: None }) {
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
        Err(failure) => names(&path, &failure),
    }
    let beside: Vec<_> = fs::read_dir(&path)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .filter(|name| name.to_string_lossy().starts_with('.'))
        .collect();
    assert!(beside.is_empty(), "{beside:?} was left behind");
    goes_on(input);
}

/// Whether the run [`TINY`] went on from the log and the checkpoint of these three files to its end; if not, a sentence named its folder.
pub fn goes_on(input: &[u8]) -> bool {
    let mut files = input.splitn(3, |byte| *byte == 0).skip(1);
    let (Some(log), Some(checkpoint @ [_, ..])) = (files.next(), files.next()) else { return false };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    fs::create_dir(&path).unwrap();
    let run = RunFolder::new(&path);
    fs::write(run.log(), log).unwrap();
    fs::write(run.checkpoint(), checkpoint).unwrap();
    let words = TINY.split(' ').chain(["--run", path.to_str().unwrap(), "--resume"]);
    let Command::Train(arguments) = Arguments::of(words).unwrap().command else { return false };
    match train::make(&context(), &arguments) {
        Ok(_) => {
            assert!(ModelFile::parse(&fs::read(run.model()).unwrap()).unwrap().header().training.is_none());
            assert!(run.lines::<LogRow>().unwrap().iter().all(|line| line.step() <= 4));
            true
        }
        Err(failure) => {
            names(&path, &failure);
            assert_eq!(fs::read(run.checkpoint()).unwrap(), checkpoint, "what could not be used was not kept");
            false
        }
    }
}
