//! Numbers from NumPy's `.npy` files, versions 1 to 3.

use super::Numbers;
use crate::failure::{Failure, Result, reason};
use std::io::Read;

const MAGIC: &[u8] = b"\x93NUMPY";

/// The numbers of a one-dimensional array (one column) or a two-dimensional one, of f4, f8, u1, i1, i2, i4 or i8.
///
/// What the header claims is held against the length of the file before any memory is taken.
pub(super) fn read(mut file: impl Read, source: &str) -> Result<Numbers> {
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).map_err(|error| Failure::input(format!("cannot read {source}: {}", reason(&error))))?;
    parse(&bytes).map_err(|what| Failure::input(format!("{source}: {what}")))
}

struct Header {
    kind: String,
    is_column_major: bool,
    shape: Vec<usize>,
}

fn parse(bytes: &[u8]) -> Result<Numbers, String> {
    if bytes.is_empty() {
        return Err("the file is empty".into());
    }
    let cut = || "the file is cut off inside its header".to_owned();
    let after = bytes.strip_prefix(MAGIC).ok_or("this is not a .npy file")?;
    let (version, after) = after.split_at_checked(2).ok_or_else(cut)?;
    let (length, after) = match version[0] {
        1 => after.split_at_checked(2).ok_or_else(cut)?,
        2 | 3 => after.split_at_checked(4).ok_or_else(cut)?,
        other => return Err(format!("version {other} of the .npy format is not known")),
    };
    let length = length.iter().rev().fold(0usize, |sum, &byte| sum << 8 | usize::from(byte));
    let (header, data) = after.split_at_checked(length).ok_or_else(cut)?;
    let header = header_of(std::str::from_utf8(header).map_err(|_| "the header is not text")?)?;

    let (rows, columns) = match header.shape[..] {
        [rows] => (rows, 1),
        [rows, columns] => (rows, columns),
        _ => return Err(format!("the array has {} axes, but must have one or two", header.shape.len())),
    };
    let (width, decode) = decoder(&header.kind)?;
    let count = rows.checked_mul(columns).ok_or("the shape in the header is impossible")?;
    let needed = count.checked_mul(width).ok_or("the shape in the header is impossible")?;
    if count == 0 {
        return Err("there are no data in it".into());
    }
    if data.len() < needed {
        return Err(format!("the file is cut off: its header promises {needed} bytes of data, {} are there", data.len()));
    }
    if data.len() > needed {
        return Err(format!("{} bytes follow the data that the header promises", data.len() - needed));
    }
    let value = |i: usize| decode(&data[i * width..(i + 1) * width]);
    let mut values = Vec::with_capacity(count);
    for row in 0..rows {
        for column in 0..columns {
            let value = value(if header.is_column_major { column * rows + row } else { row * columns + column });
            if !value.is_finite() {
                let what = if value.is_nan() { "NaN" } else { "infinite" };
                return Err(format!("row {}, column {}: the value is {what}", row + 1, column + 1));
            }
            values.push(value);
        }
    }
    Ok(Numbers { values, columns })
}

/// How an element is read.
type Decode = fn(&[u8]) -> f64;

/// The size of an element, and how it is read.
fn decoder(kind: &str) -> Result<(usize, Decode), String> {
    fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
        let mut array = [0; N];
        array.copy_from_slice(bytes);
        array
    }
    Ok(match kind {
        "<f4" => (4, |bytes| f64::from(f32::from_le_bytes(array(bytes)))),
        "<f8" => (8, |bytes| f64::from_le_bytes(array(bytes))),
        "|u1" | "<u1" => (1, |bytes| f64::from(bytes[0])),
        "|i1" | "<i1" => (1, |bytes| f64::from(bytes[0] as i8)),
        "<i2" => (2, |bytes| f64::from(i16::from_le_bytes(array(bytes)))),
        "<i4" => (4, |bytes| f64::from(i32::from_le_bytes(array(bytes)))),
        "<i8" => (8, |bytes| i64::from_le_bytes(array(bytes)) as f64),
        other => return Err(format!("elements of type {other:?} are not supported; use little-endian f4, f8, u1, i1, i2, i4 or i8")),
    })
}

/// The three entries of the header, a Python dictionary such as `{'descr': '<f4', 'fortran_order': False, 'shape': (3, 2), }`.
fn header_of(text: &str) -> Result<Header, String> {
    let entry = |name: &str| -> Result<&str, String> {
        let quoted = [format!("'{name}'"), format!("\"{name}\"")];
        let after = quoted.iter().find_map(|key| text.find(key.as_str()).map(|at| &text[at + key.len()..]));
        let after = after.and_then(|after| after.trim_start().strip_prefix(':'));
        after.map(str::trim_start).ok_or_else(|| format!("the header has no entry {name}"))
    };
    let descr = entry("descr")?;
    let quote = descr.chars().next().filter(|c| *c == '\'' || *c == '"').ok_or("records of several fields are not supported")?;
    let kind = descr[1..].split(quote).next().unwrap_or("").to_owned();
    let order = entry("fortran_order")?;
    let is_column_major = match order {
        _ if order.starts_with("True") => true,
        _ if order.starts_with("False") => false,
        _ => return Err("the header's fortran_order is neither True nor False".into()),
    };
    let shape = entry("shape")?;
    let inside = shape.strip_prefix('(').and_then(|rest| rest.split_once(')')).ok_or("the header's shape is not a tuple")?.0;
    let axes = inside.split(',').map(str::trim).filter(|axis| !axis.is_empty());
    let shape =
        axes.map(|axis| axis.parse().map_err(|_| format!("the axis {axis:?} in the header is not a length"))).collect::<Result<_, _>>()?;
    Ok(Header { kind, is_column_major, shape })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(header: &str, data: &[u8]) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend([1, 0]);
        bytes.extend((header.len() as u16).to_le_bytes());
        bytes.extend(header.as_bytes());
        bytes.extend(data);
        bytes
    }

    fn floats(values: &[f32]) -> Vec<u8> {
        values.iter().flat_map(|value| value.to_le_bytes()).collect()
    }

    #[test]
    fn both_orders() {
        let data = floats(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        let c = parse(&file("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }", &data)).unwrap();
        assert_eq!((c.values, c.columns), (vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 3));
        let fortran = parse(&file("{'descr': '<f4', 'fortran_order': True, 'shape': (2, 3), }", &data)).unwrap();
        assert_eq!(fortran.values, [1.0, 3.0, 5.0, 2.0, 4.0, 6.0]);
        let one = parse(&file("{'descr': '|u1', 'fortran_order': False, 'shape': (3,), }", &[7, 8, 255])).unwrap();
        assert_eq!((one.values, one.columns), (vec![7.0, 8.0, 255.0], 1));
        let wide = parse(&file("{'descr': '<i8', 'fortran_order': False, 'shape': (1,), }", &(-5i64).to_le_bytes())).unwrap();
        assert_eq!(wide.values, [-5.0]);
    }

    #[test]
    fn lies_are_found() {
        let complain = |header: &str, data: &[u8]| parse(&file(header, data)).unwrap_err();
        let data = floats(&[1.0, f32::NAN]);
        assert!(complain("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3)}", &data).contains("promises 24 bytes of data, 8 are"));
        assert!(complain("{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999, 99999999999)}", &data).contains("impossible"));
        assert!(complain("{'descr': '<f4', 'fortran_order': False, 'shape': (999999999999,)}", &data).contains("cut off"));
        assert!(complain("{'descr': '<f4', 'fortran_order': False, 'shape': (1,)}", &data).contains("4 bytes follow"));
        assert!(complain("{'descr': '<f4', 'fortran_order': False, 'shape': (2,)}", &data).contains("row 2, column 1: the value is NaN"));
        assert!(complain("{'descr': '>f4', 'fortran_order': False, 'shape': (2,)}", &data).contains("\">f4\" are not supported"));
        assert!(complain("{'descr': '<f4', 'fortran_order': False, 'shape': (0, 2)}", &[]).contains("no data"));
        assert!(complain("{'descr': '<f4', 'fortran_order': False, 'shape': (1, 2, 1)}", &data).contains("3 axes"));
        assert!(complain("{}", &data).contains("no entry descr"));
        assert!(parse(b"\x93NUMPY\x01\x00\xff\xff{").unwrap_err().contains("cut off inside its header"));
        assert!(parse(b"PK\x03\x04").unwrap_err().contains("not a .npy file"));
        let whole = file("{'descr': '<f4', 'fortran_order': False, 'shape': (2,)}", &floats(&[1.0, 2.0]));
        for length in 0..whole.len() {
            assert!(parse(&whole[..length]).is_err());
        }
    }
}
