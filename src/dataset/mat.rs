//! MATLAB's files of version 5 to 7, as far as arrays of numbers go ("MAT-File Format", MathWorks, 2024):
//! 128 bytes of header, then elements of a type, a size and that many bytes; a compressed element is a zlib
//! stream of one. An array has its flags, dimensions, name and numbers as elements of its own; the first axis
//! is the fastest.
//!
//! Numbers are not held: an array says where they lie, in the file or in what was unpacked of it.

use std::io::{BufReader, Read};
use std::path::Path;
use std::sync::Arc;

use super::bulk::{Bulk, Part};
use super::error::DatasetError;

const HEADER: u64 = 128;
/// Types of elements.
const MATRIX: u32 = 14;
const COMPRESSED: u32 = 15;
/// Most elements of a file that are looked at.
const MOST: usize = 1024;

/// An array of numbers.
pub(super) struct Array {
    pub name: String,
    /// Length along each axis, the first the fastest.
    pub dims: Vec<usize>,
    pub numbers: Numbers,
}

/// The numbers of an array.
pub(super) struct Numbers {
    sort: u32,
    pub part: Part,
    big_endian: bool,
}

impl Numbers {
    /// Whether they are bytes.
    pub fn are_bytes(&self) -> bool {
        self.sort == 2
    }

    /// The numbers as integers; none where one is not.
    pub fn integers(&self) -> Result<Option<Vec<i64>>, DatasetError> {
        let bytes = self.part.read()?;
        macro_rules! each {
            ($kind:ty) => {{
                let (chunks, _) = bytes.as_chunks::<{ size_of::<$kind>() }>();
                chunks
                    .iter()
                    .map(|chunk| match self.big_endian {
                        true => <$kind>::from_be_bytes(*chunk),
                        false => <$kind>::from_le_bytes(*chunk),
                    })
                    .map(|value| {
                        let integer = value as i64;
                        (integer as $kind == value).then_some(integer)
                    })
                    .collect()
            }};
        }
        Ok(match self.sort {
            1 => each!(i8),
            2 => each!(u8),
            3 => each!(i16),
            4 => each!(u16),
            5 => each!(i32),
            6 => each!(u32),
            7 => each!(f32),
            9 => each!(f64),
            12 => each!(i64),
            13 => each!(u64),
            _ => None,
        })
    }

    /// Bytes that one of them takes.
    fn size(&self) -> Option<u64> {
        match self.sort {
            1 | 2 => Some(1),
            3 | 4 => Some(2),
            5..=7 => Some(4),
            9 | 12 | 13 => Some(8),
            _ => None,
        }
    }
}

/// An element: its type, and where its bytes are.
struct Element {
    sort: u32,
    start: u64,
    end: u64,
    /// Where the next one begins.
    next: u64,
}

/// A sequence of elements.
struct Elements {
    bulk: Arc<Bulk>,
    big_endian: bool,
}

impl Elements {
    fn damaged(&self, reason: impl ToString) -> DatasetError {
        DatasetError::Corrupt {
            path: self.bulk.path.clone(),
            reason: format!("MATLAB: {}", reason.to_string()),
        }
    }

    fn word(&self, at: u64) -> Result<u32, DatasetError> {
        let bytes = self.bulk.read(at, 4)?;
        let word: [u8; 4] = bytes
            .try_into()
            .map_err(|_| self.damaged("an element without a head"))?;
        Ok(match self.big_endian {
            true => u32::from_be_bytes(word),
            false => u32::from_le_bytes(word),
        })
    }

    /// The element at a place, which must end before `end`.
    fn at(&self, at: u64, end: u64) -> Result<Element, DatasetError> {
        if end.saturating_sub(at) < 8 {
            return Err(self.damaged("it ends within an element"));
        }
        let first = self.word(at)?;
        // A small element has its size in the upper half of the type, and its bytes where the size would be.
        let (sort, start, size) = match first >> 16 {
            0 => (first, at + 8, u64::from(self.word(at + 4)?)),
            size => (first & 0xffff, at + 4, u64::from(size)),
        };
        let (stop, padded) = match first >> 16 {
            0 => (start + size, start + size.next_multiple_of(8)),
            _ => (start + size, at + 8),
        };
        if stop > end || first >> 16 > 4 {
            return Err(self.damaged(format!("an element of {size} bytes at {at} goes beyond the end")));
        }
        Ok(Element {
            sort,
            start,
            end: stop,
            // A compressed element is not padded.
            next: if sort == COMPRESSED { stop } else { padded },
        })
    }

    /// The array in a matrix element; none where it holds something else (a structure, cells, text).
    fn array(&self, matrix: &Element) -> Result<Option<Array>, DatasetError> {
        let flags = self.at(matrix.start, matrix.end)?;
        let class = self.word(flags.start)? & 0xff;
        // Classes 6 to 15 are arrays of numbers.
        if !(6..=15).contains(&class) {
            return Ok(None);
        }
        let dims = self.at(flags.next, matrix.end)?;
        let rank = (dims.end - dims.start) / 4;
        if !(1..=16).contains(&rank) {
            return Err(self.damaged(format!("an array of {rank} axes")));
        }
        let name = self.at(dims.next, matrix.end)?;
        if name.end - name.start > 64 {
            return Err(self.damaged("a name of more than 64 bytes"));
        }
        let numbers = self.at(name.next, matrix.end)?;
        let dims = (0..rank).map(|axis| Ok(self.word(dims.start + 4 * axis)? as usize));
        let dims = dims.collect::<Result<Vec<usize>, DatasetError>>()?;
        let text = self.bulk.read(name.start, (name.end - name.start) as usize)?;
        let numbers = Numbers {
            sort: numbers.sort,
            part: Part {
                bulk: self.bulk.clone(),
                offset: numbers.start,
                len: (numbers.end - numbers.start) as usize,
            },
            big_endian: self.big_endian,
        };
        let name = String::from_utf8_lossy(&text).into_owned();
        let count = dims.iter().try_fold(1_u64, |a, b| a.checked_mul(*b as u64));
        let bytes = numbers.size().and_then(|size| count?.checked_mul(size));
        if bytes != Some(numbers.part.len as u64) {
            let len = numbers.part.len;
            return Err(self.damaged(format!("the array {name} of shape {dims:?} in {len} bytes")));
        }
        Ok(Some(Array { name, dims, numbers }))
    }
}

/// Returns the arrays of numbers in a file, in its order.
pub(super) fn arrays(path: &Path) -> Result<Vec<Array>, DatasetError> {
    read(Bulk::open(path)?)
}

/// Returns the arrays of numbers in the bytes of a file.
pub(super) fn read(bulk: Arc<Bulk>) -> Result<Vec<Array>, DatasetError> {
    let foreign = |reason: &str| DatasetError::Foreign {
        path: bulk.path.clone(),
        what: "a MATLAB file".to_owned(),
        reason: reason.to_owned(),
    };
    if bulk.len < HEADER {
        return Err(foreign("it is shorter than the header of one"));
    }
    let head = bulk.read(0, HEADER as usize)?;
    let big_endian = match head.get(124..128) {
        Some([_, _, b'I', b'M']) => false,
        Some([_, _, b'M', b'I']) => true,
        _ if head.starts_with(b"\x89HDF") || head.starts_with(b"MATLAB 7.3") => {
            return Err(foreign(
                "it is of version 7.3 (HDF5); versions 5 to 7 are read (`save -v7` writes one)",
            ));
        }
        _ => {
            return Err(foreign(
                "it has no header of version 5; a file of version 4 is not read",
            ));
        }
    };
    let file = Elements { bulk, big_endian };
    let (mut found, mut at) = (Vec::new(), HEADER);
    for _ in 0..MOST {
        if at >= file.bulk.len {
            break;
        }
        let element = file.at(at, file.bulk.len)?;
        at = element.next;
        match element.sort {
            MATRIX => found.extend(file.array(&element)?),
            COMPRESSED => found.extend(unpacked(&file, &element)?),
            _ => {}
        }
    }
    Ok(found)
}

/// The array in a compressed element.
fn unpacked(file: &Elements, element: &Element) -> Result<Option<Array>, DatasetError> {
    let packed = BufReader::new(file.bulk.between(element.start, element.end));
    let mut decoder = flate2::read::ZlibDecoder::new(packed);
    // The head first: it says how much there is, so that a stream cannot go on for ever.
    let mut head = [0; 8];
    decoder
        .read_exact(&mut head)
        .map_err(|e| file.damaged(format!("zlib: {e}")))?;
    let word = |bytes: [u8; 4]| match file.big_endian {
        true => u32::from_be_bytes(bytes),
        false => u32::from_le_bytes(bytes),
    };
    let [a, b, c, d, size @ ..] = head;
    let (sort, size) = (word([a, b, c, d]), word(size));
    if sort != MATRIX {
        return Ok(None);
    }
    let whole = std::io::Cursor::new(head).chain(decoder.take(u64::from(size)));
    let bulk = Bulk::unpack(&file.bulk.path, whole, "zlib")?;
    let inner = Elements {
        big_endian: file.big_endian,
        bulk,
    };
    let matrix = inner.at(0, inner.bulk.len)?;
    inner.array(&matrix)
}
