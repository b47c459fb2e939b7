//! The header of an `.npy` file: magic, version, and a Python dict with the type, the order and the shape.

use std::io::Read;
use std::path::Path;

use super::super::ExchangeError;
use crate::floats::Format;

const MAGIC: &[u8; 6] = b"\x93NUMPY";

/// Bytes of the headers that we write, a multiple of 64: room for any shape of five 64-bit numbers.
pub(super) const WRITTEN: usize = 192;

/// The longest header that we read.
const LONGEST: usize = 1 << 16;

/// What a header says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) format: Format,
    pub(super) big_endian: bool,
    pub(super) shape: Vec<u64>,
    /// Bytes before the first number.
    pub(super) length: u64,
}

/// What a header says, whatever the array holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::exchange) struct AnyHeader {
    /// NumPy's word for the type: `<f4`.
    pub(in crate::exchange) descr: String,
    /// Whether the first axis is the fastest.
    pub(in crate::exchange) fortran: bool,
    pub(in crate::exchange) shape: Vec<u64>,
    /// Bytes before the first number.
    pub(in crate::exchange) length: u64,
}

/// Returns the header of a file of little-endian 32-bit floats in C order, [`WRITTEN`] bytes long.
pub(super) fn encode(shape: &[u64]) -> Vec<u8> {
    let dims: Vec<_> = shape.iter().map(u64::to_string).collect();
    // A tuple of one needs its comma.
    let dict = format!(
        "{{'descr': '<f4', 'fortran_order': False, 'shape': ({},), }}",
        dims.join(", ")
    );
    let mut bytes = MAGIC.to_vec();
    bytes.extend([1, 0]);
    bytes.extend(((WRITTEN - 10) as u16).to_le_bytes());
    bytes.extend(dict.as_bytes());
    bytes.resize(WRITTEN - 1, b' ');
    bytes.push(b'\n');
    bytes
}

/// Reads the header of the file at `path`, which must be one of vectors.
pub(super) fn decode(path: &Path, file: &mut impl Read) -> Result<Header, ExchangeError> {
    let header = decode_any(path, file)?;
    let format = format(path, &header.descr)?;
    if header.fortran {
        let expected = "C order (save it again with np.ascontiguousarray)";
        let actual = "Fortran order";
        return Err(ExchangeError::format(path, "the order", expected, actual));
    }
    Ok(Header {
        format,
        big_endian: header.descr.starts_with('>'),
        shape: header.shape,
        length: header.length,
    })
}

/// Reads the header of the file at `path`, or of an array in it.
pub(in crate::exchange) fn decode_any(path: &Path, file: &mut impl Read) -> Result<AnyHeader, ExchangeError> {
    let mut take = |length: usize, what: &str| {
        let mut bytes = vec![0; length];
        file.read_exact(&mut bytes).map_err(|_| {
            ExchangeError::format(path, what, format!("{length} bytes"), "the end of the file")
        })?;
        Ok::<_, ExchangeError>(bytes)
    };
    let start = take(8, "the start of the file")?;
    let (magic, version) = start.split_at(6);
    if magic != MAGIC {
        let actual = format!("{magic:02x?}");
        return Err(ExchangeError::format(
            path,
            "the start of the file",
            "\\x93NUMPY",
            actual,
        ));
    }
    let wide = match version {
        [1, 0] => false,
        [2 | 3, 0] => true,
        _ => {
            let actual = format!("{version:?}");
            return Err(ExchangeError::format(
                path,
                "the format version",
                "1.0, 2.0 or 3.0",
                actual,
            ));
        }
    };
    let bytes = take(if wide { 4 } else { 2 }, "the header's length")?;
    let length = bytes.iter().rev().fold(0_usize, |n, b| n << 8 | usize::from(*b));
    if length > LONGEST {
        let expected = format!("at most {LONGEST} bytes");
        return Err(ExchangeError::format(
            path,
            "the header's length",
            expected,
            length.to_string(),
        ));
    }
    let dict = take(length, "the header")?;
    let dict = String::from_utf8(dict)
        .map_err(|_| ExchangeError::format(path, "the header", "text", "bytes that are no UTF-8"))?;
    let length = (8 + bytes.len() + length) as u64;
    parse(path, &dict, length)
}

fn parse(path: &Path, dict: &str, length: u64) -> Result<AnyHeader, ExchangeError> {
    let value = |key: &str| {
        let missing = || ExchangeError::format(path, "the header", format!("a key {key}"), dict.trim());
        let (_, rest) = dict.split_once(key).ok_or_else(missing)?;
        let rest = rest.trim_start().strip_prefix(':').ok_or_else(missing)?;
        Ok::<_, ExchangeError>(rest.trim_start())
    };
    let descr = value("'descr'")?;
    let quoted = descr.strip_prefix('\'').and_then(|v| v.split_once('\''));
    let descr = quoted.map_or("a structured type", |(descr, _)| descr).to_owned();
    let order = value("'fortran_order'")?;
    let fortran = order.starts_with("True");
    if !fortran && !order.starts_with("False") {
        return Err(ExchangeError::format(
            path,
            "the header",
            "'fortran_order': False",
            dict.trim(),
        ));
    }
    let wrong = || ExchangeError::format(path, "the shape", "a tuple of numbers", dict.trim());
    let tuple = value("'shape'")?.strip_prefix('(').ok_or_else(wrong)?;
    let (tuple, _) = tuple.split_once(')').ok_or_else(wrong)?;
    let mut shape = Vec::new();
    let mut parts = tuple.split(',').map(str::trim).peekable();
    while let Some(part) = parts.next() {
        // Only the comma at the end may have nothing after it.
        if part.is_empty() && parts.peek().is_none() {
            break;
        }
        // Python 2 writes long numbers with an L.
        shape.push(part.trim_end_matches('L').parse().map_err(|_| wrong())?);
    }
    Ok(AnyHeader {
        descr,
        fortran,
        shape,
        length,
    })
}

fn format(path: &Path, descr: &str) -> Result<Format, ExchangeError> {
    let expected = "f2, f4 or f8 (save it again as .astype('<f4'))";
    match descr.trim_start_matches(['<', '>']) {
        "f2" => Ok(Format::F16),
        "f4" => Ok(Format::F32),
        "f8" => Ok(Format::F64),
        _ => {
            let actual = match descr.chars().next() {
                Some('|') if descr.contains('O') => format!("Python objects ({descr})"),
                _ => descr.to_owned(),
            };
            Err(ExchangeError::format(
                path,
                "the type of the numbers",
                expected,
                actual,
            ))
        }
    }
}
