//! Files that Parquet's reader may read to their end and no further.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};

use bytes::Bytes;
use parquet::errors::Result;
use parquet::file::reader::{ChunkReader, Length};

/// How often an end may be seen: a buffer that is filled at the end sees it once or twice.
const ENDS: u32 = 64;

/// A file of which reading beyond the end is an error. A damaged page header may tell the reader of parquet 59
/// to pass over billions of parts that are not there, which it tries one after another.
pub(crate) struct Ending(pub File);

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
        Ok(BufReader::new(Part { file, ends: 0 }))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        self.0.get_bytes(start, length)
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
}
