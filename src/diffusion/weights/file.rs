//! A file of tensors in either format.

use std::io::{self, Read};
use std::path::Path;

use super::pickle::PickleFile;
use super::safetensors::SafetensorsFile;
use crate::diffusion::error::{DiffusionError, Result};

/// A file of tensors, whose header has been read.
pub(crate) enum TensorFile {
    /// `.safetensors`.
    Safetensors(SafetensorsFile),
    /// `.bin`, `.ckpt`, `.pt`, `.pth`: a zip with a pickle in it, as `torch.save` writes it.
    Pickle(PickleFile),
}

impl TensorFile {
    /// Opens a file, whose format its name says.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        if path
            .extension()
            .is_some_and(|e| e.eq_ignore_ascii_case("safetensors"))
        {
            SafetensorsFile::open(path).map(Self::Safetensors)
        } else {
            PickleFile::open(path).map(Self::Pickle)
        }
    }

    pub(crate) fn path(&self) -> &Path {
        match self {
            Self::Safetensors(file) => file.path(),
            Self::Pickle(file) => file.path(),
        }
    }

    /// Names of the tensors, in no particular order.
    pub(crate) fn names(&self) -> Box<dyn Iterator<Item = &str> + '_> {
        match self {
            Self::Safetensors(file) => Box::new(file.names()),
            Self::Pickle(file) => Box::new(file.names()),
        }
    }

    /// Shape of a tensor, if it is there.
    pub(crate) fn shape(&self, name: &str) -> Option<&[usize]> {
        match self {
            Self::Safetensors(file) => file.shape(name),
            Self::Pickle(file) => file.shape(name),
        }
    }

    /// Reads a tensor of as many numbers as `out` has room for, as f32.
    pub(crate) fn read(&self, name: &str, out: &mut [f32]) -> Result<()> {
        match self {
            Self::Safetensors(file) => file.read(name, out),
            Self::Pickle(file) => file.read(name, out),
        }
    }
}

/// The number formats that weights may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    F32,
    F16,
    Bf16,
}

impl Format {
    /// Bytes of a number.
    pub(super) fn size(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
        }
    }
}

/// Bytes converted at once: a multiple of every format's size.
const BUFFER: usize = 1 << 17;

/// Fills `out` with numbers read, little-endian, and converted to f32.
pub(super) fn read_floats(reader: &mut impl Read, format: Format, out: &mut [f32]) -> io::Result<()> {
    let size = format.size();
    let mut buffer = vec![0; BUFFER.min(out.len() * size)];
    for out in out.chunks_mut(BUFFER / size) {
        let part = &mut buffer[..out.len() * size]; // no longer than the buffer by construction
        reader.read_exact(part)?;
        match format {
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

/// The error of a file that cannot be read.
pub(super) fn unreadable(path: &Path) -> impl Fn(io::Error) -> DiffusionError + '_ {
    |source| DiffusionError::Read {
        path: path.to_path_buf(),
        source,
    }
}
