//! From data to steered samples, and that the same seed gives the same.

#![allow(clippy::unwrap_used)] // also in helpers of tests

mod common;

use common::{Folder, TRAIN, rows, texts};

#[test]
fn from_data_to_steered_samples() {
    let folder = Folder::with_model();
    folder.write("states.csv", b"0.1,0.2\n-0.4,0.3\n0.5,-0.5\n");
    let info = folder.succeeds(&["info", "model.mfm", "--json", "info.json"]);
    assert!(info.contains("2 hidden layers of 24") && info.contains("all checksums right") && info.contains("20 steps"), "{info}");
    let info: serde_json::Value = serde_json::from_slice(&folder.read("info.json")).unwrap();
    assert_eq!((info["dimension"].as_u64(), info["interpolant"].as_str()), (Some(2), Some("linear")));

    // Steps of what it started from count.
    folder.succeeds(&[
        "train",
        "points.csv",
        "-o",
        "on.mfm",
        "--initial",
        "model.mfm",
        "--steps",
        "3",
        "--width",
        "24",
        "--depth",
        "2",
        "--batch",
        "64",
    ]);
    assert!(folder.succeeds(&["info", "on.mfm"]).contains("23 steps"));
    folder.succeeds(&["finetune", "on.mfm", "--reward", "linear:1,0", "--out", "tuned.mfm", "--steps", "2", "--batch", "8"]);
    assert!(folder.succeeds(&["info", "tuned.mfm"]).contains("25 steps"));

    for method in [&[][..], &["--steps", "3"], &["--refine", "2"], &["--ode", "4"], &["--sde", "4"]] {
        let samples = rows(&folder.succeeds(&[&["sample", "model.mfm", "-n", "7"], method].concat()));
        assert!(samples.len() == 7 && samples.iter().all(|row| row.len() == 2), "{method:?}");
    }
    for name in ["s.csv", "s.npy", "s.png"] {
        let table = folder.succeeds(&["sample", "model.mfm", "-n", "50", "-o", name]);
        assert!(table.contains("evaluations"), "{table}");
        assert!(!folder.read(name).is_empty());
    }
    assert!(folder.read("s.png").starts_with(b"\x89PNG"));
    let given = ["posterior", "model.mfm", "--state", "states.csv", "--time", "0.5", "--draws", "5"];
    assert_eq!(rows(&folder.succeeds(&given)).len(), 15);
    folder.succeeds(&[&given[..], &["-o", "p.png"]].concat());
    // What was written is read again, in either form.
    folder.succeeds(&["posterior", "model.mfm", "--state", "s.npy", "--time", "1", "--draws", "1", "-o", "end.csv"]);
    assert_eq!(rows(&String::from_utf8(folder.read("end.csv")).unwrap()).len(), 50);

    // States are rows of text on standard input, too, with other delimiters as well.
    let piped = |text: &str| texts(&folder.shell(&format!("printf '{text}' | $MFM posterior model.mfm --state - --time 0.5 --draws 5 -q")));
    let drawn = piped(r"0.1,0.2\n-0.4,0.3\n0.5,-0.5\n");
    assert_eq!((drawn.0.as_str(), drawn.1.as_str()), (folder.succeeds(&given).as_str(), ""));
    assert_eq!(piped(r"0.1;0.2\n-0.4;0.3\n0.5;-0.5\n"), drawn);
    assert!(piped("0.1,0.2,0.3").1.contains("standard input"));

    let value = ["value", "model.mfm", "--state", "states.csv", "--time", "0.5", "--reward", "linear:1,0", "--json", "-"];
    let without: serde_json::Value = serde_json::from_str(&folder.succeeds(&value)).unwrap();
    assert_eq!(without["values"].as_array().unwrap().len(), 3);
    let with: serde_json::Value = serde_json::from_str(&folder.succeeds(&[&value[..], &["--gradient"]].concat())).unwrap();
    assert_eq!(with["gradients"].as_array().unwrap().iter().map(|row| row.as_array().unwrap().len()).collect::<Vec<_>>(), [2; 3]);
    assert!(without["gradients"].is_null());

    let truth =
        ["value", "model.mfm", "--state", "states.csv", "--time", "0.5", "--reward", "linear:1,0", "--truth", "200", "--truth-steps", "8"];
    let value: serde_json::Value = serde_json::from_str(&folder.succeeds(&[&truth[..], &["-o", "v.png", "--json", "-"]].concat())).unwrap();
    assert_eq!(value["truth"]["values"].as_array().unwrap().len(), 3);
    // After twenty steps of training the jumps are poor, but the preconditioning alone orders these states.
    assert!(value["truth"]["correlation"].as_f64().unwrap() > 0.9, "{value}");
    assert!(folder.read("v.png").starts_with(b"\x89PNG"));
    assert!(folder.succeeds(&truth).contains("200 rollouts of 8 steps a state: correlation 0.9"));
    folder.refuses(
        &[&truth[..8], &["-o", "v.png"]].concat(),
        &["v.png: the picture is of the estimates over the truth", "--truth is needed"],
    );
    folder.refuses(&[&truth[..], &["-o", "v.txt"]].concat(), &["v.txt", ".csv, .npy or .png"]);

    // Search is an estimator of steer, and a command of its own.
    let aim = [
        "model.mfm",
        "--reward",
        "target:0.5,0,0.5",
        "--steps",
        "3",
        "--draws",
        "4",
        "-n",
        "6",
        "--coupling",
        "fresh-noise",
        "--keep-overall",
    ];
    let found = folder.succeeds(&[&["search"], &aim[..]].concat());
    assert_eq!(found, folder.succeeds(&[&["steer", "--estimator", "search"], &aim[..]].concat()));
    let report: serde_json::Value = serde_json::from_str(&folder.succeeds(&[&["search"], &aim[..], &["--json", "-"]].concat())).unwrap();
    let best = report["diagnostics"][2]["best_reward"].as_f64().unwrap();
    assert!((best - report["best_reward"].as_f64().unwrap()).abs() < 1e-5 && best >= report["mean_reward"].as_f64().unwrap());

    for estimator in ["unsteered", "dps", "mfm-g", "mfm-gf", "resampled", "mcmc", "best-of-n", "smc", "mfm-smc", "search"] {
        let steer = ["steer", "model.mfm", "--reward", "target:0.5,0,0.5", "--estimator", estimator, "--steps", "4", "-n", "6"];
        let draws: &[&str] = if ["unsteered", "dps", "smc"].contains(&estimator) { &[] } else { &["--draws", "4"] };
        let report = folder.succeeds(&[&steer[..], draws, &["--json", "-"]].concat());
        let report: serde_json::Value = serde_json::from_str(&report).unwrap();
        assert_eq!(report["rows"].as_array().unwrap().len(), 6, "{estimator}");
        assert!(report["mean_reward"].as_f64().unwrap() <= 0.0, "{estimator}");
        let steps = report["diagnostics"].as_array().unwrap();
        // The best of several samples tells of blocks of samples.
        assert_eq!(steps.len(), if estimator == "best-of-n" { 1 } else { 4 }, "{estimator}");
        let is_weighed = ["mfm-g", "mfm-gf", "resampled", "mcmc", "smc", "mfm-smc"].contains(&estimator);
        for (name, is_told) in [
            ("effective_sample_size", is_weighed),
            ("largest_weight", is_weighed),
            ("acceptance", estimator == "mcmc"),
            ("best_reward", ["best-of-n", "search"].contains(&estimator)),
        ] {
            assert!(steps.iter().all(|step| step[name].is_number() == is_told), "{estimator}, {name}: {steps:?}");
        }
    }
    for estimator in ["unsteered", "dps", "mfm-g", "mfm-gf"] {
        let from_zero =
            ["steer", "model.mfm", "--reward", "linear:1,1", "--estimator", estimator, "--steps", "5", "-n", "3", "--start", "0"];
        assert_eq!(rows(&folder.succeeds(&from_zero)).len(), 3, "{estimator}");
    }
    let sde =
        ["steer", "model.mfm", "--reward", "linear:1,1", "--estimator", "mfm-gf", "--dynamics", "sde", "--steps", "5", "-n", "3", "-v"];
    let (_, err) = texts(&folder.run(&sde));
    assert!(err.contains("step 5, effective sample size") && err.contains("correction norm"), "{err}");
}

#[test]
fn labels_and_every_loss() {
    let folder = Folder::new();
    folder.write("labelled.csv", (0..40).map(|k| format!("{},{},{}\n", k % 2 * 2 - 1, k % 3 - 1, k % 2)).collect::<String>().as_bytes());
    let small = ["--steps", "3", "--width", "8", "--depth", "1", "--batch", "16", "--label-column", "last"];
    for (loss, path) in [
        ("semigroup", "linear"),
        ("mean-flow", "trigonometric"),
        ("eulerian", "linear"),
        ("lagrangian", "linear"),
        ("none", "trigonometric"),
    ] {
        let train = ["train", "labelled.csv", "-o", "m.mfm", "--labels", "--consistency", loss, "--interpolant", path];
        folder.succeeds(&[&train[..], &small].concat());
        assert_eq!(rows(&folder.succeeds(&["sample", "m.mfm", "-n", "3", "--label", "1"])).len(), 3);
    }
    // Distilled as well, from a teacher, by all that learn from one.
    for loss in ["semigroup", "mean-flow", "eulerian", "lagrangian", "none"] {
        let train = ["train", "labelled.csv", "-o", "student.mfm", "--labels", "--consistency", loss, "--interpolant", "trigonometric"];
        folder.succeeds(&[&train[..], &small, &["--teacher", "m.mfm"]].concat());
    }
    folder.refuses(&["sample", "m.mfm", "--label", "2"], &["--label 2", "m.mfm knows the labels 0 to 1"]);
    let classes = ["steer", "m.mfm", "--reward", "classes:labelled.csv:0,1", "-n", "4", "--steps", "2", "--draws", "4"];
    assert_eq!(rows(&folder.succeeds(&classes)).len(), 4);
    folder.refuses(&["steer", "m.mfm", "--reward", "classes:labelled.csv:0,1,1"], &["2 classes, but 3 weights"]);
}

#[test]
fn the_same_seed_gives_the_same_on_any_number_of_threads() {
    let folder = Folder::new();
    folder.points();
    let run = |threads: &str, seed: &str| {
        let always = ["--threads", threads, "--seed", seed];
        let train = ["train", "points.csv", "-o", "model.mfm", "--steps", "6", "--width", "32", "--depth", "2", "--batch", "3000"];
        folder.succeeds(&[&train[..], &always].concat());
        let model = folder.read("model.mfm");
        let samples = folder.succeeds(&[&["sample", "model.mfm", "-n", "9000", "--refine", "2"], &always[..]].concat());
        let steer = ["steer", "model.mfm", "--reward", "linear:1,1", "-n", "500", "--draws", "8", "--steps", "3"];
        (model, samples, folder.succeeds(&[&steer[..], &always].concat()))
    };
    let one = run("1", "5");
    assert!(one == run("2", "5"), "one and two threads differ");
    assert!(one != run("2", "6"), "two seeds agree");
}

#[test]
fn the_first_samples_do_not_depend_on_how_many_follow() {
    let folder = Folder::with_model();
    let few = folder.succeeds(&["sample", "model.mfm", "-n", "3", "--sde", "3"]);
    let many = folder.succeeds(&["sample", "model.mfm", "-n", "100", "--sde", "3"]);
    let (few, many) = (rows(&few).concat(), rows(&many).concat());
    assert!(few.iter().zip(&many).all(|(a, b)| (a - b).abs() < 1e-4), "{few:?} {:?}", &many[..6]);
}

#[test]
fn guidance_is_chosen_where_samples_are_drawn() {
    let folder = Folder::with_model();
    let small = ["train", "--digits", "--labels", "--network", "dit", "--size", "16x1x2", "--patch", "4", "--steps", "8", "--batch", "16"];
    folder.succeeds(&[&small[..], &["--guidance", "3", "-o", "guided.mfm"]].concat());
    let sample = |more: &[&str]| folder.succeeds(&[&["sample", "guided.mfm", "-n", "2"], more].concat());
    let [plain, one, three] =
        [&["--label", "4"][..], &["--label", "4", "--guidance", "1"], &["--label", "4", "--guidance", "3"]].map(sample);
    assert_eq!(plain, one);
    assert_ne!(one, three);
    let steer = ["steer", "guided.mfm", "--reward", "classes:digits:0,1,0,1,0,2,0,2,0,4", "--label", "4", "--guidance", "3"];
    folder.succeeds(&[&steer[..], &["-n", "2", "--estimator", "mfm-g", "--steps", "2", "--draws", "2"]].concat());
    folder.refuses(&["sample", "guided.mfm", "--label", "4", "--guidance", "2"], &["--guidance 2", "knows the scales 1, 3"]);
    folder.refuses(&["sample", "guided.mfm", "--guidance", "3"], &["--label"]);
    folder.refuses(&["sample", "model.mfm", "--label", "0", "--guidance", "3"], &["--label 0", "knows no labels"]);
    folder.succeeds(&[&small[..], &["-o", "plain.mfm"]].concat());
    // Not told the scale, it is asked with the label and without.
    let sample = |more: &[&str]| folder.succeeds(&[&["sample", "plain.mfm", "-n", "2", "--label", "4"], more].concat());
    let [plain, one, three] = [&[][..], &["--guidance", "1"], &["--guidance", "3"]].map(sample);
    assert_eq!(plain, one);
    assert_ne!(one, three);
    let passes = |scale: &str| {
        let three = ["sample", "plain.mfm", "-n", "2", "--label", "4", "--steps", "3", "--guidance", scale, "--json", "-"];
        serde_json::from_str::<serde_json::Value>(&folder.succeeds(&three)).unwrap()["evaluations"].as_u64().unwrap()
    };
    assert_eq!([passes("1"), passes("3")], [3, 6]);
}

#[test]
fn nobody_reading_is_no_failure() {
    let folder = Folder::with_model();
    let mut child = folder.command(&["sample", "model.mfm", "-n", "30000", "-q"]).stdout(std::process::Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
    // What goes elsewhere is written all the same.
    folder.write("states.csv", b"0.1,0.2\n-0.4,0.3\n0.5,-0.5\n");
    let value =
        ["value", "model.mfm", "--state", "states.csv", "--time", "0.5", "--reward", "linear:1,0", "--truth", "20", "--truth-steps", "2"];
    let files = ["-o", "v.png", "--json", "r.json", "-q"];
    let mut child = folder.command(&[&value[..], &files].concat()).stdout(std::process::Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(folder.read("v.png").starts_with(b"\x89PNG"));
    let report: serde_json::Value = serde_json::from_slice(&folder.read("r.json")).unwrap();
    assert_eq!(report["values"].as_array().unwrap().len(), 3);
}

#[test]
fn weights_go_out_and_come_back() {
    let folder = Folder::new();
    let form = ["--network", "dit", "--size", "16x1x2", "--patch", "4", "--precondition", "off"];
    let train =
        ["train", "--digits", "-o", "model.mfm", "--steps", "1", "--batch", "4", "--interpolant", "trigonometric", "--objective", "flow"];
    folder.succeeds(&[&train, &form[..]].concat());
    let report = |arguments: &[&str], from: &str, to: &str| -> u64 {
        let told: serde_json::Value = serde_json::from_str(&folder.succeeds(&[arguments, &["--json", "-"]].concat())).unwrap();
        assert_eq!((told["source"].as_str(), told["file"].as_str()), (Some(from), Some(to)));
        told["parameters"].as_u64().unwrap()
    };
    let out = report(&["export", "model.mfm", "-o", "w.safetensors"], "model.mfm", "w.safetensors");
    let back = report(&["import", "w.safetensors", "-o", "again.mfm"], "w.safetensors", "again.mfm");
    assert!(out == back && out > 1000, "{out} parameters went out, {back} came back");
    // With the path, and what is known of its training.
    let known = |model: &str| -> serde_json::Value { serde_json::from_str(&folder.succeeds(&["info", model, "--json", "-"])).unwrap() };
    let (before, after) = (known("model.mfm"), known("again.mfm"));
    for key in ["interpolant", "steps", "objective", "data"] {
        assert!(!before[key].is_null() && before[key] == after[key], "{key}: {before} and {after}");
    }
    let (_, err) = texts(&folder.run(&["sample", "again.mfm", "-n", "1", "-o", "1.csv"]));
    assert!(err.contains("warning: again.mfm was trained by velocities alone"), "{err}");
}

/// As runs of earlier builds keep it, in their folders.
#[test]
fn preconditioning_may_be_called_automatic() {
    let folder = Folder::new();
    folder.points();
    folder.succeeds(&[&TRAIN[..], &["--precondition", "auto"]].concat());
    let info: serde_json::Value = serde_json::from_str(&folder.succeeds(&["info", "model.mfm", "--json", "-"])).unwrap();
    assert!(info["preconditioning"].is_number(), "{info}");
}

#[test]
fn results_go_to_standard_output_and_the_rest_to_standard_error() {
    let folder = Folder::new();
    folder.points();
    let (out, err) = texts(&folder.run(&TRAIN));
    assert!(out.contains("diagonal loss") && err.contains("60 samples of 2 numbers"), "{out}{err}");
    let (out, _) = texts(&folder.run(&[&TRAIN[..], &["--json", "-"]].concat()));
    let report: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(report["losses"].as_array().unwrap().len(), 20);
    let help = folder.run(&["--help"]);
    assert!(help.status.success() && texts(&help).0.contains("posterior"));
}

#[test]
fn help_and_completions() {
    let folder = Folder::new();
    for shell in ["bash", "zsh", "fish"] {
        assert!(folder.succeeds(&["completions", shell]).contains("posterior"), "{shell}");
    }
    let bare = folder.run(&[]);
    let whole = folder.run(&["help"]);
    let (out, err) = (texts(&whole).0, texts(&bare).1);
    assert!(whole.status.success() && out.contains("Usage: mfm") && out.contains("posterior"), "{out}");
    assert!(bare.status.code() == Some(2) && err.contains("Usage: mfm") && err.contains("posterior"), "{err}");
    let (train, _) = texts(&folder.run(&["help", "train"]));
    assert!(train.contains("--learning-rate"), "{train}");
}
