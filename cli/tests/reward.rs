//! Rewards on images: inverse problems and classifiers, from files and from data.
#![allow(clippy::unwrap_used)] // helpers of tests

mod common;

use common::{Folder, texts};

const PNG: &[u8] = include_bytes!("images/grey.png");

/// A folder with a small model of the digits, and one of 16 × 16 images.
fn folder() -> Folder {
    let folder = Folder::new();
    let train = |data: &str, out: &str| {
        folder.succeeds(&["train", data, "-o", out, "--steps", "2", "--batch", "8", "--width", "8", "--depth", "1"]);
    };
    train("--digits", "digits.mfm");
    std::fs::create_dir_all(folder.path("images/only")).unwrap();
    folder.write("images/only/a.png", PNG);
    folder.write("images/only/b.png", PNG);
    folder.write("picture.png", PNG);
    folder
}

/// The mean reward of samples steered by best-of-two, as `--json` tells it.
fn steer(folder: &Folder, model: &str, reward: &str) -> f64 {
    let line =
        ["steer", model, "--reward", reward, "--estimator", "best-of-n", "--draws", "2", "-n", "4", "-o", "s.csv", "--json", "r.json"];
    folder.succeeds(&line);
    let report: serde_json::Value = serde_json::from_slice(&folder.read("r.json")).unwrap();
    report["mean_reward"].as_f64().unwrap()
}

#[test]
fn inverse_problems() {
    let folder = folder();
    let steer = |reward: &str| steer(&folder, "digits.mfm", reward);
    // The row of the digits as a file of its own: with sigma this small, the noise of what is observed here makes no difference.
    let digits = mfm_cli::data::digits().unwrap();
    let cells: Vec<String> = digits.row(11).iter().map(f32::to_string).collect();
    folder.write("clean.csv", format!("{}\n", cells.join(",")).as_bytes());
    let near = |a: f64, b: f64| assert!((a / b - 1.0).abs() < 1e-2, "{a} and {b}");
    near(steer("inpaint:2,2,4,4:digits@12:0.001"), steer("inpaint:2,2,4,4:clean.csv:0.001"));
    // What is hidden is not read.
    let changed: Vec<String> = (0..64).map(|k| if k == 3 * 8 + 3 { "9".into() } else { cells[k].clone() }).collect();
    folder.write("hidden.csv", format!("{}\n", changed.join(",")).as_bytes());
    assert_eq!(steer("inpaint:2,2,4,4:hidden.csv:0.1"), steer("inpaint:2,2,4,4:clean.csv:0.1"));
    assert_ne!(steer("inpaint:2,2,1,1:hidden.csv:0.1"), steer("inpaint:2,2,1,1:clean.csv:0.1"));
    // The same rectangle as a mask in a file.
    let is_hidden = |k: usize| (2..6).contains(&(k / 8)) && (2..6).contains(&(k % 8));
    let mask: Vec<&str> = (0..64).map(|k| if is_hidden(k) { "0" } else { "1" }).collect();
    folder.write("mask.csv", format!("{}\n", mask.join(",")).as_bytes());
    assert_eq!(steer("inpaint:mask.csv:clean.csv:0.1"), steer("inpaint:2,2,4,4:clean.csv:0.1"));
    // A picture has the truth and the observation above the samples: a row of 60 pixels for each, and up to two more lines of title.
    let height = |reward: &str| {
        folder.succeeds(&["steer", "digits.mfm", "--reward", reward, "--estimator", "best-of-n", "--draws", "2", "-n", "4", "-o", "p.png"]);
        let png = folder.read("p.png");
        u32::from_be_bytes(png[20..24].try_into().unwrap())
    };
    let plain = height(&format!("linear:{}", ["0"; 64].join(",")));
    assert_eq!((height("blur:0.8,zero:digits@12:0.1") - plain) / 60, 2);
    assert_eq!((height("inpaint:2,2,4,4:clean.csv:0.1") - plain) / 60, 1);
    // Noise is the seed's.
    assert_eq!(steer("blur:0.8,zero:digits@12:0.1"), steer("blur:0.8,zero:digits@12:0.1"));
    assert_ne!(steer("blur:0.8,zero:digits@12:0.1"), steer("blur:0.8,circular:digits@12:0.1"));

    let refuses = |reward: &str, words: &[&str]| folder.refuses(&["steer", "digits.mfm", "--reward", reward], words);
    refuses("inpaint:2,2,7,4:digits@12:0.1", &["the built-in digits", "2,2,7,4 reaches beyond its 8 × 8 pixels"]);
    refuses("inpaint:0,0,8,8:digits@12:0.1", &["hides every pixel"]);
    refuses("inpaint:0,0,2,2:digits@2000:0.1", &["there is no row 2000, only 1797"]);
    refuses("inpaint:0,0,2,2:picture.png:0.1", &["picture.png", "256 numbers", "takes 64"]);
    refuses("inpaint:picture.png:clean.csv:0.1", &["picture.png", "the mask has 256 numbers", "64 pixels"]);
    refuses("blur:1,zero:none.csv:0.1", &["none.csv", "no such file"]);
}

#[test]
fn classifiers_in_files() {
    let folder = folder();
    let table = folder.succeeds(&["classifier", "--digits", "-o", "digits-classifier.mfm", "--steps", "150"]);
    assert!(table.contains("digits-classifier.mfm"), "{table}");
    folder.succeeds(&["classifier", "--digits", "-o", "again.mfm", "--steps", "150"]);
    assert_eq!(folder.read("again.mfm"), folder.read("digits-classifier.mfm"));
    assert!(folder.succeeds(&["info", "again.mfm"]).contains("0 to 9"));
    let weights = "0,1,0,1,0,2,0,2,0,4";
    let reward = format!("classes:digits-classifier.mfm:{weights}");
    assert!(steer(&folder, "digits.mfm", &reward) < 0.0);
    folder.succeeds(&["classifier", "images", "-o", "only.mfm", "--steps", "2", "--batch", "2"]);
    assert!(folder.succeeds(&["info", "only.mfm"]).contains("0 only"));

    let refuses = |reward: &str, words: &[&str]| folder.refuses(&["steer", "digits.mfm", "--reward", reward], words);
    refuses("classes:only.mfm:1", &["only.mfm", "256 numbers", "has 64"]);
    refuses("classes:again.mfm:1,2", &["there are 10 classes, but 2 weights"]);
    refuses(&format!("classes:digits.mfm:{weights}"), &["digits.mfm", "holds a model, where a classifier is needed"]);
    folder.refuses(&["sample", "again.mfm"], &["again.mfm", "holds a classifier, where a model is needed"]);
    let bytes = folder.read("again.mfm");
    folder.write("cut.mfm", &bytes[..bytes.len() - 1]);
    refuses(&format!("classes:cut.mfm:{weights}"), &["cut.mfm", "cut off"]);
    let mut changed = bytes;
    let middle = changed.len() / 2;
    changed[middle] ^= 1;
    folder.write("changed.mfm", &changed);
    refuses(&format!("classes:changed.mfm:{weights}"), &["changed.mfm", "checksum is wrong"]);
    folder.write("unlabelled.csv", b"0.5\n0.25\n");
    folder.refuses(&["classifier", "unlabelled.csv", "-o", "m.mfm"], &["unlabelled.csv", "only column"]);
}

/// h is so large that hᵀx is infinite, or inf − inf.
#[test]
fn rewards_that_are_no_number() {
    let folder = Folder::with_model();
    folder.write("state.csv", b"0.5,0.5\n");
    let reward = "linear:1e300,-1e300";
    let output = folder.run(&["steer", "model.mfm", "--reward", reward, "-n", "3", "-q"]);
    assert_eq!(output.status.code(), Some(2));
    let (_, said) = texts(&output);
    assert!(said.contains("model.mfm: the reward of the samples is NaN or infinite at element "), "{said}");
    let value = ["value", "model.mfm", "--state", "state.csv", "--time", "0.5", "--draws", "4", "--reward", reward];
    folder.refuses(&value, &["model.mfm", "the reward of the samples is NaN or infinite at element"]);
}
