//! Tables of numbers, and images.

use mfm_cli::data::{LabelColumn, Standardisation, read};

pub fn csv(input: &[u8]) {
    table(input, "input.csv");
}

pub fn csv_gz(input: &[u8]) {
    table(input, "input.csv.gz");
}

pub fn npy(input: &[u8]) {
    table(input, "input.npy");
}

pub fn idx(input: &[u8]) {
    table(input, "input-images-idx3-ubyte");
}

/// There is a sentence that names the file, or a table of finite numbers.
fn table(input: &[u8], name: &str) {
    let some = [LabelColumn::First, LabelColumn::Last, LabelColumn::Number(2)];
    for labels in [LabelColumn::None, some[input.len() % 3]] {
        match read(input, name, labels) {
            Err(failure) => {
                assert!(failure.status() == 2 && failure.to_string().contains(name), "{failure}");
            }
            Ok(data) => {
                assert!(data.dimension > 0 && data.rows.len() == data.len() * data.dimension && !data.is_empty());
                assert!(data.rows.iter().all(|value| value.is_finite()));
                assert!(data.labels.as_ref().is_none_or(|labels| labels.len() == data.len()));
                assert_eq!(data.labels.is_some(), labels != LabelColumn::None);
                let Standardisation { mean, deviation } = Standardisation::of(&data);
                assert!(mean.iter().all(|mean| mean.is_finite()) && deviation >= 0.0);
            }
        }
    }
}
