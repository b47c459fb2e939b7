//! What of Parquet's encodings is needed to find the values of a page without holding it: page headers
//! (Thrift's compact protocol) and numbers in runs.
//!
//! <https://parquet.apache.org/docs/file-format/>

use std::collections::BTreeMap;
use std::io::{Error, ErrorKind, Read, Result};

/// Structures and lists in each other at most, as parquet's reader has it.
const DEEPEST: usize = 64;

pub(crate) fn damaged(reason: &'static str) -> Error {
    Error::new(ErrorKind::InvalidData, reason)
}

pub(crate) fn byte(reader: &mut impl Read) -> Result<u8> {
    let mut byte = [0];
    reader.read_exact(&mut byte)?;
    Ok(byte[0])
}

pub(crate) fn varint(reader: &mut impl Read) -> Result<u64> {
    let mut value = 0_u64;
    for shift in (0..63).step_by(7) {
        let next = byte(reader)?;
        value |= u64::from(next & 0x7f) << shift;
        if next & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(damaged("a number without an end"))
}

/// Reads a number in a page header as parquet's reader does: of any length, the bits of one that is too long
/// laid over each other.
fn number(reader: &mut impl Read) -> Result<u64> {
    let (mut value, mut shift) = (0_u64, 0_u32);
    loop {
        let next = byte(reader)?;
        value |= u64::from(next & 0x7f).wrapping_shl(shift);
        if next & 0x80 == 0 {
            return Ok(value);
        }
        shift = shift.wrapping_add(7);
    }
}

/// Thrift's types, by their numbers.
mod kind {
    pub const TRUE: u8 = 1;
    pub const FALSE: u8 = 2;
    pub const BYTE: u8 = 3;
    pub const I16: u8 = 4;
    pub const I32: u8 = 5;
    pub const I64: u8 = 6;
    pub const DOUBLE: u8 = 7;
    pub const BINARY: u8 = 8;
    pub const LIST: u8 = 9;
    pub const SET: u8 = 10;
    pub const MAP: u8 = 11;
    pub const STRUCT: u8 = 12;
    pub const UUID: u8 = 13;
}

/// What parquet's reader takes a field for, in a page header itself or within one of its fields, whatever the
/// header says of its type.
fn known(within: Option<i16>, field: i16) -> Option<u8> {
    match (within, field) {
        (None, 1..=4) | (Some(5), 1..=4) | (Some(7), 1..=2) | (Some(8), 1..=6) => Some(kind::I32),
        (None, 5..=8) => Some(kind::STRUCT),
        _ => None,
    }
}

/// A structure of Thrift: its integers, and its structures, by field.
#[derive(Default)]
pub(crate) struct Struct {
    numbers: BTreeMap<i16, i64>,
    structs: BTreeMap<i16, Struct>,
}

impl Struct {
    /// Reads a page header, as parquet's reader does.
    pub fn read(reader: &mut impl Read) -> Result<Self> {
        Self::within(reader, None)
    }

    fn within(reader: &mut impl Read, within: Option<i16>) -> Result<Self> {
        let (mut found, mut field) = (Self::default(), 0_i16);
        loop {
            let head = byte(reader)?;
            if head & 0x0f == 0 {
                return Ok(found);
            }
            field = match head >> 4 {
                0 => zigzag(number(reader)?) as i16,
                step => field.wrapping_add(i16::from(step)),
            };
            match known(within, field).unwrap_or(head & 0x0f) {
                kind::TRUE => drop(found.numbers.insert(field, 1)),
                kind::FALSE => drop(found.numbers.insert(field, 0)),
                kind::BYTE => drop(found.numbers.insert(field, i64::from(byte(reader)? as i8))),
                kind::I16..=kind::I64 => drop(found.numbers.insert(field, zigzag(number(reader)?))),
                kind::STRUCT if within.is_none() => {
                    drop(found.structs.insert(field, Self::within(reader, Some(field))?));
                }
                other => pass(reader, other, DEEPEST)?,
            }
        }
    }

    pub fn number(&self, field: i16) -> Option<i64> {
        self.numbers.get(&field).copied()
    }

    pub fn size(&self, field: i16) -> Option<usize> {
        usize::try_from(self.number(field)?).ok()
    }

    pub fn inner(&self, field: i16) -> Option<&Self> {
        self.structs.get(&field)
    }
}

/// Passes over a value.
fn pass(reader: &mut impl Read, of: u8, depth: usize) -> Result<()> {
    let bytes = |reader: &mut dyn Read, count: u64| {
        let passed = std::io::copy(&mut reader.take(count), &mut std::io::sink())?;
        match passed == count {
            true => Ok(()),
            false => Err(ErrorKind::UnexpectedEof.into()),
        }
    };
    let Some(deeper) = depth.checked_sub(1) else {
        return Err(damaged("structures too deep"));
    };
    match of {
        kind::TRUE | kind::FALSE => Ok(()),
        kind::BYTE => bytes(reader, 1),
        kind::I16..=kind::I64 => number(reader).map(drop),
        kind::DOUBLE => bytes(reader, 8),
        kind::UUID => bytes(reader, 16),
        kind::BINARY => {
            let count = number(reader)?;
            bytes(reader, count)
        }
        kind::STRUCT => loop {
            let head = byte(reader)?;
            if head & 0x0f == 0 {
                return Ok(());
            }
            if head >> 4 == 0 {
                number(reader)?;
            }
            pass(reader, head & 0x0f, deeper)?;
        },
        kind::LIST | kind::SET => {
            let head = byte(reader)?;
            let count = match head >> 4 {
                15 => number(reader)?,
                few => few.into(),
            };
            values(reader, count, &[head & 0x0f], deeper)
        }
        kind::MAP => {
            let count = number(reader)?;
            let kinds = if count > 0 { byte(reader)? } else { 0 };
            values(reader, count, &[kinds >> 4, kinds & 0x0f], deeper)
        }
        _ => Err(damaged("a value of no known type")),
    }
}

/// Passes over so many times the values of these kinds. Where they take no byte, as booleans do here, there
/// is nothing to pass over, however many there are.
fn values(reader: &mut impl Read, count: u64, of: &[u8], depth: usize) -> Result<()> {
    if of.iter().all(|of| matches!(*of, kind::TRUE | kind::FALSE)) {
        return Ok(());
    }
    for _ in 0..count {
        of.iter().try_for_each(|of| pass(reader, *of, depth))?;
    }
    Ok(())
}

fn zigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

/// Reads `count` numbers of `width` bits: runs of one number, and groups of eight that are packed.
pub(crate) fn hybrid(reader: &mut impl Read, width: u8, count: usize) -> Result<Vec<u32>> {
    if width > 32 {
        return Err(damaged("numbers of more than 32 bits"));
    }
    let mut numbers = Vec::new();
    while numbers.len() < count {
        let head = varint(reader)?;
        let wanted = count - numbers.len();
        if head & 1 == 0 {
            let mut value = [0; 4];
            reader.read_exact(&mut value[..usize::from(width.div_ceil(8))])?;
            let run = (head >> 1).min(wanted as u64) as usize;
            if run == 0 {
                return Err(damaged("a run of nothing"));
            }
            numbers.resize(numbers.len() + run, u32::from_le_bytes(value));
        } else {
            let groups = (head >> 1).min(wanted.div_ceil(8) as u64);
            if groups == 0 {
                return Err(damaged("a run of nothing"));
            }
            let mut packed = vec![0; width.into()];
            for _ in 0..groups {
                reader.read_exact(&mut packed)?;
                let bit = |at: usize| u32::from(packed[at / 8] >> (at % 8) & 1);
                let number = |i: usize| {
                    let bits = 0..usize::from(width);
                    bits.map(|b| bit(i * usize::from(width) + b) << b).sum::<u32>()
                };
                numbers.extend((0..8).map(number));
            }
        }
    }
    numbers.truncate(count);
    Ok(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_runs() {
        // Parquet's own example: 0 to 7 in three bits; then a run of 7 times 4.
        let bytes = [0x03, 0x88, 0xc6, 0xfa, 0x0e, 0x04];
        let wanted = [0, 1, 2, 3, 4, 5, 6, 7, 4, 4, 4];
        assert_eq!(hybrid(&mut &bytes[..], 3, 11).unwrap(), wanted);
        assert!(hybrid(&mut &bytes[..], 3, 16).is_err());
        assert!(hybrid(&mut &[0x00, 0x04][..], 3, 1).is_err());
    }
}
