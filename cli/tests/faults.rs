//! Kills, full disks, read-only folders, damaged files and no memory: what is on disk is a whole old state or a whole new one, and the
//! error names the cause.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)] // helpers of tests

mod common;

use common::{Folder, is_refused, not_tested, texts};
use mfm_core::Noise;
use mfm_nn::ModelFile;
use std::collections::BTreeSet;
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

/// A short run that saves itself after every step.
const RUN: [&str; 19] = [
    "train",
    "points.csv",
    "-o",
    "model.mfm",
    "--checkpoint",
    "run.mfm",
    "--checkpoint-every",
    "1",
    "--resume",
    "--steps",
    "150",
    "--width",
    "16",
    "--depth",
    "2",
    "--batch",
    "16",
    "--threads",
    "1",
];

/// A run that is killed, and where it keeps itself.
struct Run {
    arguments: &'static [&'static str],
    checkpoint: &'static str,
    model: &'static str,
    /// How many steps it has to make.
    steps: u64,
}

/// The run above.
const MLP: Run = Run { arguments: &RUN, checkpoint: "run.mfm", model: "model.mfm", steps: 150 };

/// A small transformer on the digits, in a folder.
const TRANSFORMER: Run = Run {
    arguments: &[
        "train",
        "--digits",
        "--network",
        "dit",
        "--size",
        "16x1x2",
        "--patch",
        "4",
        "--run",
        "run",
        "--checkpoint-every",
        "1",
        "--log-every",
        "1",
        "--resume",
        "--steps",
        "60",
        "--batch",
        "16",
        "--threads",
        "1",
    ],
    checkpoint: "run/checkpoint.mfm",
    model: "run/model.mfm",
    steps: 60,
};

/// Fine-tuning in a folder, of the model that [`Folder::with_model`] holds.
const FINE_TUNING: Run = Run {
    arguments: &[
        "finetune",
        "model.mfm",
        "--reward",
        "linear:1,0",
        "--follow",
        "0.5",
        "--run",
        "run",
        "--checkpoint-every",
        "1",
        "--log-every",
        "1",
        "--resume",
        "--steps",
        "60",
        "--batch",
        "16",
        "--samples",
        "16",
        "--threads",
        "1",
    ],
    checkpoint: "run/checkpoint.mfm",
    model: "run/model.mfm",
    steps: 60,
};

impl Run {
    /// The step of the checkpoint, which must be whole, if it is there.
    fn step(&self, folder: &Folder) -> u64 {
        if !folder.path(self.checkpoint).exists() {
            return 0;
        }
        let bytes = folder.read(self.checkpoint);
        ModelFile::parse(&bytes).unwrap().header().training.as_ref().unwrap().step
    }

    /// The files beside the checkpoint.
    fn files(&self, folder: &Folder) -> BTreeSet<String> {
        let place = folder.path(self.checkpoint);
        let Ok(entries) = std::fs::read_dir(place.parent().unwrap()) else { return BTreeSet::new() };
        entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
    }

    /// The temporary files of checkpoints into which something was written.
    fn temporaries(&self, folder: &Folder) -> BTreeSet<String> {
        let place = folder.path(self.checkpoint);
        let prefix = format!(".{}.", place.file_name().unwrap().to_string_lossy());
        let size = |name: &String| std::fs::metadata(place.with_file_name(name)).map_or(0, |metadata| metadata.len());
        let is_begun = |name: &String| name.starts_with(&prefix) && name.ends_with(".tmp") && size(name) > 0;
        self.files(folder).into_iter().filter(is_begun).collect()
    }

    /// Starts the run and kills it as soon as `is_time`; whether that was before its end.
    fn kill_when(&self, folder: &Folder, is_time: impl Fn() -> bool) -> bool {
        let mut child = folder.command(&[self.arguments, &["-q"]].concat()).stderr(Stdio::piped()).spawn().unwrap();
        while child.try_wait().unwrap().is_none() && !is_time() {
            std::thread::sleep(Duration::from_micros(200));
        }
        // On Unix this is SIGKILL, which no program can catch.
        child.kill().unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success() || output.status.code().is_none(), "{}", texts(&output).1);
        !output.status.success()
    }

    /// Kills the run so many times, half of them aimed at a checkpoint's write; the folder of the outcome, and that of a run that was never killed. The
    /// weights of both have been compared.
    fn survives(&self, kills: u64, prepare: impl Fn(&Folder)) -> (Folder, Folder) {
        let [whole, folder] = [Folder::new(), Folder::new()];
        prepare(&whole);
        prepare(&folder);
        whole.succeeds(self.arguments);
        let outcome = |folder: &Folder| (folder.read(self.model), folder.read(self.checkpoint));
        let expected = outcome(&whole);
        let (mut made, mut inside, mut runs) = (0, 0, 0);
        let mut reached = 0;
        while made < kills {
            let mut random = [0.0];
            Noise::new(7).skip(made + runs).fill_uniform(&mut random);
            let (start, delay) = (Instant::now(), Duration::from_micros((1_000.0 + 80_000.0 * random[0]) as u64));
            let old = self.temporaries(&folder);
            let was_killed = if made % 2 == 0 {
                self.kill_when(&folder, || start.elapsed() > delay)
            } else {
                self.kill_when(&folder, || self.temporaries(&folder).iter().any(|name| !old.contains(name)))
            };
            let now = self.step(&folder);
            assert!(now >= reached && now <= self.steps, "step {now} after step {reached}");
            reached = now;
            if was_killed {
                made += 1;
                inside += u64::from(!self.temporaries(&folder).is_subset(&old));
            } else {
                // It came to its end: the same weights; then another run from the start.
                assert!(outcome(&folder) == expected, "run {runs} ended in other weights");
                std::fs::remove_file(folder.path(self.model)).unwrap();
                std::fs::remove_file(folder.path(self.checkpoint)).unwrap();
                (reached, runs) = (0, runs + 1);
            }
        }
        folder.succeeds(self.arguments);
        assert!(outcome(&folder) == expected, "the run that was killed {made} times ended in other weights");
        // What killed runs left behind is gone.
        assert_eq!(self.files(&folder), self.files(&whole));
        println!("{made} kills, {inside} of them inside a checkpoint's write, over {} runs", runs + 1);
        assert!(inside > 0, "no kill came inside a write");
        (folder, whole)
    }
}

#[test]
fn killed_runs_go_on_to_the_same_weights() {
    MLP.survives(100, Folder::points);
}

/// The log of 60 steps, without its seconds.
fn log(folder: &Folder) -> Vec<serde_json::Value> {
    let text = String::from_utf8(folder.read("run/log.jsonl")).unwrap();
    let row = |line| {
        let mut row: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(row.as_object_mut().unwrap().remove("seconds").unwrap().is_number());
        row
    };
    let rows: Vec<_> = text.lines().map(row).collect();
    assert_eq!((rows.len(), rows.iter().map(|row| row["step"].as_u64().unwrap()).max()), (60, Some(60)));
    rows
}

#[test]
fn a_killed_transformer_goes_on_to_the_same_weights_and_log() {
    let (folder, whole) = TRANSFORMER.survives(20, |_| ());
    assert_eq!(log(&folder), log(&whole));
}

// The weights of fine-tuning are divided by their running mean, which must go on too.
#[test]
fn killed_fine_tuning_goes_on_to_the_same_weights_and_log() {
    let (folder, whole) = FINE_TUNING.survives(20, |folder| folder.write("model.mfm", &Folder::with_model().read("model.mfm")));
    assert_eq!(log(&folder), log(&whole));
}

/// A folder with a checkpoint of a run that is not over, and nothing else that it left.
fn half_run() -> Folder {
    loop {
        let folder = Folder::new();
        folder.points();
        if MLP.kill_when(&folder, || MLP.step(&folder) > 2) && !folder.path("model.mfm").exists() {
            folder.files().iter().filter(|name| name.ends_with(".tmp")).for_each(|name| std::fs::remove_file(folder.path(name)).unwrap());
            return folder;
        }
    }
}

#[test]
fn a_disk_that_fills_up_during_training() {
    let folder = half_run();
    let old = folder.read("run.mfm");
    // A checkpoint of some 20 kB does not fit into sixteen blocks of 512 bytes.
    let output = folder.shell(&format!("trap '' XFSZ; ulimit -f 8; exec $MFM {} -q", RUN.join(" ")));
    is_refused(&output, &["run.mfm", "larger than the system allows"]);
    assert_eq!(folder.read("run.mfm"), old);
    folder.succeeds(&RUN);
}

#[test]
fn a_stream_is_no_file_to_replace() {
    let folder = Folder::with_model();
    let device = |words: &str| {
        let output = folder.shell(&format!("$MFM info model.mfm -q {words}"));
        assert!(output.status.success(), "{words}: {}", texts(&output).1);
    };
    // After what is there, whatever the stream is called.
    folder.write("all.jsonl", b"precious\n");
    device("--json /dev/stdout >> all.jsonl");
    device("--json /proc/self/fd/3 3>> all.jsonl");
    std::os::unix::fs::symlink("/dev/stdout", folder.path("link")).unwrap();
    device("--json link >> all.jsonl");
    let all = String::from_utf8(folder.read("all.jsonl")).unwrap();
    assert!(all.starts_with("precious\n") && all.matches("\"interpolant\"").count() == 3, "{all}");
    // What is printed before stays, too.
    device("--json /dev/stdout > one.txt");
    let one = String::from_utf8(folder.read("one.txt")).unwrap();
    assert!(one.contains("all checksums right") && one.contains("\"interpolant\""), "{one}");
    assert_eq!(folder.files().len(), 5, "{:?}", folder.files());
}

/// Runs a line in a shell whose working directory's `disk` is a file system of its own; `None` where that is not allowed.
fn on_a_disk(folder: &Folder, options: &str, line: &str) -> Option<Output> {
    std::fs::create_dir_all(folder.path("disk")).unwrap();
    let mount = format!("mount -t tmpfs -o {options} none disk");
    if !folder.shell(&format!("unshare --mount sh -c '{mount}' 2>/dev/null")).status.success() {
        not_tested("full and read-only disks", "mounting a file system takes the rights of root");
        return None;
    }
    Some(folder.shell(&format!("unshare --mount sh -c '{mount} && {line}'")))
}

#[test]
fn a_real_full_disk() {
    let folder = half_run();
    let run = RUN.map(|word| if word == "run.mfm" { "disk/run.mfm" } else { word }).join(" ");
    // Room for the checkpoint that is there, not for the new one beside it.
    let size = format!("size={}", folder.read("run.mfm").len() + 8192);
    let line = format!("cp run.mfm disk && cp disk/run.mfm before && ! $MFM {run} -q 2>complaint && cmp disk/run.mfm before && ls -A disk");
    let Some(output) = on_a_disk(&folder, &size, &line) else { return };
    let (out, err) = texts(&output);
    assert!(output.status.success(), "{out}{err}");
    assert_eq!(out, "run.mfm\n", "something is left over");
    let complaint = String::from_utf8(folder.read("complaint")).unwrap();
    assert!(complaint.contains("disk/run.mfm") && complaint.contains("the disk is full"), "{complaint}");
}

#[test]
fn a_folder_that_must_not_be_written() {
    let folder = half_run();
    let run = RUN.map(|word| if word == "run.mfm" { "disk/run.mfm" } else { word }).join(" ");
    let Some(output) = on_a_disk(&folder, "size=1m,ro", &format!("exec $MFM {run} -q")) else { return };
    is_refused(&output, &["disk/run.mfm", "the file system is read-only"]);
}

#[test]
fn damaged_checkpoints_are_refused_and_kept() {
    let folder = half_run();
    let good = folder.read("run.mfm");
    let file = ModelFile::parse(&good).unwrap();
    // A place in every region: the prefix's words, the header, and each tensor.
    let mut places: Vec<usize> = [0, 8, 12, 16, 24, 28, 32, 60, 100].into();
    places.extend(file.tensors().iter().map(|tensor| tensor.offset + tensor.bytes.len() / 2));
    for place in places {
        let mut changed = good.clone();
        changed[place] ^= 0x10;
        for bytes in [&changed[..], &good[..place]] {
            folder.write("run.mfm", bytes);
            folder.refuses(&RUN, &["run.mfm"]);
        }
    }
    folder.write("run.mfm", &good);
    folder.succeeds(&RUN);
}

#[test]
fn no_memory() {
    let folder = half_run();
    let old = (folder.read("run.mfm"), folder.files());
    let mut refusals = 0;
    for kilobytes in [8_000, 12_000, 16_000, 20_000, 24_000, 32_000, 48_000, 64_000, 96_000, 128_000] {
        // A run from the start, whose batch takes some 100 MB.
        let run = RUN.join(" ").replace("--resume", "").replace("--batch 16", "--batch 400000");
        let output = folder.shell(&format!("ulimit -v {kilobytes}; exec $MFM {run} -q"));
        let (_, err) = texts(&output);
        assert!(!output.status.success() && !err.contains("panicked"), "{kilobytes}: {err}");
        assert_eq!(folder.read("run.mfm"), old.0);
        refusals += u32::from(output.status.code() == Some(2) && err.contains("no room"));
    }
    println!("{refusals} of 10 runs without memory said so");
    assert!(refusals > 0);
    assert_eq!(folder.files(), old.1);
    folder.succeeds(&RUN);
}
