//! The 1,797 handwritten digits that ship with the program (`data/README.md`).

use super::{Dataset, LabelColumn, numbers, text};
use crate::failure::Result;

/// The side of a digit's image.
pub const DIGIT_SIDE: usize = 8;

static BYTES: &[u8] = include_bytes!("../../data/digits.csv.gz");

/// The digits: 64 pixels from −1 (paper) to 1 (ink), with their labels.
///
/// # Errors
/// None, unless the program itself is damaged.
pub fn digits() -> Result<Dataset> {
    let source = "the built-in digits";
    let mut data = numbers::into_dataset(text::read_gzip(BYTES, source)?, LabelColumn::Last, source)?;
    data.image = Some([1, DIGIT_SIDE, DIGIT_SIDE]);
    data.rows.iter_mut().for_each(|value| *value = *value / 8.0 - 1.0);
    Ok(data)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_there() {
        let data = digits().unwrap();
        assert_eq!((data.len(), data.dimension, data.label_count()), (1797, 64, 10));
        assert!(data.rows.iter().all(|value| (-1.0..=1.0).contains(value)));
        assert_eq!(&data.labels.as_ref().unwrap()[..5], [0, 1, 2, 3, 4]);
        assert_eq!(data.row(0)[2], 5.0 / 8.0 - 1.0);
    }
}
