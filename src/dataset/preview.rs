//! What a set looks like before a picture of it is decoded.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::class_sets::check_class_sets;
use super::describe::{self, Description};
use super::error::DatasetError;
use super::files;
use super::item::{Item, Stored};
use super::kind::Kind;
use super::set::{Reading, Set};

/// What would be read of a set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preview {
    /// The container format.
    pub kind: Kind,
    /// Class names by label; empty if the container names none.
    pub classes: Vec<String>,
    /// The number of classes: those that are named, or that labels number.
    pub count: usize,
    /// The splits, sorted by name.
    pub splits: Vec<PreviewedSplit>,
    /// What lies beside the images that may say something of each, and is not read.
    pub unread: Vec<String>,
}

/// What would be read of a split.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreviewedSplit {
    /// Its name.
    pub name: String,
    /// Number of its images, of which some may turn out not to be decodable.
    pub images: usize,
    /// Number of the classes that it has images of; none where it has no labels.
    pub classes: Option<usize>,
    /// Names of the first images.
    pub first: Vec<String>,
}

impl Preview {
    /// Returns what is to be told of the set: splits without images of some classes, and what is not read.
    pub fn notes(&self) -> Vec<String> {
        let splits = self.splits.iter();
        let splits = splits.filter_map(|split| Some((split.name.as_str(), split.classes?)));
        notes(self.count, splits, &self.unread)
    }
}

impl Description {
    /// Returns what is to be told of the set, as of a [`Preview`].
    pub fn notes(&self) -> Vec<String> {
        let of = |sizes: &Vec<usize>| sizes.iter().filter(|size| **size > 0).count();
        let splits = self.class_sizes.iter().filter(|(_, sizes)| !sizes.is_empty());
        let splits = splits.map(|(split, sizes)| (split.as_str(), of(sizes)));
        notes(self.classes.len(), splits, &self.unread)
    }
}

/// Words on a set of so many classes, by what its splits have of them.
fn notes<'a>(
    classes: usize,
    splits: impl Iterator<Item = (&'a str, usize)>,
    unread: &[String],
) -> Vec<String> {
    let fewer = splits.filter(|(_, own)| *own < classes);
    let fewer =
        fewer.map(|(split, own)| format!("the split {split} has images of {own} of the {classes} classes"));
    let unread = (!unread.is_empty()).then(|| format!("not read: {}", unread.join(", ")));
    fewer.chain(unread).collect()
}

/// Refuses images that a list names and that are not there.
fn check_files(items: &[Item]) -> Result<(), DatasetError> {
    items.iter().try_for_each(|item| match &item.stored {
        Stored::File(path) => std::fs::metadata(path).map(drop).map_err(files::io(path)),
        Stored::Encoded(..) | Stored::Planes(_) => Ok(()),
    })
}

/// Names of a split's first images that a preview has.
const FIRST: usize = 3;

/// Opens a set as `reading` says, and says what would be read of it. No picture is decoded.
///
/// # Errors
/// Whatever is wrong with the container; see [`DatasetError`].
pub fn preview(path: &Path, reading: &Reading) -> Result<Preview, DatasetError> {
    let set = Set::open(path, reading)?;
    let (mut splits, mut labelled) = (Vec::new(), BTreeMap::new());
    for name in set.container.splits() {
        let items = set.items(&name)?;
        if set.kind == Kind::ImageList && !reading.skip_bad {
            check_files(&items)?;
        }
        let all: Vec<u32> = items.iter().filter_map(|item| item.label).collect();
        let labels: BTreeSet<u32> = all.iter().copied().collect();
        labelled.insert(name.clone(), all);
        splits.push(PreviewedSplit {
            images: items.len(),
            classes: (!labels.is_empty()).then_some(labels.len()),
            first: items.iter().take(FIRST).map(|item| item.name.clone()).collect(),
            name,
        });
    }
    let named = set.container.classes();
    let (classes, sizes) = describe::count(named, labelled);
    check_class_sets(path, set.kind, reading, &classes, &sizes)?;
    Ok(Preview {
        kind: set.kind,
        classes: named.to_vec(),
        count: classes.len(),
        splits,
        unread: set.container.unread().to_vec(),
    })
}
