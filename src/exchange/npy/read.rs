//! Reading vectors class by class.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use super::super::ExchangeError;
use super::header;
use crate::floats::{self, Format, Swapped};
use crate::input;

/// An `.npy` file of vectors: `[classes, rows, width]`, or `[classes, width]` for one row per class.
///
/// 16-bit floats are widened exactly, 64-bit floats rounded to the nearest 32-bit float.
#[derive(Debug)]
pub struct NpyVectors {
    path: PathBuf,
    file: Swapped<BufReader<File>>,
    format: Format,
    classes: usize,
    rows: usize,
    width: usize,
    next: usize,
}

impl NpyVectors {
    /// Opens the file and checks its header and its length.
    ///
    /// # Errors
    /// If the file cannot be read, is no `.npy` file, is cut short or too long, or holds anything but floats
    /// in C order in two or three dimensions.
    pub fn open(path: &Path) -> Result<Self, ExchangeError> {
        let file = input::open(path).map_err(ExchangeError::io(path))?;
        let size = file.metadata().map_err(ExchangeError::io(path))?.len();
        let mut file = BufReader::new(file);
        let header = header::decode(path, &mut file)?;
        let wrong = |actual: String| {
            let expected = "[classes, rows, width] or [classes, width], none of them 0";
            ExchangeError::format(path, "the shape", expected, actual)
        };
        let (classes, rows, width) = match header.shape.as_slice() {
            [classes, rows, width] => (*classes, *rows, *width),
            [classes, width] => (*classes, 1, *width),
            other => return Err(wrong(format!("{other:?}"))),
        };
        let bytes = [rows, width, header.format.size() as u64, 1]
            .iter()
            .try_fold(classes, |n, d| n.checked_mul(*d))
            .and_then(|n| n.checked_add(header.length));
        if bytes == Some(header.length) {
            return Err(wrong(format!("{:?}", header.shape)));
        }
        if bytes != Some(size) {
            let expected = match bytes {
                Some(bytes) => format!("{bytes} bytes for the shape {:?}", header.shape),
                None => format!("the shape {:?}, more bytes than there are", header.shape),
            };
            return Err(ExchangeError::format(
                path,
                "the length of the file",
                expected,
                format!("{size} bytes"),
            ));
        }
        // Every dimension is at most the file's size in bytes by now.
        // Bytes that are numbers by themselves stay where they are.
        let swapped = if header.big_endian {
            header.format.size()
        } else {
            1
        };
        Ok(Self {
            path: path.to_owned(),
            file: Swapped::new(file, swapped),
            format: header.format,
            classes: classes as usize,
            rows: rows as usize,
            width: width as usize,
            next: 0,
        })
    }

    /// Returns the number of classes.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// Returns the number of rows of each class.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Returns the number of numbers in a vector.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Reads the next class: `[rows, width]`.
    fn class(&mut self) -> Result<Vec<f32>, ExchangeError> {
        let mut numbers = vec![0.0; self.rows * self.width];
        floats::read(&mut self.file, self.format, &mut numbers).map_err(ExchangeError::io(&self.path))?;
        Ok(numbers)
    }
}

/// Yields the classes in order, each as `[rows, width]`.
impl Iterator for NpyVectors {
    type Item = Result<Vec<f32>, ExchangeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next == self.classes {
            return None;
        }
        let class = self.class();
        self.next = if class.is_ok() {
            self.next + 1
        } else {
            self.classes
        };
        Some(class)
    }
}
