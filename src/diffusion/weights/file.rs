//! A file of tensors in either format.

use std::io;
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

/// The error of a file that cannot be read.
pub(super) fn unreadable(path: &Path) -> impl Fn(io::Error) -> DiffusionError + '_ {
    |source| DiffusionError::Read {
        path: path.to_path_buf(),
        source,
    }
}
