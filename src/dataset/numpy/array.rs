//! Arrays in `.npy` and `.npz` files, of pictures or of labels.

use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use flate2::CrcReader;
use flate2::read::DeflateDecoder;
use zip::{CompressionMethod, ZipArchive};

use super::super::bulk::Bulk;
use super::super::error::DatasetError;
use super::super::files;
use super::super::item::Order;
use crate::floats;
use crate::input;
use crate::npy::Header;

/// An array in a file.
#[derive(Clone)]
pub(in super::super) struct Array {
    pub name: String,
    pub header: Header,
    pub bulk: Arc<Bulk>,
}

impl Array {
    pub fn open(path: &Path, name: String) -> Result<Self, DatasetError> {
        Self::of(path, name, Bulk::open(path)?)
    }

    fn of(path: &Path, name: String, bulk: Arc<Bulk>) -> Result<Self, DatasetError> {
        let corrupt = |reason: String| DatasetError::Corrupt {
            path: path.to_owned(),
            reason: format!("the array {name}: {reason}"),
        };
        let header = Header::read(&mut bulk.between(0, bulk.len)).map_err(|wrong| {
            corrupt(format!(
                "{}: expected {}, found {}",
                wrong.what, wrong.expected, wrong.actual
            ))
        })?;
        let numbers = header.shape.iter().try_fold(1_u64, |all, n| all.checked_mul(*n));
        let needed = numbers
            .and_then(|numbers| numbers.checked_mul(header.item() as u64))
            .and_then(|bytes| bytes.checked_add(header.length));
        if header.item() > 0 && needed != Some(bulk.len) {
            let found = bulk.len.saturating_sub(header.length);
            return Err(corrupt(format!(
                "{:?} by its header, {found} bytes are there",
                header.shape
            )));
        }
        Ok(Self { name, header, bulk })
    }

    /// Height, width and channels of its pictures and how their pixels lie, if it is of pictures.
    pub fn picture(&self) -> Option<([usize; 3], Order)> {
        // Of none, the other axes may be of any length: no file holds them.
        let some = !self.header.shape.contains(&0);
        self.shape().filter(|_| some && !self.header.fortran)
    }

    /// Says whether it has the shape of pictures, though there may be none, or in an order that is not read.
    pub fn has_shape_of_pictures(&self) -> bool {
        self.shape().is_some()
    }

    fn shape(&self) -> Option<([usize; 3], Order)> {
        let is_bytes = self.header.kind() == "u1";
        let (size, order) = match self.header.shape[..] {
            [_, height, width] => ([height, width, 1], Order::Pixels),
            [_, height, width, channels @ (1 | 3)] => ([height, width, channels], Order::Pixels),
            [_, channels @ (1 | 3), height, width] => ([height, width, channels], Order::Rows),
            _ => return None,
        };
        let [height, width, channels] = size.map(|n| n as usize);
        is_bytes.then_some(([height, width, channels], order))
    }

    pub fn is_of_pictures(&self) -> bool {
        self.picture().is_some()
    }

    /// Its texts, of `[n]` or `[n, 1]`; none if it has other items.
    pub fn texts(&self) -> Result<Option<Vec<String>>, DatasetError> {
        let (kind, item) = (self.header.kind(), self.header.item());
        match (&self.header.shape[..], kind.starts_with(['S', 'U'])) {
            (&[n] | &[n, 1], true) if item > 0 => {
                let mut bytes = self.bulk.read(self.header.length, n as usize * item)?;
                if self.header.descr.starts_with('>') {
                    floats::swap(&mut bytes, 4);
                }
                Ok(self.header.texts(&bytes))
            }
            _ => Ok(None),
        }
    }

    /// Its integers, of `[n]` or `[n, 1]`, also as floating-point numbers; in words why not.
    pub fn labels(&self) -> Result<Result<Vec<i64>, String>, DatasetError> {
        let count = match self.header.shape[..] {
            [n] | [n, 1] => n as usize,
            _ => return Ok(Err(format!("labels are of the shape {:?}", self.header.shape))),
        };
        let (kind, item) = (self.header.kind(), self.header.item());
        if let Some(format) = self.header.format() {
            let numbers = floats::from_bytes(format, &self.bytes(count, item)?);
            let whole = |number: &f32| floats::whole(f64::from(*number));
            let fraction = numbers.iter().find(|number| whole(number).is_none());
            return Ok(match fraction {
                Some(fraction) => Err(format!("the label {fraction} is no whole number")),
                None => Ok(numbers.iter().filter_map(whole).collect()),
            });
        }
        let signed = match (kind.chars().next(), item) {
            (Some('i'), 1 | 2 | 4 | 8) => true,
            (Some('u'), 1 | 2 | 4 | 8) => false,
            _ => {
                return Ok(Err(format!(
                    "labels are of the type {kind:.20}, expected integers or texts"
                )));
            }
        };
        Ok(Ok(floats::integers(&self.bytes(count, item)?, item, signed)))
    }

    /// The bytes of its first `count` numbers of `item` bytes, little-endian.
    fn bytes(&self, count: usize, item: usize) -> Result<Vec<u8>, DatasetError> {
        let mut bytes = self.bulk.read(self.header.length, count * item)?;
        if self.header.descr.starts_with('>') {
            floats::swap(&mut bytes, item);
        }
        Ok(bytes)
    }
}

/// The arrays of a folder, by name.
pub(super) fn arrays_in(folder: &Path) -> Result<Vec<Array>, DatasetError> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(files::io(folder))? {
        let path = entry.map_err(files::io(folder))?.path();
        let is_array = path
            .extension()
            .is_some_and(|own| own.eq_ignore_ascii_case("npy"));
        let hidden = path
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if is_array && !hidden && path.is_file() {
            paths.push(path);
        }
    }
    paths.sort();
    let stem = |path: &Path| {
        path.file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned()
    };
    paths.iter().map(|path| Array::open(path, stem(path))).collect()
}

/// The arrays of an `.npz` file, which is a zip of `.npy` files.
pub(in super::super) fn members(path: &Path) -> Result<Vec<Array>, DatasetError> {
    let damaged = |reason: String| DatasetError::Corrupt {
        path: path.to_owned(),
        reason: format!("npz: {reason}"),
    };
    let file = input::open(path).map_err(files::io(path))?;
    let reader = std::io::BufReader::new(file);
    let mut archive = ZipArchive::new(reader).map_err(|error| damaged(error.to_string()))?;
    let mut arrays = Vec::new();
    for number in 0..archive.len() {
        let member = archive
            .by_index_raw(number)
            .map_err(|error| damaged(error.to_string()))?;
        let name = member
            .name()
            .map_err(|error| damaged(error.to_string()))?
            .into_owned();
        let Some(name) = name.strip_suffix(".npy") else {
            continue;
        };
        let (compression, sum) = (member.compression(), member.crc32());
        let bytes: Box<dyn Read> = match compression {
            CompressionMethod::Stored => Box::new(member),
            CompressionMethod::DEFLATE => Box::new(DeflateDecoder::new(member)),
            other => return Err(damaged(format!("the array {name} is compressed by {other}"))),
        };
        let mut bytes = CrcReader::new(bytes);
        let bulk = Bulk::unpack(path, &mut bytes, "npz")?;
        if bytes.crc().sum() != sum {
            return Err(damaged(format!("the array {name} is not what its checksum says")));
        }
        arrays.push(Array::of(path, name.to_owned(), bulk)?);
    }
    Ok(arrays)
}
