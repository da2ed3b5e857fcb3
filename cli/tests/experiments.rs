//! The demo and the 2D experiment from end to end, with a few steps of everything: what they write, not how good it is.
#![allow(clippy::unwrap_used)]

mod common;

use common::Folder;
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
        assert_eq!(estimators(&results, &["sw2", "mmd", "seeds"]).len(), 7);
    }
}
