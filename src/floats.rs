//! Numbers of files, in whatever format of floating point, as f32.

use std::io::{self, Read};

/// The formats that tensors of floating point have in files, little-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    F64,
    F32,
    F16,
    Bf16,
}

impl Format {
    /// Bytes of a number.
    pub(crate) fn size(self) -> usize {
        match self {
            Self::F64 => 8,
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
        }
    }
}

/// Bytes converted at once: a multiple of every format's size.
const BUFFER: usize = 1 << 17;

/// Fills `out` with numbers read and rounded to f32.
pub(crate) fn read_floats(reader: &mut impl Read, format: Format, out: &mut [f32]) -> io::Result<()> {
    let size = format.size();
    let mut buffer = vec![0; BUFFER.min(out.len() * size)];
    for out in out.chunks_mut(BUFFER / size) {
        let part = &mut buffer[..out.len() * size]; // no longer than the buffer by construction
        reader.read_exact(part)?;
        match format {
            Format::F64 => fill(out, part, |b| f64::from_le_bytes(b) as f32),
            Format::F32 => fill(out, part, f32::from_le_bytes),
            Format::F16 => fill(out, part, |b| half::f16::from_le_bytes(b).to_f32()),
            Format::Bf16 => fill(out, part, |b| half::bf16::from_le_bytes(b).to_f32()),
        }
    }
    Ok(())
}

fn fill<const SIZE: usize>(out: &mut [f32], bytes: &[u8], number: impl Fn([u8; SIZE]) -> f32) {
    for (out, bytes) in out.iter_mut().zip(bytes.as_chunks().0) {
        *out = number(*bytes);
    }
}
