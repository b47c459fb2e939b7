//! The header of an `.npy` file of vectors.

use std::io::Read;
use std::path::Path;

use super::super::ExchangeError;
use crate::floats::Format;
use crate::npy;

/// Bytes of the headers that we write, a multiple of 64: room for any shape of five 64-bit numbers.
pub(super) const WRITTEN: usize = 192;

/// What a header says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) format: Format,
    pub(super) big_endian: bool,
    pub(super) shape: Vec<u64>,
    /// Bytes before the first number.
    pub(super) length: u64,
}

/// Returns the header of a file of little-endian 32-bit floats in C order, [`WRITTEN`] bytes long.
pub(super) fn encode(shape: &[u64]) -> Vec<u8> {
    let dims: Vec<_> = shape.iter().map(u64::to_string).collect();
    // A tuple of one needs its comma.
    let dict = format!(
        "{{'descr': '<f4', 'fortran_order': False, 'shape': ({},), }}",
        dims.join(", ")
    );
    let mut bytes = npy::MAGIC.to_vec();
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
pub(in crate::exchange) fn decode_any(
    path: &Path,
    file: &mut impl Read,
) -> Result<npy::Header, ExchangeError> {
    npy::Header::read(file).map_err(|wrong| {
        let npy::Wrong {
            what,
            expected,
            actual,
        } = wrong;
        ExchangeError::format(path, what, expected, actual)
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
