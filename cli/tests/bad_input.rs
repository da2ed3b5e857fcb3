//! Bad input: one sentence naming the thing and the place, exit status 2, nothing half-written.

mod common;

use common::{Folder, TRAIN, is_refused};

#[test]
fn bad_data() {
    let folder = Folder::new();
    let cases: [(&str, &[u8], &[&str]); 9] = [
        ("nan.csv", b"x,y\n1,2\n3,nan\n", &["nan.csv", "row 2 (line 3), column 2", "NaN"]),
        ("inf.csv", b"1,inf\n", &["inf.csv", "row 1 (line 1), column 2", "infinite"]),
        ("huge.csv", b"1,1e300\n", &["huge.csv", "row 1, column 2", "too large"]),
        ("ragged.csv", b"1,2\n3,4\n5\n", &["ragged.csv", "line 3 has 1 values", "have 2"]),
        ("word.csv", b"1,2\n3,four\n", &["word.csv", "line 2", "column 2", "\"four\" is not a number"]),
        ("empty.csv", b"", &["empty.csv", "no data"]),
        ("heading.csv", b"x,y\n", &["heading.csv", "no data"]),
        ("foreign.npy", b"1,2\n", &["foreign.npy", "not a .npy file"]),
        ("plain.csv.gz", b"1,2\n3,4\n", &["plain.csv.gz", "not compressed by gzip"]),
    ];
    for (name, bytes, words) in cases {
        folder.write(name, bytes);
        folder.refuses(&["train", name, "-o", "m.mfm"], words);
    }
    folder.refuses(&["train", "missing.csv", "-o", "m.mfm"], &["missing.csv", "no such file"]);
    folder.refuses(&["train", ".", "-o", "m.mfm"], &[".: there is no folder of images in it"]);
    folder.write("data.txt", b"1,2\n");
    folder.refuses(&["train", "data.txt", "-o", "m.mfm"], &["data.txt", ".csv, .tsv, .csv.gz, .npy, idx3-ubyte"]);

    let digits = include_bytes!("../data/digits.csv.gz");
    folder.write("cut.csv.gz", &digits[..digits.len() - 100]);
    folder.refuses(&["train", "cut.csv.gz", "-o", "m.mfm"], &["cut.csv.gz", "cut off"]);
}

#[test]
fn bad_arrays() {
    let folder = Folder::new();
    let array =
        |header: &str, data: &[u8]| [b"\x93NUMPY\x01\x00", &(header.len() as u16).to_le_bytes()[..], header.as_bytes(), data].concat();
    let nan = [1.0f32, f32::NAN].map(f32::to_le_bytes).concat();
    let cases: [(&str, &[u8], &[&str]); 4] = [
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 1)}", &nan, &["a.npy", "row 2, column 1", "NaN"]),
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (3, 1)}", &nan, &["a.npy", "cut off", "12 bytes", "8 are there"]),
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (4000000000, 4000000000)}", &nan, &["a.npy", "impossible"]),
        ("{'descr': '|O', 'fortran_order': False, 'shape': (2,)}", &nan, &["a.npy", "not supported"]),
    ];
    for (header, data, words) in cases {
        folder.write("a.npy", &array(header, data));
        folder.refuses(&["train", "a.npy", "-o", "m.mfm"], words);
    }
}

#[test]
fn bad_labels() {
    let folder = Folder::new();
    folder.write("half.csv", b"1,2,0\n3,4,1.5\n");
    let train = |more: &[&'static str]| [&["train", "half.csv", "-o", "m.mfm"], more].concat();
    folder.refuses(&train(&["--label-column", "last", "--labels"]), &["half.csv", "row 2, column 3", "1.5 is not a whole number"]);
    folder.refuses(&train(&["--label-column", "7", "--labels"]), &["half.csv", "column 7", "only 3"]);
    folder.refuses(&train(&["--label-column", "0"]), &["--label-column"]);
    folder.refuses(&train(&["--guidance", "3"]), &["--guidance", "--labels"]);
    folder.refuses(&train(&["--batch", "4", "--accumulate", "8"]), &["--accumulate 8", "a batch of 4"]);
    folder.refuses(&["train", "--digits", "-o", "m.mfm", "--label-column", "last"], &["--label-column", "digits"]);
    folder.refuses(&["classifier", "--digits", "-o", "c.mfm", "--label-column", "last"], &["--label-column"]);
    folder.refuses(&train(&["--labels"]), &["half.csv has no labels"]);
}

#[test]
fn bad_numbers_on_the_command_line() {
    let folder = Folder::with_model();
    folder.write("state.csv", b"0.5,0.5\n");
    let posterior = |more: &[&'static str]| [&["posterior", "model.mfm", "--state", "state.csv"], more].concat();
    folder.refuses(&["sample", "model.mfm", "-n", "0"], &["--samples", "at least 1"]);
    folder.refuses(&["sample", "model.mfm", "-n", "-3"], &["'-3'", "--samples", "at least 1"]);
    folder.refuses(&["sample", "model.mfm", "--seed", "-1"], &["'-1'", "--seed", "it must be a whole number of at least 0"]);
    folder.refuses(&["sample", "model.mfm", "--label", "one"], &["'one'", "--label", "it must be a whole number of at least 0"]);
    folder.refuses(&["sample", "model.mfm", "-n", "9999999999999999"], &["--samples 9999999999999999", "no room"]);
    folder.refuses(&["sample", "model.mfm", "-n", "18446744073709551615"], &["more elements than can be addressed"]);
    folder.refuses(&["sample", "model.mfm", "--steps", "0"], &["--steps", "at least 1"]);
    folder.refuses(&["sample", "model.mfm", "--ode", "4", "--sde", "4"], &["--ode", "--sde"]);
    folder.refuses(&posterior(&["--time", "1.5"]), &["--time", "between 0 and 1"]);
    folder.refuses(&posterior(&["--time", "-0.1"]), &["--time", "-0.1"]);
    folder.refuses(&posterior(&["--time", "nan"]), &["--time", "between 0 and 1"]);
    folder.refuses(&posterior(&["--time", "0.5", "--draws", "0"]), &["--draws", "at least 1"]);
    folder.refuses(&posterior(&["--time", "0.5", "--label", "1"]), &["--label 1", "model.mfm knows no labels"]);
    folder.refuses(&["value", "model.mfm", "--state", "state.csv", "--time", "2", "--reward", "linear:1,1"], &["--time"]);
    folder
        .refuses(&["steer", "model.mfm", "--reward", "linear:1,1", "--threshold", "2"], &["--threshold", ": it must lie between 0 and 1"]);
    let steer = |more: &[&'static str]| [&["steer", "model.mfm", "--reward", "linear:1,1", "--estimator"], more].concat();
    for estimator in ["dps", "mfm-g", "mfm-gf", "unsteered"] {
        folder.refuses(&steer(&[estimator, "--start", "0", "--dynamics", "sde"]), &["the first time of an SDE is 0, but must be above 0"]);
    }
    for (moves, what) in [("-1", "at least 1"), ("x", "at least 1"), ("0", "at least 1"), ("99999999999999999999", "too large")] {
        folder.refuses(&steer(&["mcmc", "--moves", moves]), &["--moves", moves, what]);
    }
    folder.refuses(&steer(&["smc", "--start", "0"]), &["the first time of an SDE is 0, but must be above 0"]);
    folder.refuses(
        &steer(&["mfm-g", "--steer-from", "0.9", "--steer-until", "0.1"]),
        &["the first time of the window is 0.9, but must be no later than its last"],
    );
    folder.refuses(&steer(&["mfm-g", "--start", "1"]), &["the first time is 1, but must be at least 0 and below 1"]);
    for (options, name) in [
        (&["resampled", "--dynamics", "sde"][..], "--dynamics: it makes no difference to --estimator resampled"),
        (&["unsteered", "--draws", "5"], "--draws: it makes no difference to --estimator unsteered"),
        (&["resampled", "--threshold", "0.3"], "--threshold: it makes no difference to --estimator resampled"),
        (&["smc", "--dynamics", "ode"], "--dynamics: it makes no difference to --estimator smc"),
        (&["mfm-smc", "--start", "0.1"], "--start: it makes no difference to --estimator mfm-smc by bridges"),
        (&["mfm-smc", "--dynamics", "sde", "--coupling", "bridge"], "--coupling: it makes no difference to --estimator mfm-smc by sde"),
        (&["unsteered", "--clip", "1"], "--clip: it makes no difference to --estimator unsteered"),
        (&["mfm-g", "--moves", "2"], "--moves: it makes no difference to --estimator mfm-g"),
        (&["mcmc", "--keep-overall"], "--keep-overall: it makes no difference to --estimator mcmc"),
    ] {
        folder.refuses(&steer(options), &[name]);
    }
    folder.refuses(&[&TRAIN[..], &["--learning-rate", "0"]].concat(), &["--learning-rate", "positive"]);
    folder.refuses(&["train", "points.csv", "-o", "m.mfm", "--steps", "0"], &["--steps", "it must be at least 1"]);
    folder.write("large.csv", b"1e300,1\n");
    folder.refuses(&["train", "large.csv", "-o", "m.mfm"], &["row 1, column 1: 1e300 is too large"]);
    folder.refuses(&[&TRAIN[..], &["--ema", "1"]].concat(), &["--ema", "below 1"]);
    folder.refuses(&["info", "model.mfm", "--threads", "0"], &["--threads", "at least 1"]);
    folder.refuses(&["train", "-o", "m.mfm"], &["<DATA>"]);
    folder.refuses(&["nonsense"], &["nonsense"]);
    folder.refuses(&["smaple"], &["'smaple'", "; did you mean sample?"]);
}

#[test]
fn wrong_dimensions() {
    let folder = Folder::with_model();
    folder.write("wide.csv", b"1,2,3\n");
    folder.write("state.csv", b"0.5,0.5\n");
    let words = ["wide.csv", "3 numbers", "model.mfm takes 2"];
    folder.refuses(&["posterior", "model.mfm", "--state", "wide.csv", "--time", "0.5"], &words);
    folder.refuses(&["value", "model.mfm", "--state", "wide.csv", "--time", "0.5", "--reward", "linear:1,1"], &words);
    folder.refuses(&["steer", "model.mfm", "--reward", "linear:1,2,3"], &["--reward linear:1,2,3", "3 dimensions", "has 2"]);
    folder.refuses(&["steer", "model.mfm", "--reward", "target:0,0,-1"], &["sigma, is -1"]);
    folder.refuses(&["steer", "model.mfm", "--reward", "target:0,0,-0.00000000001"], &["sigma, is -1e-11"]);
    folder.refuses(&["steer", "model.mfm", "--reward", "observation:none.json"], &["none.json", "no such file"]);
}

#[test]
fn bad_models() {
    let folder = Folder::with_model();
    let bytes = folder.read("model.mfm");
    folder.write("empty.mfm", b"");
    folder.write("foreign.mfm", b"PK\x03\x04 something else entirely, of some length");
    folder.refuses(&["info", "empty.mfm"], &["empty.mfm"]);
    folder.refuses(&["info", "foreign.mfm"], &["foreign.mfm", "no model file"]);
    folder.refuses(&["info", "missing.mfm"], &["missing.mfm", "no such file"]);
    folder.refuses(&["sample", "."], &["no plain file"]);
    for length in [4, 8, 31, 100, bytes.len() / 2, bytes.len() - 1] {
        folder.write("cut.mfm", &bytes[..length]);
        folder.refuses(&["sample", "cut.mfm", "-o", "s.csv"], &["cut.mfm", "cut off"]);
    }
    for place in [40, 200, bytes.len() / 2, bytes.len() - 5] {
        let mut changed = bytes.clone();
        changed[place] ^= 0x20;
        folder.write("changed.mfm", &changed);
        folder.refuses(&["sample", "changed.mfm", "-o", "s.csv"], &["changed.mfm"]);
    }
    let mut newer = bytes;
    newer[8] = 200;
    folder.write("newer.mfm", &newer);
    folder.refuses(&["info", "newer.mfm"], &["newer.mfm", "version 200"]);
}

#[test]
fn places_that_cannot_be_written() {
    let folder = Folder::with_model();
    let sample = |more: &[&'static str]| [&["sample", "model.mfm"], more].concat();
    folder.refuses(&sample(&["-o", "nowhere/s.csv"]), &["nowhere/s.csv", "no directory nowhere"]);
    folder.refuses(&sample(&["-o", "s.txt"]), &["s.txt", ".csv, .npy or .png"]);
    folder.refuses(&sample(&["--json", "nowhere/r.json"]), &["nowhere/r.json", "no directory"]);
    folder.refuses(&["train", "points.csv", "-o", "nowhere/m.mfm"], &["nowhere/m.mfm", "no directory"]);
    folder.refuses(&["train", "points.csv", "-o", "."], &["cannot write .", "directory"]);
    std::fs::create_dir(folder.path("dir.csv")).unwrap();
    folder.refuses(&sample(&["-o", "dir.csv"]), &["dir.csv", "directory"]);
    folder.write("kept.csv", b"precious");
    let mut permissions = std::fs::metadata(folder.path("kept.csv")).unwrap().permissions();
    permissions.set_readonly(true);
    std::fs::set_permissions(folder.path("kept.csv"), permissions).unwrap();
    folder.refuses(&sample(&["-o", "kept.csv"]), &["kept.csv", "read-only"]);
    assert_eq!(folder.read("kept.csv"), b"precious");
    folder.write("wide.csv", b"1,2,3,4,5\n2,3,4,5,6\n");
    folder.succeeds(&["train", "wide.csv", "-o", "wide.mfm", "--steps", "1", "--width", "4", "--depth", "1", "--batch", "2"]);
    folder.refuses(&["sample", "wide.mfm", "-o", "s.png"], &["s.png", "5 dimensions"]);
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk() {
    let folder = Folder::with_model();
    folder.refuses(&["sample", "model.mfm", "-o", "/dev/full"], &["/dev/full", "the disk is full"]);
    let before = folder.files();
    is_refused(&folder.shell("$MFM sample model.mfm -q > /dev/full"), &["standard output", "the disk is full"]);
    // Files may grow to four blocks at most, so a write fails halfway, as on a full disk.
    let limited = |line: &str| folder.shell(&format!("trap '' XFSZ; ulimit -f 4; exec $MFM {line} -q"));
    is_refused(&limited("sample model.mfm -n 20000 -o s.csv"), &["s.csv", "larger than the system allows"]);
    is_refused(&limited("sample model.mfm -n 20000 -o s.npy"), &["s.npy"]);
    is_refused(&limited("sample model.mfm -n 20000 -o s.png"), &["s.png"]);
    is_refused(&limited("train points.csv -o model.mfm --steps 2 --batch 8"), &["model.mfm"]);
    assert_eq!(folder.files(), before);
    folder.succeeds(&["info", "model.mfm"]);
}

#[test]
fn options_of_something_else() {
    let folder = Folder::new();
    let train = ["train", "--digits", "-o", "m.mfm", "--steps", "1"];
    let tune = ["finetune", "base.mfm", "--reward", "linear:1,1", "-o", "m.mfm"];
    folder.refuses(&[&train[..], &["--checkpoint-every", "5"]].concat(), &["--checkpoint-every", "--run or --checkpoint"]);
    folder.refuses(&[&train[..], &["--checkpoint", "c.mfm", "--log-every", "5"]].concat(), &["--log-every", "--run"]);
    folder.refuses(&[&tune[..], &["--checkpoint-every", "5"]].concat(), &["--checkpoint-every: --run names"]);
    folder.refuses(&[&tune[..], &["--log-every", "5"]].concat(), &["--log-every", "--run"]);
    for option in [&["--size", "xl"][..], &["--patch", "3"], &["--channels", "3"], &["--recompute"]] {
        folder.refuses(&[&train[..], option].concat(), &[option[0], ": it is for --network dit"]);
    }
    for option in ["--width", "--depth", "--frequencies"] {
        folder.refuses(&[&train[..], &["--network", "dit", option, "3"]].concat(), &[option, ": it is for --network mlp"]);
    }
    folder.refuses(&[&train[..], &["--label-dropout", "0.2"]].concat(), &["--label-dropout: it is for --labels"]);
    folder.refuses(&[&train[..], &["--objective", "none", "--longest-jump", "0.5"]].concat(), &["--longest-jump: there are no jumps"]);
    folder.refuses(&[&train[..], &["--objective", "flow", "--at-zero", "0.5"]].concat(), &["--at-zero: a flow model knows no states"]);
    folder.refuses(&[&train[..], &["--at-zero", "0:2:10"]].concat(), &["--at-zero", "the share of the batch at t = 0 is 2"]);
    folder.refuses(&["toy2d", "--dim", "5"], &["--dim: it is for --problem inverse"]);
    folder.refuses(&["toy2d", "--exact", "--noise", "0.1"], &["--noise: it is for --problem inverse"]);
    folder.refuses(&["toy2d", "--exact", "--train-steps", "5"], &["--exact", "--train-steps"]);
}

#[test]
fn files_are_written_once() {
    let folder = Folder::with_model();
    folder.write("state.csv", b"0.5,0.5\n");
    let once = ["is to be written by --json and by --out"];
    folder.refuses(&["sample", "model.mfm", "-o", "y.csv", "--json", "./y.csv"], &[&once[..], &["y.csv"]].concat());
    folder.refuses(&[&TRAIN[..], &["--json", "model.mfm"]].concat(), &once);
    folder.refuses(
        &["train", "points.csv", "-o", "m.mfm", "--checkpoint", "m.mfm"],
        &["m.mfm: it is to be written by --out and by --checkpoint"],
    );
    folder.refuses(
        &["posterior", "model.mfm", "--state", "state.csv", "--time", "0.5", "--json", "state.csv"],
        &["state.csv: --json would", "state"],
    );
    // Nor does any other result take the place of what it is made from.
    folder.refuses(
        &["posterior", "model.mfm", "--state", "state.csv", "--time", "0.5", "-o", "state.csv"],
        &["state.csv: --out would write over what is read there, the state"],
    );
    folder.refuses(&["train", "points.csv", "-o", "points.csv"], &["points.csv: --out would", "data"]);
    folder.refuses(&["train", "points.csv", "-o", "m.mfm", "--checkpoint", "points.csv"], &["points.csv: --checkpoint would", "data"]);
    folder.refuses(&["sample", "model.mfm", "-o", "model.mfm"], &["model.mfm: --out would", "the model"]);
    folder.refuses(
        &["finetune", "model.mfm", "--reward", "linear:1,0", "--out", "m.mfm", "--data", "m.mfm"],
        &["m.mfm: --out would", "the data"],
    );
    folder.refuses(&["steer", "model.mfm", "--reward", "classes:c.mfm:1,2", "-o", "c.mfm"], &["c.mfm: --out would", "the reward"]);
    // Nor what a run that goes on has read.
    folder.succeeds(&["train", "points.csv", "--run", "run", "--steps", "1", "--batch", "4", "--width", "4", "--depth", "1"]);
    folder.refuses(&["train", "--run", "run", "--resume", "--json", "points.csv"], &["points.csv: --json would", "the data"]);
    // What only looks like a file is none.
    for _ in 0..2 {
        folder.succeeds(&["finetune", "model.mfm", "--reward", "linear:1,0", "--out", "1", "--steps", "1", "--batch", "4"]);
    }
    // A model may be tuned where it is.
    folder.succeeds(&["finetune", "model.mfm", "--reward", "linear:1,0", "--out", "model.mfm", "--steps", "1", "--batch", "4"]);
    // What goes nowhere may go there twice.
    folder.succeeds(&["posterior", "model.mfm", "--state", "state.csv", "--time", "0.5", "-o", "/dev/null", "--json", "/dev/null"]);
}

#[test]
fn training_that_diverges_writes_nothing() {
    let folder = Folder::new();
    folder.write("large.csv", b"1e30,-1e30\n-1e30,2e30\n3e30,1e30\n");
    let words = ["large.csv"];
    folder.points();
    folder.refuses(&[&TRAIN[..], &["--learning-rate", "1e9", "--clip", "0"]].concat(), &["points.csv", "step", "learning rate"]);
    folder.refuses(&["train", "large.csv", "-o", "m.mfm", "--steps", "3", "--precondition", "off"], &words);
    // No checkpoint of a step that was not finite; the one before it stays.
    let saved = [&TRAIN[..], &["--checkpoint", "run.mfm", "--checkpoint-every", "1", "--warm-up", "0"]].concat();
    folder.refuses(
        &[&saved[..], &["--learning-rate", "1e39"]].concat(),
        &["points.csv", "step 1: it would make first.weight NaN or infinite"],
    );
    let output = folder.run(&[&saved[..], &["--learning-rate", "1e18", "--clip", "0", "-q"]].concat());
    is_refused(&output, &["points.csv", "step", "nothing was changed"]);
    let checkpoint = folder.read("run.mfm");
    let file = mfm_nn::ModelFile::parse(&checkpoint).unwrap();
    assert!(file.tensors().iter().all(|tensor| tensor.values().all(f64::is_finite)));
    assert!(!folder.path("model.mfm").exists());
    folder.refuses(&["train", "large.csv", "-o", "m.mfm", "--steps", "3"], &words);
}
