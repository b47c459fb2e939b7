//! Arrays of numbers in files of any make: `.npy`, `.npz`, what `torch.save` or Python's `pickle` writes,
//! safetensors. Which of them a file is, its first bytes say.
//!
//! What a file says of its arrays is held against its length before memory is asked for, and numbers are read
//! one after another, so an array may be larger than memory. (One in Fortran's order, or with other strides,
//! and those of a pickle are held whole.)

mod checked;
mod npy;
mod open;
mod pickled;
#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};

use super::ExchangeError;
use crate::floats::{Format, whole};
use crate::pickle::List;
use crate::pickle::numpy::RawArray;

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
    /// Says whether it has one of these names, by itself or as the last part of its own.
    pub fn is_called(&self, names: &[&str]) -> bool {
        is_called(&self.name, names)
    }

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
    /// Python lists in a pickle: those of integers are arrays, too.
    lists: Vec<List>,
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

    /// Returns a file of these arrays of the pickle at `path`.
    pub(crate) fn of_pickled(path: &Path, arrays: Vec<(String, RawArray<'_>)>) -> Self {
        let (arrays, held) = pickled::hold(arrays);
        Self::of(path, arrays, Vec::new(), Box::new(held))
    }

    /// A file with these arrays and lists.
    fn of(path: &Path, mut arrays: Vec<Array>, lists: Vec<List>, source: Box<dyn Source>) -> Self {
        let array = |list: &List| {
            Some(Array {
                name: list.name.clone(),
                shape: vec![list.integers.as_ref()?.len()],
                dtype: LIST.to_owned(),
                kind: Kind::Integers(8, true),
            })
        };
        arrays.extend(lists.iter().filter_map(array));
        Self {
            path: path.to_owned(),
            arrays,
            lists,
            source,
        }
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
        let fits = |array: &&Array| array.is_of_floats() && matches!(array.shape.len(), 2 | 3);
        let (empty, fitting): (Vec<&Array>, Vec<&Array>) =
            (self.arrays.iter().filter(fits)).partition(|array| array.shape.contains(&0));
        if let (Some(array), true) = (empty.first(), fitting.is_empty()) {
            let what = match array.shape.first() {
                Some(0) => "row",
                _ => "number",
            };
            return Err(self.unfit(format!("{}: there is no {what} in it", array.in_words())));
        }
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
            return Err(ExchangeError::unfit(
                &self.path,
                what,
                "floating-point numbers",
                actual,
            ));
        }
        self.source.numbers(array).map_err(ExchangeError::io(&self.path))
    }

    /// Returns all numbers of an array of this file.
    ///
    /// # Errors
    /// As [`numbers`](Self::numbers).
    pub fn values(&self, array: &Array) -> Result<Vec<f32>, ExchangeError> {
        let (count, mut numbers, mut values) = (array.count(), self.numbers(array)?, Vec::new());
        // In pieces, so that no more memory is asked for than there are numbers.
        while values.len() < count {
            let start = values.len();
            values.resize(count.min(start + PART), 0.0);
            numbers
                .fill(&mut values[start..])
                .map_err(ExchangeError::io(&self.path))?;
        }
        Ok(values)
    }

    /// Returns the array of one of these names, by itself or as the last part of its own.
    ///
    /// # Errors
    /// If there are two, or it is a Python list of other things than integers.
    pub fn called(&self, names: &[&str]) -> Result<Option<&Array>, ExchangeError> {
        let mut found = self.arrays.iter().filter(|array| is_called(&array.name, names));
        let mut lists = self.lists.iter().filter(|list| is_called(&list.name, names));
        match (found.next(), found.next(), lists.next()) {
            (Some(a), Some(b), _) => Err(self.unfit(format!(
                "{} and {} are names of one thing: leave one of them out",
                a.in_words(),
                b.in_words()
            ))),
            (None, _, Some(list)) => Err(self.unfit(format!(
                "`{}` is {}, which is not read; `torch.stack`, `torch.from_numpy` or `numpy.asarray` makes \
                 what is",
                list.name, list.what
            ))),
            (found, _, _) => Ok(found),
        }
    }

    /// Returns the class numbers in an array, `[rows]` or `[rows, 1]`: integers, or whole numbers among which
    /// NaN is -1.
    ///
    /// # Errors
    /// If it is of another shape or holds something else, or the file cannot be read.
    pub fn classes(&self, array: &Array) -> Result<Vec<i64>, ExchangeError> {
        let words = array.in_words();
        let (&[_] | &[_, 1]) = array.shape.as_slice() else {
            return Err(self.unfit(format!("{words} is not a class number for each row, [rows]")));
        };
        if array.is_of_floats() {
            let class = |(row, value): (usize, f32)| {
                let what = || self.unfit(format!("{words}: row {row} is {value}, which is no class number"));
                whole(f64::from(value)).ok_or_else(what)
            };
            return self.values(array)?.into_iter().enumerate().map(class).collect();
        }
        let integers = self.integers(array)?;
        integers.ok_or_else(|| self.unfit(format!("{words} does not hold class numbers")))
    }

    /// Returns the class numbers, or the places, of one of these names, one for each of `rows` rows, and its
    /// name.
    ///
    /// # Errors
    /// As [`called`](Self::called) and [`classes`](Self::classes), or if there are more or fewer.
    pub fn column(&self, names: &[&str], rows: usize) -> Result<Option<(&str, Vec<i64>)>, ExchangeError> {
        let Some(array) = self.called(names)? else {
            return Ok(None);
        };
        let classes = self.classes(array)?;
        if classes.len() != rows {
            let words = array.in_words();
            return Err(self.unfit(format!("{words} is not one number for each of the {rows} rows")));
        }
        Ok(Some((array.name.as_str(), classes)))
    }

    fn unfit(&self, reason: String) -> ExchangeError {
        ExchangeError::Unfit {
            path: self.path.clone(),
            reason,
        }
    }

    /// Returns the integers of an array, or none if it holds something else.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn integers(&self, array: &Array) -> Result<Option<Vec<i64>>, ExchangeError> {
        if !matches!(array.kind, Kind::Integers(..)) {
            return Ok(None);
        }
        if array.dtype == LIST {
            let list = self.lists.iter().find(|list| list.name == array.name);
            return Ok(list.and_then(|list| list.integers.clone()));
        }
        let integers = self
            .source
            .integers(array)
            .map_err(ExchangeError::io(&self.path))?;
        // Of 64 bits without a sign, the upper half has become negative.
        if array.kind == Kind::Integers(8, false)
            && let Some(row) = integers.iter().position(|integer| *integer < 0)
        {
            let (words, large) = (array.in_words(), integers[row] as u64);
            return Err(self.unfit(format!(
                "{words}: number {row} is {large}, beyond all that are read"
            )));
        }
        Ok(Some(integers))
    }

    /// Returns the array of that name.
    pub fn named(&self, name: &str) -> Option<&Array> {
        self.arrays.iter().find(|array| array.name == name)
    }
}

/// Numbers that are read at once.
const PART: usize = 1 << 20;
/// The type of a list of integers, in words.
const LIST: &str = "list of integers";

/// Whether a name is one of these, by itself or as its last part.
fn is_called(name: &str, names: &[&str]) -> bool {
    let name = name.to_lowercase();
    let last = name.rsplit(['.', '/']).next().unwrap_or_default();
    // Every layer of a state dict has a weight.
    names.contains(&name.as_str()) || !matches!(last, "weight" | "bias") && names.contains(&last)
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
