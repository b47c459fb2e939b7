//! What of Parquet's encodings is needed to find the values of a page without holding it: page headers
//! (Thrift's compact protocol), numbers in runs, and Snappy as a stream.
//!
//! <https://parquet.apache.org/docs/file-format/>,
//! <https://github.com/google/snappy/blob/main/format_description.txt>

use std::collections::BTreeMap;
use std::io::{Error, ErrorKind, Read, Result, Write};

/// Structures in structures at most.
const DEEPEST: usize = 8;
/// How far back Snappy's compressors refer: their blocks are this long.
const WINDOW: usize = 1 << 16;

fn damaged(reason: &'static str) -> Error {
    Error::new(ErrorKind::InvalidData, reason)
}

fn byte(reader: &mut impl Read) -> Result<u8> {
    let mut byte = [0];
    reader.read_exact(&mut byte)?;
    Ok(byte[0])
}

fn varint(reader: &mut impl Read) -> Result<u64> {
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
pub(super) struct Struct {
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
pub(super) fn hybrid(reader: &mut impl Read, width: u8, count: usize) -> Result<Vec<u32>> {
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

/// Unpacks a Snappy block of `size` bytes from a stream.
pub(super) fn unsnap(packed: &mut impl Read, out: &mut impl Write, size: u64) -> Result<()> {
    if varint(packed)? != size {
        return Err(damaged("Snappy: another size than the page's"));
    }
    let (mut window, mut done) = (Vec::with_capacity(5 * WINDOW), 0);
    while done < size {
        let tag = byte(packed)?;
        let mut small = |n: usize| -> Result<usize> {
            let mut bytes = [0; 4];
            packed.read_exact(&mut bytes[..n])?;
            Ok(u32::from_le_bytes(bytes) as usize)
        };
        let upper = usize::from(tag >> 2);
        let (len, back) = match tag & 3 {
            0 if upper < 60 => (upper + 1, None),
            0 => (small(upper - 59)? + 1, None),
            1 => (4 + (upper & 7), Some(upper >> 3 << 8 | small(1)?)),
            2 => (upper + 1, Some(small(2)?)),
            _ => (upper + 1, Some(small(4)?)),
        };
        done += len as u64;
        if done > size {
            return Err(damaged("Snappy: more than the page holds"));
        }
        match back {
            None => {
                let mut left = len;
                while left > 0 {
                    let part = left.min(WINDOW);
                    let start = window.len();
                    window.resize(start + part, 0);
                    packed.read_exact(&mut window[start..])?;
                    left -= part;
                    slide(&mut window, out)?;
                }
            }
            Some(back) => {
                let start = window.len().checked_sub(back).filter(|_| back > 0);
                let start = start.ok_or_else(|| damaged("Snappy: a reference too far back"))?;
                for at in start..start + len {
                    window.push(window[at]);
                }
                slide(&mut window, out)?;
            }
        }
    }
    out.write_all(&window)
}

/// Writes what nothing can refer to any more.
fn slide(window: &mut Vec<u8>, out: &mut impl Write) -> Result<()> {
    if window.len() > 4 * WINDOW {
        let old = window.len() - WINDOW;
        out.write_all(&window[..old])?;
        window.drain(..old);
    }
    Ok(())
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

    #[test]
    fn snappy_as_a_stream() {
        // A literal, then copies that overlap what they make: "abcabcabcab", by the format's description.
        let mut out = Vec::new();
        unsnap(
            &mut &[11, 2 << 2, b'a', b'b', b'c', (4 << 2) | 1, 3][..],
            &mut out,
            11,
        )
        .unwrap();
        assert_eq!(out, b"abcabcabcab");
        for bad in [
            &[11, 2 << 2, b'a'][..],
            &[4, 0, b'a', (7 << 2) | 2, 9, 0],
            &[3, 0, b'a'],
        ] {
            assert!(unsnap(&mut &bad[..], &mut Vec::new(), 11).is_err());
        }
    }
}
