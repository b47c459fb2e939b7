//! NumPy arrays of pictures: bytes `[n, height, width]` (grey), `[n, height, width, 1 | 3]` or
//! `[n, 1 | 3, height, width]`, and integers `[n]` or `[n, 1]` as labels.
//!
//! - `.npz` with pairs of members called by their split: `train_images` and `train_labels` (MedMNIST),
//!   `x_train` and `y_train` (Keras), or `images` and `labels` alone.
//! - A folder of `.npy` with `labels.npy` for all others, each a split (CIFAR-10-C and -100-C: a corruption a
//!   split, the five severities one after the other), or with `*_images.npy` and the like.
//! - One `.npy` of pictures without labels.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use flate2::CrcReader;
use flate2::read::DeflateDecoder;
use zip::{CompressionMethod, ZipArchive};

use super::bulk::{Bulk, Part};
use super::error::DatasetError;
use super::item::{Container, Item, Order, Planes, Stored};
use super::{files, tree};
use crate::npy::Header;

/// The name of a split whose array does not name one.
const ALL: &str = "all";

/// How arrays of pictures and their labels are called around the name of their split.
const CALLED: [(&str, &str); 8] = [
    ("{}_images", "{}_labels"),
    ("{}_images", "{}_label"),
    ("images_{}", "labels_{}"),
    ("x_{}", "y_{}"),
    ("{}_x", "{}_y"),
    ("{}_data", "{}_labels"),
    ("X_{}", "y_{}"),
    ("{}_X", "{}_y"),
];

/// The same where there is one split.
const ALONE: [(&str, &str); 4] = [("images", "labels"), ("x", "y"), ("X", "y"), ("data", "labels")];

/// Sets of arrays.
pub(super) struct Numpy {
    path: PathBuf,
    classes: Vec<String>,
    /// Pictures, and labels if there are any, by split.
    splits: BTreeMap<String, (Array, Option<Array>)>,
}

/// An array in a file.
#[derive(Clone)]
struct Array {
    name: String,
    header: Header,
    bulk: Arc<Bulk>,
}

/// Whether `path` is a file of arrays, or a folder with arrays of pictures in it and neither pictures nor
/// folders.
pub(super) fn is_numpy(path: &Path) -> bool {
    let is = |path: &Path, ending: &str| {
        path.extension()
            .is_some_and(|own| own.eq_ignore_ascii_case(ending))
    };
    match path.is_dir() {
        true => {
            !has_other_pictures(path)
                && arrays_in(path).is_ok_and(|arrays| arrays.iter().any(Array::is_of_pictures))
        }
        false => is(path, "npz") || is(path, "npy"),
    }
}

fn has_other_pictures(folder: &Path) -> bool {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).any(|path| {
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        !name.starts_with(['.', '_']) && (path.is_dir() || tree::has_picture_name(&name))
    })
}

impl Numpy {
    pub fn open(path: &Path) -> Result<Self, DatasetError> {
        let arrays = match path.is_dir() {
            true => arrays_in(path)?,
            false
                if path
                    .extension()
                    .is_some_and(|own| own.eq_ignore_ascii_case("npz")) =>
            {
                members(path)?
            }
            false => vec![Array::open(path, ALL.to_owned())?],
        };
        let classes = match path.is_dir() {
            true => files::class_names(path)?,
            false => Vec::new(),
        };
        let splits = paired(&arrays);
        if arrays.is_empty() {
            return Err(DatasetError::Layout {
                path: path.to_owned(),
                reason: "there is no NumPy array in it".to_owned(),
            });
        }
        match splits.is_empty() {
            true => Err(foreign(path, &arrays, "none of its arrays is of pictures")),
            false => Ok(Self {
                path: path.to_owned(),
                classes,
                splits,
            }),
        }
    }
}

/// Returns the pictures and labels of each split.
fn paired(arrays: &[Array]) -> BTreeMap<String, (Array, Option<Array>)> {
    let named = |name: &str| arrays.iter().find(|array| array.name == name);
    let pictures: Vec<&Array> = arrays.iter().filter(|array| array.is_of_pictures()).collect();
    let mut splits = BTreeMap::new();
    for array in &pictures {
        let around = |(of_pictures, of_labels): &(&str, &str)| {
            let (before, after) = of_pictures.split_once("{}")?;
            let split = array.name.strip_prefix(before)?.strip_suffix(after)?;
            let labels = named(&of_labels.replace("{}", split))?;
            (!split.is_empty()).then(|| (split.to_owned(), Some(labels.clone())))
        };
        let alone = |(of_pictures, of_labels): &(&str, &str)| {
            let is = array.name == *of_pictures;
            is.then(|| (ALL.to_owned(), named(of_labels).cloned()))
        };
        let (split, labels) = (CALLED.iter().find_map(around))
            .or_else(|| ALONE.iter().find_map(alone))
            .unwrap_or_else(|| (array.name.clone(), named("labels").cloned()));
        splits.insert(split, ((*array).clone(), labels));
    }
    splits
}

/// The arrays of a folder, by name.
fn arrays_in(folder: &Path) -> Result<Vec<Array>, DatasetError> {
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
fn members(path: &Path) -> Result<Vec<Array>, DatasetError> {
    let damaged = |reason: String| DatasetError::Corrupt {
        path: path.to_owned(),
        reason: format!("npz: {reason}"),
    };
    let file = std::fs::File::open(path).map_err(files::io(path))?;
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

impl Array {
    fn open(path: &Path, name: String) -> Result<Self, DatasetError> {
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
    fn picture(&self) -> Option<([usize; 3], Order)> {
        let is_bytes = self.header.descr.trim_start_matches(['|', '<', '>']) == "u1";
        let (size, order) = match self.header.shape[..] {
            [_, height, width] => ([height, width, 1], Order::Pixels),
            [_, height, width, channels @ (1 | 3)] => ([height, width, channels], Order::Pixels),
            [_, channels @ (1 | 3), height, width] => ([height, width, channels], Order::Rows),
            _ => return None,
        };
        let [height, width, channels] = size.map(|n| n as usize);
        (is_bytes && !self.header.fortran && height * width > 0).then_some(([height, width, channels], order))
    }

    fn is_of_pictures(&self) -> bool {
        self.picture().is_some()
    }

    /// Its integers, of `[n]` or `[n, 1]`; in words why not.
    fn labels(&self) -> Result<Result<Vec<i64>, String>, DatasetError> {
        let count = match self.header.shape[..] {
            [n] | [n, 1] => n as usize,
            _ => return Ok(Err(format!("labels are of the shape {:?}", self.header.shape))),
        };
        let item = self.header.item();
        let bytes = self.bulk.read(self.header.length, count * item)?;
        let (order, kind) = self.header.descr.split_at(1);
        let wide = |bytes: &[u8]| {
            let mut wide = if kind.starts_with('i') && sign(bytes, order) {
                [0xff; 8]
            } else {
                [0; 8]
            };
            wide[..bytes.len()].copy_from_slice(bytes);
            if order == ">" {
                wide[..bytes.len()].reverse();
            }
            i64::from_le_bytes(wide)
        };
        match kind {
            "i1" | "u1" | "i2" | "u2" | "i4" | "u4" | "i8" | "u8" => {
                Ok(Ok(bytes.chunks_exact(item).map(wide).collect()))
            }
            other => Ok(Err(format!("labels are of the type {other}, expected integers"))),
        }
    }
}

/// Says whether an integer is negative.
fn sign(bytes: &[u8], order: &str) -> bool {
    let high = if order == ">" { bytes.first() } else { bytes.last() };
    high.is_some_and(|byte| byte & 0x80 != 0)
}

fn foreign(path: &Path, arrays: &[Array], reason: &str) -> DatasetError {
    let named: Vec<String> = (arrays.iter())
        .map(|array| format!("{} {} {:?}", array.name, array.header.descr, array.header.shape))
        .collect();
    DatasetError::Foreign {
        path: path.to_owned(),
        what: "NumPy arrays".to_owned(),
        reason: format!(
            "{reason}: bytes [images, height, width], [images, height, width, 1 or 3] or [images, 1 or 3, \
             height, width]; there are {}",
            named.join(", ")
        ),
    }
}

impl Container for Numpy {
    fn splits(&self) -> Vec<String> {
        self.splits.keys().cloned().collect()
    }

    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn items(&self, split: &str) -> Result<Vec<Item>, DatasetError> {
        let Some((pictures, labels)) = self.splits.get(split) else {
            return Ok(Vec::new());
        };
        let Some(([height, width, channels], order)) = pictures.picture() else {
            return Ok(Vec::new());
        };
        let count = pictures.header.shape.first().copied().unwrap_or(0) as usize;
        let labels = match labels {
            Some(array) => {
                let wrong = |reason: String| foreign(&self.path, std::slice::from_ref(array), &reason);
                Some(array.labels()?.map_err(wrong)?)
            }
            None => None,
        };
        if let Some(labels) = labels.as_ref().filter(|labels| labels.len() != count) {
            return Err(DatasetError::Count {
                path: self.path.clone(),
                split: split.to_owned(),
                images: count,
                labels: labels.len(),
            });
        }
        let len = height * width * channels;
        let item = |number: usize| {
            let name = number.to_string();
            let label = labels
                .as_ref()
                .map(|labels| labels[number])
                .filter(|label| *label != -1);
            let label = label.map(|label| {
                u32::try_from(label).map_err(|_| DatasetError::Label {
                    path: self.path.clone(),
                    name: name.clone(),
                    label,
                    classes: self.classes.len(),
                })
            });
            Ok(Item {
                label: label.transpose()?,
                stored: Stored::Planes(Planes {
                    width,
                    height,
                    channels,
                    order,
                    part: Part {
                        bulk: pictures.bulk.clone(),
                        offset: pictures.header.length + (number * len) as u64,
                        len,
                    },
                }),
                name,
            })
        };
        (0..count).map(item).collect()
    }
}
