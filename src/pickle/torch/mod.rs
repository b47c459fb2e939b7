//! Files of PyTorch's `torch.save`: since 1.6 a zip archive, not compressed, of a pickle that describes the
//! tensors and one file of numbers for each storage (`zip.rs`); before, and still on request, pickles
//! followed by the storages (`legacy.rs`).
//!
//! What the pickle names is never executed. A tensor is described by its storage and where in it its numbers
//! are; the numbers are read from their places in the file when they are asked for. Opening a file checks
//! that they are there.

mod describe;
mod legacy;
mod zip;

use std::collections::BTreeMap;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use self::describe::{Found, Named, Numbers};
use super::{List, PickleError};
use crate::floats::{self, Format};
use crate::input;

/// Numbers of a tensor that a task reads.
const NUMBERS: usize = 1 << 20;
/// How often the numbers of a file may occur in all of its tensors: tied weights share a storage, but a small
/// file must not ask for any amount of memory.
const COPIES: u64 = 16;

/// Why a file of PyTorch's cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TorchError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("{0}")]
    Zip(#[from] ::zip::result::ZipError),
    #[error(transparent)]
    Pickle(#[from] PickleError),
    /// It is no such file.
    #[error("{0}")]
    Layout(String),
    #[error("tensor `{name}`: {reason}")]
    Tensor { name: String, reason: String },
}

type Result<T> = std::result::Result<T, TorchError>;

/// A file whose tensors are known.
#[derive(Debug)]
pub(crate) struct TorchFile {
    path: PathBuf,
    /// The path to the state dict: empty where it is the whole.
    container: String,
    tensors: BTreeMap<String, TorchTensor>,
    /// What else is in the file.
    others: Vec<Named>,
    /// Lists beside tensors.
    lists: Vec<List>,
}

/// Where a tensor's numbers are.
#[derive(Debug)]
pub(crate) struct TorchTensor {
    shape: Vec<usize>,
    /// Numbers from one to the next along each axis.
    strides: Vec<usize>,
    /// How many numbers it has.
    count: usize,
    numbers: Numbers,
    /// Byte of the file at which the tensor's first number is.
    start: u64,
}

/// Where a storage lies in the file: its first byte, and how many there are.
type Place = (u64, u64);

impl TorchFile {
    /// Whether a file that begins so may be one of PyTorch's.
    pub(crate) fn begins(head: &[u8]) -> bool {
        head.starts_with(b"PK\x03\x04") || legacy::begins(head)
    }

    /// Whether the file at `path` is a zip archive with a pickle of PyTorch's in it.
    pub(crate) fn is_archive(path: &Path) -> bool {
        input::open(path).is_ok_and(zip::holds_pickle)
    }

    /// Whether the file at `path` is of the format before 1.6, and no other pickle.
    pub(crate) fn is_legacy(path: &Path) -> bool {
        let mut head = Vec::new();
        let read = input::open(path).and_then(|file| file.take(legacy::HEAD as u64).read_to_end(&mut head));
        read.is_ok() && legacy::begins(&head)
    }

    /// Reads the description of all tensors, and which of them are the state dict: those where training
    /// programs keep it, else the whole.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let mut file = input::open(path)?;
        let length = file.metadata()?.len();
        let mut head = Vec::new();
        (&mut file).take(legacy::HEAD as u64).read_to_end(&mut head)?;
        file.rewind()?;
        let Found { main, tensors, lists } = if legacy::begins(&head) {
            legacy::tensors(&mut file, length)?
        } else if Self::begins(&head) {
            zip::tensors(file, length)?
        } else {
            let reason = "it begins neither like a zip archive nor like PyTorch's format before 1.6";
            return Err(TorchError::Layout(reason.into()));
        };
        let counts = tensors.iter().map(|named| named.tensor.count() as u64);
        if counts.fold(0, u64::saturating_add) > length.saturating_mul(COPIES) {
            let reason =
                format!("its tensors would have more than {COPIES} numbers for each of its {length} bytes");
            return Err(TorchError::Layout(reason));
        }
        let (own, others): (Vec<Named>, _) = tensors.into_iter().partition(|named| named.container == main);
        Ok(Self {
            path: path.to_owned(),
            tensors: own.into_iter().map(|named| (named.name, named.tensor)).collect(),
            container: main,
            others,
            lists,
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The tensors of the state dict by name.
    pub(crate) fn tensors(&self) -> &BTreeMap<String, TorchTensor> {
        &self.tensors
    }

    /// The lists beside the tensors.
    pub(crate) fn lists(&self) -> &[List] {
        &self.lists
    }

    /// All tensors: the path to what holds each, its name there, and itself. The state dict's come first.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&str, &str, &TorchTensor)> {
        let own = self.tensors.iter();
        let own = own.map(|(name, tensor)| (self.container.as_str(), name.as_str(), tensor));
        let others = self.others.iter();
        own.chain(others.map(|named| (named.container.as_str(), named.name.as_str(), &named.tensor)))
    }

    /// Fills `out`, which has the tensor's length, with its numbers, the last axis fastest.
    pub(crate) fn read(&self, tensor: &TorchTensor, out: &mut [f32]) -> io::Result<()> {
        self.read_from(tensor, 0, out)
    }

    /// Fills `out` with the tensor's numbers from the `skipped`th on, the last axis fastest.
    pub(crate) fn read_from(&self, tensor: &TorchTensor, skipped: usize, out: &mut [f32]) -> io::Result<()> {
        let Some(format) = tensor.format() else {
            return Err(io::Error::other(format!("numbers of {}", tensor.kind())));
        };
        let read = |first: usize, out: &mut [f32]| {
            // A handle of its own for each part: reads do not disturb each other's position.
            let mut file = input::open(&self.path)?;
            file.seek(SeekFrom::Start(tensor.start + (first * format.size()) as u64))?;
            floats::read(&mut file, format, out)
        };
        if tensor.is_contiguous() {
            let parts = out.par_chunks_mut(NUMBERS).enumerate();
            return parts.try_for_each(|(i, part)| read(skipped + i * NUMBERS, part));
        }
        // They are in the file: opening it has checked that.
        let mut numbers = vec![0.0; tensor.reach()];
        read(0, &mut numbers)?;
        for (i, out) in out.iter_mut().enumerate() {
            *out = numbers[tensor.at(skipped + i)]; // at most the reach
        }
        Ok(())
    }
}

impl TorchFile {
    /// Returns a tensor's numbers, the last axis fastest, where they are integers.
    pub(crate) fn integers(&self, tensor: &TorchTensor) -> io::Result<Option<Vec<i64>>> {
        let Some((size, signed)) = tensor.numbers.integer() else {
            return Ok(None);
        };
        let mut bytes = vec![0; tensor.reach() * size]; // they are in the file
        let mut file = input::open(&self.path)?;
        file.seek(SeekFrom::Start(tensor.start))?;
        file.read_exact(&mut bytes)?;
        let numbers = floats::integers(&bytes, size, signed);
        Ok(Some((0..tensor.count).map(|i| numbers[tensor.at(i)]).collect()))
    }
}

impl TorchTensor {
    pub(crate) fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// How many numbers it has.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// PyTorch's name of the storage's type, such as `HalfStorage`.
    pub(crate) fn kind(&self) -> &str {
        self.numbers.name()
    }

    /// The bytes of an integer, and whether it has a sign, if the numbers are integers.
    pub(crate) fn integer(&self) -> Option<(usize, bool)> {
        self.numbers.integer()
    }

    /// The format of the numbers, if they are floating point.
    pub(crate) fn format(&self) -> Option<Format> {
        self.numbers.format()
    }

    fn axes(&self) -> impl DoubleEndedIterator<Item = (usize, usize)> + '_ {
        self.shape.iter().copied().zip(self.strides.iter().copied())
    }

    /// Numbers of the storage from the tensor's first to behind its last.
    fn reach(&self) -> usize {
        if self.shape.contains(&0) {
            return 0;
        }
        1 + self
            .axes()
            .map(|(side, stride)| (side - 1) * stride)
            .sum::<usize>()
    }

    fn is_contiguous(&self) -> bool {
        let mut expected = 1;
        self.axes().rev().all(|(side, stride)| {
            let fits = side == 1 || stride == expected;
            expected *= side;
            fits
        })
    }

    /// Where in the storage, from the tensor's first number, its `i`th is.
    fn at(&self, mut i: usize) -> usize {
        let mut at = 0;
        for (side, stride) in self.axes().rev() {
            at += i % side * stride;
            i /= side;
        }
        at
    }
}
