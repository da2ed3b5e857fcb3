//! The demo and the 2D experiment from end to end, with a few steps of everything: what they write, not how good it is.
#![allow(clippy::unwrap_used)]

mod common;

use common::{Folder, texts};
use serde_json::Value;

/// Runs a command in its quick form, and checks its pictures and that no number in its results is missing.
fn results(arguments: &[&str], pictures: &[&str]) -> Value {
    let folder = Folder::new();
    folder.succeeds(&[arguments, &["--quick", "--out", "pictures", "--json", "results.json"]].concat());
    for picture in pictures {
        assert!(folder.read(&format!("pictures/{picture}.png")).starts_with(b"\x89PNG"), "{picture}");
    }
    serde_json::from_slice(&folder.read("results.json")).unwrap()
}

/// The rows' estimators, after a check that each row has all `columns`, as numbers.
fn estimators(results: &Value, columns: &[&str]) -> Vec<String> {
    let rows = results["rows"].as_array().unwrap();
    for row in rows {
        for column in ["draws", "steps", "evaluations", "seconds"].iter().chain(columns) {
            assert!(row[column].is_number(), "{column} is missing in {row}");
        }
        assert!(row["sampler"].is_string(), "{row}");
    }
    rows.iter().map(|row| row["estimator"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn the_demo_runs() {
    let results = results(&["demo"], &["samples", "posteriors", "values", "steered", "classes"]);
    assert_eq!(estimators(&results, &["l2"]), ["unsteered", "dps", "mfm-g", "mfm-gf", "resampled", "mcmc"]);
    assert!(results["seconds"].is_number());
    for row in results["rows"].as_array().unwrap() {
        let total: f64 = row["classes"].as_array().unwrap().iter().map(|share| share.as_f64().unwrap()).sum();
        assert!((total - 1.0).abs() < 1e-9, "{row}");
    }
}

/// 200 images of 12 × 12, of noise but for a bright row that tells the class.
fn idx_digits(folder: &Folder) {
    let header =
        |axes: &[u32]| [&[0, 0, 8, axes.len() as u8], &axes.iter().flat_map(|axis| axis.to_be_bytes()).collect::<Vec<_>>()[..]].concat();
    let pixel = |i: usize, k: usize| if k / 12 == i % 10 { 230 } else { ((i * 31 + k * 17) % 40) as u8 };
    let images = (0..200).flat_map(|i| (0..144).map(move |k| pixel(i, k)));
    folder.write("a-images-idx3-ubyte", &header(&[200, 12, 12]).into_iter().chain(images).collect::<Vec<u8>>());
    folder.write("a-labels-idx1-ubyte", &header(&[200]).into_iter().chain((0..200).map(|i| (i % 10) as u8)).collect::<Vec<u8>>());
}

#[test]
fn the_experiment_on_mnist_runs_and_reuses_its_models() {
    let folder = Folder::new();
    idx_digits(&folder);
    let options = ["mnist", "--quick", "--data", "a-images-idx3-ubyte", "--size", "16x1x2", "--patch", "4", "--out", "run"];
    let steps = ["--batch", "16", "--flow-steps", "4", "--map-steps", "3", "--fine-tuning-steps", "3"];
    let results = |more: &[&str], json: &str| -> Value {
        folder.succeeds(&[&options, &steps[..], more, &["--json", json]].concat());
        serde_json::from_slice(&folder.read(json)).unwrap()
    };
    let first = results(&[], "first.json");
    for picture in ["samples", "posteriors", "values", "steered", "classes"] {
        assert!(folder.read(&format!("run/{picture}.png")).starts_with(b"\x89PNG"), "{picture}");
    }
    for (model, warning) in [("flow", "was trained by velocities alone"), ("map", ""), ("fine-tuned", "was fine-tuned in its drift alone")]
    {
        let (_, err) = texts(&folder.run(&["sample", &format!("run/{model}.mfm"), "-n", "1", "-o", "one.csv"]));
        assert!(err.contains(warning) && err.contains("warning: ") != warning.is_empty(), "{model}: {err}");
    }
    let names = estimators(&first, &["l2"]);
    for name in ["unsteered", "dps", "mfm-g", "mfm-gf", "resampled", "mcmc", "best-of-n", "smc", "mfm-smc", "search", "fine-tuned"] {
        assert!(names.iter().any(|other| other == name), "{name} is missing in {names:?}");
    }
    assert!(first["quality"].as_array().unwrap().iter().all(|row| row["frechet"].as_f64().unwrap() > 0.0));
    let second = results(&["--reuse"], "second.json");
    for stage in ["flow_seconds", "map_seconds", "fine_tuning_seconds"] {
        assert!(first[stage].is_number() && second[stage].is_null(), "{stage}");
    }
    let without_time = |results: &Value| -> Vec<String> {
        results["rows"].as_array().unwrap().iter().map(|row| format!("{} {} {}", row["estimator"], row["l2"], row["classes"])).collect()
    };
    assert_eq!(without_time(&first), without_time(&second));
    assert_eq!(first["quality"], second["quality"]);
    let some = results(&["--reuse", "--estimators", "dps,unsteered"], "some.json");
    assert_eq!(estimators(&some, &["l2"]), ["unsteered", "dps", "dps", "fine-tuned"]);
    let other = ["mnist", "--quick", "--reuse", "--data", "a-images-idx3-ubyte", "--size", "16x2x2", "--patch", "4", "--out", "run"];
    folder.refuses(&other, &["flow.mfm is of another form"]);
    // Nor is a model taken for one of other steps, another batch or another seed.
    let refuses = |option: usize, value: &str, words: &[&str]| {
        let mut steps = steps;
        steps[option] = value;
        folder.refuses(&[&options, &steps[..], &["--reuse"]].concat(), words);
    };
    refuses(5, "5", &["run/map.mfm was made with 3 steps, but these options ask for 5 steps"]);
    refuses(1, "17", &["run/flow.mfm was made with", "batch 16", "batch 17"]);
    folder.refuses(&[&options, &steps[..], &["--reuse", "--seed", "1"]].concat(), &["run/flow.mfm was made with the seed 0", "the seed 1"]);
    // Killed while it trains the map, it goes on to the same map.
    let longer = [&options, &steps[..2], &["--flow-steps", "4", "--map-steps", "200", "--fine-tuning-steps", "3"]].concat();
    folder.succeeds(&longer);
    let map = folder.read("run/map.mfm");
    let checkpoint = folder.path("run/map.mfm.checkpoint");
    let mut child = folder.command(&[&longer[..], &["-q"]].concat()).spawn().unwrap();
    while !checkpoint.exists() && child.try_wait().unwrap().is_none() {
        std::thread::sleep(std::time::Duration::from_micros(200));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(checkpoint.exists(), "it came to its end before it was killed");
    assert!(!folder.path("run/map.mfm").exists(), "a model of the run before is left to be taken");
    let (_, err) = texts(&folder.run(&[&longer[..], &["--reuse"]].concat()));
    assert!(err.contains("going on after step"), "{err}");
    assert!(!checkpoint.exists(), "the checkpoint of a model that is done is left");
    assert!(folder.read("run/map.mfm") == map, "a resumed map differs");
}

#[test]
fn the_experiment_in_2d_runs() {
    for (map, options) in [("network", &["toy2d"][..]), ("exact", &["toy2d", "--exact"])] {
        let results = results(options, &["fields", "posteriors", "steered"]);
        let names = estimators(&results, &["sw2", "mmd", "seeds"]);
        assert!(["dps", "mfm-g", "mfm-gf", "resampled", "mcmc"].iter().all(|name| names.iter().any(|other| other == name)), "{names:?}");
        assert_eq!(names.iter().any(|name| name == "exact gradient"), map == "exact");
        assert!(results["floor"].as_f64().unwrap() > 0.0);
        assert_eq!(results["map"], map);
    }
}

#[test]
fn inverse_problems_run() {
    let problem = ["toy2d", "--problem", "inverse", "--dim", "5", "--observations", "2"];
    for (map, exact) in [("network", &[][..]), ("exact", &["--exact"])] {
        let results = results(&[&problem, exact].concat(), &[]);
        assert_eq!((results["map"].as_str(), results["dimension"].as_u64()), (Some(map), Some(5)));
        assert_eq!(estimators(&results, &["sw2", "mmd", "seeds"]).len(), 9);
    }
}
