//! An opened set, of any container, and how it is read.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::describe::count;
use super::error::DatasetError;
use super::folder::ClassFolder;
use super::item::{Container, Item};
use super::kind::Kind;
use super::{arrow, cifar, downsampled, folder, idx, list, names, numpy, parquet, stl10, svhn};
use crate::stop::Stop;

/// How a set is read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reading {
    /// The container format; guessed without it.
    pub kind: Option<Kind>,
    /// Of an image folder: the classes to take, in the order of their labels. Without them, every directory
    /// is a class. Of image lists: names for the labels.
    pub classes: Vec<ClassFolder>,
    /// Of an image folder with classes to take: some of them may not be there (ImageNet-A, -R).
    pub partial: bool,
    /// The lists that name the images of each split.
    pub lists: BTreeMap<String, PathBuf>,
    /// Leaves out images that cannot be decoded, and says which. Without it, such an image is an error.
    pub skip_bad: bool,
    /// When to give up reading it.
    pub stop: Stop,
}

impl Reading {
    /// Returns the kind of the set at `path`: the one that is named, or that it looks like.
    ///
    /// # Errors
    /// As [`Kind::guess`].
    pub fn kind_at(&self, path: &Path) -> Result<Kind, DatasetError> {
        match self.kind {
            Some(kind) => Ok(kind),
            None if !self.lists.is_empty() => Ok(Kind::ImageList),
            None => Kind::guess(path),
        }
    }

    /// Returns the plain reading of a kind, or of the kind that the path looks like.
    pub fn of(kind: Option<Kind>) -> Self {
        Self {
            kind,
            ..Self::default()
        }
    }
}

/// Classes that a set has at most. ImageNet-21k has 21,841.
const MOST_CLASSES: u32 = 1 << 20;

/// An opened set.
pub(super) struct Set {
    pub kind: Kind,
    pub path: PathBuf,
    pub container: Box<dyn Container>,
}

impl Set {
    pub fn open(path: &Path, reading: &Reading) -> Result<Self, DatasetError> {
        let kind = reading.kind_at(path)?;
        if !reading.classes.is_empty() && !matches!(kind, Kind::ImageFolder | Kind::ImageList) {
            return Err(DatasetError::Layout {
                path: path.to_owned(),
                reason: format!(
                    "a list of class folders is given, but it is of kind {}",
                    kind.name()
                ),
            });
        }
        let container: Box<dyn Container> = match kind {
            Kind::Idx => Box::new(idx::Idx::open(path)?),
            Kind::CifarBinary => Box::new(cifar::Binary::open(path)?),
            Kind::CifarPython => Box::new(cifar::Python::open(path)?),
            Kind::ImageFolder => Box::new(folder::FolderSet::open(path, reading)?),
            Kind::ImageList => Box::new(list::Lists::open(path, &reading.lists, &reading.classes)?),
            Kind::Parquet => Box::new(parquet::open(path)?),
            Kind::Arrow => Box::new(arrow::open(path)?),
            Kind::Numpy => Box::new(numpy::Numpy::open(path)?),
            Kind::Svhn => Box::new(svhn::Svhn::open(path)?),
            Kind::Stl10 => Box::new(stl10::Stl10::open(path)?),
            Kind::DownsampledImagenet => Box::new(downsampled::Downsampled::open(path)?),
        };
        let is_odd = |name: &&String| name.trim().is_empty() || name.contains(char::is_control);
        let splits = container.splits();
        for (what, names) in [("class", container.classes()), ("split", &splits[..])] {
            if let Some(odd) = names.iter().find(is_odd) {
                return Err(DatasetError::Layout {
                    path: path.to_owned(),
                    reason: format!("a {what} of it is called {odd:?}; a name is text in one line"),
                });
            }
        }
        if let Some((first, second)) = names::alike(container.classes()) {
            return Err(DatasetError::Alike {
                path: path.to_owned(),
                first: first.to_owned(),
                second: second.to_owned(),
            });
        }
        Ok(Self {
            kind,
            path: path.to_owned(),
            container,
        })
    }

    /// The images of a split: at least one, and every label below the number of classes if these are named.
    pub fn items(&self, split: &str) -> Result<Vec<Item>, DatasetError> {
        let existing = self.container.splits();
        if !existing.iter().any(|name| name == split) {
            return Err(DatasetError::UnknownSplit {
                path: self.path.clone(),
                split: split.to_owned(),
                existing,
            });
        }
        let items = self.container.items(split)?;
        if items.is_empty() {
            return Err(DatasetError::EmptySplit {
                path: self.path.clone(),
                split: split.to_owned(),
            });
        }
        let classes = self.container.classes().len();
        let outside = |item: &&Item| classes > 0 && item.label.is_some_and(|l| l as usize >= classes);
        if let Some(item) = items.iter().find(outside) {
            return Err(DatasetError::Label {
                path: self.path.clone(),
                name: item.name.clone(),
                label: item.label.map_or(-1, i64::from),
                classes,
            });
        }
        let far = |item: &Item| item.label.filter(|label| *label >= MOST_CLASSES);
        if let Some((item, label)) = items.iter().find_map(|item| Some((item, far(item)?))) {
            return Err(DatasetError::FarLabel {
                path: self.path.clone(),
                name: item.name.clone(),
                label,
                limit: MOST_CLASSES,
            });
        }
        // Some images with labels and some without would be neither one set nor the other.
        let labelled = items.iter().filter(|item| item.label.is_some()).count();
        match items.iter().find(|item| item.label.is_none()) {
            Some(first) if labelled > 0 => Err(DatasetError::SomeLabels {
                path: self.path.clone(),
                split: split.to_owned(),
                images: items.len(),
                labels: labelled,
                name: first.name.clone(),
            }),
            _ => Ok(items),
        }
    }
}

/// What the names in a set tell, before a picture of it is decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glance {
    /// The container format.
    pub kind: Kind,
    /// Images of each split; none where some may be left out once they are decoded.
    pub splits: BTreeMap<String, Option<usize>>,
    /// Class names by label; empty if there are no labels, or the container names none and some images may be
    /// left out.
    pub classes: Vec<String>,
}

/// Opens a set as `reading` says, and says what the names in it tell. No picture is decoded.
///
/// # Errors
/// Whatever is wrong with the container; see [`DatasetError`].
pub fn glance(path: &Path, reading: &Reading) -> Result<Glance, DatasetError> {
    let set = Set::open(path, reading)?;
    let (mut splits, mut labels) = (BTreeMap::new(), BTreeMap::new());
    for split in set.container.splits() {
        if reading.skip_bad {
            splits.insert(split, None);
            continue;
        }
        let items = set.items(&split)?;
        labels.insert(
            split.clone(),
            items.iter().filter_map(|item| item.label).collect(),
        );
        splits.insert(split, Some(items.len()));
    }
    let (classes, _) = count(set.container.classes(), labels);
    Ok(Glance {
        kind: set.kind,
        splits,
        classes,
    })
}
