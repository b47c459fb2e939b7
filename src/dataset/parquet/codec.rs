//! What pages are packed by, unpacked as a stream: a page may be larger than memory.
//!
//! <https://github.com/google/snappy/blob/main/format_description.txt>,
//! <https://github.com/lz4/lz4/blob/dev/doc/lz4_Block_format.md>

use std::io::{ErrorKind, Read, Result, Write, copy};

use parquet::basic::Compression;

use crate::ending::wire::{byte, damaged, varint};

/// How far back compressors refer in Snappy, whose blocks are this long, and in LZ4.
const WINDOW: usize = 1 << 16;
/// Bytes that brotli's decoder reads at a time.
const BUFFER: usize = 1 << 16;

/// Whether pages that are packed so are unpacked here.
pub(super) fn is_known(codec: Compression) -> bool {
    match codec {
        Compression::UNCOMPRESSED
        | Compression::SNAPPY
        | Compression::GZIP(_)
        | Compression::BROTLI(_)
        | Compression::ZSTD(_)
        | Compression::LZ4_RAW => true,
        // The framing of LZ4 was never written down, and nobody writes LZO.
        Compression::LZ4 | Compression::LZO => false,
    }
}

/// Unpacks a page of `size` bytes.
///
/// # Errors
/// If it is damaged, or longer or shorter.
pub(super) fn unpack(
    codec: Compression,
    packed: &mut impl Read,
    out: &mut impl Write,
    size: u64,
) -> Result<()> {
    let mut whole = |stream: &mut dyn Read| match copy(&mut stream.take(size.saturating_add(1)), out)? {
        unpacked if unpacked == size => Ok(()),
        _ => Err(damaged("a page of another size than its header says")),
    };
    match codec {
        Compression::UNCOMPRESSED => whole(packed),
        Compression::GZIP(_) => whole(&mut flate2::read::MultiGzDecoder::new(packed)),
        Compression::BROTLI(_) => whole(&mut brotli::Decompressor::new(packed, BUFFER)),
        Compression::ZSTD(_) => whole(&mut zstd::stream::read::Decoder::new(packed)?),
        Compression::SNAPPY => unsnap(packed, out, size),
        Compression::LZ4_RAW => unlz4(packed, out, size),
        Compression::LZ4 | Compression::LZO => Err(ErrorKind::Unsupported.into()),
    }
}

/// The end of what is unpacked, which is referred to.
struct Unpacked<'a, W> {
    out: &'a mut W,
    window: Vec<u8>,
    size: u64,
    done: u64,
}

impl<'a, W: Write> Unpacked<'a, W> {
    fn new(out: &'a mut W, size: u64) -> Self {
        Self {
            out,
            window: Vec::with_capacity(5 * WINDOW),
            size,
            done: 0,
        }
    }

    fn grow(&mut self, len: usize) -> Result<()> {
        self.done += len as u64;
        match self.done <= self.size {
            true => Ok(()),
            false => Err(damaged("more than the page holds")),
        }
    }

    /// Takes `len` bytes as they are.
    fn literal(&mut self, packed: &mut impl Read, len: usize) -> Result<()> {
        self.grow(len)?;
        let mut left = len;
        while left > 0 {
            let part = left.min(WINDOW);
            let start = self.window.len();
            self.window.resize(start + part, 0);
            packed.read_exact(&mut self.window[start..])?;
            left -= part;
            self.slide()?;
        }
        Ok(())
    }

    /// Repeats the `len` bytes from `back` before the end on, which may overlap what they make.
    fn copy(&mut self, back: usize, len: usize) -> Result<()> {
        self.grow(len)?;
        let start = self.window.len().checked_sub(back).filter(|_| back > 0);
        let start = start.ok_or_else(|| damaged("a reference too far back"))?;
        for at in start..start + len {
            self.window.push(self.window[at]);
        }
        self.slide()
    }

    /// Writes what nothing can refer to any more.
    fn slide(&mut self) -> Result<()> {
        if self.window.len() > 4 * WINDOW {
            let old = self.window.len() - WINDOW;
            self.out.write_all(&self.window[..old])?;
            self.window.drain(..old);
        }
        Ok(())
    }

    fn finish(self) -> Result<()> {
        match self.done == self.size {
            true => self.out.write_all(&self.window),
            false => Err(damaged("less than the page holds")),
        }
    }
}

/// Unpacks a Snappy block of `size` bytes from a stream.
fn unsnap(packed: &mut impl Read, out: &mut impl Write, size: u64) -> Result<()> {
    if varint(packed)? != size {
        return Err(damaged("Snappy: another size than the page's"));
    }
    let mut unpacked = Unpacked::new(out, size);
    while unpacked.done < size {
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
        match back {
            None => unpacked.literal(packed, len)?,
            Some(back) => unpacked.copy(back, len)?,
        }
    }
    unpacked.finish()
}

/// Unpacks an LZ4 block of `size` bytes from a stream.
fn unlz4(packed: &mut impl Read, out: &mut impl Write, size: u64) -> Result<()> {
    // A length of 15 goes on in bytes, up to one that is not 255.
    let length = |packed: &mut _, nibble: u8| -> Result<usize> {
        let mut length = usize::from(nibble);
        if nibble == 15 {
            loop {
                let more = byte(packed)?;
                length = length.saturating_add(usize::from(more));
                if more < 255 {
                    break;
                }
            }
        }
        Ok(length)
    };
    let mut unpacked = Unpacked::new(out, size);
    loop {
        let token = byte(packed)?;
        let literals = length(packed, token >> 4)?;
        unpacked.literal(packed, literals)?;
        // The last sequence has no copy.
        if unpacked.done == size {
            return unpacked.finish();
        }
        let back = usize::from(u16::from_le_bytes([byte(packed)?, byte(packed)?]));
        let len = length(packed, token & 15)?.saturating_add(4);
        unpacked.copy(back, len)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn lz4_as_a_stream() {
        // A literal of three, a copy of eight, and the literals that end each block.
        let packed = [0x34, b'a', b'b', b'c', 3, 0, 0x10, b'd'];
        let mut out = Vec::new();
        unlz4(&mut &packed[..], &mut out, 12).unwrap();
        assert_eq!(out, b"abcabcabcabd");
        // Lengths beyond 15.
        let long = [&[0xf0, 255, 0][..], &[7; 270]].concat();
        out.clear();
        unlz4(&mut &long[..], &mut out, 270).unwrap();
        assert_eq!(out, [7; 270]);
        for (bad, size) in [(&packed[..5], 12), (&packed[..], 11), (&packed[..], 13)] {
            assert!(unlz4(&mut &bad[..], &mut Vec::new(), size).is_err());
        }
        assert!(unlz4(&mut &[0x14, b'a', 9, 0, 0][..], &mut Vec::new(), 12).is_err());
    }
}
