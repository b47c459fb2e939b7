//! ImageNet at 64x64, 32x32, 16x16 or 8x8 (Chrabaszcz, Loshchilov and Hutter: A Downsampled Variant of
//! ImageNet as an Alternative to the CIFAR datasets, 2017), as its authors give it out:
//! `train_data_batch_1` to `10` and `val_data`, pickles, or the same as `.npz`. Each has `data` `[n, 3 *
//! side * side]`, planes of bytes, and `labels` from 1 to 1000 in the order of ILSVRC's development kit,
//! which is not that of WordNet ids. One file, or a folder of them or around the folders of the two splits.
//!
//! Names of the classes come from `classes.txt`, or are the WordNet ids of the kit's `map_clsloc.txt`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::bulk::{Bulk, Part};
use super::error::DatasetError;
use super::files;
use super::item::{Container, Item, Order, Planes, Stored};
use super::numpy;
use super::pickled::{Batch, check_count, dictionary};
use crate::input;

const CLASSES: usize = 1000;
/// Files of the training split.
const BATCHES: usize = 10;
/// The kit's list of classes: a line is a WordNet id, a label and a name.
const MAP: &str = "map_clsloc.txt";

/// A set of such files.
pub(super) struct Downsampled {
    path: PathBuf,
    /// The files of each split, in order.
    splits: BTreeMap<String, Vec<PathBuf>>,
    classes: Vec<String>,
}

/// The images of a file.
struct Images {
    bulk: Arc<Bulk>,
    /// Where the first one begins.
    offset: u64,
    side: usize,
    labels: Vec<i64>,
}

/// The split of a file that is called so, and its number in that.
fn split_of(name: &str) -> Option<(&'static str, usize)> {
    let stem = name.strip_suffix(".npz").unwrap_or(name);
    match stem.strip_prefix("train_data_batch_") {
        Some(number) => Some((
            "train",
            number.parse().ok().filter(|n| (1..=BATCHES).contains(n))?,
        )),
        None => (stem == "val_data").then_some(("val", 1)),
    }
}

fn name_of(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

/// Whether `path` is such a file, or a folder with some or around one.
pub(super) fn is_downsampled(path: &Path) -> bool {
    match path.is_dir() {
        true => files_in(path).is_ok_and(|files| !files.is_empty()),
        false => split_of(&name_of(path)).is_some(),
    }
}

/// The files in a folder, or where there are none, in its folders that are called as the archives are:
/// `Imagenet32_train`, `Imagenet64_train_part1`.
fn files_in(path: &Path) -> Result<Vec<PathBuf>, DatasetError> {
    let own = |entries: &[files::Entry]| {
        let files = entries
            .iter()
            .filter(|entry| !entry.is_dir && split_of(&entry.name).is_some());
        files.map(|entry| entry.path.clone()).collect::<Vec<_>>()
    };
    let entries = files::list(path)?;
    let found = own(&entries);
    if !found.is_empty() {
        return Ok(found);
    }
    let is_part = |entry: &&files::Entry| entry.is_dir && entry.name.to_lowercase().starts_with("imagenet");
    let inner = entries
        .iter()
        .filter(is_part)
        .map(|folder| files::list(&folder.path).map(|entries| own(&entries)));
    Ok(inner.collect::<Result<Vec<_>, _>>()?.concat())
}

impl Downsampled {
    pub fn open(path: &Path) -> Result<Self, DatasetError> {
        let is_dir = path.is_dir();
        let found = if is_dir {
            files_in(path)?
        } else {
            vec![path.to_owned()]
        };
        let mut splits: BTreeMap<String, BTreeMap<usize, PathBuf>> = BTreeMap::new();
        for file in found {
            let (split, number) = split_of(&name_of(&file)).unwrap_or(("all", 1));
            let known = splits
                .entry(split.to_owned())
                .or_default()
                .insert(number, file.clone());
            if let Some(known) = known {
                let twice = [known, file].map(|file| match file.strip_prefix(path) {
                    Ok(inner) => inner.display().to_string(),
                    Err(_) => file.display().to_string(),
                });
                return Err(DatasetError::Several {
                    path: path.to_owned(),
                    sets: twice.to_vec(),
                });
            }
        }
        let missing =
            |train: &BTreeMap<usize, PathBuf>| (1..=BATCHES).find(|number| !train.contains_key(number));
        if let Some(missing) = splits.get("train").filter(|_| is_dir).and_then(missing) {
            return Err(DatasetError::Missing {
                path: path.to_owned(),
                expected: format!("train_data_batch_{missing}"),
            });
        }
        if splits.is_empty() {
            return Err(DatasetError::Layout {
                path: path.to_owned(),
                reason: "no train_data_batch_1 or val_data in it".to_owned(),
            });
        }
        let files = |(split, files): (String, BTreeMap<_, _>)| (split, files.into_values().collect());
        Ok(Self {
            path: path.to_owned(),
            splits: splits.into_iter().map(files).collect(),
            classes: if is_dir { classes(path)? } else { Vec::new() },
        })
    }
}

/// Names of the classes by label, where something beside the files says them.
fn classes(path: &Path) -> Result<Vec<String>, DatasetError> {
    let map = path.join(MAP);
    if path.join("classes.txt").is_file() || !map.is_file() {
        return files::class_names(path);
    }
    let mut names = Vec::new();
    for (number, line) in files::lines(&files::read(&map, input::TABLE)?).iter().enumerate() {
        let mut words = line.split_whitespace();
        match (
            words.next(),
            words.next().and_then(|label| label.parse::<usize>().ok()),
        ) {
            (Some(id), Some(label)) if number + 1 == label => names.push(id.to_owned()),
            _ => {
                return Err(DatasetError::Line {
                    path: map,
                    line: number + 1,
                    reason: "expected a WordNet id and the label, which is the line's number".to_owned(),
                });
            }
        }
    }
    Ok(names)
}

/// The side of a picture of so many bytes; none if it is no square of three planes.
fn side_of(row: u64) -> Option<usize> {
    let side = (row / 3).isqrt();
    (row > 0 && side * side * 3 == row).then_some(side as usize)
}

/// Where in a whole a part of it begins; none if it is none of it.
fn offset_in(whole: &[u8], part: &[u8]) -> Option<usize> {
    let offset = part.as_ptr().addr().checked_sub(whole.as_ptr().addr())?;
    (offset.checked_add(part.len())? <= whole.len()).then_some(offset)
}

const SHAPE: &str = "[n, 3 * side * side]";

/// Reads a pickle. Its pixels stay where they are in the file, unless they are written as a text.
fn pickle(path: &Path, split: &str) -> Result<Images, DatasetError> {
    let bytes = files::read(path, input::ANY)?;
    let fits = |row: usize| side_of(row as u64).is_some();
    let (row, labels, place) = dictionary(path, &bytes, |root| {
        let batch = Batch::of(root, "labels", fits, SHAPE)?;
        let place = offset_in(&bytes, &batch.bytes).ok_or_else(|| batch.bytes.to_vec());
        let place = place.map(|offset| (offset, batch.bytes.len()));
        Ok((batch.row, batch.labels, place))
    })?;
    let (bulk, offset, len) = match place {
        Ok((offset, len)) => (Bulk::open(path)?, offset as u64, len),
        Err(pixels) => {
            let len = pixels.len();
            (Bulk::held(path, pixels), 0, len)
        }
    };
    check_count(path, split, len / row, labels.len())?;
    Ok(Images {
        bulk,
        offset,
        side: side_of(row as u64).unwrap_or_default(),
        labels,
    })
}

/// Reads an `.npz`.
fn npz(path: &Path, split: &str) -> Result<Images, DatasetError> {
    let corrupt = |reason: String| DatasetError::Corrupt {
        path: path.to_owned(),
        reason,
    };
    let arrays = numpy::members(path)?;
    let named = |name: &str| {
        let array = arrays.iter().find(|array| array.name == name);
        array.ok_or_else(|| corrupt(format!("it has no array `{name}`")))
    };
    let (data, labels) = (named("data")?, named("labels")?);
    let header = &data.header;
    let side = match header.shape[..] {
        [_, row] if header.kind() == "u1" && !header.fortran => side_of(row),
        _ => None,
    };
    let side = side.ok_or_else(|| {
        let (kind, shape) = (&header.descr, &header.shape);
        corrupt(format!(
            "`data` is {kind:.20} of shape {shape:?}, expected bytes {SHAPE}"
        ))
    })?;
    let labels = labels.labels()?.map_err(corrupt)?;
    check_count(
        path,
        split,
        header.shape.first().map_or(0, |n| *n as usize),
        labels.len(),
    )?;
    Ok(Images {
        bulk: data.bulk.clone(),
        offset: header.length,
        side,
        labels,
    })
}

impl Container for Downsampled {
    fn splits(&self) -> Vec<String> {
        self.splits.keys().cloned().collect()
    }

    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn items(&self, split: &str) -> Result<Vec<Item>, DatasetError> {
        let mut items: Vec<Item> = Vec::new();
        for file in self.splits.get(split).into_iter().flatten() {
            let images = match name_of(file).ends_with(".npz") {
                true => npz(file, split)?,
                false => pickle(file, split)?,
            };
            let len = 3 * images.side * images.side;
            for (number, label) in images.labels.iter().enumerate() {
                let name = items.len().to_string();
                // From 1 on; 0 is of no class.
                let known = usize::try_from(*label)
                    .ok()
                    .filter(|label| (1..=CLASSES).contains(label));
                let known = known.ok_or_else(|| DatasetError::Label {
                    path: self.path.clone(),
                    name: name.clone(),
                    label: *label,
                    classes: CLASSES,
                })?;
                items.push(Item {
                    name,
                    label: Some(known as u32 - 1),
                    stored: Stored::Planes(Planes {
                        width: images.side,
                        height: images.side,
                        channels: 3,
                        order: Order::Rows,
                        part: Part {
                            bulk: images.bulk.clone(),
                            offset: images.offset + (number * len) as u64,
                            len,
                        },
                    }),
                });
            }
        }
        Ok(items)
    }
}
