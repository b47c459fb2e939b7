//! Bytes of an archive's member, checked against its checksum.

use std::io::{self, Read};

use flate2::Crc;

/// Reads a member, and fails where its last byte is read if its CRC-32 is another.
pub(super) struct Checked<R> {
    reader: R,
    crc: Crc,
    /// Bytes that are still to come.
    left: u64,
    sum: u32,
}

impl<R> Checked<R> {
    /// A member of `size` bytes whose checksum is `sum`.
    pub(super) fn new(reader: R, size: u64, sum: u32) -> Self {
        Self {
            reader,
            crc: Crc::new(),
            left: size,
            sum,
        }
    }
}

impl<R: Read> Read for Checked<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(out.len());
        let count = self.reader.read(&mut out[..most])?;
        self.crc.update(&out[..count]);
        self.left -= count as u64; // no more than were left
        match self.left == 0 && self.crc.sum() != self.sum {
            true => Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "an array in it is not what its checksum says: it is damaged",
            )),
            false => Ok(count),
        }
    }
}
