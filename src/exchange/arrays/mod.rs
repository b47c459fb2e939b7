//! Arrays of numbers in files of any make: `.npy`, `.npz`, what `torch.save` or Python's `pickle` writes,
//! safetensors. Which of them a file is, its first bytes say.
//!
//! What a file says of its arrays is held against its length before memory is asked for, and numbers are read
//! one after another, so an array may be larger than memory. (One in Fortran's order, or with other strides,
//! and those of a pickle are held whole.)

mod npy;
mod open;
mod pickled;
#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};

use super::ExchangeError;
use crate::floats::Format;

/// What the numbers of an array are.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Floats(Format),
    /// Bytes of an integer, and whether it has a sign.
    Integers(usize, bool),
    Other,
}

impl Kind {
    /// Bytes of a number; 1 where they are of another kind.
    fn size(&self) -> usize {
        match self {
            Self::Floats(format) => format.size(),
            Self::Integers(size, _) => *size,
            Self::Other => 1,
        }
    }
}

/// An array of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Array {
    /// Its name in the file: empty where the file is this array.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// The file's own word for the type of its numbers.
    pub dtype: String,
    kind: Kind,
}

impl Array {
    /// Says whether its numbers are floating point.
    pub fn is_of_floats(&self) -> bool {
        matches!(self.kind, Kind::Floats(_))
    }

    /// Says whether reading its numbers as f32 rounds them.
    pub fn is_rounded(&self) -> bool {
        self.kind == Kind::Floats(Format::F64)
    }

    /// Returns name, type and shape in words.
    pub fn in_words(&self) -> String {
        let Self {
            name, shape, dtype, ..
        } = self;
        match name.as_str() {
            "" => format!("{dtype} {shape:?}"),
            name => format!("`{name}` {dtype} {shape:?}"),
        }
    }

    fn count(&self) -> usize {
        self.shape.iter().product()
    }
}

/// A file of arrays.
pub struct ArrayFile {
    path: PathBuf,
    arrays: Vec<Array>,
    source: Box<dyn Source>,
}

impl std::fmt::Debug for ArrayFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = f.debug_struct("ArrayFile");
        shown
            .field("path", &self.path)
            .field("arrays", &self.arrays)
            .finish_non_exhaustive()
    }
}

/// Where the numbers of a file come from.
trait Source: Send {
    /// Returns the numbers of an array, from the first on.
    fn numbers(&self, array: &Array) -> io::Result<Box<dyn Numbers>>;

    /// Returns the integers of an array.
    fn integers(&self, array: &Array) -> io::Result<Vec<i64>>;
}

/// Numbers, one after another, the last axis fastest.
pub trait Numbers: Send {
    /// Fills `out` with the next numbers: 16-bit ones are widened exactly, 64-bit ones rounded to the nearest
    /// f32.
    ///
    /// # Errors
    /// If the file cannot be read, or ends.
    fn fill(&mut self, out: &mut [f32]) -> io::Result<()>;
}

impl ArrayFile {
    /// Opens the file at `path`.
    ///
    /// # Errors
    /// If it cannot be read, is no file of arrays, or speaks of more numbers than are in it.
    pub fn open(path: &Path) -> Result<Self, ExchangeError> {
        open::open(path)
    }

    /// Returns its arrays.
    pub fn arrays(&self) -> &[Array] {
        &self.arrays
    }

    /// Returns the array of vectors: the one of that name, the one called `vector`, or the only one of
    /// floating-point numbers along two or three axes.
    ///
    /// # Errors
    /// If there is none, or several.
    pub fn vectors(&self, member: Option<&str>) -> Result<&Array, ExchangeError> {
        let unknown = |what: &'static str| ExchangeError::Members {
            path: self.path.clone(),
            what,
            members: self.arrays.iter().map(Array::in_words).collect(),
        };
        if let Some(name) = member {
            let found = self.arrays.iter().find(|array| array.name == name);
            return found.ok_or_else(|| unknown("there is no array of that name"));
        }
        let fits = |array: &&Array| {
            array.is_of_floats() && matches!(array.shape.len(), 2 | 3) && !array.shape.contains(&0)
        };
        let fitting: Vec<&Array> = self.arrays.iter().filter(fits).collect();
        let called = fitting.iter().find(|array| array.name == "vector");
        match (called, fitting.as_slice()) {
            (Some(array), _) | (None, [array]) => Ok(array),
            (None, []) => Err(unknown(
                "there is no array of floating-point numbers along two or three axes",
            )),
            (None, _) => Err(unknown("there are several arrays of vectors")),
        }
    }

    /// Returns the numbers of an array of this file.
    ///
    /// # Errors
    /// If they are not floating point, or the file cannot be read.
    pub fn numbers(&self, array: &Array) -> Result<Box<dyn Numbers>, ExchangeError> {
        if !array.is_of_floats() {
            let (what, actual) = ("the type of the numbers", array.in_words());
            return Err(ExchangeError::format(
                &self.path,
                what,
                "floating-point numbers",
                actual,
            ));
        }
        self.source.numbers(array).map_err(ExchangeError::io(&self.path))
    }

    /// Returns the integers of one of these names that there is one of for each of `rows` rows, and its name:
    /// their classes, their places.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn column(&self, names: &[&str], rows: usize) -> Result<Option<(&str, Vec<i64>)>, ExchangeError> {
        let named = |array: &&Array| {
            let last = array.name.rsplit(['.', '/']).next().unwrap_or_default();
            let shape = array.shape.as_slice();
            let one_each = shape == [rows] || shape == [rows, 1];
            matches!(array.kind, Kind::Integers(..))
                && one_each
                && names.contains(&last.to_lowercase().as_str())
        };
        let Some(array) = self.arrays.iter().find(named) else {
            return Ok(None);
        };
        Ok(self
            .integers(array)?
            .map(|integers| (array.name.as_str(), integers)))
    }

    /// Returns the integers of an array, or none if it holds something else.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn integers(&self, array: &Array) -> Result<Option<Vec<i64>>, ExchangeError> {
        if !matches!(array.kind, Kind::Integers(..)) {
            return Ok(None);
        }
        let integers = self.source.integers(array);
        integers.map(Some).map_err(ExchangeError::io(&self.path))
    }

    /// Returns the array of that name.
    pub fn named(&self, name: &str) -> Option<&Array> {
        self.arrays.iter().find(|array| array.name == name)
    }
}

/// Numbers that are held in memory.
struct Held {
    numbers: Vec<f32>,
    next: usize,
}

impl Numbers for Held {
    fn fill(&mut self, out: &mut [f32]) -> io::Result<()> {
        let part = self.numbers.get(self.next..self.next + out.len());
        out.copy_from_slice(part.ok_or(io::ErrorKind::UnexpectedEof)?);
        self.next += out.len();
        Ok(())
    }
}

/// Returns numbers whose first axis is the fastest with the last axis fastest.
fn turned(numbers: &[f32], shape: &[usize]) -> Vec<f32> {
    let mut strides = Vec::with_capacity(shape.len());
    let mut stride = 1;
    for side in shape {
        strides.push(stride);
        stride *= side;
    }
    let at = |mut i: usize| {
        let mut at = 0;
        for (side, stride) in shape.iter().zip(&strides).rev() {
            at += i % side * stride;
            i /= side;
        }
        at
    };
    (0..numbers.len()).map(|i| numbers[at(i)]).collect() // a turn of places, all within
}
