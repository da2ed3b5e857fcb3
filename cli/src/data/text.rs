//! Numbers from text with commas, semicolons or tabs between them.

use super::Numbers;
use crate::failure::{Failure, Result, reason};
use flate2::bufread::MultiGzDecoder;
use std::io::{self, BufRead, BufReader, Read};

/// The numbers in gzip-compressed comma-separated text.
pub(super) fn read_gzip(compressed: impl Read, source: &str) -> Result<Numbers> {
    let mut compressed = BufReader::new(compressed);
    let start = compressed.fill_buf().map_err(|error| Failure::input(format!("cannot read {source}: {}", reason(&error))))?;
    match start {
        [] => Err(Failure::input(format!("{source}: the file is empty"))),
        [0x1f] | [0x1f, 0x8b, ..] => read(Unpacked::new(compressed), source),
        _ => Err(Failure::input(format!("{source}: the file is not compressed by gzip, as its name says"))),
    }
}

/// How often longer than what they were packed in data may be, beyond the first [`FREE`] bytes: that is far above any table of numbers.
const MOST: u64 = 200;
const FREE: u64 = 16 << 20;

/// Counts the bytes that are read.
struct Counted<R> {
    inner: R,
    bytes: u64,
}

impl<R: BufRead> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.bytes += read as u64;
        Ok(read)
    }
}

impl<R: BufRead> BufRead for Counted<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.inner.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        self.bytes += amount as u64;
        self.inner.consume(amount);
    }
}

/// What was packed by gzip, as long as it is in proportion to what it was packed in.
pub(super) struct Unpacked<R> {
    inner: MultiGzDecoder<Counted<R>>,
    bytes: u64,
}

impl<R: BufRead> Unpacked<R> {
    pub(super) fn new(packed: R) -> Self {
        Self { inner: MultiGzDecoder::new(Counted { inner: packed, bytes: 0 }), bytes: 0 }
    }
}

impl<R: BufRead> Read for Unpacked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.bytes += read as u64;
        if self.bytes > FREE + MOST * self.inner.get_ref().bytes {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it unpacks to a length out of all proportion"));
        }
        Ok(read)
    }
}

/// What a line begins with that is no data, as those that NumPy writes.
const COMMENT: u8 = b'#';

/// What some editors put before text.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// The text up to its first line of data, and what stands between the cells there: a tab or a semicolon, else the comma.
fn start(text: &mut impl BufRead) -> io::Result<(Vec<u8>, u8)> {
    let mut start = Vec::new();
    loop {
        let before = start.len();
        let is_over = text.read_until(b'\n', &mut start)? == 0;
        if before == 0 && start.starts_with(BYTE_ORDER_MARK) {
            start.drain(..BYTE_ORDER_MARK.len());
        }
        let line = &start[before..];
        if is_over || !(line.trim_ascii().is_empty() || line.starts_with(&[COMMENT])) {
            let delimiter = *line.iter().find(|byte| b"\t;".contains(byte)).unwrap_or(&b',');
            return Ok((start, delimiter));
        }
    }
}

/// The numbers in text with commas, semicolons or tabs between them: one row a line, an optional line of headings (of which none is a number), no empty cells. Lines
/// that begin with # are skipped.
pub(super) fn read(text: impl Read, source: &str) -> Result<Numbers> {
    let mut text = BufReader::new(text);
    let (start, delimiter) = start(&mut text).map_err(|error| complain(error.into(), source))?;
    let mut form = csv::ReaderBuilder::new();
    form.delimiter(delimiter).comment(Some(COMMENT)).has_headers(false).flexible(true).trim(csv::Trim::All);
    // A comment that ends with the text, and not with its line, would be taken for a row.
    let mut reader = form.from_reader(start.as_slice().chain(text).chain(&b"\n"[..]));
    let mut record = csv::StringRecord::new();
    let mut numbers = Numbers { values: Vec::new(), columns: 0 };
    let mut is_first = true;
    while reader.read_record(&mut record).map_err(|error| complain(error, source))? {
        let line = record.position().map_or(0, csv::Position::line);
        let is_heading = is_first && record.iter().all(|cell| cell.parse::<f64>().is_err());
        if is_first && is_heading {
            (is_first, numbers.columns) = (false, record.len());
            continue;
        }
        is_first = false;
        if numbers.columns == 0 {
            numbers.columns = record.len();
        }
        if record.len() != numbers.columns {
            let (found, wanted) = (record.len(), numbers.columns);
            return Err(Failure::input(format!("{source}: line {line} has {found} values, but the lines before it have {wanted}")));
        }
        for (column, cell) in record.iter().enumerate() {
            numbers.values.push(number(cell).map_err(|what| {
                let row = numbers.values.len() / numbers.columns + 1;
                Failure::input(format!("{source}: row {row} (line {line}), column {}: {what}", column + 1))
            })?);
        }
    }
    if numbers.values.is_empty() {
        return Err(Failure::input(format!("{source}: there are no data in it")));
    }
    Ok(numbers)
}

/// One finite number.
fn number(cell: &str) -> Result<f64, String> {
    match cell.parse::<f64>() {
        Ok(value) if value.is_finite() => Ok(value),
        Ok(value) if value.is_nan() => Err("the value is NaN".into()),
        Ok(_) => Err(format!("the value {} is infinite", shortened(cell))),
        Err(_) if cell.is_empty() => Err("the value is missing".into()),
        Err(_) => Err(format!("{:?} is not a number", shortened(cell))),
    }
}

/// The beginning of a cell.
fn shortened(cell: &str) -> String {
    if cell.chars().count() > 24 { cell.chars().take(24).chain(['…']).collect() } else { cell.to_owned() }
}

fn complain(error: csv::Error, source: &str) -> Failure {
    let line = error.position().map(csv::Position::line);
    match error.into_kind() {
        csv::ErrorKind::Io(error) => match error.kind() {
            io::ErrorKind::UnexpectedEof => Failure::input(format!("{source}: the compressed file is cut off")),
            io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData => {
                Failure::input(format!("{source}: the compressed file is damaged ({error})"))
            }
            _ => Failure::input(format!("cannot read {source}: {}", reason(&error))),
        },
        csv::ErrorKind::Utf8 { .. } => Failure::input(format!("{source}: line {} is not text", line.unwrap_or(0))),
        other => Failure::input(format!("{source}: {other:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaint(text: &str) -> String {
        read(text.as_bytes(), "data.csv").unwrap_err().to_string()
    }

    #[test]
    fn numbers_are_read() {
        let numbers = read("x, y\n1, 2.5\n-3e2 ,4\n".as_bytes(), "").unwrap();
        assert_eq!(numbers, Numbers { values: vec![1.0, 2.5, -300.0, 4.0], columns: 2 });
        assert_eq!(read("\u{feff}1,2".as_bytes(), "").unwrap().values, [1.0, 2.0]);
        for text in ["1\t2.5\n-3e2\t4\n", "x;y\n1;2.5\n-3e2;4", "\n1 ; 2.5\n-3e2 ; 4"] {
            assert_eq!(read(text.as_bytes(), "").unwrap(), numbers, "{text:?}");
        }
        for text in ["# by hand; in metres\n1,2.5\n# more\n-3e2,4\n", "#x,y,z\nx,y\n1,2.5\n-3e2,4\n#", "# a, b\n1\t2.5\n-3e2\t4"] {
            assert_eq!(read(text.as_bytes(), "").unwrap(), numbers, "{text:?}");
        }
        // However long it takes until a line tells what stands between the cells.
        let remarks = "# a, remark\n".repeat(1000) + "1;2.5\n-3e2;4\n";
        assert_eq!(read(remarks.as_bytes(), "").unwrap(), numbers);
        assert_eq!(read("# a, remark\n".as_bytes().chain("1;2.5\n-3e2;4".as_bytes()), "").unwrap(), numbers);
        assert_eq!(read("\u{feff}# a, remark\n1;2.5\n-3e2;4".as_bytes(), "").unwrap(), numbers);
        // A comma is no decimal point.
        assert!(complaint("x;y\n1,5;2,5\n").contains("column 1: \"1,5\" is not a number"));
        assert_eq!(read("1,2\r\n\r\n3,4\r\n".as_bytes(), "").unwrap().values.len(), 4);
    }

    #[test]
    fn mistakes_are_named() {
        assert_eq!(complaint(""), "data.csv: there are no data in it");
        assert_eq!(complaint("x,y\n"), "data.csv: there are no data in it");
        assert_eq!(complaint("1,2\n3,nan\n"), "data.csv: row 2 (line 2), column 2: the value is NaN");
        assert_eq!(complaint("x,y\n1,-inf\n"), "data.csv: row 1 (line 2), column 2: the value -inf is infinite");
        assert_eq!(complaint("# 1,2,3\n1,2\n3\n"), "data.csv: line 3 has 1 values, but the lines before it have 2");
        assert_eq!(complaint("1,2\n3\n"), "data.csv: line 2 has 1 values, but the lines before it have 2");
        assert_eq!(
            complaint(&("# a remark\n".repeat(1000) + "1;2\n3\n")),
            "data.csv: line 1002 has 1 values, but the lines before it have 2"
        );
        assert_eq!(complaint("1,2\n3,\n"), "data.csv: row 2 (line 2), column 2: the value is missing");
        assert_eq!(complaint("1,b\n"), "data.csv: row 1 (line 1), column 2: \"b\" is not a number");
        assert!(read(&b"1,2\n\xff\xfe,3\n"[..], "data.csv").unwrap_err().to_string().contains("line 2 is not text"));
    }

    #[test]
    fn damaged_archives_are_named() {
        let bytes = include_bytes!("../../data/digits.csv.gz");
        let cut = read_gzip(&bytes[..bytes.len() / 2], "d.csv.gz").unwrap_err().to_string();
        assert_eq!(cut, "d.csv.gz: the compressed file is cut off");
        let foreign = read_gzip(&b"1,2\n3,4\n"[..], "d.csv.gz").unwrap_err().to_string();
        assert!(foreign.starts_with("d.csv.gz: the file is not compressed"), "{foreign}");
        // 64 MB of "1,1,1,…" in 64 kB.
        let mut bomb = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        for _ in 0..64 {
            io::Write::write_all(&mut bomb, &b"1,".repeat(1 << 19)).unwrap();
        }
        let bomb = bomb.finish().unwrap();
        let complaint = read_gzip(&bomb[..], "d.csv.gz").unwrap_err().to_string();
        assert!(complaint.contains("out of all proportion"), "{} bytes: {complaint}", bomb.len());
        let mut flipped = bytes.to_vec();
        flipped[20_000] ^= 0x55;
        assert!(read_gzip(&flipped[..], "d.csv.gz").is_err());
    }
}
