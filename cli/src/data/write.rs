//! Samples to files.

use super::Values;
use crate::failure::Result;
use crate::output;
use std::path::Path;

/// Writes rows of numbers as comma-separated text, each in the shortest form that reads back as the same number.
///
/// # Errors
/// One sentence naming the path.
pub fn save_csv(path: &Path, rows: &Values, dimension: usize) -> Result<()> {
    output::write(path, |file| rows.rows(dimension).iter().try_for_each(|row| writeln!(file, "{row}")))
}

/// Writes rows of numbers as a two-dimensional `.npy` array of f4 or f8.
///
/// # Errors
/// One sentence naming the path.
pub fn save_npy(path: &Path, rows: &Values, dimension: usize) -> Result<()> {
    let kind = if matches!(rows, Values::Single(_)) { "<f4" } else { "<f8" };
    let mut header = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': ({}, {dimension}), }}", rows.len() / dimension.max(1));
    // The data begin at a multiple of 64 bytes: magic, version and length take ten.
    let padded = (10 + header.len() + 1).next_multiple_of(64) - 10;
    header.push_str(&" ".repeat(padded - 1 - header.len()));
    header.push('\n');
    output::write(path, |file| {
        file.write_all(b"\x93NUMPY\x01\x00")?;
        file.write_all(&(header.len() as u16).to_le_bytes())?;
        file.write_all(header.as_bytes())?;
        match rows {
            Values::Single(rows) => rows.iter().try_for_each(|value| file.write_all(&value.to_le_bytes())),
            Values::Double(rows) => rows.iter().try_for_each(|value| file.write_all(&value.to_le_bytes())),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{LabelColumn, load};

    #[test]
    fn what_is_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let single = [0.1, -2.0, 3.0e-20, 4.0, f32::MAX, 6.0];
        let double = [0.1, 1_700_000_000.5, 3.0e-20, 4.0, -2.0, 6.0];
        for (name, save) in [("a.csv", save_csv as fn(&Path, &Values, usize) -> Result<()>), ("a.npy", save_npy)] {
            let path = folder.path().join(name);
            save(&path, &Values::Single(single.to_vec()), 3).unwrap();
            let data = load(&path, LabelColumn::None).unwrap();
            assert_eq!((data.rows.as_slice(), data.dimension), (&single[..], 3));
            save(&path, &Values::Double(double.to_vec()), 2).unwrap();
            let data = load(&path, LabelColumn::None).unwrap();
            assert_eq!((data.exact.as_slice(), data.dimension), (&double[..], 2));
        }
    }
}
