//! Kills, full disks, read-only folders, damaged files and no memory: what is on disk is a whole old state or a whole new one, and the
//! error names the cause.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)] // helpers of tests

mod common;

use common::{Folder, is_refused, texts};
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

/// The kills of [`killed_runs_go_on_to_the_same_weights`].
const KILLS: u64 = 100;

/// The step of the checkpoint, which must be whole, if it is there.
fn step(folder: &Folder) -> u64 {
    if !folder.path("run.mfm").exists() {
        return 0;
    }
    let bytes = folder.read("run.mfm");
    ModelFile::parse(&bytes).unwrap().header().training.unwrap().step
}

/// The temporary files into which something was written.
fn temporaries(folder: &Folder) -> BTreeSet<String> {
    let is_begun = |name: &String| {
        let size = std::fs::metadata(folder.path(name)).map_or(0, |metadata| metadata.len());
        name.starts_with(".run.mfm.") && name.ends_with(".tmp") && size > 0
    };
    folder.files().into_iter().filter(is_begun).collect()
}

/// Starts a run and kills it as soon as `is_time`; whether that was before its end.
fn kill_when(folder: &Folder, is_time: impl Fn() -> bool) -> bool {
    let mut child = folder.command(&[&RUN[..], &["-q"]].concat()).stderr(Stdio::piped()).spawn().unwrap();
    while child.try_wait().unwrap().is_none() && !is_time() {}
    // On Unix this is SIGKILL, which no program can catch.
    child.kill().unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success() || output.status.code().is_none(), "{}", texts(&output).1);
    !output.status.success()
}

#[test]
fn killed_runs_go_on_to_the_same_weights() {
    let whole = Folder::new();
    whole.points();
    whole.succeeds(&RUN);
    let expected = (whole.read("model.mfm"), whole.read("run.mfm"));

    let folder = Folder::new();
    folder.points();
    let (mut kills, mut inside, mut runs) = (0, 0, 0);
    let mut reached = 0;
    while kills < KILLS {
        let mut random = [0.0];
        Noise::new(7).skip(kills + runs).fill_uniform(&mut random);
        // At a random time, or inside a checkpoint's write.
        let (start, delay) = (Instant::now(), Duration::from_micros((1_000.0 + 80_000.0 * random[0]) as u64));
        let old = temporaries(&folder);
        let was_killed = if kills % 2 == 0 {
            kill_when(&folder, || start.elapsed() > delay)
        } else {
            kill_when(&folder, || temporaries(&folder).iter().any(|name| !old.contains(name)))
        };
        let now = step(&folder);
        assert!(now >= reached, "step {now} after step {reached}");
        reached = now;
        if was_killed {
            kills += 1;
            inside += u64::from(!temporaries(&folder).is_subset(&old));
        } else {
            // It came to its end: the same weights; then another run from the start.
            assert_eq!((folder.read("model.mfm"), folder.read("run.mfm")), expected);
            std::fs::remove_file(folder.path("model.mfm")).unwrap();
            std::fs::remove_file(folder.path("run.mfm")).unwrap();
            (reached, runs) = (0, runs + 1);
        }
    }
    folder.succeeds(&RUN);
    assert_eq!((folder.read("model.mfm"), folder.read("run.mfm")), expected);
    // What killed runs left behind is gone.
    assert_eq!(folder.files(), whole.files());
    println!("{kills} kills, {inside} of them inside a checkpoint's write, over {} runs", runs + 1);
    assert!(inside >= KILLS / 10, "only {inside} kills came inside a write");
}

/// A folder with a checkpoint of a run that is not over, and nothing else that it left.
fn half_run() -> Folder {
    loop {
        let folder = Folder::new();
        folder.points();
        if kill_when(&folder, || step(&folder) > 2) && !folder.path("model.mfm").exists() {
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

/// Runs a line in a shell whose working directory's `disk` is a file system of its own; `None` where that is not allowed.
fn on_a_disk(folder: &Folder, options: &str, line: &str) -> Option<Output> {
    std::fs::create_dir_all(folder.path("disk")).unwrap();
    let mount = format!("mount -t tmpfs -o {options} none disk");
    if !folder.shell(&format!("unshare --mount sh -c '{mount}' 2>/dev/null")).status.success() {
        println!("skipped: mounting a file system takes the rights of root");
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
            assert_eq!(folder.read("run.mfm"), bytes);
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
