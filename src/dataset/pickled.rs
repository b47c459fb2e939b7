//! Images in Python pickles: dictionaries with an array `data` of bytes `[n, 3 * height * width]` and a
//! list of labels.

use std::borrow::Cow;
use std::path::Path;

use super::error::DatasetError;
use crate::pickle::numpy::Array;
use crate::pickle::{Node, Pickle};

/// Images and labels.
pub(super) struct Batch<'a> {
    /// The pixels of all images.
    pub bytes: Cow<'a, [u8]>,
    /// Bytes of an image.
    pub row: usize,
    pub labels: Vec<i64>,
}

/// Takes something out of a pickled dictionary, the file at `path`; `take` says what is missing from it.
pub(super) fn dictionary<T>(
    path: &Path,
    bytes: &[u8],
    take: impl FnOnce(Node<'_>) -> Result<T, String>,
) -> Result<T, DatasetError> {
    let corrupt = |reason: String| DatasetError::Corrupt {
        path: path.to_owned(),
        reason,
    };
    let pickle = Pickle::parse(bytes).map_err(|error| corrupt(error.to_string()))?;
    if pickle.root().entries().is_none() {
        return Err(corrupt("pickle: it holds no dictionary".into()));
    }
    take(pickle.root()).map_err(|missing| corrupt(format!("its dictionary has {missing}")))
}

impl<'a> Batch<'a> {
    /// Takes `data` and the list of integers `labels` out of a dictionary; in words what is missing. `fits`
    /// says whether an image can have so many bytes, and `expected` the shape that is, for the error.
    pub fn of(
        root: Node<'a>,
        labels: &str,
        fits: impl Fn(usize) -> bool,
        expected: &str,
    ) -> Result<Self, String> {
        let data = root.get("data").ok_or("no array of bytes `data`")?;
        let data = Array::read(data).map_err(|found| format!("under `data` {found}"))?;
        let &[_, row] = data.shape.as_slice() else {
            return Err(format!("`data` of shape {:?}, expected {expected}", data.shape));
        };
        if row == 0 || !fits(row) {
            return Err(format!("`data` of shape {:?}, expected {expected}", data.shape));
        }
        let list = root.lists().into_iter().find(|list| list.name == labels);
        let list = list.ok_or(format!("no list of integers `{labels}`"))?;
        let what = list.what;
        let integers = list.integers;
        Ok(Self {
            bytes: data.bytes,
            row,
            labels: integers.ok_or(format!("under `{labels}` {what} that is not of integers"))?,
        })
    }
}

/// Checks that there are as many labels as images.
pub(super) fn check_count(
    path: &Path,
    split: &str,
    images: usize,
    labels: usize,
) -> Result<(), DatasetError> {
    match labels == images {
        true => Ok(()),
        false => Err(DatasetError::Count {
            path: path.to_owned(),
            split: split.to_owned(),
            images,
            labels,
        }),
    }
}
