//! What the reader of Parquet (version 59) believes of a damaged file, checked where it reads: where the file
//! ends, and how many values are in a dictionary; and how a file is opened (`head.rs`).

mod head;
pub(crate) mod wire;

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};

use bytes::Bytes;
use parquet::errors::{ParquetError, Result};
use parquet::file::reader::{ChunkReader, Length};

/// How often an end may be seen: a buffer that is filled at the end sees it once or twice.
const ENDS: u32 = 64;

/// Bytes of a page header that are looked at: statistics may hold whole values.
const HEADER: u64 = 1 << 20;

/// A file of which reading beyond the end is an error. A damaged page header may tell the reader to pass over
/// billions of parts that are not there, which it tries one after another; or that a dictionary has billions
/// of values, for which it asks for memory before it looks for them.
pub(crate) struct Ending(File);

/// Bytes of it from a place on.
pub(crate) struct Part {
    file: File,
    ends: u32,
}

impl Length for Ending {
    fn len(&self) -> u64 {
        Length::len(&self.0)
    }
}

impl ChunkReader for Ending {
    type T = BufReader<Part>;

    fn get_read(&self, start: u64) -> Result<Self::T> {
        let mut file = self.0.try_clone()?;
        file.seek(SeekFrom::Start(start))?;
        check_dictionary(&mut BufReader::with_capacity(256, &file).take(HEADER))?;
        file.seek(SeekFrom::Start(start))?;
        Ok(BufReader::new(Part { file, ends: 0 }))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        self.0.get_bytes(start, length)
    }
}

/// Values of a dictionary a byte of its packed page at most: they differ, which no packer takes for less.
const VALUES_A_BYTE: i64 = 256;

/// Refuses the header of a dictionary page with more values than bytes. What is no header passes: the reader
/// asks for the bytes of pages, too.
fn check_dictionary(bytes: &mut impl Read) -> Result<()> {
    // Fields of a page header: its type, its sizes unpacked and packed, and what is said of a dictionary.
    const TYPE: i16 = 1;
    const SIZE: i16 = 2;
    const PACKED: i16 = 3;
    const DICTIONARY: i16 = 7;
    let Ok(header) = wire::Struct::read(bytes) else {
        return Ok(());
    };
    // The reader takes 32 bits of a number.
    let number = |of: &wire::Struct, field: i16| of.number(field).map(|number| i64::from(number as i32));
    let values = header
        .inner(DICTIONARY)
        .and_then(|dictionary| number(dictionary, 1));
    let packed = number(&header, PACKED).unwrap_or(0).saturating_mul(VALUES_A_BYTE);
    match (number(&header, TYPE), number(&header, SIZE), values) {
        (Some(2), Some(size), Some(values)) if !(0..=size.min(packed)).contains(&values) => {
            let told = format!("a dictionary page of {size} bytes with {values} values");
            Err(ParquetError::General(told))
        }
        _ => Ok(()),
    }
}

impl Read for Part {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(bytes)?;
        if read == 0 && !bytes.is_empty() {
            self.ends += 1;
            if self.ends > ENDS {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_seen_a_few_times_and_then_an_error() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), [1, 2, 3]).unwrap();
        let ending = Ending(File::open(file.path()).unwrap());
        assert_eq!(
            (Length::len(&ending), &ending.get_bytes(1, 2).unwrap()[..]),
            (3, &[2, 3][..])
        );
        let mut rest = Vec::new();
        ending.get_read(2).unwrap().read_to_end(&mut rest).unwrap();
        assert_eq!(rest, [3]);
        let mut reader = ending.get_read(3).unwrap();
        let error = (0..1000).find_map(|_| reader.read(&mut [0]).err());
        assert_eq!(
            error.map(|error| error.kind()),
            Some(io::ErrorKind::UnexpectedEof)
        );
    }

    #[test]
    fn a_dictionary_has_no_more_values_than_bytes() {
        // Compact Thrift: type 2, 12 bytes unpacked and packed, a dictionary of so many values, plain.
        let header = |values: &[u8]| {
            [
                &[0x15, 4, 0x15, 24, 0x15, 24, 0x4c, 0x15][..],
                values,
                &[0x15, 0, 0, 0],
            ]
            .concat()
        };
        assert!(check_dictionary(&mut &header(&[6])[..]).is_ok());
        let said = check_dictionary(&mut &header(&[0x80, 0x84, 0xaf, 0x5f])[..]).unwrap_err();
        assert!(
            said.to_string().contains("12 bytes with 100000000 values"),
            "{said}"
        );
        assert!(check_dictionary(&mut &header(&[0xf9, 0xf9, 0xf9, 0xf9, 0x04])[..]).is_err());
        assert!(check_dictionary(&mut &b"PAR1"[..]).is_ok());
        // The reader goes by the numbers of fields, not by their types, and a stop may have a number.
        let many = [0x80, 0x84, 0xaf, 0x5f];
        let odd = [
            &[0x11, 4, 0x18, 24, 0x15, 24, 0x48, 0x18][..],
            &many,
            &[0x15, 0, 0xf0, 0xf0],
        ]
        .concat();
        assert!(check_dictionary(&mut &odd[..]).is_err());
        // A number of 14 bytes, as libFuzzer found it.
        let long = [[0xae; 13].as_slice(), &[0x06]].concat();
        assert!(check_dictionary(&mut &header(&long)[..]).is_err());
        // What is not known is passed over: a list of two numbers, a map, a number of 64 bits.
        let beside = [
            0x19, 0x25, 2, 4, 0x1b, 1, 0x55, 2, 2, 0x17, 0, 0, 0, 0, 0, 0, 0, 0,
        ];
        let later = [
            &[0x15, 4, 0x15, 24, 0x15, 24, 0x4c, 0x15][..],
            &many,
            &[0x15, 0, 0],
            &beside,
            &[0],
        ];
        assert!(check_dictionary(&mut &later.concat()[..]).is_err());
        let booleans = [0x99, 0xf1, 0xff, 0xff, 0xff, 0xff, 0x07];
        let after = [
            &booleans[..],
            &[0x05, 2, 4, 0x15, 24, 0x15, 24, 0x4c, 0x15],
            &many,
            &[0x15, 0, 0, 0],
        ];
        assert!(check_dictionary(&mut &after.concat()[..]).is_err());
    }
}
