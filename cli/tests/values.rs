//! Values of many states, in files and in reports.
#![allow(clippy::unwrap_used)]

mod common;

use common::{Folder, rows};

#[test]
fn values_of_many_states_go_to_a_file() {
    let folder = Folder::with_model();
    folder.write("states.csv", b"0.1,0.2\n-0.4,0.3\n0.5,-0.5\n");
    let value = ["value", "model.mfm", "--state", "states.csv", "--time", "0.5", "--reward", "linear:1,0", "--draws", "16"];
    let all = ["--gradient", "--truth", "20", "--truth-steps", "2"];
    let report = |more: &[&str]| -> serde_json::Value {
        serde_json::from_str(&folder.succeeds(&[&value[..], more, &["--json", "-"]].concat())).unwrap()
    };
    let numbers = |of: &serde_json::Value| of.as_array().unwrap().iter().map(|value| value.as_f64().unwrap()).collect::<Vec<_>>();
    for (more, columns) in [(&[][..], 2), (&all[..1], 4), (&all[1..], 3), (&all, 5)] {
        let told = report(more);
        assert!(folder.succeeds(&[&value[..], more, &["-o", "v.csv"]].concat()).lines().all(|line| line.starts_with("one step")));
        let written = rows(&String::from_utf8(folder.read("v.csv")).unwrap());
        assert!(written.len() == 3 && written.iter().all(|row| row.len() == columns), "{written:?}");
        assert_eq!(written.iter().map(|row| row[0]).collect::<Vec<_>>(), numbers(&told["values"]));
        let size = written.iter().map(|row| row[1]).sum::<f64>() / 3.0;
        assert!((size - told["effective_sample_size"].as_f64().unwrap()).abs() < 1e-5 * size, "{size} {told}");
        if told["truth"].is_object() {
            assert_eq!(written.iter().map(|row| row[2]).collect::<Vec<_>>(), numbers(&told["truth"]["values"]));
        }
        if let Some(gradients) = told["gradients"].as_array() {
            for (row, gradient) in written.iter().zip(gradients) {
                assert_eq!(row[columns - 2..], numbers(gradient));
            }
        }
    }
    // As an array, with the same numbers.
    folder.succeeds(&[&value[..], &["--gradient", "-o", "v.npy"]].concat());
    let array = folder.read("v.npy");
    assert!(
        array.starts_with(b"\x93NUMPY")
            && String::from_utf8_lossy(&array[..128]).contains("'<f8', 'fortran_order': False, 'shape': (3, 4)")
    );
}
