//! What of Parquet's encodings is needed to find the values of a page without holding it: page headers
//! (Thrift's compact protocol) and numbers in runs.
//!
//! <https://parquet.apache.org/docs/file-format/>

use std::collections::BTreeMap;
use std::io::{Error, ErrorKind, Read, Result};

/// Structures in structures at most.
const DEEPEST: usize = 8;

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

/// A structure of Thrift: its integers, and its structures, by field.
#[derive(Default)]
pub(crate) struct Struct {
    numbers: BTreeMap<i16, i64>,
    structs: BTreeMap<i16, Struct>,
}

impl Struct {
    pub fn read(reader: &mut impl Read) -> Result<Self> {
        Self::at(reader, 0)
    }

    fn at(reader: &mut impl Read, depth: usize) -> Result<Self> {
        if depth > DEEPEST {
            return Err(damaged("structures too deep"));
        }
        let (mut found, mut field) = (Self::default(), 0_i16);
        loop {
            let head = byte(reader)?;
            if head == 0 {
                return Ok(found);
            }
            field = match head >> 4 {
                0 => zigzag(varint(reader)?) as i16,
                step => field.wrapping_add(i16::from(step)),
            };
            match head & 0x0f {
                1 => drop(found.numbers.insert(field, 1)),
                2 => drop(found.numbers.insert(field, 0)),
                3 => drop(found.numbers.insert(field, i64::from(byte(reader)? as i8))),
                4..=6 => drop(found.numbers.insert(field, zigzag(varint(reader)?))),
                8 => {
                    let len = varint(reader)?;
                    std::io::copy(&mut reader.by_ref().take(len), &mut std::io::sink())?;
                }
                12 => drop(found.structs.insert(field, Self::at(reader, depth + 1)?)),
                _ => return Err(damaged("a field of a type that no page header has")),
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
