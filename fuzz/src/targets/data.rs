//! Tables of numbers, images, and shards of latents.

use mfm_cli::data::{Image, LARGEST_SIDE, LabelColumn, Shard, read};
use mfm_nn::Coordinates;

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
                match Coordinates::of_data(&data.rows, data.dimension) {
                    Ok(coordinates) => assert_eq!(coordinates.mean().len(), data.dimension),
                    Err(error) => assert!(!error.to_string().is_empty()),
                }
            }
        }
    }
}

/// There is a sentence that names the file, or an image of values from −1 to 1.
pub fn image(input: &[u8]) {
    match Image::read(input, "input.png") {
        Err(failure) => assert!(failure.status() == 2 && failure.to_string().starts_with("input.png: "), "{failure}"),
        Ok(Image { shape: [channels, height, width], values }) => {
            assert!(channels == 1 || channels == 3);
            assert!((1..=LARGEST_SIDE).contains(&height) && (1..=LARGEST_SIDE).contains(&width));
            assert_eq!(values.len(), channels * height * width);
            assert!(values.iter().all(|value| (-1.0..=1.0).contains(value)));
        }
    }
}

/// There is a sentence that names the file, or a shard whose rows are finite or refused.
pub fn shard(input: &[u8]) {
    let names_it = |failure: mfm_cli::Failure| assert!(failure.status() == 2 && failure.to_string().starts_with("input: "), "{failure}");
    let shard = match Shard::read(input.to_vec(), "input") {
        Ok(shard) => shard,
        Err(failure) => return names_it(failure),
    };
    assert!(!shard.is_empty());
    let largest = shard.largest_label();
    for row in (0..shard.len()).take(64) {
        let mut values = Vec::new();
        match shard.append_row(row, &mut values) {
            Ok(()) => assert!(values.len() == shard.item().iter().product::<usize>() && values.iter().all(|value| value.is_finite())),
            Err(failure) => names_it(failure),
        }
        match (shard.label(row), &largest) {
            (Ok(label), Ok(largest)) => assert!(label <= *largest && label.is_some() == shard.has_labels()),
            (Ok(_), Err(_)) => {}
            (Err(failure), _) => names_it(failure),
        }
    }
}
