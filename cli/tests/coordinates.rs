//! Tables of columns far from zero and of unequal scale: a model of them is, number by number, one of the columns standardised by hand, whose numbers are mapped
//! by hand.

#![allow(clippy::unwrap_used)] // also in helpers of tests

mod common;

use common::{Folder, rows};
use serde_json::Value;

const SMALL: [&str; 11] = ["--steps", "30", "--width", "16", "--depth", "2", "--batch", "32", "--learning-rate", "3e-3", "--ema=0.9"];

fn text(rows: &[Vec<f32>]) -> Vec<u8> {
    rows.iter().map(|row| row.iter().map(f32::to_string).collect::<Vec<_>>().join(",") + "\n").collect::<String>().into_bytes()
}

/// A folder with a table, a model of it, the same standardised by hand, and a raw model of that.
struct Both {
    folder: Folder,
    mean: Vec<f64>,
    scale: Vec<f64>,
}

impl Both {
    fn new() -> Self {
        let folder = Folder::new();
        let point = |k: f32| vec![50.0 + (0.7 * k).sin(), -20_000.0 + 1000.0 * ((k * 0.37).cos() - (k * 0.7).sin()), 7.1];
        let data: Vec<Vec<f32>> = (0..60).map(|k| point(k as f32)).collect();
        folder.write("x.csv", &text(&data));
        folder.succeeds(&[&["train", "x.csv", "-o", "x.mfm"], &SMALL[..]].concat());
        let info = folder.succeeds(&["info", "x.mfm", "--json", "-"]);
        let info: Value = serde_json::from_str(&info).unwrap();
        let numbers = |key: &str| info[key].as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect::<Vec<_>>();
        let both = Self { folder, mean: numbers("mean"), scale: numbers("scale") };
        assert!((both.mean[0] - 50.0).abs() < 0.2 && (both.mean[1] + 20_000.0).abs() < 200.0 && both.mean[2] == 7.1);
        assert!((both.scale[0] - 0.7).abs() < 0.1 && (both.scale[1] - 1000.0).abs() < 100.0 && both.scale[2] == 1.0, "{:?}", both.scale);
        let states: Vec<Vec<f32>> = vec![vec![50.3, -19_500.0, 7.0], vec![49.2, -21_200.0, 7.5]];
        both.folder.write("x-states.csv", &text(&states));
        both.folder.write("z-states.csv", &text(&both.by_hand(&states)));
        both.folder.write("z.csv", &text(&both.by_hand(&data)));
        both.folder.succeeds(&[&["train", "z.csv", "-o", "z.mfm", "--raw"], &SMALL[..]].concat());
        both.rewards();
        both
    }

    fn by_hand(&self, rows: &[Vec<f32>]) -> Vec<Vec<f32>> {
        let row = |row: &Vec<f32>| (0..3).map(|k| ((f64::from(row[k]) - self.mean[k]) / self.scale[k]) as f32).collect();
        rows.iter().map(row).collect()
    }

    /// −|A x − y|²/2 in `x.json`, for A = diag(2, 1/500, 1), as a reward of z in `z.json`.
    fn rewards(&self) {
        let (a, centre) = ([2.0, 0.002, 1.0], [51.0, -19_000.0, 7.0]);
        let file = |a: [f64; 3], y: [f64; 3]| {
            format!("{{\"a\": [[{}, 0, 0], [0, {}, 0], [0, 0, {}]], \"y\": {y:?}, \"sigma\": 1}}", a[0], a[1], a[2])
        };
        let each = |of: &dyn Fn(usize) -> f64| [of(0), of(1), of(2)];
        self.folder.write("x.json", file(a, each(&|k| a[k] * centre[k])).as_bytes());
        let z = file(each(&|k| a[k] * self.scale[k]), each(&|k| a[k] * (centre[k] - self.mean[k])));
        self.folder.write("z.json", z.as_bytes());
    }

    /// Runs a command on both, where `?` in a word stands for x and z.
    fn run(&self, line: &[&str]) -> [String; 2] {
        ["x", "z"].map(|name| {
            let words: Vec<String> = line.iter().map(|word| word.replace('?', name)).collect();
            self.folder.succeeds(&words.iter().map(String::as_str).collect::<Vec<_>>())
        })
    }

    fn reports(&self, line: &[&str]) -> [Value; 2] {
        self.run(&[line, &["--json", "-"]].concat()).map(|text| serde_json::from_str(&text).unwrap())
    }

    /// Checks that rows in the data's units are those of z, mapped.
    #[track_caller]
    fn same_rows(&self, x: &[Vec<f64>], z: &[Vec<f64>]) {
        assert!(x.len() == z.len() && !x.is_empty());
        for (x, z) in x.iter().zip(z) {
            for k in 0..3 {
                let mapped = self.mean[k] + self.scale[k] * z[k];
                // A hundred units in the last place of x, and as much of what the steps before it rounded.
                assert!((x[k] - mapped).abs() < 1e-5 * (self.mean[k].abs() + self.scale[k]), "{x:?} {z:?}");
            }
        }
    }

    #[track_caller]
    fn same_samples(&self, line: &[&str]) {
        let [x, z] = self.run(line);
        self.same_rows(&rows(&x), &rows(&z));
    }
}

#[track_caller]
fn close(a: &Value, b: &Value) {
    match (a, b) {
        (Value::Array(a), Value::Array(b)) => {
            assert!(a.len() == b.len() && !a.is_empty());
            a.iter().zip(b).for_each(|(a, b)| close(a, b));
        }
        _ => {
            let (a, b) = (a.as_f64().unwrap(), b.as_f64().unwrap());
            assert!((a - b).abs() < 1e-3 * (1.0 + a.abs()), "{a} {b}");
        }
    }
}

#[test]
fn samples_posteriors_and_values() {
    let both = Both::new();
    for method in [&[][..], &["--steps", "3"], &["--refine", "2"], &["--ode", "8"], &["--sde", "8"]] {
        both.same_samples(&[&["sample", "?.mfm", "-n", "20"], method].concat());
    }
    let written = both.run(&["sample", "?.mfm", "-n", "5", "-o", "?-s.npy"]);
    assert!(written.iter().all(|table| table.contains("evaluations")));
    // What was written is read again as a state of the end.
    both.same_samples(&["posterior", "?.mfm", "--state", "?-s.npy", "--time", "1", "--draws", "1"]);
    for time in ["0", "0.3", "0.9"] {
        both.same_samples(&["posterior", "?.mfm", "--state", "?-states.csv", "--time", time, "--draws", "4"]);
        let value = ["value", "?.mfm", "--state", "?-states.csv", "--time", time, "--draws", "16", "--reward", "observation:?.json"];
        let [x, z] = both.reports(&[&value[..], &["--gradient", "--truth", "8", "--truth-steps", "4"]].concat());
        close(&x["values"], &z["values"]);
        close(&x["truth"]["values"], &z["truth"]["values"]);
        let gradients = |report: &Value| -> Vec<Vec<f64>> { serde_json::from_value(report["gradients"].clone()).unwrap() };
        for (x, z) in gradients(&x).iter().zip(gradients(&z)) {
            for k in 0..3 {
                assert!((x[k] * both.scale[k] - z[k]).abs() < 1e-3 * (1.0 + z[k].abs()), "{x:?} {z:?}");
            }
        }
    }
}

#[test]
fn steering_and_search() {
    let both = Both::new();
    for estimator in ["unsteered", "dps", "mfm-g", "mfm-gf", "resampled", "mcmc", "best-of-n", "smc", "mfm-smc", "search"] {
        let steer = ["steer", "?.mfm", "--reward", "observation:?.json", "--estimator", estimator, "--steps", "4", "-n", "6"];
        let draws: &[&str] = if ["unsteered", "dps", "smc"].contains(&estimator) { &[] } else { &["--draws", "4"] };
        let [x, z] = both.reports(&[&steer, draws].concat());
        let rows = |report: &Value| -> Vec<Vec<f64>> { serde_json::from_value(report["rows"].clone()).unwrap() };
        both.same_rows(&rows(&x), &rows(&z));
        close(&x["mean_reward"], &z["mean_reward"]);
        close(&x["best_reward"], &z["best_reward"]);
    }
    both.same_samples(&["search", "?.mfm", "--reward", "observation:?.json", "--steps", "3", "--draws", "4", "-n", "5"]);
}

#[test]
fn fine_tuning_keeps_them() {
    let both = Both::new();
    for extra in [&[][..], &["--data", "?.csv"], &["--gradient-free"]] {
        let tune = ["finetune", "?.mfm", "--reward", "observation:?.json", "--out", "?-tuned.mfm", "--steps", "3", "--batch", "32"];
        let [x, z] = both.reports(&[&tune[..], &["--samples", "32", "--follow", "1"], extra].concat());
        close(&x["mean_reward_before"], &z["mean_reward_before"]);
        close(&x["mean_reward_after"], &z["mean_reward_after"]);
        both.same_samples(&["sample", "?-tuned.mfm", "-n", "5", "--ode", "4"]);
    }
}

#[test]
fn a_pupil_has_its_teachers() {
    let both = Both::new();
    both.run(&[&["train", "?.csv", "-o", "?-pupil.mfm", "--teacher", "?.mfm"], &SMALL[..]].concat());
    both.same_samples(&["sample", "?-pupil.mfm", "-n", "5"]);
    both.run(&[&["train", "?.csv", "-o", "?-on.mfm", "--initial", "?.mfm"], &SMALL[..]].concat());
    both.same_samples(&["sample", "?-on.mfm", "-n", "5"]);
    let refused = |options: &[&str], words: &[&str]| {
        both.folder.refuses(&[&["train", "x.csv", "-o", "new.mfm"], options, &SMALL[..]].concat(), words);
    };
    refused(&["--raw", "--teacher", "x.mfm"], &["--raw: x.mfm was trained on standardised columns"]);
    refused(&["--teacher", "x.mfm", "--initial", "z.mfm"], &["x.mfm and z.mfm work in different coordinates"]);
}

#[test]
fn a_run_goes_on_in_them() {
    let both = Both::new();
    let kept = ["--checkpoint", "run.mfm", "--checkpoint-every", "10", "--resume"];
    // The checkpoint of step 30 is all that is left of the run.
    both.folder.succeeds(&[&["train", "x.csv", "-o", "whole.mfm"], &SMALL[..], &kept[..4]].concat());
    both.folder.succeeds(&[&["train", "x.csv", "-o", "again.mfm"], &SMALL[..], &kept].concat());
    assert!(both.folder.read("again.mfm") == both.folder.read("whole.mfm"));
    assert!(both.folder.read("whole.mfm") == both.folder.read("x.mfm"));
    both.same_rows(&rows(&both.folder.succeeds(&["sample", "run.mfm"])), &rows(&both.folder.succeeds(&["sample", "z.mfm"])));
    let other = both.folder.read("x.csv");
    both.folder.write("x.csv", &[&other[..], b"51,-20000,7.1\n"].concat());
    let output = both.folder.run(&[&["train", "x.csv", "-o", "again.mfm", "-q"], &SMALL[..], &kept].concat());
    common::is_refused(&output, &["cannot resume from run.mfm"]);

    let run = [&["train", "z.csv", "--run", "run"], &SMALL[..]].concat();
    both.folder.succeeds(&run);
    assert!(both.folder.succeeds(&["plot", "run"]).contains("losses.png"));
    both.folder.succeeds(&["train", "--run", "run", "--resume"]);
}

/// A time in seconds, 1.7·10⁹ ± 10, and 10⁶ ± 1, which single precision knows in steps of 128 and of 1/16: all the same the model is that of the columns
/// standardised by hand, and its samples are those mapped by hand.
#[test]
fn columns_far_from_zero() {
    let folder = Folder::new();
    let write = |name: &str, rows: &[[f64; 2]]| {
        folder.write(name, rows.iter().map(|[a, b]| format!("{a},{b}\n")).collect::<String>().as_bytes());
    };
    let data: Vec<[f64; 2]> = (0..60).map(f64::from).map(|k| [1.7e9 + 10.0 * (0.7 * k).sin(), 1e6 + (0.37 * k).cos()]).collect();
    write("x.csv", &data);
    folder.succeeds(&[&["train", "x.csv", "-o", "x.mfm"], &SMALL[..]].concat());
    let info: Value = serde_json::from_str(&folder.succeeds(&["info", "x.mfm", "--json", "-"])).unwrap();
    let number = |key: &str, k: usize| info[key][k].as_f64().unwrap();
    for (k, expected) in [(0, 10.0), (1, 1.0)] {
        // A sine's deviation.
        assert!((number("scale", k) / expected - 0.5f64.sqrt()).abs() < 0.03, "{info}");
    }
    let leave = |z: &[f64]| -> Vec<f64> { (0..2).map(|k| number("mean", k) + number("scale", k) * z[k]).collect() };
    let enter = |rows: &[[f64; 2]]| -> Vec<[f64; 2]> {
        rows.iter().map(|row| [0, 1].map(|k| (row[k] - number("mean", k)) / number("scale", k))).collect()
    };
    write("z.csv", &enter(&data));
    folder.succeeds(&[&["train", "z.csv", "-o", "z.mfm", "--raw"], &SMALL[..]].concat());
    let states = [[1.7e9 + 3.0, 1e6 - 0.5], [1.7e9 - 12.0, 1e6 + 1.0]];
    write("x-states.csv", &states);
    write("z-states.csv", &enter(&states));
    let [x, z] = ["x", "z"].map(|name| {
        let (model, states) = (format!("{name}.mfm"), format!("{name}-states.csv"));
        folder.succeeds(&["sample", &model, "-n", "40", "-o", &format!("{name}.npy")]);
        folder.succeeds(&["sample", &model, "-n", "40", "-o", &format!("{name}-s.csv")]);
        let report: Value = serde_json::from_str(&folder.succeeds(&["sample", &model, "-n", "40", "--json", "-"])).unwrap();
        let file = String::from_utf8(folder.read(&format!("{name}-s.csv"))).unwrap();
        [
            rows(&folder.succeeds(&["sample", &model, "-n", "40"])),
            rows(&file),
            serde_json::from_value(report["rows"].clone()).unwrap(),
            rows(&folder.succeeds(&["posterior", &model, "--state", &states, "--time", "0.5", "--draws", "4"])),
            // What was written is read again as a state of the end, where nothing is left to flow.
            rows(&folder.succeeds(&["posterior", &model, "--state", &format!("{name}.npy"), "--time", "1", "--draws", "1"])),
        ]
    });
    assert_ne!(x[0][0][0].fract(), 0.0);
    for (x, z) in x.iter().flatten().zip(z.iter().flatten()) {
        let mapped = leave(z);
        // The digits that z has.
        assert!((0..2).all(|k| (x[k] - mapped[k]).abs() < 1e-6 * number("scale", k) * (1.0 + z[k].abs())), "{x:?} {mapped:?}");
    }
    folder.succeeds(&["sample", "x.mfm", "-o", "x.png"]);

    // Rewards and classifiers take the numbers themselves, in single precision.
    let far = ["column 1 of the data has the mean 1.70000e9", "too far from zero", "subtract a constant"];
    let refused = |line: &[&str], place: &str| folder.refuses(line, &[&[place], &far[..]].concat());
    refused(&["steer", "x.mfm", "--reward", "linear:1,1"], "x.mfm: ");
    refused(&["value", "x.mfm", "--reward", "linear:1,1", "--state", "x-states.csv", "--time", "0.5"], "x.mfm: ");
    refused(&["finetune", "x.mfm", "--reward", "linear:1,1", "--out", "y.mfm"], "x.mfm: ");
    let labelled = data.iter().enumerate().map(|(k, [a, b])| format!("{a},{b},{}\n", k % 2)).collect::<String>();
    folder.write("c.csv", labelled.as_bytes());
    let classifier = ["classifier", "c.csv", "-o", "c.mfm", "--steps", "2", "--width", "4"];
    refused(&classifier, "c.csv: ");
    folder.succeeds(&[&classifier[..], &["--raw"]].concat());
}

#[test]
fn a_table_that_does_not_vary_is_learnt_as_it_is() {
    let folder = Folder::new();
    for count in [1, 7, 8] {
        folder.write("x.csv", "0.1,0.2,300000\n".repeat(count).as_bytes());
        for raw in [&[][..], &["--raw"]] {
            folder.succeeds(&[&["train", "x.csv", "-o", "x.mfm"], &SMALL[..], raw].concat());
        }
    }
    let info = folder.succeeds(&["info", "x.mfm"]);
    assert!(info.contains("the data's own"), "{info}");
}

/// The class is where a number of deviation 0.01 lies, beside one of 1,000 that says nothing, both far from zero.
#[test]
fn a_classifier_learns_from_columns_of_any_scale() {
    let folder = Folder::new();
    let line = |k: u32| {
        let (class, k) = (k % 2, f64::from(k));
        format!("{},{},{class}\n", 5.0 + 0.01 * f64::from(class) + 0.002 * (1.7 * k).sin(), -20_000.0 + 1000.0 * (0.9 * k).cos())
    };
    folder.write("x.csv", (0..200).map(line).collect::<String>().as_bytes());
    let accuracy = |more: &[&str]| {
        let options = ["classifier", "x.csv", "-o", "c.mfm", "--steps", "200", "--width", "16", "--batch", "64", "--json", "-"];
        let report: Value = serde_json::from_str(&folder.succeeds(&[&options, more].concat())).unwrap();
        report["held_out_accuracy"].as_f64().unwrap()
    };
    assert!(accuracy(&[]) > 0.95);
    assert!(accuracy(&["--raw"]) < 0.8);
}

#[test]
fn images_stay_as_they_are() {
    let folder = Folder::new();
    folder.succeeds(&[&["train", "--digits", "-o", "d.mfm", "--steps", "1"], &SMALL[2..]].concat());
    assert!(folder.succeeds(&["info", "d.mfm"]).contains("the data's own"));
}
