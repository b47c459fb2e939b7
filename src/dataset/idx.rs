//! IDX, the format of MNIST and Fashion-MNIST: a directory with the four standard files, plain or gzip; also
//! where the names begin with the set's, as EMNIST's (`emnist-letters-train-images-idx3-ubyte`) and QMNIST's.
//!
//! An image file is the magic number 0x803, the counts n, height, width (big-endian u32) and n * height *
//! width bytes; a label file is 0x801, n, and n bytes, or QMNIST's 0xc02, n, 8, and n rows of big-endian i32
//! that begin with the label. A file `classes.txt` beside them names the classes, one per line. Pictures are
//! those of the file, as torchvision gives them: EMNIST's lie on their side.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::bulk::{Bulk, Part};
use super::error::DatasetError;
use super::files;
use super::item::{Container, Item, Order, Planes, Stored};

const IMAGES: u32 = 0x803;
const LABELS: u32 = 0x801;
const WIDE_LABELS: u32 = 0xc02;
/// What files call the splits, and our names of them.
const SPLITS: [(&str, &str); 3] = [("t10k", "test"), ("test", "test"), ("train", "train")];
/// How the names of image files end, and those of label files with the magic number.
const IMAGE_ENDS: [&str; 2] = ["-images-idx3-ubyte", "-images.idx3-ubyte"];
const LABEL_ENDS: [(&str, u32); 3] = [
    ("-labels-idx1-ubyte", LABELS),
    ("-labels.idx1-ubyte", LABELS),
    ("-labels-idx2-int", WIDE_LABELS),
];
/// Where torchvision puts the files of a set in its root.
const HOMES: [&str; 5] = [
    "MNIST/raw",
    "FashionMNIST/raw",
    "KMNIST/raw",
    "QMNIST/raw",
    "EMNIST/raw",
];

/// A set of IDX files: those of one directory whose names begin alike.
pub(super) struct Idx {
    dir: PathBuf,
    classes: Vec<String>,
    /// What stands before `-images`, by split, and the file of images.
    splits: BTreeMap<&'static str, (String, PathBuf)>,
}

/// What the name of an image file says: what stands before `-images`, what of it is the set's, and the split.
fn read_name(name: &str) -> Option<(&str, &str, &'static str)> {
    let plain = name.strip_suffix(".gz").unwrap_or(name);
    let stem = IMAGE_ENDS.iter().find_map(|end| plain.strip_suffix(end))?;
    let (set, word) = stem.rsplit_once('-').unwrap_or(("", stem));
    let (_, split) = SPLITS.iter().find(|(theirs, _)| *theirs == word)?;
    Some((stem, set, split))
}

/// The sets whose files lie in a directory, by what their names begin with.
fn sets_of(dir: &Path) -> BTreeMap<String, Idx> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let mut names: Vec<String> = (entries.filter_map(|entry| entry.file_name().into_string().ok()))
        .filter(|name| read_name(name).is_some() && dir.join(name).is_file())
        .collect();
    // A plain file comes before its gzip.
    names.sort();
    let mut sets = BTreeMap::new();
    for name in &names {
        let Some((stem, set, split)) = read_name(name) else {
            continue;
        };
        let set = sets.entry(set.to_owned()).or_insert_with(|| Idx {
            dir: dir.to_owned(),
            classes: Vec::new(),
            splits: BTreeMap::new(),
        });
        let images = || (stem.to_owned(), dir.join(name));
        set.splits.entry(split).or_insert_with(images);
    }
    sets
}

/// The sets at `path`: in it, in its `raw`, or in the folders of a root of torchvision's; or the one that a
/// file is of. Each with the path that names it alone.
fn sets_at(path: &Path) -> Vec<(PathBuf, Idx)> {
    if path.is_file() {
        let name = path
            .file_name()
            .and_then(std::ffi::OsStr::to_str)
            .and_then(read_name);
        let of_file = |(_, set, _)| sets_of(path.parent()?).remove(set);
        return name
            .and_then(of_file)
            .map(|set| (path.to_owned(), set))
            .into_iter()
            .collect();
    }
    let named = |dir: PathBuf| {
        let sets = sets_of(&dir);
        let alone = sets.len() == 1;
        let place = move |set: Idx| {
            let file = set.splits.values().next_back().map(|(_, images)| images.clone());
            (file.filter(|_| !alone).unwrap_or(dir.clone()), set)
        };
        sets.into_values().map(place).collect::<Vec<_>>()
    };
    let own = [path.to_owned(), path.join("raw")].map(named);
    let homes = HOMES.iter().flat_map(|home| named(path.join(home)));
    match own.into_iter().find(|sets| !sets.is_empty()) {
        Some(sets) => sets,
        None => homes.collect(),
    }
}

/// Where the IDX sets in a directory are, from it on: one that fills it has no name of its own.
pub(super) fn sets_in(dir: &Path) -> Vec<String> {
    let from = |(path, _): (PathBuf, Idx)| path.strip_prefix(dir).ok().map(|path| path.display().to_string());
    sets_at(dir)
        .into_iter()
        .filter_map(from)
        .filter(|name| !name.is_empty())
        .collect()
}

/// Whether `path` holds IDX images.
pub(super) fn is_idx(path: &Path) -> bool {
    !sets_at(path).is_empty()
}

impl Idx {
    pub fn open(path: &Path) -> Result<Self, DatasetError> {
        let mut sets = sets_at(path);
        match (sets.pop(), sets.is_empty()) {
            (Some((_, set)), true) => Ok(Self {
                classes: files::class_names(&set.dir)?,
                ..set
            }),
            (Some(_), false) => Err(DatasetError::Several {
                path: path.to_owned(),
                sets: sets_in(path),
            }),
            (None, _) => Err(DatasetError::Layout {
                path: path.to_owned(),
                reason: "no train-images-idx3-ubyte[.gz] or t10k-images-idx3-ubyte[.gz] in it".to_owned(),
            }),
        }
    }

    /// The labels of the split whose files are called so.
    fn labels(&self, stem: &str) -> Result<Vec<u32>, DatasetError> {
        let names = (LABEL_ENDS.iter()).flat_map(|(end, magic)| {
            ["", ".gz"].map(|packed| (self.dir.join(format!("{stem}{end}{packed}")), *magic))
        });
        let mut names = names.filter(|(path, _)| path.is_file());
        let (path, magic) = names.next().ok_or_else(|| DatasetError::Missing {
            path: self.dir.clone(),
            expected: format!("{stem}-labels-idx1-ubyte[.gz]"),
        })?;
        let Parsed { dims, header, bulk } = parse(&path, magic)?;
        let bytes = bulk.read(header as u64, bulk.len as usize - header)?;
        if magic == LABELS {
            return Ok(bytes.into_iter().map(u32::from).collect());
        }
        let width = dims[1];
        let (numbers, _) = bytes.as_chunks::<4>();
        let first = numbers.chunks(width.max(1)).filter_map(<[_]>::first);
        let label = |number: &[u8; 4]| {
            let number = i32::from_be_bytes(*number);
            u32::try_from(number).map_err(|_| DatasetError::Corrupt {
                path: path.clone(),
                reason: format!("{number} is no label"),
            })
        };
        first.map(label).collect()
    }
}

/// A file of IDX: its dimensions (as many as its magic number says), and where its bytes begin.
struct Parsed {
    dims: Vec<usize>,
    header: usize,
    bulk: Arc<Bulk>,
}

/// Opens a file of magic number `magic`.
fn parse(path: &Path, magic: u32) -> Result<Parsed, DatasetError> {
    let bulk = Bulk::open(path)?;
    let rank = (magic & 0xff) as usize;
    let size_error = |expected: String| DatasetError::Size {
        path: path.to_owned(),
        expected,
        actual: bulk.len as usize,
    };
    let header = 4 + 4 * rank;
    let head = bulk.read(0, header.min(bulk.len as usize))?;
    let (words, _) = head.as_chunks::<4>();
    let mut words = words.iter().map(|word| u32::from_be_bytes(*word));
    match words.next() {
        Some(word) if word == magic => {}
        Some(actual) => {
            return Err(DatasetError::Magic {
                path: path.to_owned(),
                expected: magic,
                actual,
            });
        }
        None => return Err(size_error(format!("at least {header}"))),
    }
    let dims: Vec<usize> = words.take(rank).map(|word| word as usize).collect();
    if dims.len() < rank {
        return Err(size_error(format!("at least {header}")));
    }
    // The third byte of the magic number says of what: 8 is bytes, 12 numbers of four bytes.
    let size = if magic >> 8 == 12 { 4 } else { 1 };
    let body = dims.iter().try_fold(size, |a: usize, b| a.checked_mul(*b));
    match body.and_then(|body| body.checked_add(header)) {
        Some(expected) if expected as u64 == bulk.len => Ok(Parsed { dims, header, bulk }),
        Some(expected) => Err(size_error(format!("{expected} by its header"))),
        None => Err(size_error("less than its header says".to_owned())),
    }
}

impl Container for Idx {
    fn splits(&self) -> Vec<String> {
        self.splits.keys().map(|split| (*split).to_owned()).collect()
    }

    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn items(&self, split: &str) -> Result<Vec<Item>, DatasetError> {
        let (stem, images) = self.splits.get(split).ok_or_else(|| DatasetError::UnknownSplit {
            path: self.dir.clone(),
            split: split.to_owned(),
            existing: self.splits(),
        })?;
        let Parsed { dims, header, bulk } = parse(images, IMAGES)?;
        let labels = self.labels(stem)?;
        // `parse` gave three dimensions, whose product is the number of bytes behind the header.
        let (n, height, width) = (dims[0], dims[1], dims[2]);
        if labels.len() != n {
            return Err(DatasetError::Count {
                path: self.dir.clone(),
                split: split.to_owned(),
                images: n,
                labels: labels.len(),
            });
        }
        let len = height * width;
        if n > 0 && len == 0 {
            return Err(DatasetError::Corrupt {
                path: images.clone(),
                reason: "its images have no pixels".to_owned(),
            });
        }
        let item = |(number, label): (usize, u32)| Item {
            name: number.to_string(),
            label: Some(label),
            stored: Stored::Planes(Planes {
                width,
                height,
                channels: 1,
                order: Order::Rows,
                part: Part {
                    bulk: bulk.clone(),
                    offset: (header + number * len) as u64,
                    len,
                },
            }),
        };
        Ok(labels.into_iter().enumerate().map(item).collect())
    }
}
