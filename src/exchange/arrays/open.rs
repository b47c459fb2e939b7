//! From a file to its arrays, whatever make it is of.

use std::io;
use std::path::Path;

use super::super::ExchangeError;
use super::{Array, ArrayFile, Kind, Numbers, Source, npy, pickled};
use crate::content::Content;
use crate::pickle::torch::TorchFile;
use crate::tensor_file::{Entry, TensorFile, TensorFileError};

pub(super) fn open(path: &Path) -> Result<ArrayFile, ExchangeError> {
    let content = Content::at(path).map_err(ExchangeError::io(path))?;
    let of = |arrays, source: Box<dyn Source>| ArrayFile::of(path, arrays, Vec::new(), source);
    match content {
        Content::Npy => npy::single(path).map(|(arrays, npy)| of(arrays, Box::new(npy))),
        Content::Zip if !TorchFile::is_archive(path) => {
            npy::archive(path).map(|(arrays, npy)| of(arrays, Box::new(npy)))
        }
        Content::Pickle if !TorchFile::is_legacy(path) => {
            let (arrays, lists, held) = pickled::open(path)?;
            Ok(ArrayFile::of(path, arrays, lists, Box::new(held)))
        }
        Content::Zip | Content::Pickle | Content::Safetensors => {
            let file = TensorFile::open(path).map_err(|error| match error {
                TensorFileError::Io(source) => ExchangeError::io(path)(source),
                other => ExchangeError::format(path, "the file", "a file of tensors", other.to_string()),
            })?;
            let entries = file.entries();
            let arrays = entries.iter().map(array).collect();
            let lists = match &file {
                TensorFile::Torch(file) => file.lists().to_vec(),
                TensorFile::Safetensors(_) => Vec::new(),
            };
            let source = Tensors(std::sync::Arc::new((file, entries)));
            Ok(ArrayFile::of(path, arrays, lists, Box::new(source)))
        }
        other => Err(ExchangeError::Other {
            path: path.to_owned(),
            content: other,
            expected: "numbers: .npy, .npz, a PyTorch or pickle file, .safetensors, .parquet or .csv (UTF-8)",
        }),
    }
}

fn array(entry: &Entry) -> Array {
    Array {
        name: entry.full_name(),
        shape: entry.shape.clone(),
        dtype: entry.kind.clone(),
        kind: match (entry.format, entry.integer) {
            (Some(format), _) => Kind::Floats(format),
            (None, Some((size, signed))) => Kind::Integers(size, signed),
            (None, None) => Kind::Other,
        },
    }
}

/// A file of tensors, shared with those who read its numbers.
struct Tensors(std::sync::Arc<(TensorFile, Vec<Entry>)>);

impl Tensors {
    fn entry(&self, array: &Array) -> io::Result<usize> {
        let found = self.0.1.iter().position(|entry| entry.full_name() == array.name);
        found.ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Source for Tensors {
    fn numbers(&self, array: &Array) -> io::Result<Box<dyn Numbers>> {
        let entry = self.entry(array)?;
        let file = self.0.clone();
        Ok(Box::new(Stream { file, entry, next: 0 }))
    }

    fn integers(&self, array: &Array) -> io::Result<Vec<i64>> {
        let entry = &self.0.1[self.entry(array)?];
        self.0.0.integers(entry)
    }
}

struct Stream {
    file: std::sync::Arc<(TensorFile, Vec<Entry>)>,
    entry: usize,
    next: usize,
}

impl Numbers for Stream {
    fn fill(&mut self, out: &mut [f32]) -> io::Result<()> {
        let (file, entries) = &*self.file;
        let entry = &entries[self.entry];
        if self.next + out.len() > entry.count() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        file.read(entry, self.next, out)?;
        self.next += out.len();
        Ok(())
    }
}
