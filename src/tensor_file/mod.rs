//! Files of named tensors: safetensors, or what `torch.save` writes. Which of them a file is, its first bytes
//! say. Opening one reads what it says of its tensors, which is held against its length; numbers are read
//! when they are asked for, as f32.

mod safetensors;

use std::io;
use std::path::Path;

use ::safetensors::Dtype;
use ::safetensors::tensor::TensorInfo;

pub(crate) use self::safetensors::Safetensors;
use crate::content::Content;
use crate::floats::{self, Format};
use crate::pickle::torch::{TorchError, TorchFile, TorchTensor};

/// Why a file of tensors cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TensorFileError {
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It is something else.
    #[error("it is {0}; expected a safetensors file or one of PyTorch's")]
    Other(Content),
    #[error("not a readable safetensors file: {0}")]
    Format(String),
    #[error("not a readable PyTorch file: {0}")]
    Torch(TorchError),
}

/// A file of tensors.
pub(crate) enum TensorFile {
    Safetensors(Safetensors),
    Torch(TorchFile),
}

/// What is known of a tensor.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// The path to the dictionary that holds it: empty where that is the whole file.
    pub(crate) container: String,
    /// Its name there.
    pub(crate) name: String,
    pub(crate) shape: Vec<usize>,
    /// The format of its numbers, if they are floating point.
    pub(crate) format: Option<Format>,
    /// The bytes of an integer, and whether it has a sign, if its numbers are integers.
    pub(crate) integer: Option<(usize, bool)>,
    /// The file's own word for the type of its numbers.
    pub(crate) kind: String,
}

impl Entry {
    /// Its name with the path before it.
    pub(crate) fn full_name(&self) -> String {
        match self.container.as_str() {
            "" => self.name.clone(),
            container => format!("{container}.{}", self.name),
        }
    }

    /// How many numbers it has; opening the file has checked that they can be counted.
    pub(crate) fn count(&self) -> usize {
        match self.shape.contains(&0) {
            true => 0,
            false => self.shape.iter().product(),
        }
    }
}

impl TensorFile {
    /// Opens the file at `path`.
    pub(crate) fn open(path: &Path) -> Result<Self, TensorFileError> {
        let torch = |error| match error {
            TorchError::Io(error) => TensorFileError::Io(error),
            error => TensorFileError::Torch(error),
        };
        match Content::at(path)? {
            Content::Zip | Content::Pickle => TorchFile::open(path).map(Self::Torch).map_err(torch),
            // What no other file begins like may be one whose header is longer than any that is read.
            Content::Safetensors | Content::Unknown => Safetensors::open(path).map(Self::Safetensors),
            other => Err(TensorFileError::Other(other)),
        }
    }

    /// Returns what is known of its tensors, those of the state dict first.
    pub(crate) fn entries(&self) -> Vec<Entry> {
        match self {
            Self::Safetensors(file) => {
                let tensors = file.tensors().iter();
                let entry = |(name, info): (&String, &TensorInfo)| Entry {
                    container: String::new(),
                    name: name.clone(),
                    shape: info.shape.clone(),
                    format: Format::of(info.dtype),
                    integer: integer(info.dtype),
                    kind: info.dtype.to_string(),
                };
                tensors.map(entry).collect()
            }
            Self::Torch(file) => {
                let entry = |(container, name, tensor): (&str, &str, &TorchTensor)| Entry {
                    container: container.to_owned(),
                    name: name.to_owned(),
                    shape: tensor.shape().to_vec(),
                    format: tensor.format(),
                    integer: tensor.integer(),
                    kind: tensor.kind().to_owned(),
                };
                file.all().map(entry).collect()
            }
        }
    }

    /// Fills `out` with the numbers of the tensor that `entry` of this file describes, from the `skipped`th
    /// on, the last axis fastest.
    pub(crate) fn read(&self, entry: &Entry, skipped: usize, out: &mut [f32]) -> io::Result<()> {
        let missing = || io::Error::other(format!("there is no tensor `{}`", entry.full_name()));
        match self {
            Self::Safetensors(file) => {
                let tensor = file.tensors().get(&entry.name).ok_or_else(missing)?;
                let format = entry
                    .format
                    .ok_or_else(|| io::Error::other(format!("numbers of {}", entry.kind)))?;
                file.read(tensor, format, skipped, out)
            }
            Self::Torch(file) => {
                let mut all = file.all();
                let same = |found: (&str, &str)| found == (&entry.container, &entry.name);
                let (_, _, tensor) = all.find(|(c, n, _)| same((c, n))).ok_or_else(missing)?;
                file.read_from(tensor, skipped, out)
            }
        }
    }

    /// Returns the integers of the tensor that `entry` of this file describes.
    pub(crate) fn integers(&self, entry: &Entry) -> io::Result<Vec<i64>> {
        let none = || io::Error::other(format!("`{}` holds no integers", entry.full_name()));
        let (size, signed) = entry.integer.ok_or_else(none)?;
        match self {
            Self::Safetensors(file) => {
                let tensor = file.tensors().get(&entry.name).ok_or_else(none)?;
                Ok(floats::integers(&file.bytes(tensor)?, size, signed))
            }
            Self::Torch(file) => {
                let mut all = file.all();
                let found = all.find(|(c, n, _)| (*c, *n) == (&entry.container, &entry.name));
                let (_, _, tensor) = found.ok_or_else(none)?;
                file.integers(tensor)?.ok_or_else(none)
            }
        }
    }
}

/// The bytes of an integer, and whether it has a sign.
fn integer(dtype: Dtype) -> Option<(usize, bool)> {
    match dtype {
        Dtype::U8 => Some((1, false)),
        Dtype::I8 => Some((1, true)),
        Dtype::I16 => Some((2, true)),
        Dtype::U16 => Some((2, false)),
        Dtype::I32 => Some((4, true)),
        Dtype::U32 => Some((4, false)),
        Dtype::I64 | Dtype::U64 => Some((8, true)),
        _ => None,
    }
}
