//! Training runs that go on, and what they keep in their folders.
#![allow(clippy::unwrap_used)]

mod common;

use common::{Folder, TRAIN, texts};

#[test]
fn a_run_that_goes_on_is_the_same_run() {
    let folder = Folder::new();
    folder.points();
    folder.succeeds(&[&TRAIN[..], &["--checkpoint", "run.mfm", "--checkpoint-every", "8"]].concat());
    let whole = folder.read("model.mfm");
    folder.write("model.mfm", b"");
    // The last checkpoint is of step 16 of 20.
    let resume = ["--checkpoint", "run.mfm", "--resume"];
    let (_, err) = texts(&folder.run(&[&TRAIN[..], &resume].concat()));
    assert!(err.contains("going on after step 16"), "{err}");
    assert!(folder.read("model.mfm") == whole, "a resumed run differs");
    folder.refuses(&[&TRAIN[..], &resume, &["--seed", "1"]].concat(), &["cannot resume from run.mfm", "another seed"]);
    folder.write("other.mfm", &whole);
    folder.refuses(&[&TRAIN[..], &["--checkpoint", "other.mfm", "--resume"]].concat(), &["other.mfm", "not a checkpoint"]);
    folder.refuses(&[&TRAIN[..], &["--resume"]].concat(), &["--resume", "--run or --checkpoint"]);
}

#[test]
fn a_learned_weighting_goes_on_with_its_run() {
    let folder = Folder::new();
    folder.points();
    let train = [&TRAIN[..], &["--learned-weighting"]].concat();
    folder.succeeds(&TRAIN);
    let plain = folder.read("model.mfm");
    folder.succeeds(&[&train[..], &["--checkpoint", "run.mfm", "--checkpoint-every", "8"]].concat());
    let whole = folder.read("model.mfm");
    assert!(whole != plain, "the weighting changes nothing");
    // The finished model is the map alone.
    let count = |text: &str| text.lines().find(|line| line.contains("parameters")).map(str::to_owned);
    folder.write("plain.mfm", &plain);
    assert_eq!(count(&folder.succeeds(&["info", "model.mfm"])), count(&folder.succeeds(&["info", "plain.mfm"])));
    folder.write("model.mfm", b"");
    let resume = ["--checkpoint", "run.mfm", "--resume"];
    let (_, err) = texts(&folder.run(&[&train[..], &resume].concat()));
    assert!(err.contains("going on after step 16"), "{err}");
    assert!(folder.read("model.mfm") == whole, "a resumed run differs");
    folder.refuses(&[&TRAIN[..], &resume].concat(), &["cannot resume from run.mfm", "other options"]);
    folder.refuses(&[&train[..], &["--teacher", "plain.mfm"]].concat(), &["--learned-weighting", "--teacher"]);
    folder.refuses(&[&train[..], &["--adaptive-power", "1"]].concat(), &["--learned-weighting", "--adaptive-power"]);
}

#[test]
fn a_run_in_a_folder() {
    let folder = Folder::new();
    folder.points();
    let small = ["train", "points.csv", "--steps", "20", "--width", "24", "--depth", "2", "--batch", "64"];
    let train = [&small[..], &["--run", "run", "--log-every", "4", "--checkpoint-every", "8"]].concat();
    folder.refuses(&["plot", "run"], &["run holds no run"]);
    folder.refuses(&["train", "--run", "run", "--resume"], &["<DATA> or --digits"]);
    folder.succeeds(&train);
    folder.succeeds(&[&small[..], &["-o", "model.mfm"]].concat());
    assert!(folder.read("run/model.mfm") == folder.read("model.mfm"), "a folder changes the weights");
    let log = String::from_utf8(folder.read("run/log.jsonl")).unwrap();
    let rows: Vec<serde_json::Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(rows.iter().map(|row| row["step"].as_u64().unwrap()).collect::<Vec<_>>(), [4, 8, 12, 16, 20]);
    for name in ["diagonal", "consistency", "gradient_norm", "learning_rate", "seconds"] {
        assert!(rows.iter().all(|row| row[name].as_f64().unwrap() > 0.0), "{name}: {log}");
    }
    let config: serde_json::Value = serde_json::from_slice(&folder.read("run/config.json")).unwrap();
    assert_eq!((config["steps"].as_u64(), config["data"].as_str(), config["ema"].as_f64()), (Some(20), Some("points.csv"), Some(0.999)));

    let plot = folder.succeeds(&["plot", "run"]);
    assert!(plot.contains("run/losses.png, run/samples.png"), "{plot}");
    assert!(["run/losses.png", "run/samples.png"].iter().all(|name| folder.read(name).starts_with(b"\x89PNG")));

    // The last checkpoint is of step 16; the log beyond it, and a torn line, are made again.
    let whole = folder.read("run/model.mfm");
    folder.write("run/model.mfm", b"");
    folder.write("run/log.jsonl", (log + "{\"step\":24,\"dia").as_bytes());
    let (_, err) = texts(&folder.run(&["train", "--run", "run", "--resume"]));
    assert!(err.contains("going on after step 16"), "{err}");
    assert!(folder.read("run/model.mfm") == whole, "a resumed run differs");
    let again = String::from_utf8(folder.read("run/log.jsonl")).unwrap();
    assert_eq!(again.lines().count(), 5);

    folder.refuses(&train, &["--run run", "it holds a run", "--resume"]);
    let resume = ["train", "--run", "run", "--resume"];
    folder.refuses(&[&resume[..], &["--width", "25"]].concat(), &["--width 25", "was started with 24"]);
    // Two processes at once would write one log.
    {
        let lock = std::fs::File::open(folder.path("run/lock")).unwrap();
        lock.lock().unwrap();
        folder.refuses(&resume, &["--run run: another process is at work in this folder"]);
        assert!(folder.succeeds(&["plot", "run"]).contains("run/losses.png"));
    }
    folder.refuses(&[&resume[..], &["--digits"]].concat(), &["--digits: the run", "was started without it"]);
    folder.refuses(&[&resume[..], &["--checkpoint", "c.mfm"]].concat(), &["--run", "--checkpoint"]);
    folder.write("run/log.jsonl", b"{}\n");
    folder.refuses(&resume, &["run/log.jsonl: line 1"]);
    for damaged in [&b"[1]"[..], b"{\n"] {
        folder.write("run/config.json", damaged);
        folder.refuses(&resume, &["run/config.json: the options of the run are damaged: "]);
    }
}

#[test]
fn a_run_that_left_nothing_makes_way() {
    let folder = Folder::new();
    folder.points();
    let small = ["train", "points.csv", "--steps", "20", "--width", "24", "--depth", "2", "--batch", "64"];
    folder.succeeds(&[&small[..], &["-o", "model.mfm"]].concat());
    let train = [&small[..], &["--run", "run"]].concat();
    let (_, err) = texts(&folder.run(&[&train[..], &["--learning-rate", "1e39", "--warm-up", "0"]].concat()));
    assert!(err.contains("step 1: it would make first.weight NaN or infinite"), "{err}");
    assert!(folder.path("run/config.json").exists() && !folder.path("run/checkpoint.mfm").exists());
    // What it logged is of no use to another run.
    folder.write("run/log.jsonl", b"{\"step\":1}\n");
    {
        let lock = std::fs::File::open(folder.path("run/lock")).unwrap();
        lock.lock().unwrap();
        folder.refuses(&train, &["--run run: another process is at work in this folder"]);
    }
    folder.succeeds(&train);
    assert!(folder.read("run/model.mfm") == folder.read("model.mfm"), "what was left changes the weights");
    let config: serde_json::Value = serde_json::from_slice(&folder.read("run/config.json")).unwrap();
    assert_eq!((config["learning-rate"].as_f64(), config["warm-up"].as_u64()), (Some(0.001), Some(100)));
    folder.refuses(&train, &["--run run", "it holds a run", "--resume"]);
}

#[test]
fn fine_tuning_in_a_folder() {
    let folder = Folder::with_model();
    let small = ["--reward", "linear:1,0", "--steps", "20", "--batch", "64", "--samples", "100"];
    let kept = ["--run", "run", "--checkpoint-every", "8", "--log-every", "4"];
    let tune = [&["finetune", "model.mfm"], &small[..], &kept].concat();
    let resume = ["finetune", "--run", "run", "--resume"];
    folder.refuses(&resume, &["<MODEL> and --reward"]);
    folder.write("three.csv", b"1,2,3\n4,5,6\n");
    folder.refuses(&[&tune[..], &["--data", "three.csv"]].concat(), &["three.csv: each sample has 3 numbers"]);
    for wrong in [&["--gradient-free", "--draws", "1"][..], &["--earliest", "0"]] {
        folder.refuses(&[&tune[..], wrong].concat(), &["model.mfm"]);
    }
    assert!(!folder.path("run").exists(), "a run that was refused left a folder");
    folder.succeeds(&tune);
    folder.succeeds(&[&["finetune", "model.mfm", "-o", "tuned.mfm"], &small[..]].concat());
    assert!(folder.read("run/model.mfm") == folder.read("tuned.mfm"), "a folder changes the weights");
    let log = String::from_utf8(folder.read("run/log.jsonl")).unwrap();
    let rows: Vec<serde_json::Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    // Every fourth step, and every second, by which the mean reward is estimated.
    assert_eq!(rows.iter().map(|row| row["step"].as_u64().unwrap()).collect::<Vec<_>>(), (1..=10).map(|k| 2 * k).collect::<Vec<_>>());
    for name in ["loss", "gradient_norm", "learning_rate", "effective_sample_size", "base_reward", "mean_reward", "seconds"] {
        assert!(rows.iter().all(|row| row[name].is_number()), "{name}: {log}");
    }
    let config: serde_json::Value = serde_json::from_slice(&folder.read("run/config.json")).unwrap();
    assert_eq!((config["command"].as_str(), config["model"].as_str()), (Some("finetune"), Some("model.mfm")));

    let plot = folder.succeeds(&["plot", "run"]);
    assert!(plot.contains("mean reward") && plot.contains("run/losses.png, run/samples.png"), "{plot}");
    assert!(["run/losses.png", "run/samples.png"].iter().all(|name| folder.read(name).starts_with(b"\x89PNG")));

    // The last checkpoint is of step 16.
    let whole = folder.read("run/model.mfm");
    folder.write("run/model.mfm", b"");
    let (_, err) = texts(&folder.run(&resume));
    assert!(err.contains("going on after step 16"), "{err}");
    assert!(folder.read("run/model.mfm") == whole, "a resumed run differs");

    folder.refuses(&tune, &["--run run", "it holds a run", "--resume"]);
    folder.refuses(&[&resume[..], &["--strength", "2"]].concat(), &["--strength 2", "was started with 1"]);
    folder.refuses(&["train", "--run", "run", "--resume"], &["run: the run that it holds is of mfm finetune, not of mfm train"]);
}
